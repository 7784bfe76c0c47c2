"""A cell's current over gate volts, drain volts and threshold, from the simulator."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

import numpy as np

from norsim.array.cell import Cell
from norsim.array.tile import Floats
from norsim.spice.simulators.choice import Simulator

POINTS = 121
# Curves extend beyond the read's volts by this factor.
BEYOND = 1.2


@dataclass(frozen=True, eq=False)
class Curves:
    """Currents of single cells with source and bulk at 0 V, amperes.

    `read_volts`   gate and drain volts of the read
    `levels`       `[levels]` thresholds of the weight codes, volts
    `gates`        `[points]` gate volts from 0, and `over_gate` `[levels, points]` at the read's drain volts
    `drains`       `[points]` drain volts from 0, and `over_drain` `[levels, points]` at the read's gate volts
    `thresholds`   `[n]` volts over all thresholds that a cell can reach, and `over_threshold` `[n]` at the read's volts
    """

    read_volts: tuple[float, float]
    levels: Floats
    gates: Floats
    over_gate: Floats
    drains: Floats
    over_drain: Floats
    thresholds: Floats
    over_threshold: Floats

    def table(self) -> str:
        """Return all points as CSV, one per line, in volts and amperes."""
        gate, drain = self.read_volts
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("curve", "code", "threshold_volts", "gate_volts", "drain_volts", "amps"))
        for code, threshold in enumerate(self.levels):
            for volts, amps in zip(self.gates, self.over_gate[code], strict=True):
                writer.writerow(("gate", code, float(threshold), float(volts), drain, float(amps)))
            for volts, amps in zip(self.drains, self.over_drain[code], strict=True):
                writer.writerow(("drain", code, float(threshold), gate, float(volts), float(amps)))
        for volts, amps in zip(self.thresholds, self.over_threshold, strict=True):
            writer.writerow(("threshold", "", float(volts), gate, drain, float(amps)))
        return text.getvalue()


def over_thresholds(cell: Cell, read_volts: tuple[float, float], simulator: Simulator) -> tuple[Floats, Floats]:
    """Measure thresholds `[n]` over all that `cell` can reach, including its window's ends, and amperes `[n]` there.

    Raises SimulatorError or SolveError if the simulator does.
    """
    thresholds = np.unique([*np.linspace(*cell.limits, 4 * POINTS), cell.erased_volts, cell.programmed_volts])
    gate, drain = (np.full(len(thresholds), volts) for volts in read_volts)
    return thresholds, simulator.drain_amps(cell, gate, drain, np.zeros(len(thresholds)), thresholds)


def measure(
    cell: Cell, read_volts: tuple[float, float], levels: Floats, by_threshold: tuple[Floats, Floats],
    simulator: Simulator,
) -> Curves:  # fmt: skip
    """Measure the curves of `cell` at thresholds `levels` `[levels]`, volts; `by_threshold` is the result of
    `over_thresholds`. Raises the same errors as that."""
    gate, drain = read_volts
    gates, drains = (np.linspace(0, BEYOND * volts, POINTS) for volts in read_volts)
    held = np.repeat(levels, POINTS)
    amps = simulator.drain_amps(
        cell,
        np.concatenate([np.tile(gates, len(levels)), np.full(len(held), gate)]),
        np.concatenate([np.full(len(held), drain), np.tile(drains, len(levels))]),
        np.zeros(2 * len(held)),
        np.tile(held, 2),
    ).reshape(2, len(levels), POINTS)
    return Curves(read_volts, levels, gates, amps[0], drains, amps[1], *by_threshold)
