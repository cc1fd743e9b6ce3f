# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Reads the metadata, inputs and outputs of an ONNX file without the package onnx.

An ONNX file is one protobuf message. The numbers below are the field numbers in onnx.proto.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lrn_ros.errors import UserError

_IR_VERSION, _GRAPH, _METADATA = 1, 7, 14  # ModelProto
_INPUT, _OUTPUT = 11, 12  # GraphProto
_TYPES = {1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 10: "float16", 11: "float64"}


@dataclass(frozen=True)
class Tensor:
    """An input or output of a graph.

    Attributes:
        name: its name in the graph.
        dtype: NumPy's name of the type, or "type N" for a rare type.
        shape: the sizes; None for a size that is free.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        sizes = ", ".join("?" if n is None else str(n) for n in self.shape)
        return f"{self.name} {self.dtype} ({sizes})"


@dataclass(frozen=True)
class OnnxFile:
    """Metadata, inputs and outputs of a model."""

    metadata: dict[str, str]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def read_onnx(path: Path) -> OnnxFile:
    """Read the metadata, inputs and outputs of an ONNX file.

    Raises:
        UserError: no such file, truncated, or not ONNX.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such model file")
    try:
        model = list(_fields(memoryview(path.read_bytes())))
        if not {_IR_VERSION, _GRAPH} <= {number for number, _ in model}:
            raise ValueError("no graph")
        (graph,) = _messages(model, _GRAPH)
        entries = [list(_fields(m)) for m in _messages(model, _METADATA)]
        return OnnxFile(
            {_text(entry, 1): _text(entry, 2) for entry in entries},
            tuple(_tensor(m) for m in _messages(_fields(graph), _INPUT)),
            tuple(_tensor(m) for m in _messages(_fields(graph), _OUTPUT)),
        )
    except ValueError as error:
        raise UserError(f"{path}: truncated, or not an ONNX file ({error})") from error


def _tensor(message: memoryview) -> Tensor:
    """The tensor of a ValueInfoProto.

    Field numbers: name 1 and type 2 of ValueInfoProto, tensor 1 of TypeProto, element type 1 and
    shape 2 of the tensor.
    """
    info = list(_fields(message))
    tensors = [t for m in _messages(info, 2) for t in _messages(_fields(m), 1)]
    fields = [list(_fields(t)) for t in tensors]
    kind = next((v for f in fields for n, v in f if n == 1 and isinstance(v, int)), 0)
    shapes = [s for f in fields for s in _messages(f, 2)]
    sizes = [list(_fields(d)) for s in shapes for d in _messages(_fields(s), 1)]
    shape = tuple(
        next((v for n, v in size if n == 1 and isinstance(v, int)), None) for size in sizes
    )
    return Tensor(_text(info, 1), _TYPES.get(kind, f"type {kind}"), shape)


_Field = tuple[int, int | memoryview]


def _messages(fields: Iterator[_Field] | list[_Field], number: int) -> list[memoryview]:
    return [v for n, v in fields if n == number and isinstance(v, memoryview)]


def _text(fields: list[_Field], number: int) -> str:
    return "".join(str(m, "utf-8") for m in _messages(fields, number))


def _fields(message: memoryview) -> Iterator[_Field]:
    """The fields of a message: the number of each, and its value as an int or as bytes."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        value: int | memoryview
        if key & 7 == 0:
            value, at = _varint(message, at)
        else:
            if key & 7 == 2:
                length, at = _varint(message, at)
            elif key & 7 in (1, 5):
                length = 8 if key & 7 == 1 else 4
            else:
                raise ValueError(f"a field has the unknown wire type {key & 7}")
            value, at = message[at : at + length], at + length
            if at > len(message):
                raise ValueError("the file ends within a field")
        yield key >> 3, value


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A number of up to ten bytes with seven bits each, and the position after it."""
    value = 0
    for i, byte in enumerate(message[at : at + 10]):
        value |= (byte & 127) << 7 * i
        if byte < 128:
            return value, at + i + 1
    raise ValueError("a number is longer than ten bytes, or the file ends within it")
