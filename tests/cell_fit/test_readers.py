"""Files of measured curves: what is read, and what is refused by file and line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from norsim.cell_fit.cell import read_curves
from norsim.cell_fit.measured import fitted_half, noise_amps, points_of, states_of
from norsim.errors import DataError
from tests.cell_fit.synthetic import amps, mdm, table


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_both_formats_hold_the_same_curves(tmp_path: Path) -> None:
    from_mdm = read_curves([write(tmp_path, "a.mdm", mdm())], 300.15)
    from_csv = read_curves([write(tmp_path, "a.csv", table())], 250.0)
    assert len(from_mdm) == len(from_csv) == 15
    for one, other in zip(from_mdm, from_csv, strict=True):
        assert one.swept == other.swept and one.outer == other.outer
        np.testing.assert_allclose(one.gate_volts, other.gate_volts)
        np.testing.assert_allclose(one.amps, other.amps)
    assert [one.swept for one in from_mdm] == ["gate"] * 6 + ["drain"] * 9
    assert from_mdm[4].where == f"{tmp_path / 'a.mdm'}, line 117" and from_csv[1].where.endswith("line 21")
    np.testing.assert_allclose(from_mdm[5].amps, amps(from_mdm[5].gate_volts, np.full(19, 1.8), -1.8), rtol=1e-8)


def test_states_and_temperatures_are_read(tmp_path: Path) -> None:
    curves = read_curves([write(tmp_path, "a.csv", table((280.0, 330.0), (0.0, 0.4)))], 300.15)
    assert states_of(curves) == ["s0", "s1"] and {one.kelvin for one in curves} == {280.0, 330.0}
    points = points_of(curves, states_of(curves))
    assert points.state.sum() == len(points.amps) / 2


def test_temperatures_in_celsius_and_constants_of_the_header_are_read(tmp_path: Path) -> None:
    text = mdm().replace("CON 0", "CON 0.25").replace(" ICCAP_VAR VS 0\n", " ICCAP_VAR TEMP -40\n")
    (one, *_) = read_curves([write(tmp_path, "a.mdm", text)], 300.15)
    assert one.kelvin == pytest.approx(233.15) and set(one.source_volts) == {0.25}


def test_up_and_down_sweeps_are_two_curves(tmp_path: Path) -> None:
    up = [f"{volts},0.1,{1e-6 * volts}" for volts in (0, 1, 2, 3)]
    curves = read_curves([write(tmp_path, "a.csv", "\n".join(["vg,vd,id", *up, *up[2::-1], "# end", ""]))], 300.15)
    assert [list(one.gate_volts) for one in curves] == [[0, 1, 2, 3], [2, 1, 0]]


LINES = ["vg,vd,vb,id", "0,0.1,0,0", "1,0.1,0,1e-6", "2,0.1,0,2e-6"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({2: "1,0.1,0"}, "line 3: 3 values; expected 4"),
        ({2: "1,0.1,0,nan"}, "line 3: id is 'nan'; expected a finite number"),
        ({2: "1,0.1,0,1_0"}, "line 3: id is '1_0'"),
        ({0: "vg,vd,vb,ig"}, "line 1: no column for the drain current, among vg, vd, vb, ig. Name one of id, ids"),
        ({0: "vg,vg,vb,id"}, "line 1: the columns 'vg' and 'vg' both are the gate voltage"),
        ({2: "1,0.2,0,1e-6"}, "line 2: a curve of 1 points; expected at least 3"),
        ({0: "vg,vd,temperature_kelvin,id", 1: "0,0.1,-3,0", 2: "1,0.1,-3,0", 3: "2,0.1,-3,0"},
         "line 2: the temperature is -3 K; expected 1 K to 1000 K"),
        ({1: "", 2: "", 3: ""}, "has no points"),
        ({1: '0,0.1,0,"0'}, "line"),
    ],
)  # fmt: skip
def test_damaged_tables_are_refused(tmp_path: Path, change: dict[int, str], said: str) -> None:
    lines = [change.get(place, line) for place, line in enumerate(LINES)]
    path = write(tmp_path, "a.csv", "\n".join(lines) + "\n")
    with pytest.raises(DataError) as problem:
        read_curves([path], 300.15)
    assert said in str(problem.value) and str(path) in str(problem.value)
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (" #VG IG ID\n", "", "line 14: numbers before the line '#...' that names the swept voltage"),
        (" #VG IG ID", " #VG IG IB", "line 9: no column for the drain current, among VG, IG, IB, source, drain, bulk"),
        (" #VG IG ID", " #VB IG ID", "line 9: the sweep, VB, is the bulk voltage; expected that of the gate"),
        (" ICCAP_VAR VD 0.1\n", "", "line 9: no column for the drain voltage"),
        (" ICCAP_VAR VD 0.1\n", " ICCAP_VAR VD\n", "line 10: 'ICCAP_VAR VD' has no value"),
        ("  0.1 1e-12 ", "  0.1 ", "line 16: 2 numbers; expected 3, VG IG ID"),
        ("  0.1 1e-12 ", "  inf 1e-12 ", "line 16: VG is 'inf'; expected a finite number"),
        ("END_DB\n", "", "BEGIN_DB inside the block of line 9"),
        ("BEGIN_DB\n", "", "has no block BEGIN_DB"),
        (" ICCAP_VAR VS 0\n", " ICCAP_VAR TEMP -300\n", "line 9: the temperature is -26.85 K"),
    ],
)
def test_damaged_mdm_files_are_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    whole = mdm()
    assert old in whole
    text = whole.replace(old, new) if "BEGIN_DB" in old else whole.replace(old, new, 1)
    if old == "BEGIN_DB\n":
        text = text.replace("END_DB\n", "").replace("ICCAP_VAR", "")
    path = write(tmp_path, "a.mdm", text)
    with pytest.raises(DataError) as problem:
        read_curves([path], 300.15)
    assert said in str(problem.value) and str(path) in str(problem.value)


def test_truncated_other_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the block of line 9 has no END_DB; the file ends at line 30"):
        read_curves([write(tmp_path, "a.mdm", "\n".join(mdm().splitlines()[:30]))], 300.15)
    with pytest.raises(DataError, match=r"read from \.mdm and \.csv files, not '\.txt'"):
        read_curves([tmp_path / "a.txt"], 300.15)
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_curves([tmp_path / "b.csv"], 300.15)
    (tmp_path / "c.csv").write_bytes(b"vg\xff")
    with pytest.raises(DataError, match="is not text in UTF-8"):
        read_curves([tmp_path / "c.csv"], 300.15)


def test_currents_of_one_sign_are_told_apart(tmp_path: Path) -> None:
    """Only positive currents are free of noise; only negative ones are of a p-channel device."""
    (tmp_path / "a.csv").write_text("\n".join(LINES) + "\n")
    (tmp_path / "b.csv").write_text("\n".join(LINES).replace(",1e", ",-1e").replace(",2e", ",-2e") + "\n")
    positive, negative = (points_of(read_curves([tmp_path / name], 300.15), ["-"]) for name in ("a.csv", "b.csv"))
    assert noise_amps(positive) == 0
    with pytest.raises(DataError, match="for a p-channel one invert the signs"):
        noise_amps(negative)


def test_the_fitted_half_is_a_chessboard(tmp_path: Path) -> None:
    curves = read_curves([write(tmp_path, "a.mdm", mdm())], 300.15)
    chosen = fitted_half(curves)
    # A row for each bulk voltage, from -1.8 V, the last one in the file: two drain voltages, then three gate voltages.
    assert chosen[:6].tolist() == [True, False, False, True, True, False]
    assert chosen[6:].tolist() == [True, False, True, False, True, False, True, False, True]
    with pytest.raises(DataError, match="1 curves cannot be divided"):
        fitted_half(curves[:1])
