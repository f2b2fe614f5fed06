"""Octets copied from one array to another in kernels: one bounds check, and the machine's own way to copy."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Octets = NDArray[np.uint8]


def copy_octets(out: Octets, to: int, source: Octets, begin: int, count: int) -> None:
    """Copy `count` octets of `source` from `begin` on to `out` at `to`; the arrays do not overlap."""
    if count < 0 or begin < 0 or to < 0 or begin + count > source.shape[0] or to + count > out.shape[0]:
        raise IndexError("copy outside an array")
    out[to : to + count] = source[begin : begin + count]


@cache
def teach_compiler() -> None:
    """Tell numba, once, what the copy is in machine code; to be called before a kernel with it is compiled."""
    from llvmlite import ir
    from numba.core import cgutils, types
    from numba.extending import intrinsic, overload

    def copying(typing_context: Any, out: Any, to: Any, source: Any, begin: Any, count: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            into = context.make_array(signature.args[0])(context, builder, arguments[0]).data
            taken = context.make_array(signature.args[2])(context, builder, arguments[2]).data
            cgutils.raw_memcpy(  # type: ignore[no-untyped-call]
                builder,
                builder.gep(into, [arguments[1]]),
                builder.gep(taken, [arguments[3]]),
                arguments[4],
                ir.Constant(ir.IntType(64), 1),
            )
            return context.get_dummy_value()

        return types.none(out, types.int64, source, types.int64, types.int64), generate

    copy: Any = intrinsic(copying)
    options: Any = {"forceinline": True, "_nrt": False}

    @overload(copy_octets, jit_options=options)
    def compiled(out: Any, to: Any, source: Any, begin: Any, count: Any) -> Any:
        def implementation(out: Any, to: Any, source: Any, begin: Any, count: Any) -> Any:
            if count < 0 or begin < 0 or to < 0 or begin + count > source.shape[0] or to + count > out.shape[0]:
                raise IndexError("copy outside an array")
            copy(out, to, source, begin, count)

        return implementation
