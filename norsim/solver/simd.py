"""Vectors of floats that kernels compiled by numba keep in registers.

numba leaves vectorizing to LLVM, which runs a loop of few iterations one number at a time, and stores a sum that an
inner loop goes on adding to. So the sums of table rows are written with these. LLVM maps them to the registers of any
processor.

numba finds compiled kernels by the file of the kernel, so it does not notice a change here: after one, put this file's
digest in the files of kernels that use it, as tests/faults/test_damaged_files.py asks for.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import extending, types
from numba.core import cgutils
from numba.extending import models, register_model

WIDE, NARROW, EIGHT, BYTES = 32, 16, 8, 64
REAL = {32: ir.FloatType(), 64: ir.DoubleType()}

# Of any type, because the functions that it makes have one argument less when they are called in a kernel.
intrinsic: Any = extending.intrinsic

# Allow fused multiply-add, and -0 for 0.
FAST = ("contract", "nsz")


class Vector(types.Type):
    """The type of a vector of `lanes` floats of 32 or 64 `bits`."""

    def __init__(self, lanes: int, bits: int) -> None:
        self.lanes, self.bits = lanes, bits
        super().__init__(f"vector of {lanes} floats of {bits} bits")

    @property
    def value(self) -> ir.VectorType:
        """Its type in LLVM."""
        return ir.VectorType(REAL[self.bits], self.lanes)

    @property
    def bytes(self) -> int:
        """The bytes of an element, to which arrays are aligned."""
        return self.bits // 8


@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    """A vector is kept as it is computed with."""

    def __init__(self, manager: Any, kind: Vector) -> None:
        super().__init__(manager, kind, kind.value)  # type: ignore[no-untyped-call]


def _zero(lanes: int, bits: int = 32) -> Any:
    """Return the function of kernels that makes a vector of zeros."""
    kind = Vector(lanes, bits)

    @intrinsic
    def zero(typing):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            return ir.Constant(kind.value, [0.0] * lanes)

        return kind(), generate

    return zero


wide_zero, narrow_zero, double_zero = _zero(WIDE), _zero(NARROW), _zero(EIGHT, 64)


def _at(context: Any, builder: Any, array_type: Any, array: Any, index: Any, kind: ir.Type) -> Any:
    """Return a pointer to the vector that starts at an index of a contiguous array `[n]`."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), kind.as_pointer())


def _spread(builder: Any, number: Any, kind: ir.VectorType) -> Any:
    """Return a vector of a kind, each element of which is a number."""
    nothing, zero = ir.Constant(kind, ir.Undefined), ir.Constant(ir.IntType(32), 0)
    one = builder.insert_element(nothing, number, zero)
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), kind.count), [0] * kind.count)
    return builder.shuffle_vector(one, nothing, zeros)


@intrinsic
def add_product(typing, total, factor, array, index):  # type: ignore[no-untyped-def]
    """Return total + factor x array[index : index + lanes], for a contiguous float32 array `[n]` and a 64-bit index."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        before, number, values, place = arguments
        row = builder.load(_at(context, builder, array, values, place, total.value), align=4)
        product = builder.fmul(_spread(builder, number, total.value), row, flags=FAST)
        return builder.fadd(before, product, flags=FAST)

    return total(total, types.float32, array, index), generate


def _binary(name: str) -> Any:
    """Return the function of kernels that applies an instruction of LLVM to two vectors of a kind."""

    @intrinsic
    def apply(typing, one, other):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            return getattr(builder, name)(*arguments, flags=FAST)

        return one(one, other), generate

    return apply


add, subtract, multiply, divide = (_binary(name) for name in ("fadd", "fsub", "fmul", "fdiv"))


@intrinsic
def spread(typing, like, number):  # type: ignore[no-untyped-def]
    """Return a vector of the kind of `like`, each element of which is a number."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return _spread(builder, arguments[1], like.value)

    return like(like, types.float32 if like.bits == 32 else types.float64), generate


@intrinsic
def spread_at(typing, like, array, index):  # type: ignore[no-untyped-def]
    """Return a vector of the kind of `like`, each element of which is array[index], counted in a contiguous array."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        _, values, place = arguments
        number = builder.load(_at(context, builder, array, values, place, REAL[like.bits]), align=like.bytes)
        return _spread(builder, number, like.value)

    return like(like, array, index), generate


@intrinsic
def load(typing, like, array, index):  # type: ignore[no-untyped-def]
    """Return array[index : index + lanes] as a vector of the kind of `like`, which can be wider than the array's."""
    kept = Vector(like.lanes, array.dtype.bitwidth)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        _, values, place = arguments
        vector = builder.load(_at(context, builder, array, values, place, kept.value), align=kept.bytes)
        return vector if kept.bits == like.bits else builder.fpext(vector, like.value)

    return like(like, array, index), generate


@intrinsic
def store(typing, vector, array, index):  # type: ignore[no-untyped-def]
    """Set array[index : index + lanes] to a vector."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        value, values, place = arguments
        builder.store(value, _at(context, builder, array, values, place, vector.value), align=vector.bytes)
        return context.get_dummy_value()

    return types.none(vector, array, index), generate


@intrinsic
def magnitude(typing, vector):  # type: ignore[no-untyped-def]
    """Return the magnitudes of a vector's elements."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        whole = ir.VectorType(ir.IntType(vector.bits), vector.lanes)
        without_sign = ir.Constant(whole, [2 ** (vector.bits - 1) - 1] * vector.lanes)
        bits = builder.and_(builder.bitcast(arguments[0], whole), without_sign)
        return builder.bitcast(bits, vector.value)

    return vector(vector), generate


@intrinsic
def total(typing, vector):  # type: ignore[no-untyped-def]
    """Return the sum of a vector's elements, added in any order."""
    number = types.float32 if vector.bits == 32 else types.float64

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        real = REAL[vector.bits]
        name = f"llvm.vector.reduce.fadd.v{vector.lanes}f{vector.bits}"
        kind = ir.FunctionType(real, [real, vector.value])
        reduce = cgutils.get_or_insert_function(builder.module, kind, name)  # type: ignore[no-untyped-call]
        return builder.call(reduce, [ir.Constant(real, -0.0), arguments[0]], fastmath=("reassoc",))

    return number(vector), generate


def _either(comparison: str) -> Any:
    """Return the function of kernels that takes, element by element, that of two vectors that compares so."""

    @intrinsic
    def either(typing, one, other):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            return builder.select(builder.fcmp_ordered(comparison, *arguments), *arguments)

        return one(one, other), generate

    return either


lower, higher = _either("<"), _either(">")


@intrinsic
def some(typing, vector):  # type: ignore[no-untyped-def]
    """Return whether any element is not 0."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        found = builder.fcmp_ordered("!=", arguments[0], ir.Constant(vector.value, [0.0] * vector.lanes))
        bits = ir.IntType(vector.lanes)
        return builder.icmp_unsigned("!=", builder.bitcast(found, bits), ir.Constant(bits, 0))

    return types.boolean(vector), generate


@intrinsic
def inside(typing, vector, low, high):  # type: ignore[no-untyped-def]
    """Return 1 where low <= element < high, and 0 elsewhere."""
    number = types.float32 if vector.bits == 32 else types.float64

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        value, *ends = arguments
        bottom, top = (_spread(builder, end, vector.value) for end in ends)
        found = builder.and_(builder.fcmp_ordered(">=", value, bottom), builder.fcmp_ordered("<", value, top))
        return builder.uitofp(found, vector.value)

    return vector(vector, number, number), generate


@intrinsic
def store_sums(typing, array, index, table, place, base):  # type: ignore[no-untyped-def]
    """Set array[index : index + 8] to table[place : place + 8] + base; all uint32, indices of 64 bits."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        values, to, entries, at, number = arguments
        kind = ir.VectorType(ir.IntType(32), EIGHT)
        some = builder.load(_at(context, builder, table, entries, at, kind), align=4)
        found = builder.add(some, _spread(builder, number, kind))
        builder.store(found, _at(context, builder, array, values, to, kind), align=4)
        return context.get_dummy_value()

    return types.none(array, index, table, place, types.uint32), generate


@intrinsic
def bits_of(typing, codes, index, bit):  # type: ignore[no-untyped-def]
    """Return as an unsigned integer which of codes[index : index + 64], uint8, have the `bit`, uint8, set: code k in
    bit k."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        values, place, number = arguments
        kind = ir.VectorType(ir.IntType(8), BYTES)
        masks = _spread(builder, builder.shl(ir.Constant(ir.IntType(8), 1), number), kind)
        found = builder.and_(builder.load(_at(context, builder, codes, values, place, kind), align=1), masks)
        up = builder.icmp_unsigned("!=", found, ir.Constant(kind, [0] * BYTES))
        return builder.bitcast(up, ir.IntType(64))

    return types.uint64(codes, index, types.uint8), generate
