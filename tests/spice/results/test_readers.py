"""Results of other simulators: written currents are read back, and incomplete files raise errors."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from norsim.array.tile import Floats
from norsim.backends.registry import read
from norsim.errors import SolveError
from norsim.spice.elements import ammeters
from norsim.spice.kirchhoff import currents_from
from norsim.spice.results import read_results
from norsim.spice.simulators.ngspice import lost_amps
from tests.spice.results.written import FORMATS, csdf, csv, engineering, listing, prn
from tests.spice.test_deck import DECKS

NAMES = ["i(vbl0)", "i(vbl1)", "i(vret)"]
TABLE = np.array([[1e-6, 2e-6, 3e-6], [0.0, -4.5e-9, -4.5e-9]])
WRITERS: dict[str, tuple[Callable[..., str], str, float]] = {
    "listing": (listing, "HSPICE listing", 1e-9),
    "wide listing": (partial(listing, columns=32), "HSPICE listing", 1e-9),
    "listing with scale factors": (partial(listing, show=engineering), "HSPICE listing", 5e-4),
    "CSDF": (csdf, "CSDF", 1e-9),
    "CSDF without places": (partial(csdf, pairs=False), "CSDF", 1e-9),
    "prn": (prn, "Xyce table", 1e-9),
    "csv": (csv, "Xyce table", 1e-9),
}


@pytest.mark.parametrize(("write", "kind", "digits"), WRITERS.values(), ids=WRITERS.keys())
@pytest.mark.parametrize("name", DECKS)
def test_the_currents_of_a_deck_come_back(
    name: str, write: Callable[..., str], kind: str, digits: float, tmp_path: Path
) -> None:
    """They agree to the printed digits; the format is detected independently of the file's name."""
    tile, stimulus = DECKS[name]()
    currents = read(tile, stimulus)
    table, names = np.hstack([currents.bitline, currents.source]), ammeters(tile)
    path = tmp_path / "results.of.mine"
    path.write_text(write(names, table))
    found = read_results(path, names, stimulus.vectors)
    assert found.format == kind and found.warnings == ()
    np.testing.assert_allclose(found.table, table, rtol=digits, atol=1e-21)
    if digits < 1e-6:
        believed = currents_from(found.table, tile, stimulus, kind, lost_amps)
        assert np.array_equal(believed.bitline, found.table[:, : tile.bitlines])


@given(table=arrays(np.float64, st.tuples(st.integers(1, 9), st.integers(1, 7)), elements=st.floats(-1e-3, 1e-3)))
@pytest.mark.parametrize("format", FORMATS)
def test_any_table_comes_back(format: str, table: Floats, tmp_path_factory: pytest.TempPathFactory) -> None:
    names = [f"i(vbl{k})" for k in range(table.shape[1])]
    path = tmp_path_factory.mktemp("table") / "file"
    path.write_text(FORMATS[format](names, table))
    found = read_results(path, names[::-1], len(table)).table
    np.testing.assert_allclose(found, table[:, ::-1], rtol=1e-9, atol=1e-300)


def refused(tmp_path: Path, content: str | bytes, points: int = 2, names: list[str] = NAMES) -> str:
    path = tmp_path / "file"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SolveError) as problem:
        read_results(path, names, points)
    return str(problem.value)


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_that_is_cut_short_anywhere_is_refused(format: str, tmp_path: Path) -> None:
    """This means cut before the last number is complete, since some formats ignore the text after it."""
    content = FORMATS[format](NAMES, TABLE)
    last = {"listing": content.find("job concluded") + 12, "csdf": content.find("#;") + 1}.get(format, len(content) - 1)
    for end in range(last):
        refused(tmp_path, content[:end])


@pytest.mark.parametrize("format", FORMATS)
def test_a_missing_vector_and_a_wrong_number_of_points_are_named(format: str, tmp_path: Path) -> None:
    content = FORMATS[format](NAMES, TABLE)
    assert "lacks 1 of the requested vectors, the first is i(vsl0)" in refused(
        tmp_path, content, 2, [*NAMES, "i(vsl0)"]
    )
    assert "has 2 points of i(vbl0); expected 3" in refused(tmp_path, content, 3)


@pytest.mark.parametrize(
    "word", ["nan", "inf", "1e999", "1.0e-6A", "failed", "1,0", "0x1p3", "1_0", "١e-6", "--1", "1e"]
)
@pytest.mark.parametrize("format", FORMATS)
def test_what_is_no_finite_number_is_refused(format: str, word: str, tmp_path: Path) -> None:
    content = FORMATS[format](NAMES, TABLE).replace("2.000000000e-06", word)
    said = refused(tmp_path, content)
    assert any(reason in said for reason in ("not a number", "not a finite", "expected")), said
    assert "line " in said or "at point 0" in said


@pytest.mark.parametrize("format", FORMATS)
def test_a_name_twice_is_refused(format: str, tmp_path: Path) -> None:
    said = refused(tmp_path, FORMATS[format](["i(vbl0)", "i(vbl0)", "i(vret)"], TABLE))
    assert "i(vbl0) occurs 2 times" in said
    if format == "listing":
        apart = listing(["i(vbl0)", "i(vbl0)", "i(vret)"], TABLE, columns=1)
        assert "i(vbl0) is printed twice" in refused(tmp_path, apart)


LISTING, CSDF, PRN, CSV = (FORMATS[name](NAMES, TABLE) for name in ("listing", "csdf", "prn", "csv"))
ROW = "  1.000000000e+00  0.000000000e+00"
BROKEN = {
    "a job that was aborted": (listing(NAMES, TABLE, last="job aborted"), "job aborted.*failed"),
    "an error": (LISTING.replace("x\n", " **error** no convergence\nx\n", 1), r"line 6.*error.*failed"),
    "no convergence": (LISTING.replace("x\n", " no convergence in dc\nx\n", 1), "failed"),
    "a listing without its end": (LISTING.replace("job concluded", "job"), "truncated"),
    "a table without end": (LISTING.replace("\ny\n", "\n"), "no end"),
    "a table in a table": (LISTING.replace(ROW, f"x\n{ROW}"), "a table within"),
    "a short row": (LISTING.replace(ROW, "  1.000000000e+00"), "numbers; expected 4"),
    "a long row": (LISTING.replace(ROW, f"{ROW} 1.0"), "5 numbers; expected 4"),
    "a name too few": (LISTING.replace("vbl1", "").replace("vret", ""), "expected a name for"),
    "a name too many": (LISTING.replace("vbl1", "vbl1 vbl2"), "numbers; expected 5|expected a name for"),
    "an unknown kind": (LISTING.replace("current", "amperes", 1), "expected a name for"),
    "an empty table": (f"x\ny\n{LISTING}", "without kinds"),
    "other points in the next table": (
        listing([*NAMES, "i(vbl2)", "i(vbl3)"], np.hstack([TABLE, TABLE[:, :2]])).replace(
            "  1.000000000e+00  -4", "  2.000000000e+00  -4"
        ),
        "differ in their swept",
    ),
    "a second sweep": (CSDF + CSDF, "after the end"),
    "another number of names": (CSDF.replace("NODES='  3'", "NODES='4'"), "3 names, but the header states 4"),
    "no header": (CSDF.replace("NODES='  3'\n", ""), "states None"),
    "complex values": (CSDF.replace("COMPLEXVALUES='NO'", "COMPLEXVALUES='YES'"), "real numbers"),
    "another analysis": (CSDF.replace("'DC'", "'TR'"), "a DC sweep"),
    "a value twice": (CSDF.replace(":2", ":1"), "expected every value once"),
    "an invalid place": (CSDF.replace(":2", ":9" * 30), "expected every value once"),
    "another number of values": (CSDF.replace(" 3 1.0", " 2 1.0"), "expected a swept value and 3 values"),
    "a record of another kind": (CSDF.replace("#C", "#X", 1), "no CSDF record"),
    "a line outside records": (CSDF.replace("#;", "#;\n1.0"), "outside any record"),
    "an Index that jumps": (PRN.replace("\n1 ", "\n2 "), "expected Index 1"),
    "a row too short": (CSV.replace(",3.000000000e-06", ""), "2 numbers; expected 3"),
    "a footer in the table": (
        PRN.replace("\n1 ", "\nEnd of Xyce(TM) Simulation\n1 "), "'End' is not a number|numbers; expected"
    ),
    "an unknown format": ("hello\n", "no known format"),
    "a table without currents": ("a,b\n1,2\n", "no known format"),
    "nothing": ("", "has 0 bytes"),
    "blanks": ("\n \n", "no known format"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "why"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_file_is_refused_with_its_line(content: str, why: str, tmp_path: Path) -> None:
    said = refused(tmp_path, content)
    assert re.search(why, said), said


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    assert "is binary" in refused(tmp_path, b"\x04\0\0\0 HSPICE \0" + bytes(100))
    assert "Binary" in refused(tmp_path, b"Title: x\nFlags: real\n")
    assert refused(tmp_path, bytes(range(1, 256)) * 10)


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with open(path, "wb") as file:
        file.truncate(1 << 29)
    with pytest.raises(SolveError, match="bytes; expected 1 to"):
        read_results(path, NAMES, 2)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SolveError, match="cannot be read"):
        read_results(tmp_path / "none", NAMES, 2)


def test_a_swept_variable_without_a_kind_has_its_column_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "tile.lis"
    path.write_text(LISTING.replace("volt ", "     "))
    np.testing.assert_allclose(read_results(path, NAMES, 2).table, TABLE, rtol=1e-9)


def test_warnings_are_told(tmp_path: Path) -> None:
    path = tmp_path / "tile.lis"
    path.write_text(LISTING.replace("x\n", " **warning** only 1 connection at node idx\nx\n", 1))
    assert read_results(path, NAMES, 2).warnings == ("**warning** only 1 connection at node idx",)


def test_a_raw_file_is_read_as_ngspice_has_written_it(tmp_path: Path, raw_bytes: Callable[..., bytes]) -> None:
    path = tmp_path / "file"
    path.write_bytes(raw_bytes(NAMES, TABLE))
    found = read_results(path, NAMES, 2)
    assert found.format == "ngspice raw file" and np.array_equal(found.table, TABLE)
