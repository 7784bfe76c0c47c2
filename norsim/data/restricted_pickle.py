"""Safe reading of a pickled dict of numbers, text and integer arrays: no code named by the file runs.

A pickle is a program: it may name any importable object and call it. Here each permitted name maps to a
stand-in class of this module that only stores the numbers of an array, and any other name is an error.
NumPy is called only after these numbers have been checked.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from norsim.errors import DataError

IntegerArray = npt.NDArray[np.integer[Any]]

_INTEGER_CODE = re.compile(r"[iu][1248]")
# Opcodes that store an object in a numbered place.
MEMO = ("PUT", "BINPUT", "LONG_BINPUT")
_BYTE_ORDERS = ("<", ">", "|", "=")


def load_dict(path: Path) -> dict[str, object]:
    """Read the dict pickled in `path`, with its keys as text and its integer arrays as NumPy arrays.

    Supports pickles of Python 2 and 3, protocols 0 to 5. Python 2 strings become bytes, except for keys. Raises
    DataError if the file cannot be read, is not a pickled dict, or names anything that integer arrays do not
    need; nothing that it names is imported or called.
    """
    content = _load(path)
    if not isinstance(content, dict):
        raise DataError(
            f"{path}: the pickle holds a {type(content).__name__}, expected a dict with the keys data and "
            "labels, so unpack the CIFAR-10 archive again."
        )
    return {_text(key): _plain(value) for key, value in content.items()}


def _load(path: Path) -> object:
    try:
        content = path.read_bytes()
        _check_memo(content)
        return _RestrictedUnpickler(path, content).load()
    except DataError:
        raise
    # A damaged pickle may raise any exception; Python documents no list of them.
    except Exception as cause:
        raise DataError(
            f"{path}: this is not a readable pickle ({type(cause).__name__}: {cause}), expected a batch of "
            "cifar-10-batches-py, so unpack the CIFAR-10 archive again."
        ) from cause


def _check_memo(content: bytes) -> None:
    """Raise ValueError for a place in the memo beyond the size of the file: Python makes a list of that length."""
    for opcode, place, _ in pickletools.genops(content):
        if opcode.name in MEMO and isinstance(place, int) and place > len(content):
            raise ValueError(f"place {place} in the memo of a file of {len(content)} bytes")


def _text(value: object) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


def _plain(value: object) -> object:
    return value.array if isinstance(value, _PickledArray) else value


class _StandIn:
    """A replacement for one global that rejects any state its subclass does not expect.

    Without this __setstate__, a pickle could set attributes of the class itself and change how the next file is
    read.
    """

    def __setstate__(self, state: object) -> None:
        _refuse(f"state of type {type(state).__name__} for a {type(self).__name__}")


class _Latin1Bytes(_StandIn, bytes):
    """A replacement for `_codecs.encode`, with which Python 3 writes bytes in protocols 0 to 2."""

    def __new__(cls, text: str, encoding: str) -> _Latin1Bytes:
        if encoding != "latin1":
            _refuse(f"the encoding {encoding!r}")
        return super().__new__(cls, text.encode("latin1"))


class _PickledDtype(_StandIn):
    """A replacement for `numpy.dtype` that stores the code of an integer type and its byte order."""

    def __init__(self, code: str | bytes, *_flags: object) -> None:
        self.code = _text(code)
        self.order = "="
        if not _INTEGER_CODE.fullmatch(self.code):
            _refuse(f"an array of dtype {self.code!r}")

    def __setstate__(self, state: Any) -> None:
        self.order = _text(state[1])
        if self.order not in _BYTE_ORDERS:
            _refuse(f"the byte order {self.order!r}")

    def values(self, content: object, shape: Any, order: str) -> IntegerArray:
        """Convert the bytes `content` to an array of this type and of `shape`."""
        if not isinstance(content, bytes | bytearray):
            _refuse(f"an array made of a {type(content).__name__}")
        flat = np.frombuffer(content, dtype=np.dtype(self.order + self.code))
        return flat.reshape(tuple(int(size) for size in shape), order="F" if order == "F" else "C")


class _PickledArray(_StandIn):
    """A replacement for `numpy.ndarray` and the function that creates an empty one; its state fills it."""

    def __init__(self, *_prototype: object) -> None:
        self.array: IntegerArray = np.zeros(0, dtype=np.uint8)

    def __setstate__(self, state: Any) -> None:
        shape, dtype, is_fortran, content = state[-4:]
        self.array = _dtype(dtype).values(content, shape, "F" if is_fortran else "C")


class _BufferArray(_PickledArray):
    """A replacement for the function with which NumPy writes an array in protocol 5."""

    def __init__(self, content: object, dtype: object, shape: Any, order: str, *_axes: object) -> None:
        super().__init__()
        self.array = _dtype(dtype).values(content, shape, order)


def _dtype(value: object) -> _PickledDtype:
    if not isinstance(value, _PickledDtype):
        _refuse(f"a {type(value).__name__} instead of a dtype")
    return value


def _refuse(what: str) -> NoReturn:
    raise ValueError(f"{what} has no place in a CIFAR-10 batch")


# NumPy 2 renamed numpy.core to numpy._core; files with both names are in use.
_STAND_INS: Mapping[tuple[str, str], type[_StandIn]] = MappingProxyType(
    {
        ("_codecs", "encode"): _Latin1Bytes,
        ("numpy", "dtype"): _PickledDtype,
        ("numpy", "ndarray"): _PickledArray,
        ("numpy.core.multiarray", "_reconstruct"): _PickledArray,
        ("numpy._core.multiarray", "_reconstruct"): _PickledArray,
        ("numpy.core.numeric", "_frombuffer"): _BufferArray,
        ("numpy._core.numeric", "_frombuffer"): _BufferArray,
    }
)


class _RestrictedUnpickler(pickle.Unpickler):
    def __init__(self, path: Path, content: bytes) -> None:
        # encoding="bytes": a str of Python 2 may hold pixels, which no text encoding preserves.
        super().__init__(io.BytesIO(content), encoding="bytes")
        self._path = path

    def find_class(self, module_name: str, global_name: str, /) -> type[_StandIn]:
        """Return the stand-in for a global that the pickle names; raises DataError if it has none."""
        stand_in = _STAND_INS.get((module_name, global_name))
        if stand_in is None:
            raise DataError(
                f"{self._path}: the pickle asks for {module_name}.{global_name}, which was refused because a "
                "CIFAR-10 batch needs only dicts, lists, text, integers and integer arrays. Do not trust "
                "this file; unpack the archive from the CIFAR-10 site again."
            )
        return stand_in
