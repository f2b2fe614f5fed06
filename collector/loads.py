"""Multi-octet loads for kernels: one bounds check and one machine load where octet-wise code needs several of each.

Python runs the plain functions; the compiler is given the same as LLVM loads. A load outside the window raises
IndexError in both.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Octets = NDArray[np.uint8]
Integers = NDArray[np.int64]


def be16(window: Octets, at: int) -> int:
    """Two octets, most significant first."""
    if at < 0 or at + 2 > window.shape[0]:
        raise IndexError("load outside the window")
    return (int(window[at]) << 8) | int(window[at + 1])


def be32(window: Octets, at: int) -> int:
    """Four octets, most significant first."""
    if at < 0 or at + 4 > window.shape[0]:
        raise IndexError("load outside the window")
    return int.from_bytes(window[at : at + 4].tobytes(), "big")


def be64(window: Octets, at: int) -> int:
    """Eight octets, most significant first, as a signed word: addresses are compared, never ordered."""
    if at < 0 or at + 8 > window.shape[0]:
        raise IndexError("load outside the window")
    return int.from_bytes(window[at : at + 8].tobytes(), "big", signed=True)


def le32(window: Octets, at: int) -> int:
    """Four octets, least significant first."""
    if at < 0 or at + 4 > window.shape[0]:
        raise IndexError("load outside the window")
    return int.from_bytes(window[at : at + 4].tobytes(), "little")


def float_bits(value: float) -> int:
    """The word of a float64: sign, exponent, fraction (IEEE 754-2019 3.4)."""
    return int(np.float64(value).view(np.int64))


def le64(window: Octets, at: int) -> int:
    """Eight octets, least significant first, as a signed word."""
    if at < 0 or at + 8 > window.shape[0]:
        raise IndexError("load outside the window")
    return np.int64(int.from_bytes(window[at : at + 8].tobytes(), "little", signed=True))  # type: ignore[return-value]


def trailing_zeros(word: int) -> int:
    """Number of the lowest bit that is set; 64 where none is."""
    return (int(word) & -int(word)).bit_length() - 1 if word else 64


def inside_be16(window: Octets, at: int) -> int:
    """`be16` where the caller has checked that it lies within the window: machine code does not check again."""
    return be16(window, at)


def inside_be32(window: Octets, at: int) -> int:
    """`be32`, as above."""
    return be32(window, at)


def inside_le32(window: Octets, at: int) -> int:
    """`le32`, as above."""
    return le32(window, at)


def word(array: Integers, row: int, column: int) -> int:
    """A word of a table where the caller has checked row and column: machine code does not check again."""
    return array[row, column]  # type: ignore[no-any-return]


def put(array: Integers, row: int, column: int, value: int) -> None:
    """Write such a word."""
    array[row, column] = value


def prefetch(array: NDArray[Any], place: int) -> None:
    """Ask for the memory at a place of an array, counted through all its dimensions; it need not lie in the array."""


@cache
def teach_compiler() -> None:
    """Tell numba, once, what the loads above are in machine code; called before a kernel is compiled."""
    _overload(be16, 16, swap=True)
    _overload(be32, 32, swap=True)
    _overload(be64, 64, swap=True)
    _overload(le32, 32, swap=False)
    _overload(le64, 64, swap=False)
    _overload_inside(inside_be16, 16, swap=True)
    _overload_inside(inside_be32, 32, swap=True)
    _overload_inside(inside_le32, 32, swap=False)
    _overload_words()
    _overload_bits()
    _overload_zeros()
    _overload_prefetch()


def _load(width: int, swap: bool) -> Any:
    """An intrinsic that loads `width` bits at an offset the caller has checked."""
    from llvmlite import ir
    from numba.core import cgutils, types
    from numba.extending import intrinsic

    @intrinsic
    def load(typing_context: Any, window: Any, at: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            array = context.make_array(signature.args[0])(context, builder, arguments[0])
            word = ir.IntType(width)
            address = builder.bitcast(builder.gep(array.data, [arguments[1]]), word.as_pointer())
            value = builder.load(address, align=1)
            if swap:
                value = builder.bswap(value)
            return builder.zext(value, cgutils.intp_t) if width < 64 else value

        return types.int64(window, types.int64), generate

    return load


def _overload(plain: Any, width: int, swap: bool) -> None:
    from numba.extending import overload

    load = _load(width, swap)
    octets = width // 8

    options: Any = {"forceinline": True, "_nrt": False}

    @overload(plain, jit_options=options)
    def checked(window: Any, at: Any) -> Any:
        def implementation(window: Any, at: Any) -> Any:
            if at < 0 or at + octets > window.shape[0]:
                raise IndexError("load outside the window")
            return load(window, at)

        return implementation


def _overload_inside(plain: Any, width: int, swap: bool) -> None:
    from numba.extending import overload

    load = _load(width, swap)
    options: Any = {"forceinline": True, "_nrt": False}

    @overload(plain, jit_options=options)
    def unchecked(window: Any, at: Any) -> Any:
        def implementation(window: Any, at: Any) -> Any:
            return load(window, at)

        return implementation


def _overload_words() -> None:
    from numba.core import types
    from numba.extending import intrinsic, overload

    def address(context: Any, builder: Any, kind: Any, array: Any, row: Any, column: Any) -> Any:
        struct = context.make_array(kind)(context, builder, array)
        width = builder.extract_value(struct.shape, 1)
        return builder.gep(struct.data, [builder.add(builder.mul(row, width), column)])

    def reading(typing_context: Any, array: Any, row: Any, column: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.load(address(context, builder, signature.args[0], *arguments))

        return types.int64(array, types.int64, types.int64), generate

    def writing(typing_context: Any, array: Any, row: Any, column: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            builder.store(arguments[3], address(context, builder, signature.args[0], *arguments[:3]))
            return context.get_dummy_value()

        return types.none(array, types.int64, types.int64, types.int64), generate

    read: Any = intrinsic(reading)
    write: Any = intrinsic(writing)
    options: Any = {"forceinline": True, "_nrt": False}

    @overload(word, jit_options=options)
    def read_word(array: Any, row: Any, column: Any) -> Any:
        def implementation(array: Any, row: Any, column: Any) -> Any:
            return read(array, row, column)

        return implementation

    @overload(put, jit_options=options)
    def write_word(array: Any, row: Any, column: Any, value: Any) -> Any:
        def implementation(array: Any, row: Any, column: Any, value: Any) -> Any:
            write(array, row, column, value)

        return implementation


def _overload_prefetch() -> None:
    from llvmlite import ir
    from numba.core import types
    from numba.extending import intrinsic, overload

    def ask(typing_context: Any, array: Any, place: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
            flag = ir.IntType(32)
            pointer = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
            kind = ir.FunctionType(ir.VoidType(), [pointer.type, flag, flag, flag])
            # For reading, to be kept in all caches, of data.
            function = builder.module.declare_intrinsic("llvm.prefetch", [pointer.type], kind)
            builder.call(function, [pointer, flag(0), flag(3), flag(1)])
            return context.get_dummy_value()

        return types.none(array, types.int64), generate

    asked: Any = intrinsic(ask)
    options: Any = {"forceinline": True, "_nrt": False}

    @overload(prefetch, jit_options=options)
    def compiled(array: Any, place: Any) -> Any:
        def implementation(array: Any, place: Any) -> Any:
            asked(array, place)

        return implementation


def _overload_bits() -> None:
    from llvmlite import ir
    from numba.core import types
    from numba.extending import intrinsic, overload

    options: Any = {"forceinline": True, "_nrt": False}

    def as_word(typing_context: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.bitcast(arguments[0], ir.IntType(64))

        return types.int64(types.float64), generate

    bits: Any = intrinsic(as_word)

    @overload(float_bits, jit_options=options)
    def compiled(value: Any) -> Any:
        def implementation(value: Any) -> Any:
            return bits(value)

        return implementation


def _overload_zeros() -> None:
    from llvmlite import ir
    from numba.core import types
    from numba.extending import intrinsic, overload

    def count(typing_context: Any, word: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

        return types.int64(types.int64), generate

    zeros: Any = intrinsic(count)
    options: Any = {"forceinline": True, "_nrt": False}

    @overload(trailing_zeros, jit_options=options)
    def counted(word: Any) -> Any:
        def implementation(word: Any) -> Any:
            return zeros(word)

        return implementation
