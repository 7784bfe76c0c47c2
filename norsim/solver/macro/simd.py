"""Vectors of floats that kernels compiled by numba keep in registers.

numba leaves vectorizing to LLVM, which runs a loop of few iterations one number at a time, and stores a sum that an
inner loop goes on adding to. So the sums of table rows are written with these. LLVM maps them to the registers of any
processor.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, register_model

WIDE, NARROW, BYTES = 32, 16, 64

# Allow fused multiply-add, and -0 for 0.
FAST = ("contract", "nsz")


class Vector(types.Type):  # type: ignore[misc]
    """The type of a vector of `lanes` floats of 32 bits."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        super().__init__(f"vector of {lanes} floats")

    @property
    def value(self) -> ir.VectorType:
        """Its type in LLVM."""
        return ir.VectorType(ir.FloatType(), self.lanes)


@register_model(Vector)
class VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    """A vector is kept as it is computed with."""

    def __init__(self, manager: Any, kind: Vector) -> None:
        super().__init__(manager, kind, kind.value)


def _zero(lanes: int) -> Any:
    """Return the function of kernels that makes a vector of zeros."""
    kind = Vector(lanes)

    @intrinsic  # type: ignore[untyped-decorator]
    def zero(typing):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            return ir.Constant(kind.value, [0.0] * lanes)

        return kind(), generate

    return zero


wide_zero, narrow_zero = _zero(WIDE), _zero(NARROW)


def _at(context, builder, array_type, array, index, kind):  # type: ignore[no-untyped-def]
    """Return a pointer to the vector that starts at an index of a contiguous array `[n]`."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), kind.as_pointer())


@intrinsic  # type: ignore[untyped-decorator]
def add_product(typing, total, factor, array, index):  # type: ignore[no-untyped-def]
    """Return total + factor x array[index : index + lanes], for a contiguous float32 array `[n]` and a 64-bit index."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        before, number, values, place = arguments
        nothing = ir.Constant(total.value, ir.Undefined)
        one = builder.insert_element(nothing, number, ir.Constant(ir.IntType(32), 0))
        first = ir.Constant(ir.VectorType(ir.IntType(32), total.lanes), [0] * total.lanes)
        row = builder.load(_at(context, builder, array, values, place, total.value), align=4)
        product = builder.fmul(builder.shuffle_vector(one, nothing, first), row, flags=FAST)
        return builder.fadd(before, product, flags=FAST)

    return total(total, types.float32, array, index), generate


@intrinsic  # type: ignore[untyped-decorator]
def add(typing, one, other):  # type: ignore[no-untyped-def]
    """Return the sum of two vectors."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.fadd(*arguments, flags=FAST)

    return one(one, other), generate


@intrinsic  # type: ignore[untyped-decorator]
def store(typing, vector, array, index):  # type: ignore[no-untyped-def]
    """Set array[index : index + lanes] to a vector."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        value, values, place = arguments
        builder.store(value, _at(context, builder, array, values, place, vector.value), align=4)
        return context.get_dummy_value()

    return types.none(vector, array, index), generate


@intrinsic  # type: ignore[untyped-decorator]
def bits_of(typing, codes, index, bit):  # type: ignore[no-untyped-def]
    """Return as an unsigned integer which of codes[index : index + 64], uint8, have the `bit`, uint8, set: code k in
    bit k."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        values, place, number = arguments
        kind = ir.VectorType(ir.IntType(8), BYTES)
        nothing = ir.Constant(kind, ir.Undefined)
        mask = builder.shl(ir.Constant(ir.IntType(8), 1), number)
        one = builder.insert_element(nothing, mask, ir.Constant(ir.IntType(32), 0))
        masks = builder.shuffle_vector(one, nothing, ir.Constant(ir.VectorType(ir.IntType(32), BYTES), [0] * BYTES))
        found = builder.and_(builder.load(_at(context, builder, codes, values, place, kind), align=1), masks)
        up = builder.icmp_unsigned("!=", found, ir.Constant(kind, [0] * BYTES))
        return builder.bitcast(up, ir.IntType(64))

    return types.uint64(codes, index, types.uint8), generate
