"""A channel that is known is found again; equations that solvers can use; a read within the data."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from norsim.cell_fit import channel
from norsim.cell_fit.cell import FittedCell, fit_cell, read_curves
from norsim.cell_fit.channel import PARAMETERS
from norsim.cell_fit.divider import NO_DIVIDER, Divider
from norsim.cell_fit.judge import JUDGED
from norsim.cell_fit.summary import content, in_levels, sentences
from norsim.cell_fit.witness import largest_difference
from norsim.chip.load import load_chip
from norsim.errors import ConfigurationError, DataError, SolveError
from norsim.spice.simulators.choice import chosen_simulator
from tests.cell_fit.synthetic import KNOWN, THRESHOLD, mdm, table

DIVIDER = Divider(0.6, 0.08, 0.12)


def fitted(folder: Path, text: str, name: str = "a.mdm", measured: Divider = NO_DIVIDER) -> FittedCell:
    (folder / name).write_text(text)
    return fit_cell("cell", read_curves([folder / name], 300.15), measured, DIVIDER)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> FittedCell:
    """Return a cell fitted to curves with a noise of 1 nA."""
    return fitted(tmp_path_factory.mktemp("noisy"), mdm(1e-9))


def test_known_parameters_are_found_again(tmp_path: Path) -> None:
    one = fitted(tmp_path, mdm())
    assert one.fitted.assumed == ("tcv", "bex") and one.fitted.at_bounds == ()
    for name in PARAMETERS:
        if name not in one.fitted.assumed:
            assert one.fitted.values[name] == pytest.approx(KNOWN[name], rel=1e-3), name
    assert one.fitted.thresholds == pytest.approx([THRESHOLD], abs=1e-5)
    assert (one.judgement.halves[JUDGED].largest or 1) < 1e-5


def test_noise_leaves_the_curves_that_judge_within_a_part_of_a_per_cent(noisy: FittedCell) -> None:
    errors = noisy.judgement.halves[JUDGED]
    assert errors.curves == 7 and (errors.median or 1) < 2e-3
    assert 1e-9 < noisy.judgement.noise_amps < 5e-9
    assert noisy.judgement.on_amps == pytest.approx(1e-3 * noisy.judgement.points.amps.max())


def test_temperatures_and_states_are_fitted(tmp_path: Path) -> None:
    one = fitted(tmp_path, table((280.0, 300.15, 340.0), (0.0, 0.35)), "a.csv")
    assert one.fitted.assumed == () and one.fitted.values["tref"] == 300.15
    assert one.fitted.values["tcv"] == pytest.approx(KNOWN["tcv"], rel=1e-3)
    assert one.fitted.values["bex"] == pytest.approx(KNOWN["bex"], rel=1e-3)
    assert one.fitted.thresholds == pytest.approx([THRESHOLD, THRESHOLD + 0.35], abs=1e-5)
    # The window is that of the measured states, seen from the control gate.
    assert one.read.erased_volts == pytest.approx(THRESHOLD / 0.6, abs=1e-3)
    assert one.read.programmed_volts - one.read.erased_volts == pytest.approx(0.35 / 0.6, abs=1e-3)
    assert "s0: 1.033 V, s1: 1.617 V" in " ".join(sentences(one))


def test_a_cell_is_fitted_behind_its_divider(tmp_path: Path) -> None:
    """The same currents at a control gate that a divider halves: the channel is the same."""
    lines = table().splitlines()
    rows = [line.split(",") for line in lines[1:]]
    stretched = [",".join([repr(2 * (float(gate) - float(bulk)) + float(bulk)), drain, bulk, *rest])
                 for gate, drain, bulk, *rest in rows]  # fmt: skip
    one = fitted(tmp_path, "\n".join([lines[0], *stretched, ""]), "a.csv", Divider(0.5, 0.0, 0.0))
    assert one.fitted.values["beta"] == pytest.approx(KNOWN["beta"], rel=1e-3)
    assert one.fitted.thresholds == pytest.approx([THRESHOLD], abs=1e-4)
    assert "given, not fitted" in " ".join(sentences(one))


def test_what_the_data_do_not_tell_is_assumed(tmp_path: Path) -> None:
    """Sweeps without a bulk voltage: no parameter of the bulk is fitted."""
    lines = table().splitlines()
    one = fitted(tmp_path, "\n".join([lines[0], *(line for line in lines if ",0.0,s0" in line), ""]), "a.csv")
    assert set(one.fitted.assumed) == {"gamma", "phi", "sigmab", "body", "tcv", "bex"}
    assert one.fitted.values["gamma"] == PARAMETERS["gamma"].start
    assert "The data do not tell gamma, phi, sigmab, body, tcv and bex" in " ".join(sentences(one))


def test_the_same_fit_gives_the_same_numbers(noisy: FittedCell, tmp_path: Path) -> None:
    again = fitted(tmp_path, mdm(1e-9))
    assert again.fitted.values == noisy.fitted.values
    assert again.files(["x"]) == noisy.files(["x"])


def test_curves_that_are_off_or_few_are_refused(tmp_path: Path) -> None:
    few = "vg,vd,id\n" + "".join(
        f"{gate},{drain},{1e-6 * gate * drain}\n" for drain in (0.1, 1.0) for gate in (0, 1, 2)
    )
    with pytest.raises(DataError, match="measured currents are above .* expected at least"):
        fitted(tmp_path, few, "a.csv")
    with pytest.raises(ConfigurationError, match="is not that of capacitors"):
        Divider(0.8, 0.2, 0.2)


def test_the_current_is_smooth_symmetric_and_monotone() -> None:
    """In and beyond the range of reads, for parameters at all corners of their bounds."""
    random = np.random.default_rng(2)
    gate, drain = np.meshgrid(np.linspace(-2, 6, 161), np.linspace(0, 2, 81), indexing="ij")
    zero, warm = np.asarray(0.0), np.asarray(300.15)
    for _ in range(30):
        ends = random.random(len(PARAMETERS)) < 0.5
        values = {name: one.low if low else one.high for (name, one), low in zip(PARAMETERS.items(), ends, strict=True)}
        values |= {"tref": 300.15, "beta": 1e-4}
        amps = channel.amps(values, np.asarray(1.0), gate, drain, zero, warm)
        least = 1e-12 * amps.max()
        assert np.diff(amps, axis=0).min() >= -least and np.diff(amps, axis=1).min() >= -least, values
        swapped = channel.amps(values, np.asarray(1.0), gate, zero, drain, warm)
        np.testing.assert_array_equal(swapped, -amps)
        # The slope is the same on both sides of 0 V.
        tiny = np.array([-2e-6, -1e-6, 1e-6, 2e-6])
        near = channel.amps(values, np.asarray(1.0), np.asarray(2.0), tiny, zero, warm)
        assert (near[1] - near[0]) == pytest.approx(near[3] - near[2], rel=1e-4)


def test_the_netlist_and_the_chip_file_are_those_of_the_fit(noisy: FittedCell, tmp_path: Path) -> None:
    for file, text in noisy.files(["a test."]).items():
        (tmp_path / file).write_text(text)
    cell = load_chip(tmp_path / "cell.yaml").cell
    assert largest_difference(cell, noisy, chosen_simulator()) < 1e-9
    # At another temperature, and with drain and source swapped.
    warm = replace(cell, temperature_kelvin=360.0)
    volts = (np.array([2.5, 2.5]), np.array([0.5, 0.1]), np.array([0.1, 0.5]), np.array([1.4, 1.4]))
    gate = 0.6 * volts[0] + 0.08 * volts[1] + 0.12 * volts[2]
    expected = channel.amps(noisy.fitted.values, 0.6 * volts[3], gate, volts[1], volts[2], np.asarray(360.0))
    solved = chosen_simulator().drain_amps(warm, *volts)
    np.testing.assert_allclose(solved, expected, rtol=1e-6)
    assert solved[1] < 0 < solved[0]
    broken = replace(cell, netlist=cell.netlist.replace("({ag})*v(g,b)", "0.99*({ag})*v(g,b)"))
    with pytest.raises(SolveError, match="differs from the fitted channel"):
        largest_difference(broken, noisy, chosen_simulator())


def test_the_read_stays_within_the_data(noisy: FittedCell) -> None:
    read, found = noisy.read, noisy.judgement
    erased = 0.6 * (read.wordline_volts - read.erased_volts) + 0.08 * read.bitline_volts
    assert 0.85 * found.overdrive_volts < erased <= 0.9 * found.overdrive_volts
    beyond = 0.6 * (read.wordline_volts - read.beyond_volts) + 0.08 * read.bitline_volts
    assert beyond == pytest.approx(found.overdrive_volts) and read.beyond_volts < read.erased_volts
    zero, warm, drain = np.asarray(0.0), np.asarray(300.15), np.asarray(read.bitline_volts)

    def amps(gate_volts: float, threshold: float) -> float:
        gate = np.asarray(0.6 * gate_volts + 0.08 * read.bitline_volts)
        return float(channel.amps(noisy.fitted.values, np.asarray(0.6 * threshold), gate, drain, zero, warm))

    assert amps(read.wordline_volts, read.erased_volts) > read.top_amps / 0.8
    assert amps(read.wordline_volts, read.programmed_volts) <= 0.051 * read.step_amps
    assert 256 * amps(0.0, read.erased_volts) <= 0.051 * read.step_amps


def test_the_sentences_state_errors_region_and_assumptions(noisy: FittedCell) -> None:
    said = " ".join(sentences(noisy))
    assert re.search(r"of the 8 fitted curves is 0\.\d\d %", said)
    assert "at least 0.001 of the largest measured current and 10 times the noise" in said
    assert "Assumed, not measured: a floating gate that takes 0.6 of the control gate" in said
    near = in_levels(noisy)
    assert near is not None and f"{near[0]} points are off by {near[1]:.2g} LSB rms" in said
    found = content(noisy, ["a.mdm"], 1e-12, "ngspice")
    assert found["halves"]["judged"]["curves"] == 7 and len(found["by_curve"]) == 15
    assert [one["name"] for one in found["parameters"]] == list(PARAMETERS)


def test_the_verilog_a_module_has_the_parameters_of_the_fit(noisy: FittedCell, tmp_path: Path) -> None:
    text = noisy.files(["a test."])["cell.va"]
    found = dict(re.findall(r"parameter real (\w+) = (\S+);", text))
    assert {name: float(found[name]) for name in PARAMETERS} == {name: noisy.fitted.values[name] for name in PARAMETERS}
    assert re.search(r'\(\* type="instance", .*\*\) parameter real vt = ', text) and text.count("type=") == 1
    compiler = shutil.which("openvaf-r")
    if compiler is not None:
        (tmp_path / "cell.va").write_text(text)
        subprocess.run([compiler, "cell.va"], cwd=tmp_path, check=True, capture_output=True, timeout=60)
        assert (tmp_path / "cell.osdi").stat().st_size
