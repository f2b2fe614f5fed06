"""The one place where kernels become machine code: every kernel takes its decorator from here.

Kernels are plain Python, and `NUMBA_DISABLE_JIT=1` runs them as such; that is how the tests compare them with their
references. Otherwise numba compiles a kernel when it is first called, the object code is kept in the user's cache
folder, and later processes load it with llvmlite alone: importing numba and reviving its own cache took two thirds
of a second of every start, loading an object takes a few milliseconds.

Bounds checks stay on because packets are hostile input. Kernels work on the arrays they are given and allocate
nothing, so numba's reference counting is off: it cost ten times the work itself (two locked instructions for every
array and call). Kernels take C-contiguous arrays, named tuples of them and 64-bit integers, and return nothing or one
integer.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType
from typing import Any, TypeVar, cast

import numpy as np

Kernel = TypeVar("Kernel", bound=Callable[..., object])

COMPILED_PARTS = ("columns.py", "table.py", "loads.py", "accelerate.py")
"""Names of files whose text, with that of the kernels, decides what the machine code is."""
TUPLES_KEPT = 4
"""Tuples of arrays whose words a kernel keeps."""
IS_PLAIN = os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")

KERNEL_OPTIONS = {
    "boundscheck": True,
    "nogil": True,
    "_nrt": False,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}
PART_OPTIONS = {**KERNEL_OPTIONS, "forceinline": True}
"""How a function inside a kernel is compiled: in place of its calls, which doubles the speed of the whole."""


@cache
def _digest() -> str:
    """What tells the object code of these sources, compilers and this processor from any other."""
    digest = hashlib.sha256(_version_of("numba") + _version_of("llvmlite"))
    here = Path(__file__).parent
    sources = (path for path in here.rglob("*.py") if path.name in COMPILED_PARTS or path.match("*_numba_fns.py"))
    for source in sorted(sources):
        digest.update(source.read_bytes())
    digest.update(_processor())
    return digest.hexdigest()[:16]


def _version_of(package: str) -> bytes:
    """What tells a release of a package from others, in its own words: asking the package index takes 10 ms."""
    found = find_spec(package)
    if found is None or found.origin is None:
        return b""
    with suppress(OSError):
        return Path(found.origin).with_name("_version.py").read_bytes()
    return b""


def kernel_cache() -> Path:
    """Where the object code of exactly these sources, compilers and processor lies."""
    home = os.environ.get("CALLGAUGE_CACHE") or os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    return Path(home, "callgauge", "kernels", _digest())


def _processor() -> bytes:
    """What the processor can do: object code is made for it alone.

    A processor that numba is told to compile for (`NUMBA_CPU_NAME`, e.g. `x86-64-v2`) stands for this one: so an image
    holds object code for every machine that can do as much.
    """
    named = os.environ.get("NUMBA_CPU_NAME")
    if named:
        return f"{named} {os.uname().machine} {os.environ.get('NUMBA_CPU_FEATURES', '')}".encode()
    try:
        with Path("/proc/cpuinfo").open("rb") as lines:
            return b"".join(line for line in _first(lines) if line.startswith((b"flags", b"model name", b"Features")))
    except OSError:
        return b""


def _first(lines: Any) -> list[bytes]:
    """The lines about the first processor."""
    found = []
    for line in lines:
        if not line.strip():
            break
        found.append(line)
    return found


def is_compiled() -> bool:
    """Whether an earlier process left the main kernel behind, so that this one need not compile."""
    return IS_PLAIN or Path(kernel_cache(), "walk.o").exists()


class KernelError(RuntimeError):
    """A kernel left its arrays or failed otherwise: a defect of the kernel, never of the input alone."""


class CompiledKernel:
    """A kernel that compiles, or loads what an earlier process compiled, when it is first called."""

    def __init__(self, function: FunctionType) -> None:
        self.function = function
        """The plain Python."""
        self.__name__ = function.__name__
        self.__doc__ = function.__doc__
        self._call: Callable[[int], int] | None = None
        self._engine: Any = None
        self._known: list[object] = []
        self._laid_out: dict[int, tuple[object, tuple[int, ...]]] = {}
        self._places: list[int] = []
        self._words = np.zeros(0, np.int64)
        self._address = 0
        self._result = np.zeros(2, np.int64)

    def __call__(self, *arguments: Any) -> int:
        """Run the kernel. Not for several threads at a time."""
        if self._call is None:
            self._prepare(arguments)
        known, words = self._known, self._words
        for k, argument in enumerate(arguments):
            if known[k] is not argument:
                known[k] = argument
                at = self._places[k]
                if isinstance(argument, int):
                    words[at] = argument
                    continue
                parts = self._laid(argument) if isinstance(argument, tuple) else _parts(argument)
                words[at : at + len(parts)] = parts
        assert self._call is not None
        status = self._call(self._address)
        if status not in (0, -2):  # numba's codes for a return with and without a value
            raise KernelError(f"kernel {self.__name__} left its bounds (code {status})")
        return int(self._result[0])

    def forget(self) -> None:
        """Let go of the arrays of the last call."""
        self._known = [None] * len(self._known)
        self._laid_out.clear()

    def _laid(self, argument: tuple[Any, ...]) -> tuple[int, ...]:
        """The words of a tuple; those of a few are kept, for the same take turns."""
        kept = self._laid_out.get(id(argument))
        if kept is None:
            if len(self._laid_out) >= TUPLES_KEPT:
                self._laid_out.clear()
            kept = self._laid_out[id(argument)] = argument, _parts(argument)
        return kept[1]

    def _prepare(self, arguments: tuple[Any, ...]) -> None:
        """Load the machine code and lay out the words that it takes."""
        at = 2  # numba returns through two pointers: to the value, and to what describes an error
        for argument in arguments:
            self._places.append(at)
            at += len(_parts(argument))
        self._known = [None] * len(arguments)
        self._words = np.zeros(at, np.int64)
        self._words[:2] = self._result.ctypes.data, self._result.ctypes.data + 8
        self._address = self._words.ctypes.data
        self._engine = _engine(self._objects(arguments, at))
        self._call = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p)(self._engine.get_function_address("gate"))

    def _objects(self, arguments: tuple[Any, ...], words: int) -> tuple[bytes, bytes]:
        path = kernel_cache() / f"{self.__name__}.o"
        kept = _kept(path)
        if kept is None:
            with _alone(path):
                kept = _kept(path)  # by another process, while this one waited
                if kept is None:
                    data, symbol = _compile(self.function, arguments)
                    kept = data, _assembled(_gate(symbol, words))
                    _keep(path, *kept)
        return kept


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process at a time compiles a kernel; where no lock can be had, each does."""
    with ExitStack() as stack:
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context(path.with_suffix(".lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def forget_arrays(*kernels: object) -> None:
    """Let kernels that are not called again let go of arrays whose memory is wanted."""
    for kernel in kernels:
        if isinstance(kernel, CompiledKernel):
            kernel.forget()


def _gate(symbol: str, words: int) -> str:
    """LLVM code of a function that takes all words of a call from one array: Python passes one pointer, not 150."""
    loads = "\n".join(
        f"  %p{k} = getelementptr i64, ptr %words, i64 {k}\n  %w{k} = load i64, ptr %p{k}" for k in range(words)
    )
    types = ", ".join(["i64"] * words)
    values = ", ".join(f"i64 %w{k}" for k in range(words))
    return f"""declare i32 @"{symbol}"({types})
define i32 @gate(ptr %words) {{
{loads}
  %status = call i32 @"{symbol}"({values})
  ret i32 %status
}}
"""


def _parts(argument: Any) -> tuple[int, ...]:
    """An argument as numba's calling convention flattens it, in machine words."""
    if isinstance(argument, tuple):
        return tuple(word for each in argument for word in _parts(each))
    if isinstance(argument, np.ndarray):
        if not argument.flags.c_contiguous:
            raise ValueError("kernels take contiguous arrays")
        return (0, 0, argument.size, argument.itemsize, argument.ctypes.data, *argument.shape, *argument.strides)
    return (int(argument),)


def _machine() -> Any:
    """The processor as LLVM knows it."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple().create_target_machine(jit=True)


def _assembled(code: str) -> bytes:
    """Object code of LLVM code."""
    import llvmlite.binding as llvm

    machine = _machine()
    return bytes(machine.emit_object(llvm.parse_assembly(code)))


def _engine(objects: Iterable[bytes]) -> Any:
    """Load objects that need one another; their machine code lives as long as the engine."""
    import llvmlite.binding as llvm

    machine = _machine()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    for data in objects:
        engine.add_object_file(llvm.ObjectFileRef.from_data(data))
    engine.finalize_object()
    return engine


def _compile(function: FunctionType, arguments: tuple[Any, ...]) -> tuple[bytes, str]:
    """Object code of a kernel for arguments like these, and the name of its function in it."""
    import numba

    from collector.loads import teach_compiler

    teach_compiler()
    signature = tuple(_type(argument) for argument in arguments)
    njit: Any = numba.njit
    dispatcher = njit(**KERNEL_OPTIONS)(_with_compiled_parts(function, {}))
    dispatcher.compile(signature)
    compiled = dispatcher.overloads[signature]
    library = compiled.library
    return bytes(library.codegen._tm.emit_object(library._final_module)), str(compiled.fndesc.llvm_func_name)


def _type(argument: Any) -> Any:
    """The numba type of an argument; read-only arrays count as any others."""
    from numba import from_dtype, types

    if isinstance(argument, tuple):
        named: Any = types.NamedTuple
        return named([_type(each) for each in argument], type(argument))
    if isinstance(argument, np.ndarray):
        return types.Array(from_dtype(argument.dtype), argument.ndim, "C")
    return types.int64


def _with_compiled_parts(function: FunctionType, made: dict[FunctionType, Any]) -> FunctionType:
    """The function with the kernel parts among its globals replaced by what numba can inline."""
    import numba

    njit: Any = numba.njit
    scope = dict(function.__globals__)
    for name in function.__code__.co_names:
        part = scope.get(name)
        if isinstance(part, CompiledKernel):
            part = part.function
        if isinstance(part, FunctionType) and getattr(part, "is_kernel_part", False):
            if part not in made:
                made[part] = njit(**PART_OPTIONS)(_with_compiled_parts(part, made))
            scope[name] = made[part]
    return FunctionType(function.__code__, scope, function.__name__, function.__defaults__)


def _kept(path: Path) -> tuple[bytes, bytes] | None:
    """Objects of a kernel and of its gate that an earlier process kept; None where they are absent or damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, size, objects = content[:32], int.from_bytes(content[32:40], "little"), content[40:]
    if hashlib.sha256(content[32:]).digest() != digest:
        return None
    return objects[:size], objects[size:]


def _keep(path: Path, data: bytes, gate: bytes) -> None:
    """Write a file whole or not at all; a folder that cannot be written costs the next process a compilation."""
    content = len(data).to_bytes(8, "little") + data + gate
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(hashlib.sha256(content).digest() + content)
        Path(file.name).replace(path)
    except OSError:
        return


def njit(function: Kernel) -> Kernel:
    """A kernel that Python calls."""
    if IS_PLAIN:
        # Hashes wrap as machine integers do, which numpy would remark on.
        return np.errstate(over="ignore")(function)
    _digest()  # of the sources as they are imported: an upgrade while this runs must not get old code under its name
    function.is_kernel_part = True  # type: ignore[attr-defined]
    return cast(Kernel, CompiledKernel(cast(FunctionType, function)))


def njit_inline(function: Kernel) -> Kernel:
    """A part of kernels, compiled into each that calls it; Python may call it as it is."""
    function.is_kernel_part = True  # type: ignore[attr-defined]
    return function
