# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The exceptions that users see as one line; none of the three classes is derived from another."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(ValueError):
    """Bad input, file or setting; the message stands on its own in one line."""


class BackendError(Exception):
    """A backend cannot work on this machine; the message says what is missing, in one line."""


class RunError(RuntimeError):
    """The input was right, but the run failed; the message stands on its own in one line."""


def one_line(error: BaseException) -> str:
    """The text of an exception without line breaks."""
    return " ".join(str(error).split())


def install(extra: str) -> str:
    """The command that installs an extra of the package."""
    return f"pip install 'lrn_ros[{extra}]'"


@contextmanager
def needs(extra: str, what: str) -> Iterator[None]:
    """In this context a missing package becomes an error that names the extra to install.

    Args:
        extra: the extra of setup.py that installs the packages.
        what: the feature that needs the packages; the message begins with it.

    Raises:
        UserError: one of the packages is missing.
    """
    try:
        yield
    except ImportError as error:
        if (error.name or "").startswith("lrn_ros"):
            raise  # a mistake in this package
        raise UserError(f"{what}: {error}; {install(extra)}") from error


def release_frames(error: BaseException) -> None:
    """Clear the local variables of the frames that an exception and its causes went through.

    Otherwise an exception keeps alive everything that these frames hold, such as arrays.
    """
    seen: set[int] = set()
    chain: list[BaseException | None] = [error]
    while chain:
        link = chain.pop()
        if link is not None and id(link) not in seen:
            seen.add(id(link))
            traceback.clear_frames(link.__traceback__)
            chain += [link.__cause__, link.__context__]
