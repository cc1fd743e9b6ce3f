# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Channel shuffles of an ONNX graph as 1x1 convolutions, exactly.

The exporter writes a shuffle as Reshape, Transpose and Reshape, which a CPU moves number by number.
A 1x1 convolution whose weights are zeros and ones does the same on the processor's matrix units,
and its results are the same bits: a sum of one number and zeros is that number. LRNNet's blocks
need even less. Between two blocks the residual keeps the order of its channels, the rows of the
pointwise convolution that is added to it take that order, and only what enters the next block's two
branches is selected, already split.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import RemoveUnusedNodesPass

SELECTION = "selected_channels"  # start of the names of the convolutions that are put in

_Order = NDArray[np.intp]  # for every channel of a result: which channel of the source it is


class _Shuffle(NamedTuple):
    """A shuffle in the graph: `result` has the channels of `source` in `order`."""

    first: ir.Node
    source: ir.Value
    result: ir.Value
    order: _Order


def replace_shuffles(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace every channel shuffle of a graph by 1x1 convolutions.

    Args:
        model: a graph that is not quantised; not changed.

    Returns:
        A graph with the same input, and with the same output bit for bit as long as every
        convolution adds its products in the order of its weights.
    """
    converted = ir.from_proto(model)
    graph = converted.graph
    shuffles = list(_find_shuffles(graph))
    stored: dict[ir.Value, _Order] = {}  # where each channel of a value is, if not in its place
    for number, shuffle in enumerate(shuffles):
        source = shuffle.source
        order = stored.get(source, np.arange(len(shuffle.order)))[shuffle.order]
        selector = _Selector(graph, shuffle, f"{SELECTION}_{number}")
        sums = _sums(shuffle, {other.first for other in shuffles})
        if sums is None:
            shuffle.result.replace_all_uses_with(selector.select(order))
            continue
        for split in [node for node, _ in shuffle.result.uses() if node.op_type == "Split"]:
            parts = np.split(order, len(split.outputs))
            for output, part in zip(split.outputs, parts):
                output.replace_all_uses_with(selector.select(part))
        for one in sums:
            _reorder_rows(graph, one.conv, np.argsort(order))
            one.add.replace_input_with(one.place, source)
            stored[one.relu.outputs[0]] = order
    RemoveUnusedNodesPass()(converted)
    return ir.to_proto(converted)


class _Sum(NamedTuple):
    """The end of a block, relu(add(residual, conv)); `place` is the residual's, 0 or 1."""

    add: ir.Node
    place: int
    conv: ir.Node
    relu: ir.Node


def _find_shuffles(graph: ir.Graph) -> Iterator[_Shuffle]:
    """Shuffles in the order of the graph: (N, g, C/g, h, w) with the middle axes exchanged."""
    for node in graph:
        if node.op_type != "Transpose" or node.attributes["perm"].as_ints() != (0, 2, 1, 3, 4):
            continue
        first, last = _maker(node.inputs[0]), _only_user(node)
        if first is None or last is None or {first.op_type, last.op_type} != {"Reshape"}:
            continue
        sizes, source = _leading_sizes(first.inputs[1]), first.inputs[0]
        if sizes is not None and source is not None:
            order = np.arange(sizes[0] * sizes[1]).reshape(sizes).T.ravel()
            yield _Shuffle(first, source, last.outputs[0], order)


def _leading_sizes(shape: ir.Value | None) -> tuple[int, int] | None:
    """Groups and channels of a group in a Reshape's shape; None where these are not constant."""
    maker = _maker(shape)
    parts = maker.inputs if maker is not None and maker.op_type == "Concat" else [shape]
    sizes: list[int | None] = []
    for part in parts:
        known = None if part is None else ir.convenience.get_const_tensor(part)
        sizes += [None] if known is None else known.numpy().ravel().tolist()
    if len(sizes) != 5 or sizes[1] is None or sizes[2] is None:
        return None
    return sizes[1], sizes[2]


def _sums(shuffle: _Shuffle, firsts: set[ir.Node]) -> list[_Sum] | None:
    """The additions of a block that can take the shuffled values in another order.

    Returns:
        None where a user of the shuffled values is neither such an addition nor a split into equal
        parts.
    """
    sums = []
    for node, place in shuffle.result.uses():
        if node.op_type == "Split" and len(node.inputs) == 1:
            continue
        conv = _maker(node.inputs[1 - place]) if node.op_type == "Add" else None
        relu = _only_user(node)
        if conv is None or conv.op_type != "Conv" or _only_user(conv) is not node:
            return None
        if conv.attributes.get_int("group", 1) != 1 or relu is None or relu.op_type != "Relu":
            return None
        if any(user not in firsts for user, _ in relu.outputs[0].uses()):
            return None
        sums.append(_Sum(node, place, conv, relu))
    return sums or None


def _maker(value: ir.Value | None) -> ir.Node | None:
    return None if value is None else value.producer()


def _only_user(node: ir.Node) -> ir.Node | None:
    users = [user for user, _ in node.outputs[0].uses()]
    return users[0] if len(users) == 1 and len(node.outputs) == 1 else None


def _reorder_rows(graph: ir.Graph, conv: ir.Node, rows: _Order) -> None:
    """Let a convolution give its channels in another order."""
    for number, value in enumerate(conv.inputs[1:], start=1):  # weight, and bias if there is one
        if value is not None and value.const_value is not None:
            name = f"{value.name}_in_order"
            new = _initializer(graph, name, value.const_value.numpy()[rows])
            conv.replace_input_with(number, new)


class _Selector:
    """Makes convolutions that select channels of a shuffle's source, in front of the shuffle."""

    def __init__(self, graph: ir.Graph, shuffle: _Shuffle, name: str) -> None:
        self._graph, self._shuffle, self._name, self._count = graph, shuffle, name, 0

    def select(self, channels: _Order) -> ir.Value:
        """A value with these channels of the source."""
        source, name = self._shuffle.source, f"{self._name}_{self._count}"
        self._count += 1
        dtype = source.dtype if source.dtype is not None else ir.DataType.FLOAT
        weight = np.eye(len(self._shuffle.order), dtype=dtype.numpy())[channels, :, None, None]
        node = ir.node(
            "Conv",
            [source, _initializer(self._graph, f"{name}.weight", weight)],
            attributes={"kernel_shape": [1, 1]},
            name=name,
        )
        node.outputs[0].name, node.outputs[0].dtype = name, dtype
        self._graph.insert_before(self._shuffle.first, node)
        return node.outputs[0]


def _initializer(graph: ir.Graph, name: str, values: NDArray[np.generic]) -> ir.Value:
    tensor = ir.tensor(values, name=name)
    value = ir.Value(
        name=name,
        const_value=tensor,
        shape=ir.Shape(values.shape),
        type=ir.TensorType(tensor.dtype),
    )
    graph.register_initializer(value)
    return value
