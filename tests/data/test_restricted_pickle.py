"""Pickles return the content of a batch and run no code."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from norsim.data.restricted_pickle import load_dict
from norsim.errors import DataError

DATA = np.random.default_rng(0).integers(0, 256, (3, 7)).astype(np.uint8)


def saved(path: Path, content: bytes) -> Path:
    file = path / "batch"
    file.write_bytes(content)
    return file


@pytest.mark.parametrize("old_names", [False, True])
@pytest.mark.parametrize("protocol", range(4))
def test_arrays_of_both_numpy_namings(tmp_path: Path, protocol: int, old_names: bool) -> None:
    content = pickle.dumps({b"data": DATA, b"labels": [1, 2, 300], "name": b"\x80\xff"}, protocol=protocol)
    new_name, name = b"numpy._core.", b"numpy.core." if old_names else b"numpy._core."
    assert new_name in content
    batch = load_dict(saved(tmp_path, content.replace(new_name, name)))
    assert list(batch) == ["data", "labels", "name"]
    assert np.array_equal(batch["data"], DATA)  # type: ignore[arg-type]
    assert batch["labels"] == [1, 2, 300]
    assert batch["name"] == b"\x80\xff"


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("change", [np.array, np.asfortranarray, lambda data: data.astype(">i4")])
def test_memory_orders_and_byte_orders(
    tmp_path: Path, protocol: int, change: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]
) -> None:
    array = change(DATA)
    found = load_dict(saved(tmp_path, pickle.dumps({"data": array}, protocol=protocol)))["data"]
    assert isinstance(found, np.ndarray)
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)


class Hostile:
    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize("protocol", range(6))
def test_command_is_never_run(tmp_path: Path, protocol: int) -> None:
    marker = tmp_path / "marker"
    content = pickle.dumps({"data": Hostile(os.system, f"touch {marker}")}, protocol=protocol)
    pickle.loads(content)
    assert marker.exists(), "the command must work where pickles are trusted, or this test shows nothing"
    marker.unlink()
    with pytest.raises(DataError, match=rf"asks for {os.system.__module__}.system, which was refused"):
        load_dict(saved(tmp_path, content))
    assert not marker.exists()


@pytest.mark.parametrize(
    "name",
    [
        "builtins eval",
        "__builtin__ eval",
        "builtins getattr",
        "numpy load",
        "numpy.core.multiarray scalar",
        "numpy._core.multiarray fromfile",
        "_codecs decode",
        "copyreg _reconstructor",
        "norsim.errors DataError",
    ],
)
def test_every_other_global_is_refused_by_name(tmp_path: Path, name: str) -> None:
    module, function = name.split()
    with pytest.raises(DataError, match=rf"asks for {module}\.{function}, which was refused"):
        load_dict(saved(tmp_path, f"c{module}\n{function}\n.".encode()))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.array([1, "a"], dtype=object), "an array of dtype 'O8'"),
        (np.array([1.5]), "an array of dtype 'f8'"),
        (np.zeros(1, dtype=[("a", "u1")]), "an array of dtype 'V1'"),
    ],
)
def test_only_integer_arrays_are_built(tmp_path: Path, value: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_dict(saved(tmp_path, pickle.dumps({"data": value}, protocol=2)))


@pytest.mark.parametrize("name", ["numpy ndarray", "numpy dtype", "_codecs encode"])
@pytest.mark.parametrize("state", [b"}U\x05arrayNs", b"N}U\x05arrayNs\x86"])
def test_state_of_a_class_is_refused(tmp_path: Path, name: str, state: bytes) -> None:
    module, function = name.encode().split()
    with pytest.raises(DataError, match="not a readable pickle"):
        load_dict(saved(tmp_path, b"\x80\x02c" + module + b"\n" + function + b"\n" + state + b"b."))
    assert np.array_equal(load_dict(saved(tmp_path, pickle.dumps({"data": DATA}, 2)))["data"], DATA)  # type: ignore[arg-type]


ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n)R"
BYTE_DTYPE = b"cnumpy\ndtype\nU\x02u1\x85R"


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (ARRAY + b"(K\x01K\x09\x85" + BYTE_DTYPE + b"\x89U\x02abtb.", "cannot reshape"),
        (ARRAY + b"(K\x01K\x02\x85" + BYTE_DTYPE + b"\x89]tb.", "made of a list"),
        (ARRAY + b"(K\x01K\x02\x85N\x89U\x02abtb.", "a NoneType instead of a dtype"),
        (BYTE_DTYPE + b"(K\x03U\x01?tb.", "the byte order '\\?'"),
        (b"c_codecs\nencode\nX\x01\x00\x00\x00aX\x04\x00\x00\x00zlib\x86R.", "the encoding 'zlib'"),
        (b"c_codecs\nencode\nX\x01\x00\x00\x00aX\x06\x00\x00\x00latin1\x86R}b.", "state of type dict"),
    ],
)
def test_malformed_arrays(tmp_path: Path, program: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_dict(saved(tmp_path, b"\x80\x02" + program))


@pytest.mark.parametrize("content", [b"", b"not a pickle", pickle.dumps({"data": DATA})[:-9]])
def test_damaged_pickles(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DataError, match="not a readable pickle"):
        load_dict(saved(tmp_path, content))


def test_anything_but_a_dict(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds a list, expected a dict"):
        load_dict(saved(tmp_path, pickle.dumps([1, 2])))


def test_folder_in_the_place_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="IsADirectoryError"):
        load_dict(tmp_path)


@pytest.mark.parametrize(
    "stored", [b"r\xff\xff\xff\x1f", b"p500000000\n", b"r\x40\x00\x00\x00"], ids=["binary", "text", "just beyond"]
)
def test_places_in_the_memo_beyond_the_file_are_refused(tmp_path: Path, stored: bytes) -> None:
    """Python makes a list of that length, gigabytes for a file of a few bytes."""
    path = tmp_path / "data_batch_1"
    path.write_bytes(b"\x80\x02}" + stored + b".")
    with pytest.raises(DataError, match="in the memo of a file of"):
        load_dict(path)


def test_bytes_that_a_file_announces_but_lacks_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "data_batch_1"
    path.write_bytes(b"\x80\x04\x8e" + (1 << 33).to_bytes(8, "little") + b"x.")
    with pytest.raises(DataError, match="not a readable pickle"):
        load_dict(path)
