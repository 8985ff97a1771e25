"""Products in 8 bits: the constant weights of an OpenVINO model become bytes, and so does what they multiply.

Weights are symmetric with a scale for each output. The other factor is quantised in one of two ways:

- where its ranges were measured, with one scale and one zero point for all of it. The channels differ too much for
  that (one of a thousand may be thirty times as large as the others), so each is divided by its own largest magnitude
  first, and the weights that meet it are multiplied: SmoothQuant (Xiao et al. 2022, arXiv:2211.10438) with all of the
  difference moved to the weights;
- elsewhere when it comes, with a scale for each group of a row's own values. That needs no ranges and takes more time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from nlptasks.runtime.compiled.ranges import Ranges

SMALLEST = 32
"""Outputs below which a product stays in float32: a head's few scores cost nothing."""

LEAST_SPREAD = 0.1
"""No channel is taken for smaller than this share of the largest: texts that were not measured may raise it."""

_SIGNED = range(125, 132)
"""Zero points at which OpenVINO takes the grid for one of signed bytes, whose products take an eighth longer."""


def shrink(model: Any, ranges: Ranges) -> int:
    """Replace the constant factor of every larger product by 8 bits and scales; returns the bytes that these have.

    `ranges` are what `observing` measured, by the names that the layers have in the model that was traced. OpenVINO's
    compiler knows a constant that is converted and scaled, and multiplies it as it is.
    """
    return sum(_shrink(products, ranges) for products in _by_input(model))


def layer_of(product: Any) -> str:
    """The name that a product's layer has in the traced model."""
    path: str = product.get_friendly_name().partition("/")[0]
    return path.removeprefix("__module.")


def _by_input(model: Any) -> list[list[Any]]:
    """The larger products, those that multiply the same input together."""
    by_input: dict[tuple[str, int], list[Any]] = {}
    for product in model.get_ordered_ops():
        weight = weight_of(product)
        if weight is not None and len(weight) >= SMALLEST:
            source = product.input_value(0)
            by_input.setdefault((source.get_node().get_friendly_name(), source.get_index()), []).append(product)
    return list(by_input.values())


def weight_of(product: Any) -> Any:
    """The constant factor of shape (outputs, inputs) of a matrix product; None of any other operation."""
    if product.get_type_name() != "MatMul" or not product.get_attributes()["transpose_b"]:
        return None
    factor = product.input_value(1).get_node()
    if factor.get_type_name() != "Constant" or len(factor.shape) != 2:
        return None
    return factor.data


def _shrink(products: Sequence[Any], ranges: Ranges) -> int:
    import openvino.opset13 as ops

    source = products[0].input_value(0)
    fixed = _fixed(source, [ranges.get(layer_of(product)) for product in products])
    taken = 0
    for product in products:
        weight = weight_of(product)
        if fixed:
            product.input(0).replace_source_output(fixed[0])
            weight = weight * fixed[1]
        whole, scales = _in_bytes(weight)
        scaled = ops.multiply(ops.convert(ops.constant(whole), "f32"), ops.constant(scales))
        product.input(1).replace_source_output(scaled.output(0))
        taken += whole.nbytes + scales.nbytes
    return taken


def _in_bytes(weight: Any) -> tuple[Any, Any]:
    """A weight as whole numbers up to 127, and the scale of each output in float32."""
    import numpy

    scales = numpy.maximum(numpy.abs(weight).max(1, keepdims=True) / 127, 1e-30)
    return numpy.rint(weight / scales).astype(numpy.int8), scales.astype(numpy.float32)


def _fixed(source: Any, ranges: Sequence[Any]) -> tuple[Any, Any] | None:
    """An input with its channels divided and rounded to 256 steps, and what they were divided by; None without ranges.

    An input without a dimension for tokens is left to its own scales, which for one row a text cost nothing.
    """
    import numpy
    import openvino.opset13 as ops

    rank = source.get_partial_shape().rank.get_length()
    if rank < 3 or any(entry is None for entry in ranges):
        return None
    low, high = numpy.minimum.reduce([r[0] for r in ranges]), numpy.maximum.reduce([r[1] for r in ranges])
    largest = numpy.maximum(-low, high)
    if not 0 < largest.max() < numpy.inf:
        return None
    spread = numpy.maximum(largest, LEAST_SPREAD * largest.max())
    divided = ops.multiply(source, ops.constant((1 / spread).reshape((1,) * (rank - 1) + (-1,))))
    lowest, highest = (ops.constant(numpy.float32(end)) for end in grid((low / spread).min(), (high / spread).max()))
    return ops.fake_quantize(divided, lowest, highest, lowest, highest, 256).output(0), spread


def grid(low: float, high: float) -> tuple[float, float]:
    """The ends of 256 even steps over a range, one of them at zero; a little wider than the range where need be."""
    low, high = min(float(low), 0.0), max(float(high), 0.0)

    def step(zero: int) -> float:
        below = -low / zero if zero else low and math.inf
        above = high / (255 - zero) if zero < 255 else high and math.inf
        return max(below, above)

    zero = min((zero for zero in range(256) if zero not in _SIGNED), key=step)
    return -zero * step(zero), (255 - zero) * step(zero)
