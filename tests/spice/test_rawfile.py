"""Raw files are read back bit for bit, and incomplete ones raise errors."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from norsim.errors import SolveError
from norsim.spice.rawfile import read_raw

RawBytes = Callable[..., bytes]
NAMES = ["v-sweep", "i(vbl0)", "i(vret)"]
TABLE = [[0.0, 1e-6, 2e-6], [1.0, 3e-6, 4e-6]]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("raw") / "currents.raw"


def bits(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values).view(np.uint64)


@given(st.data())
def test_round_trip_is_bit_for_bit_in_the_order_asked_for(path: Path, raw_bytes: RawBytes, data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    table = data.draw(arrays(np.float64, shape, elements=st.floats(allow_nan=False, allow_infinity=False)))
    letters = st.text("abcxyz0189()#_", min_size=1, max_size=8)
    names = data.draw(st.lists(letters, min_size=shape[1], max_size=shape[1], unique=True))
    asked = data.draw(st.lists(st.sampled_from(range(shape[1])), unique=True, min_size=1))
    path.write_bytes(raw_bytes(names, table))
    assert np.array_equal(bits(read_raw(path, [names[k] for k in asked], shape[0])), bits(table[:, asked]))


def test_names_in_the_file_may_be_in_capitals(path: Path, raw_bytes: RawBytes) -> None:
    path.write_bytes(raw_bytes(["V-SWEEP", "I(VBL0)", "i(vret)"], TABLE))
    assert read_raw(path, ["i(vbl0)"], 2).tolist() == [[1e-6], [3e-6]]


def test_data_that_looks_like_a_header_is_data(path: Path, raw_bytes: RawBytes) -> None:
    table = np.frombuffer(b"Binary:\nBinary:\n", dtype="<f8").reshape(2, 1)
    path.write_bytes(raw_bytes(["i(vret)"], table))
    assert np.array_equal(bits(read_raw(path, ["i(vret)"], 2)), bits(table))


def test_every_truncation_is_refused(path: Path, raw_bytes: RawBytes) -> None:
    whole = raw_bytes(NAMES, TABLE)
    path.write_bytes(whole)
    assert read_raw(path, NAMES, 2).tolist() == TABLE
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(SolveError):
            read_raw(path, ["i(vret)"], 2)


@given(st.binary(min_size=1, max_size=40))
def test_anything_behind_the_data_is_refused(path: Path, raw_bytes: RawBytes, more: bytes) -> None:
    path.write_bytes(raw_bytes(NAMES, TABLE) + more)
    with pytest.raises(SolveError, match=f"{48 + len(more)} bytes of data; expected 48"):
        read_raw(path, ["i(vret)"], 2)


def test_a_damaged_header_is_refused_or_changes_no_number(path: Path, raw_bytes: RawBytes) -> None:
    whole = raw_bytes(NAMES, TABLE)
    header = whole.index(b"Binary:\n")
    chance = random.Random(0)
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[chance.randrange(header)] = chance.randrange(256)
        path.write_bytes(damaged)
        try:
            found = read_raw(path, ["i(vbl0)", "i(vret)"], 2)
        except SolveError:
            continue
        assert found.tolist() == [[1e-6, 2e-6], [3e-6, 4e-6]]


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ({"Flags": "complex"}, "has complex data; expected real data"),
        ({"No._Points": "3"}, "states 3 points of 3 vectors; expected 2 points of 3 vectors"),
        ({"No._Variables": "2"}, "states 2 points of 2 vectors; expected 2 points of 3 vectors"),
    ],
)
def test_a_header_of_another_kind_is_refused(
    path: Path, raw_bytes: RawBytes, header: dict[str, str], problem: str
) -> None:
    path.write_bytes(raw_bytes(NAMES, TABLE, **header))
    with pytest.raises(SolveError, match=problem):
        read_raw(path, ["i(vret)"], 2)


@pytest.mark.parametrize("points", [1, 3])
def test_another_number_of_points_is_refused(path: Path, raw_bytes: RawBytes, points: int) -> None:
    path.write_bytes(raw_bytes(NAMES, TABLE))
    with pytest.raises(SolveError, match=f"2 points of 3 vectors; expected {points} points of 3 vectors"):
        read_raw(path, ["i(vret)"], points)


def test_missing_vectors_are_counted_and_named(path: Path, raw_bytes: RawBytes) -> None:
    path.write_bytes(raw_bytes(NAMES, TABLE))
    with pytest.raises(SolveError, match=r"lacks 2 of the requested vectors, the first is i\(vbl1\)"):
        read_raw(path, ["i(vbl0)", "i(vbl1)", "i(vbl2)"], 2)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_named(path: Path, raw_bytes: RawBytes, value: float) -> None:
    path.write_bytes(raw_bytes(NAMES, [TABLE[0], [1.0, value, 4e-6]]))
    with pytest.raises(SolveError, match=rf"i\(vbl0\) is {value} at point 1"):
        read_raw(path, ["i(vret)", "i(vbl0)"], 2)
    assert read_raw(path, ["i(vret)"], 2).tolist() == [[2e-6], [4e-6]]  # the other vector was not requested


def test_no_file_names_the_folder(tmp_path: Path) -> None:
    with pytest.raises(SolveError, match=f"no readable none.raw in {tmp_path}"):
        read_raw(tmp_path / "none.raw", ["i(vret)"], 1)
