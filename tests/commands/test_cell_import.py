"""`cell import`: the flat card has the currents of the kit in decks by hand, and mistakes are named."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from norsim.array.non_idealities.pdk_mismatch import read_transistors
from norsim.backends.programming import cell_amps
from norsim.backends.registry import read
from norsim.chip.load import load_chip
from norsim.errors import ConfigurationError
from norsim.kits import importing
from norsim.kits.flat import Flat, flats
from norsim.quantization.layer import QuantizedLayer
from norsim.tiling.grid import place
from norsim.tiling.program import program_tile
from tests.chip.kit import write_kit
from tests.chip.test_kits import DRAIN, GATE, by_hand
from tests.commands.conftest import Run


def words(kit: Path, out: Path, corner: str, width: float, length: float, transistor: str = "nch") -> list[str]:
    return [
        "cell", "import", "--pdk", str(kit), "--transistor", transistor, "--corner", corner, "--w", str(width), "--l",
        str(length), "--out", str(out), "--json", "-q",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("corner", "width", "length", "bins"),
    [("tt_mm", 0.42, 0.18, ["nch_model.0"]), ("ss", 2.0, 1.0, ["nch_model.5"]), ("tt", 0.42, 0.25, None)],
)
def test_a_flat_card_has_the_currents_of_the_kit(
    norsim: Run, tmp_path: Path, corner: str, width: float, length: float, bins: list[str] | None
) -> None:
    """Random numbers are at their mean, as in the corner without mismatch; the last size is at the edge of two bins."""
    kit, out = write_kit(tmp_path), tmp_path / "out"
    found = norsim(*words(kit, out, corner, width, length)).json
    assert found["difference"] <= 1e-6 and found["read_time_ratio"] > 0 and found["library"] == "libs/process.lib"
    assert bins is None or found["bins"] == bins
    chip = load_chip(out / "chip.yaml")
    amps = cell_amps(chip.cell, np.array([chip.cell.erased_volts]), GATE, DRAIN)[0]
    assert amps == pytest.approx(by_hand(kit, corner.removesuffix("_mm"), width, length), rel=1e-6)
    # A constant-current threshold: 0.1 uA at the threshold, at the full drain volts.
    there = cell_amps(chip.cell, np.array([chip.cell.erased_volts]), chip.cell.erased_volts, DRAIN)[0]
    assert there == pytest.approx(1e-7, rel=0.05)
    text = (out / chip.cell.subcircuit).with_suffix(".sp").read_text().lower()
    assert "gauss" not in text and text.count(".model") == 1


CARD = """* card.lib
.lib tt
.model sq nmos level=1 vto=0.5 kp=60u lambda=0.05
.endl
"""


def test_a_transistor_without_delvto_is_shifted_at_its_gate(norsim: Run, tmp_path: Path) -> None:
    """By hand: the square law in saturation, at 0.4 V above its threshold."""
    (tmp_path / "kit").mkdir()
    (tmp_path / "kit" / "card.lib").write_text(CARD)
    norsim(*words(tmp_path / "kit", tmp_path / "out", "tt", 1e-6, 5e-6, "sq"))
    cell = load_chip(tmp_path / "out" / "chip.yaml").cell
    amps = cell_amps(cell, np.array([cell.erased_volts, cell.erased_volts + 0.3]), 1.2, DRAIN)
    assert amps[1] == pytest.approx(60e-6 / 5 / 2 * 0.4**2 * (1 + 0.05 * 0.5), rel=1e-3)
    assert amps[0] > amps[1]


@pytest.mark.parametrize(
    ("corner", "length", "transistor", "message"),
    [
        ("tr", 0.18, "nch", "has a section 'tr'; known: tt, ss, ff, tt_mm"),
        ("tt", 0.18, "nhc", "did you mean 'nch'?"),
        ("tt", 50, "nch", "no bin for w=0.42 l=50. Sizes are as the kit's netlists write them"),
    ],
)
def test_what_the_kit_does_not_have_is_named(
    norsim: Run, tmp_path: Path, corner: str, length: float, transistor: str, message: str
) -> None:
    found = norsim(*words(write_kit(tmp_path), tmp_path / "out", corner, 0.42, length, transistor))
    assert found.code == 2 and message in found.err


def test_a_card_that_differs_from_the_kit_is_an_error(
    norsim: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*arguments: object) -> Iterator[Flat]:
        for flat in flats(*arguments):  # type: ignore[arg-type]
            yield replace(flat, cards=tuple(card.replace("u0=0.035", "u0=0.03500007") for card in flat.cards))

    monkeypatch.setattr(importing, "flats", wrong)
    found = norsim(*words(write_kit(tmp_path), tmp_path / "out", "tt", 0.42, 0.18))
    assert found.code == 4 and "differ from those of the kit by" in found.err
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert "kit.yaml" in left and not left & {"chip.yaml", "nch_flat.sp"}


def test_the_kits_mismatch_is_split_by_program_verify_and_felt_alike_on_every_rung(norsim: Run, tmp_path: Path) -> None:
    """By hand, one standard deviation of the threshold is 0.004/sqrt(w l) V. 5 % of mobility are less of current, which
    saturates."""
    kit, out = write_kit(tmp_path), tmp_path / "out"
    cell = kit / "cells" / "nch.pm3.spice"
    cell.write_text(cell.read_text().replace("u0=0.035", "u0='0.035*(1+mm_switch*AGAUSS(0,0.05,1))'"))
    wanted = [*words(kit, out, "tt", 0.42, 0.18), "--mismatch", "tt_mm", "--samples", "400"]
    found = norsim(*wanted).json["mismatch"]
    # Four standard errors of a standard deviation of 400 are 14 %; body effect and mobility add to the threshold.
    assert found["threshold_sigma_volts"] == pytest.approx(1.08 * 0.004 / (0.42 * 0.18) ** 0.5, rel=0.2)
    assert 0.025 < found["gain_sigma"] < 0.05
    # Against the kit's own transistors, each verified by its own current, at lower drain volts.
    assert found["form_share"] < 0.5 * found["away_share"] and found["form_share"] < 2e-3
    table = (out / "mismatch.csv").read_text()
    again = norsim(*wanted, "--overwrite").json["mismatch"]
    assert again == found and (out / "mismatch.csv").read_text() == table
    part = place(a_layer(), load_chip(out / "chip.yaml", {"tile.wordlines": 16, "tile.bitlines": 16})).tiles[0]
    array = program_tile(part)
    assert array.tile.gains is not None and array.tile.gains.std() == pytest.approx(found["gain_sigma"], rel=0.3)
    codes = np.random.default_rng(0).integers(0, 16, (3, 12), dtype=np.uint8)
    stimulus = array.drive(codes)
    exact = read(array.tile, stimulus, "ngspice").bitline
    for backend, bound in (("nodal", 1e-6), ("macro", 1e-4)):
        error = np.abs(read(array.tile, stimulus, backend).bitline - exact).max()
        assert error <= bound * part.full_scale_amps
    # Alone under the verify read, each cell conducts its target whatever transistor it is.
    alone = (
        cell_amps(array.tile.cell, array.tile.thresholds.ravel(), *array.encoding.verify_volts)
        * array.tile.gains.ravel()
    )
    np.testing.assert_allclose(alone, part.by_level(array.levels.target_amps, 0.0).ravel(), atol=1e-10, rtol=1e-4)


def test_a_section_without_statistics_is_named(norsim: Run, tmp_path: Path) -> None:
    found = norsim(*words(write_kit(tmp_path), tmp_path / "out", "tt", 0.42, 0.18), "--mismatch", "ss")
    assert found.code == 2 and "the mismatch section draws no random numbers" in found.err
    (tmp_path / "few.csv").write_text("threshold_v,gain,slope\n0,1,0\n")
    with pytest.raises(ConfigurationError, match="at least 8 transistors"):
        read_transistors(tmp_path / "few.csv")


def a_layer() -> QuantizedLayer:
    codes = np.random.default_rng(1).integers(0, 16, (8, 12))
    return QuantizedLayer("fc", codes, 7, np.full(8, 0.5), weight_bits=4, input_scale=0.25, input_zero=0, input_bits=4)
