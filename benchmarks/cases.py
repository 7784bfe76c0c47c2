"""The tiles and inputs of the benchmarks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from norsim.array.tile import Currents, Floats, Stimulus, Tile
from norsim.backends.characterised import characterisation, reduced
from norsim.backends.programming import program_levels
from norsim.chip.load import load_chip
from norsim.chip.model import Chip
from norsim.periphery.encoding import Codes, full_scale_amps, sensed_amps
from norsim.solver import nodal
from norsim.solver.input_lines import Driven, driven
from norsim.solver.macro.tables import Tabulated

ENCODINGS = ("bit-serial", "linear-pair")
CHIP = "etox65"
WEIGHT_BITS = 4
INPUT_BITS = 4
ZERO = 8


@dataclass(frozen=True)
class Case:
    """One tile of `wordlines` x `bitlines` in one encoding, with `resistance` times the chip's wire resistance."""

    wordlines: int
    bitlines: int
    encoding: str
    resistance: float = 1.0

    @property
    def name(self) -> str:
        """The name in the page's tables."""
        wires = "" if self.resistance == 1 else f", wires x{self.resistance:g}"
        return f"{self.wordlines}x{self.bitlines} {self.encoding}{wires}"

    @cached_property
    def chip(self) -> Chip:
        """The default chip with this encoding and these wires."""
        chip = load_chip(CHIP, (f"encoding={self.encoding}",))
        ohms = ("bitline_ohms", "bitline_end_ohms", "source_ohms", "source_end_ohms")
        wires = replace(chip.wires, **{name: self.resistance * getattr(chip.wires, name) for name in ohms})
        return replace(chip, wires=wires)

    @property
    def capacity(self) -> tuple[int, int]:
        """(inputs, outputs)."""
        return self.chip.encoding.capacity(self.wordlines, self.bitlines)

    @cached_property
    def tile(self) -> Tile:
        """Random normal weight codes in the encoding's layout, including reference columns."""
        random = np.random.default_rng(self.wordlines)
        weights = np.clip(np.rint(random.normal(ZERO, 2.5, self.capacity)), 0, 2**WEIGHT_BITS - 1).astype(np.uint8)
        levels = program_levels(self.chip.cell, self.chip.encoding).thresholds
        thresholds = levels[self.chip.encoding.cell_codes(weights, ZERO)]
        return Tile(thresholds, self.chip.cell, self.chip.wires, name=self.name)

    def stimulus(self, vectors: int) -> Stimulus:
        """Return full drive, one line alone, then random drives of densities from 0.05 to 0.95; one read per vector."""
        random = np.random.default_rng(vectors)
        inputs, outputs = self.capacity
        top = 1 if self.encoding == "bit-serial" else 2**INPUT_BITS - 1
        up = random.random((vectors, inputs)) < random.uniform(0.05, 0.95, (vectors, 1))
        codes = (up * random.integers(1, top + 1, up.shape)).astype(np.uint8)
        codes[0] = top
        if vectors > 1:
            codes[1] = 0
            codes[1, inputs // 2] = top
        bits = 1 if self.encoding == "bit-serial" else INPUT_BITS
        return self.chip.encoding.drive(codes, outputs, bits)

    @property
    def drive(self) -> Driven:
        """The kind of drive that macro's model is built for."""
        return driven(self.stimulus(1))

    def prepared(self) -> nodal.Prepared:
        """Prepare the tile for nodal; characterise the cell if necessary."""
        return nodal.prepare(self.tile, characterisation(self.tile, self.stimulus(2), np.unique(self.tile.thresholds)))

    def model(self) -> Tabulated:
        """Return macro's model, which is built on the first call."""
        return reduced(self.tile, self.stimulus(1))

    def drives(self, stimulus: Stimulus) -> Codes:
        """Return the codes `[vectors, inputs]` that `stimulus` drives."""
        return np.rint(self.drive.drives(stimulus) * self.chip.encoding.top_drive).astype(np.uint8)

    def lines(self, codes: Codes) -> Floats:
        """Return amperes `[vectors, lines]` by macro, for `codes` `[vectors, inputs]`, one read each."""
        return self.model().lines(codes, top=self.chip.encoding.top_drive).astype(np.float64)

    def outputs(self, currents: Currents) -> Floats:
        """Return the encoding's outputs `[vectors, outputs]` relative to full scale."""
        encoding, (inputs, outputs) = self.chip.encoding, self.capacity
        scale = full_scale_amps(encoding, inputs, WEIGHT_BITS, INPUT_BITS)
        return sensed_amps(currents, encoding.sense(outputs)) / scale

    def of_lines(self, amps: Floats) -> Currents:
        """Return macro's line currents `[vectors, lines]` as `Currents`."""
        nothing, converged = np.empty((len(amps), 0)), np.ones(len(amps), dtype=np.bool_)
        pair = (amps, nothing) if self.drive.direction == "wordlines" else (nothing, amps)
        return Currents(pair[0], pair[1], converged, np.zeros(len(amps)), "macro")
