"""A layer normalisation's scale and shift, moved into what reads them: one pass over the numbers less.

OpenVINO computes (x - mean) / deviation in one pass and `* scale + shift` in another. What reads the result makes a
pass of its own, which can multiply by the scale as well: a linear layer's rounding to bytes, and the sum around a
block. The shift goes into the linear layer's bias, and into that of the other number in the sum. The answers are the
same but for rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from nlptasks.runtime.compiled.quantization import layer_of, weight_of
from nlptasks.runtime.compiled.ranges import Ranges


class _Biased(NamedTuple):
    """A constant operand of an addition: the place where it enters, and its values."""

    place: Any
    values: Any


def fold_norms(model: Any, ranges: Ranges) -> Ranges:
    """Move scales and shifts where all that reads them can take them; returns the ranges of what is read then."""
    folded = dict(ranges)
    for norm in model.get_ordered_ops():
        scaled = _sole_reader(norm, "Multiply") if norm.get_type_name() == "MVN" else None
        shifted = _sole_reader(scaled, "Add") if scaled else None
        if scaled and shifted:
            _fold(norm, scaled, shifted, folded)
    return folded


def _fold(norm: Any, scaled: Any, shifted: Any, ranges: Ranges) -> None:
    import numpy
    import openvino.opset13 as ops

    scale, shift = _constant(scaled), _constant(shifted)
    readers = list(shifted.output(0).get_target_inputs())
    products = [node for place in readers if weight_of(node := place.get_node()) is not None]
    sums = [place for place in readers if place.get_node().get_type_name() == "Add"]
    sizes = [place for place in readers if place.get_node().get_type_name() == "ShapeOf"]
    biases = [bias for product in products if (bias := _bias(_sole_reader(product, "Add")))]
    others = [bias for place in sums if (bias := _bias(place.get_node().input_value(1 - place.get_index()).get_node()))]
    # All readers or none: one that is left would need the pass that is to be spared.
    if not (scale and shift and products) or len(biases) + len(others) + len(sizes) < len(readers) or len(sums) > 1:
        return
    # With the scale itself OpenVINO would see one multiplication for both, and make a pass of it.
    plus, share = shift.values.reshape(-1), numpy.abs(scale.values).max()
    factor = ops.multiply(norm, ops.constant(scale.values / share))
    for product, bias in zip(products, biases, strict=True):
        weight = weight_of(product)
        _replace(product.input(1), weight * share)
        _add(bias, weight @ plus)
        product.input(0).replace_source_output(factor.output(0))
        if (name := layer_of(product)) in ranges:
            ranges[name] = (ranges[name] - plus) / share
    for place in sizes:
        place.replace_source_output(norm.output(0))
    for place, bias in zip(sums, others, strict=True):
        _add(bias, plus)
        place.replace_source_output(scaled.output(0))


def _sole_reader(node: Any, kind: str) -> Any:
    """The only operation that reads a node, if it is of that kind."""
    readers = list(node.output(0).get_target_inputs())
    return readers[0].get_node() if len(readers) == 1 and readers[0].get_node().get_type_name() == kind else None


def _constant(node: Any) -> _Biased | None:
    """A node's constant operand, of one value a channel."""
    for place in node.inputs():
        source = place.get_source_output().get_node()
        if source.get_type_name() == "Constant" and source.data.shape[-1:] == (source.data.size,):
            return _Biased(place, source.data)
    return None


def _bias(node: Any) -> _Biased | None:
    """The bias that a node adds to a product that nothing else reads."""
    if node is None or node.get_type_name() != "Add" or len(node.output(0).get_target_inputs()) > 1:
        return None
    return _constant(node)


def _add(bias: _Biased, values: Sequence[float]) -> None:
    _replace(bias.place, bias.values + values)


def _replace(place: Any, values: Any) -> None:
    import numpy
    import openvino.opset13 as ops

    place.replace_source_output(ops.constant(values.astype(numpy.float32)).output(0))
