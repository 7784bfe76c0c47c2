"""Cells of other kinds: the keys of a chip file connect, size and program them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from norsim.array.tile import Stimulus, Tile
from norsim.array.wires import Wires
from norsim.backends.programming import cell_amps, program_levels
from norsim.backends.registry import read
from norsim.chip.cell_schema import CellSection
from norsim.chip.load import load_chip, presets
from norsim.commands import cli
from norsim.errors import ConfigurationError, SimulatorError, SolveError
from norsim.paths import models_folder
from norsim.spice.rawfile import read_raw
from norsim.spice.simulators.ngspice import find_ngspice
from norsim.spice.simulators.probe import abilities


@pytest.mark.parametrize("name", ["bsim3", "square-law", "reram"])
def test_nodal_is_within_1e_5_of_full_scale_of_ngspice(name: str) -> None:
    chip = load_chip(name)
    levels, random = program_levels(chip.cell, chip.encoding), np.random.default_rng(4)
    # Code 0 is the programmed cell, and a resistor still conducts.
    assert np.abs(levels.achieved_amps - levels.target_amps)[1:].max() <= 1e-6 * levels.target_amps.max()
    tile = Tile(levels.thresholds[random.integers(0, 16, (32, 17))], chip.cell, chip.wires)
    gate, drain = chip.encoding.verify_volts
    stimulus = Stimulus(gate * (random.random((6, 32)) < 0.6), np.full((6, 17), drain))
    exact, found = read(tile, stimulus, "ngspice"), read(tile, stimulus, "nodal")
    assert np.abs(found.bitline - exact.bitline).max() <= 1e-5 * levels.target_amps.max() * tile.wordlines


def test_a_parameter_is_what_the_keys_say_at_both_ends() -> None:
    """By hand: a filament of 10 uS and of 0.1 uS, in series with 2 kohm, at 0.2 V."""
    amps = cell_amps(load_chip("reram").cell, np.array([0.0, 1.0]), 2.5, 0.2)
    np.testing.assert_allclose(amps, [0.2 / (1e5 + 2e3), 0.2 / (1e7 + 2e3)], rtol=1e-6)


def test_a_card_without_state_is_shifted_by_volts_before_its_gate() -> None:
    """By hand, the square law in saturation with its body at the source: a threshold of 2 V at 2.4 V conducts the same
    current as the card's 1 V at 1.4 V."""
    cell = load_chip("square-law").cell
    shifted, bare = (cell_amps(cell, np.array([vt]), gate, 0.5)[0] for vt, gate in ((2.0, 2.4), (1.0, 1.4)))
    assert shifted == pytest.approx(bare, rel=1e-9)
    # 0.4 V over the threshold is less than 0.5 V across: kp W/2L (vgs - vt)^2 (1 + lambda vds).
    assert shifted == pytest.approx(60e-6 / 5 / 2 * 0.4**2 * (1 + 0.05 * 0.5), rel=1e-3)


def test_a_corner_is_a_section_of_its_library() -> None:
    amps = {}
    for corner in ("tt", "ff", "ss"):
        chip = load_chip("bsim3", (f"cell.models=[{{file: generic180.lib, section: {corner}}}]",))
        amps[corner] = cell_amps(chip.cell, np.array([1.8]), 3.0, 0.5)[0]
    assert amps["ss"] < 0.9 * amps["tt"] < 0.9 * amps["ff"]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (("cell.model=sq",), "give one of `subcircuit`, `model`"),
        (("cell.pins=[drain, gate, bulk]",), "`pins` has no source"),
        (("cell.pins=[drain, gate, source, lid]",), "expected drain, gate, source, bulk, ground or volts"),
        (("cell.state_erased=null",), "belong together"),
        (("cell.options={gmin: 1e-12}",), "`options` cannot set gmin"),
        (("cell.instance={w: '1u m=2'}",), "expected a number in SPICE notation"),
        (("cell.compatibility='hsa; x'",), "cell.compatibility"),
        (("cell.osdi=[cell.osdi]",), "unless the cell is trusted"),
        (("cell.lowest=0.5 V",), "exclude part of its window"),
        (
            ("cell.models=[{file: generic180.lib, section: fs}]",),
            r"no library section 'fs'; its sections: tt, ff, ss, core",
        ),
        (("cell.compatibility=hspice",), "cell.compatibility"),
        (
            ("cell.state=shfit",),
            "cell.state: the subcircuit shifted_bsim3 has no parameter 'shfit'; it has width, shift",
        ),
        (("cell.instance={wdth: 1u}",), "cell.instance.wdth: .* no parameter"),
        (("cell.pins=[source, bulk, gate, drain, ground]",), r"has 4 nodes \(s b g d\), but cell.pins has 5"),
        (("cell.state_erased=1 fC",), "give both in one unit"),
    ],
)
def test_what_does_not_fit_is_named(settings: tuple[str, ...], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        load_chip("reram" if "lowest" in settings[0] else "bsim3", settings)


# An odd power of negative volts: minus their cube in HSPICE mode, plus in plain ngspice.
CUBE = """* cube.sp
.subckt cube d g s b vt=0
Bcell s d I={(3-vt)*1e-6}*(V(s)-V(d))^3
.ends cube
"""


def cube_chip(folder: Path, mode: str) -> Path:
    """Write a chip file whose cell conducts in forward direction only in HSPICE's mode."""
    (folder / "cube.sp").write_text(CUBE)
    content = yaml.safe_load(presets()["square-law"].read_text())
    content["cell"] = {
        "netlist": "cube.sp", "subcircuit": "cube", "state": "vt", "erased": "0 V", "programmed": "2.9 V",
        "compatibility": mode,
    }  # fmt: skip
    content["bit_serial"] |= {"top_level": "0.3 uA"}
    (folder / "cube.yaml").write_text(yaml.safe_dump(content))
    return folder / "cube.yaml"


@pytest.mark.parametrize("mode", ["hsa", ""])
def test_models_for_another_simulator_are_read_in_its_mode(tmp_path: Path, mode: str) -> None:
    """This holds for the program and the library, and the library resets the mode afterwards."""
    chip = load_chip(cube_chip(tmp_path, mode))
    tile = Tile(np.array([[0.0, 1.0]]), chip.cell, Wires(strap_every=1))
    stimulus = Stimulus(np.array([[2.4]]), np.full((1, 2), 0.5))
    expected = np.array([[3e-6, 2e-6]]) * 0.5**3 * (1 if mode else -1)
    for backend in ("ngspice", "ngspice-shared"):
        np.testing.assert_allclose(read(tile, stimulus, backend).bitline, expected, rtol=1e-6)


def test_a_deck_by_hand_runs_in_that_mode(tmp_path: Path) -> None:
    """The command is just `ngspice -b tile.cir` in its folder; a deck without a mode removes an earlier one's file."""
    chip, out = cube_chip(tmp_path, "hsa"), tmp_path / "deck"
    words = ["build-netlist", "--network", "digits-cnn", "--layer", "conv1", "--vectors", "1", "--out", str(out)]
    cli.main([*words, "--chip", str(chip)], standalone_mode=False)
    subprocess.run([find_ngspice(), "-b", "tile.cir"], cwd=out, check=True, capture_output=True)
    # Four reads, current into a bitline.
    assert read_raw(out / "currents.raw", ["i(vbl0)"], 4).min() > 0
    cli.main([*words, "--chip", "square-law", "--overwrite"], standalone_mode=False)
    assert not (out / ".spiceinit").exists()


def test_the_mode_is_part_of_what_a_cell_is_known_by() -> None:
    chip = load_chip("bsim3", ("cell.compatibility=hsa", "cell.options={scale: 1}"))
    ours = load_chip("bsim3")
    volts = np.array([1.8])
    assert cell_amps(chip.cell, volts, 3.0, 0.5) == pytest.approx(cell_amps(ours.cell, volts, 3.0, 0.5), rel=1e-9)
    assert chip.cell.digest != ours.cell.digest


BIN = "* card.lib\n.model nch nmos level=14 version=4.8 toxe=2.6n vth0={vth0} u0={u0} ndep=4e17\n"
BINS = """* card.lib: a card for channels up to 0.3 um, and one for longer ones
.model nch.1 nmos level=14 version=4.8 toxe=2.6n vth0=0.40 u0=0.035 ndep=4e17 lmin=0.1u lmax=0.3u wmin=0.1u wmax=1u
.model nch.2 nmos level=14 version=4.8 toxe=2.6n vth0=0.50 u0=0.030 ndep=4e17 lmin=0.3u lmax=1u wmin=0.1u wmax=1u
"""


@pytest.mark.parametrize(("length", "vth0", "u0"), [("0.2u", 0.40, 0.035), ("0.5u", 0.50, 0.030)])
def test_a_binned_card_is_the_one_of_the_cells_size(tmp_path: Path, length: str, vth0: float, u0: float) -> None:
    amps = []
    for card in (BINS, BIN.format(vth0=vth0, u0=u0)):
        (tmp_path / "card.lib").write_text(card)
        content = yaml.safe_load(presets()["square-law"].read_text())
        content["cell"] = {
            "models": ["card.lib"], "model": "nch", "instance": {"w": "0.3u", "l": length}, "state": "delvto",
            "erased": "0 V", "programmed": "2 V",
        }  # fmt: skip
        (tmp_path / "card.yaml").write_text(yaml.safe_dump(content))
        amps.append(cell_amps(load_chip(tmp_path / "card.yaml").cell, np.array([0.0, 0.5]), 1.2, 0.5))
    assert amps[0][0] > 10 * amps[0][1] > 0
    np.testing.assert_allclose(amps[0], amps[1], rtol=1e-6)


@pytest.mark.parametrize("quote", ["", '"', "'"])
def test_a_file_that_a_trusted_cell_lets_ngspice_read_is_in_its_digest(tmp_path: Path, quote: str) -> None:
    table = tmp_path / "table.txt"
    (tmp_path / "card.lib").write_text(
        (models_folder() / "devices" / "square_law.lib").read_text()
        + f"\n.control\nsource {quote}{table}{quote}\n.endc\n"
    )
    content = yaml.safe_load(presets()["square-law"].read_text())
    content["cell"]["models"] = ["card.lib"]
    (tmp_path / "chip.yaml").write_text(yaml.safe_dump(content))
    digests = []
    for text in (None, "1", "2", "2"):
        if text is not None:
            table.write_text(text)
        digests.append(load_chip(tmp_path / "chip.yaml", trust_cell=True).cell.digest)
    assert len(set(digests)) == 3 and digests[2] == digests[3]


def test_a_compiled_model_is_refused_where_ngspice_has_none(tmp_path: Path) -> None:
    """An ngspice without OSDI is not run on it; the library never is."""
    (tmp_path / "cell.osdi").write_bytes(b"no machine code")
    content = yaml.safe_load(presets()["square-law"].read_text())
    content["cell"]["models"] = [str(models_folder() / "devices" / "square_law.lib")]
    content["cell"]["osdi"] = ["cell.osdi"]
    (tmp_path / "chip.yaml").write_text(yaml.safe_dump(content))
    cell = load_chip(tmp_path / "chip.yaml", trust_cell=True).cell
    tile = Tile(np.array([[1.0]]), cell, Wires(strap_every=1))
    stimulus = Stimulus(np.array([[2.4]]), np.array([[0.5]]))
    with pytest.raises(SimulatorError, match="OSDI"):
        read(tile, stimulus, "ngspice-shared")
    if not abilities(find_ngspice()).osdi:
        with pytest.raises(SimulatorError, match="cannot load OSDI models"):
            read(tile, stimulus, "ngspice")


def chip_of(folder: Path, cell: dict[str, Any], **bit_serial: str) -> Path:
    """Write a chip file with that cell and those keys of its encoding."""
    content = yaml.safe_load(presets()["square-law"].read_text())
    content["cell"], content["bit_serial"] = cell, content["bit_serial"] | bit_serial
    (folder / "own.yaml").write_text(yaml.safe_dump(content))
    return folder / "own.yaml"


def test_a_number_without_a_point_is_one_in_yaml_too(tmp_path: Path) -> None:
    ends = {"state_erased": "1e-15", "state_programmed": 2.0e-15}
    section = CellSection.model_validate({"subcircuit": "c", "state": "q", "erased": "0 V", "programmed": "1 V"} | ends)
    assert (section.state_erased, section.state_programmed) == (1e-15, 2e-15)


LEAKY = """* leaky.sp: a switched conductance, and a resistor from its drain into the well
.subckt leaky d g s b vt=0
Bcell d s I={(1-vt)*1e-5}*V(d,s)*u(V(g)-1)
Rwell d b 1e8
.ends leaky
"""


def test_a_cell_that_leaks_into_its_well_is_read_by_ngspice_alone(tmp_path: Path) -> None:
    """By hand: 5 nA flow from a drain at 0.5 V into the well, next to at most 5 uA into the source."""
    (tmp_path / "leaky.sp").write_text(LEAKY)
    cell = {"netlist": "leaky.sp", "subcircuit": "leaky", "state": "vt", "erased": "0 V", "programmed": "1 V"}
    chip = load_chip(chip_of(tmp_path, cell))
    tile = Tile(np.array([[0.0, 0.5], [0.2, 1.0]]), chip.cell, Wires(strap_every=2))
    stimulus = Stimulus(np.array([[2.4, 0.0], [2.4, 2.4]]), np.full((2, 2), 0.5))
    found = read(tile, stimulus, "ngspice")
    into_sources = 0.5e-5 * np.array([1.5, 1.5 + 0.8])
    np.testing.assert_allclose(found.source[:, 0], into_sources, rtol=1e-6)
    np.testing.assert_allclose(found.bitline.sum(axis=1), into_sources + 4 * 5e-9, rtol=1e-6)
    with pytest.raises(SolveError, match="Use the ngspice backend, which models gate and bulk currents"):
        read(tile, stimulus, "nodal")
