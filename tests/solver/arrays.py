"""Programmed tiles of the preset chip, their drives, and analytic cells that need no simulator."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from norsim.array.cell import Cell
from norsim.array.tile import Currents, Floats, Stimulus, Tile
from norsim.array.wires import Wires
from norsim.backends.programming import program_levels
from norsim.chip.load import load_chip
from norsim.periphery.bit_serial import BitSerial
from norsim.periphery.encoding import Codes, full_scale_amps, sensed_amps
from norsim.periphery.linear_pair import LinearPair
from norsim.solver import characterisation_cache
from norsim.solver.characterize import CellTable, Sweep, characterize
from norsim.spice.simulators import ngspice
from norsim.spice.simulators.ngspice import drain_amps

ENCODINGS = ("bit-serial", "linear-pair")
OHMS = ("bitline_ohms", "bitline_end_ohms", "source_ohms", "source_end_ohms")
NO_LOSS = {name: 0.0 for name in OHMS}


@dataclass(frozen=True, eq=False)
class Array:
    """A tile of random weight codes, with the encoding that drives and senses it."""

    encoding: BitSerial | LinearPair
    tile: Tile
    inputs: int
    outputs: int

    def codes(self, vectors: int, seed: int) -> Codes:
        """Draw `[vectors, inputs]`: the full vector, the last input alone, then random codes of all densities."""
        random = np.random.default_rng(seed)
        codes = random.integers(0, 16, (vectors, self.inputs))
        codes *= random.random(codes.shape) < random.uniform(0.05, 0.95, (vectors, 1))
        codes[0], codes[1], codes[1, -1] = 15, 0, 15
        return codes.astype(np.uint8)

    def stimulus(self, vectors: int, seed: int) -> Stimulus:
        return self.encoding.drive(self.codes(vectors, seed), self.outputs, 4)

    def sensed(self, currents: Currents) -> Floats:
        """Return `[reads, outputs]` in units of full scale."""
        amps = sensed_amps(currents, self.encoding.sense(self.outputs))
        return amps / full_scale_amps(self.encoding, self.inputs, 4, 4)

    def difference(self, one: Currents, other: Currents) -> float:
        """Return the largest difference of a sensed output, in units of full scale."""
        return float(np.abs(self.sensed(one) - self.sensed(other)).max())


def array_of(encoding: str, wordlines: int, bitlines: int, times: float = 1.0, seed: int = 0, **wires: Any) -> Array:
    """Make a tile of the preset chip with `times` the wire resistance, and further fields of `Wires`."""
    chip = load_chip("etox65-ideal-straps", (f"encoding={encoding}",))
    inputs, outputs = chip.encoding.capacity(wordlines, bitlines)
    weights = np.random.default_rng(seed).integers(0, 16, (inputs, outputs), dtype=np.uint8)
    thresholds = program_levels(chip.cell, chip.encoding).thresholds[chip.encoding.cell_codes(weights, 7)]
    scaled = {name: times * getattr(chip.wires, name) for name in OHMS}
    tile = Tile(thresholds, chip.cell, replace(chip.wires, **(scaled | wires)))
    return Array(chip.encoding, tile, inputs, outputs)


def table_of(tile: Tile, stimulus: Stimulus) -> CellTable:
    """Characterise the tile's cell by ngspice, as `norsim.read` does."""
    box = characterisation_cache.bounds(tile, stimulus, drain_amps)
    gates, thresholds = np.unique(stimulus.wordline_volts), np.unique(tile.thresholds)
    simulator = ngspice.version_line(ngspice.find_ngspice())
    return characterisation_cache.table(tile.cell, gates, thresholds, box, drain_amps, simulator)


def ohmic(cell: Cell, gate: Floats, drain: Floats, source: Floats, thresholds: Floats) -> Floats:
    """Return the currents of the resistor cell of tests/conftest.py: 100 kilohm per volt of threshold."""
    return (drain - source) / (1e5 * thresholds)


def channel(cell: Cell, gate: Floats, drain: Floats, source: Floats, thresholds: Floats) -> Floats:
    """Return the currents of an EKV transistor, with a kink in its slope where drain and source swap."""

    def charge(end: Floats) -> Floats:
        squared: Floats = np.log1p(np.exp(((gate - thresholds) / 1.3 - end) / 0.2)) ** 2
        return squared

    return 1e-7 * (charge(source) - charge(drain)) * (1 + 0.3 * np.abs(drain - source))


def characterized(tile: Tile, stimulus: Stimulus, sweep: Sweep) -> CellTable:
    """Characterise an analytic cell over the volts that the tile can see according to `bounds`."""
    box = characterisation_cache.bounds(tile, stimulus, sweep)
    return characterize(tile.cell, np.unique(stimulus.wordline_volts), np.unique(tile.thresholds), box, sweep)


def layouts() -> dict[str, Wires]:
    """Return wire layouts, each with resistances that matter to cells of a microampere."""
    return {
        "two rows per line, straps with contacts": Wires(40.0, 300.0, 150.0, 60.0, 2, 4),
        "two rows per line, ideal straps": Wires(40.0, 300.0, 150.0, 0.0, 2, 4),
        "one row per line, straps at the edges": Wires(40.0, 300.0, 150.0, 60.0, 1, 16),
        "three rows per line, a strap at each bitline": Wires(40.0, 0.0, 150.0, 60.0, 3, 1),
        "no straps, one row per line": Wires(40.0, 300.0, 60.0, 200.0, 1, None),
        "no straps, three rows per line": Wires(40.0, 300.0, 20.0, 0.0, 3, None),
        "lossless bitlines": Wires(0.0, 0.0, 150.0, 60.0, 2, 4),
        "source lines of one node": Wires(40.0, 300.0, 0.0, 60.0, 2, 4),
        "contacts only": Wires(0.0, 300.0, 0.0, 60.0, 2, None),
    }


def metal_layouts() -> dict[str, Wires]:
    """Return layouts with straps that have a resistance, which matters to cells of a microampere."""
    contacts, ideal = Wires(40.0, 300.0, 150.0, 60.0, 2, 4), Wires(40.0, 300.0, 150.0, 0.0, 3, 3)
    return {
        "straps grounded at one end": replace(contacts, strap_ends="one", strap_ohms=60.0, ground_ohms=90.0),
        "straps grounded at both ends": replace(ideal, strap_ends="both", strap_ohms=60.0, ground_ohms=90.0),
        "straps that end at ground": replace(contacts, strap_ends="both", strap_ohms=150.0),
        "pads with a resistance": replace(ideal, strap_ends="one", ground_ohms=150.0),
    }


LAYOUTS = layouts() | metal_layouts()
