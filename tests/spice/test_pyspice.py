"""Three interfaces to ngspice with the same results: deck and raw file, shared library, PySpice circuit."""

from __future__ import annotations

import numpy as np
import pytest

from norsim.array.tile import Stimulus, Tile
from norsim.array.wires import Wires
from norsim.backends.registry import read
from norsim.chip.load import load_chip
from norsim.spice.deck import circuit
from norsim.spice.elements import ammeters
from norsim.spice.simulators import libngspice

WIRES = {
    "strapped": Wires(50.0, 100.0, 150.0, 5.0, 2, 2),
    "sensed": Wires(50.0, 100.0, 150.0, 5.0, 1, None),
    "lossless": Wires(strap_every=1),
}


def tile_and_reads(wires: Wires) -> tuple[Tile, Stimulus]:
    random = np.random.default_rng(1)
    tile = Tile(random.uniform(3.5, 5.0, (4, 5)), load_chip("etox65").cell, wires, name="three doors")
    gates = random.choice([0.0, 5.0], (6, 4))
    return tile, Stimulus(gates, random.uniform(0.0, 0.5, (6, 5)))


def by_pyspice(tile: Tile, stimulus: Stimulus) -> np.ndarray:
    """Simulate the circuit as a PySpice user would: `[vectors, ammeters]`."""
    libngspice.library()  # tells PySpice where libngspice is
    simulator = circuit(tile, stimulus).simulator(simulator="ngspice-shared", temperature=27, nominal_temperature=27)
    analysis = simulator.dc(Vidx=slice(0, stimulus.vectors - 1, 1))
    return np.stack([np.asarray(analysis.branches[name[2:-1]]) for name in ammeters(tile)], axis=1)


@pytest.mark.parametrize("wires", WIRES.values(), ids=WIRES.keys())
def test_deck_library_and_pyspice_circuit_agree(wires: Wires) -> None:
    tile, stimulus = tile_and_reads(wires)
    reference = read(tile, stimulus, "ngspice")
    library = read(tile, stimulus, "ngspice-shared")
    table = by_pyspice(tile, stimulus)
    assert (reference.backend, library.backend) == ("ngspice", "ngspice-shared")
    tolerance = 1e-9 * np.abs(reference.bitline).max()
    assert tolerance > 1e-16
    for bitline, source in (
        (library.bitline, library.source),
        (table[:, : tile.bitlines], table[:, tile.bitlines :]),
    ):
        assert np.abs(bitline - reference.bitline).max() <= tolerance
        assert np.abs(source - reference.source).max() <= tolerance


def test_the_circuit_can_be_built_on() -> None:
    """A resistor from a bitline's drive to ground, added in PySpice, does not pass the ammeter."""
    tile, stimulus = tile_and_reads(WIRES["lossless"])
    ours = circuit(tile, stimulus)
    assert ours.title == "three doors"
    assert {f"X{i}_{j}" for i in range(4) for j in range(5)} <= set(ours.element_names)
    ours.R("load", "drive0", "0", 1e3)
    assert "Rload drive0 0 1000.0" in str(ours)
