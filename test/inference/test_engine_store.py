# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The store of engines: which engines are kept or dropped, and threads."""

from __future__ import annotations

import threading

import pytest

from lrn_ros.inference.cache import MAX_ENGINES, EngineStore


def test_the_one_that_was_not_used_for_longest_goes_first() -> None:
    store: EngineStore[int, str] = EngineStore()
    made: list[int] = []

    def compile(key: int) -> str:
        made.append(key)
        return f"engine {key}"

    for key in range(MAX_ENGINES):
        assert store.get(key, compile) == f"engine {key}"
    assert store.get(0, compile) == "engine 0"  # used again, so 1 is the oldest
    store.get(99, compile)
    assert len(store) == MAX_ENGINES and made == [*range(MAX_ENGINES), 99]
    assert 0 in store and 99 in store and 1 not in store


def test_what_cannot_be_compiled_is_not_kept() -> None:
    store: EngineStore[int, str] = EngineStore()
    with pytest.raises(ZeroDivisionError):
        store.get(0, lambda key: str(1 / key))
    assert 0 not in store and store.get(0, lambda key: "now") == "now"


def test_two_threads_compile_one_engine_and_others_go_on() -> None:
    store: EngineStore[int, str] = EngineStore()
    store.get(1, lambda key: "there")
    started, go_on, made = threading.Event(), threading.Event(), []

    def compile(key: int) -> str:
        started.set()
        assert go_on.wait(10)
        made.append(key)
        return "new"

    threads = [threading.Thread(target=store.get, args=(2, compile)) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert started.wait(10)
    assert store.get(1, compile) == "there" and 2 not in store
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert made == [2] and store.get(2, compile) == "new"
