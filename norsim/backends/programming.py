"""Thresholds for the wanted currents, found by reading cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq, elementwise

from norsim.array.cell import Cell
from norsim.array.tile import Floats, Stimulus, Tile
from norsim.array.wires import Wires
from norsim.backends.characterised import ONE_AT_A_TIME, characterisation
from norsim.backends.registry import reference
from norsim.errors import ConfigurationError, SolveError
from norsim.periphery.encoding import Encoding
from norsim.periphery.programming import (
    ABSOLUTE_VOLTS,
    LEAST_SHARE,
    MOST_STEPS,
    Levels,
    current_curve,
    find_levels,
    threshold_curve,
)
from norsim.solver import in_situ
from norsim.solver.characterize import CellTable
from norsim.solver.input_lines import driven
from norsim.spice.simulators.choice import chosen_simulator

# A drive of up to this many steps (4 bits) is not checked against the cell's law, finer ones at this many drain volts.
MOST_STEPS_UNCHECKED, DRIVES, HALF = 15, 16, 0.5
# How far over-erased cells can be below the erased threshold, in windows.
OVER_ERASED = 2


def cell_amps(cell: Cell, thresholds: Floats, gate_volts: float, drain_volts: float | Floats) -> Floats:
    """Return `[n]` amperes of single cells with `thresholds` `[n]`, by the simulator: one row on lossless wires.

    `drain_volts` are the same for all cells, or `[n]`.
    """
    tile = Tile(np.atleast_2d(thresholds), cell, Wires(strap_every=1))
    stimulus = Stimulus(np.array([[gate_volts]]), np.full((1, tile.bitlines), drain_volts))
    currents: Floats = reference(cell).read(tile, stimulus).bitline[0]
    return currents


@lru_cache(maxsize=32)
def program_levels(cell: Cell, encoding: Encoding) -> Levels:
    """Return the thresholds of all cell codes of `encoding` on `cell`, found by reading the cell in the simulator.

    Raises ConfigurationError for levels that the cell cannot reach, and if it is not linear enough for the steps of
    the encoding's drive.
    """
    gate, drain = encoding.verify_volts
    levels = find_levels(cell, encoding.level_amps, lambda c, volts: cell_amps(c, volts, gate, drain))
    if encoding.top_drive > MOST_STEPS_UNCHECKED:
        _check_linear(cell, encoding, levels)
    return levels


def _check_linear(cell: Cell, encoding: Encoding, levels: Levels) -> None:
    """Raise ConfigurationError if the difference of the highest and the lowest level, the largest weight, leaves the
    line in the drain volts by more than half a step of the drive."""
    gate, drain = encoding.verify_volts
    shares = np.arange(1, DRIVES + 1) / DRIVES
    volts, ends = np.tile(shares * drain, 2), np.repeat(levels.thresholds[[0, -1]], DRIVES)
    low, high = cell_amps(cell, ends, gate, volts).reshape(2, DRIVES)
    weight = high - low
    away = np.abs(weight / weight[-1] - shares)
    worst = int(away.argmax())
    if away[worst] * encoding.top_drive > HALF:
        bits = max(int(np.log2(HALF / away[worst] + 1)), MOST_STEPS_UNCHECKED.bit_length())
        raise ConfigurationError(
            f"the cell {cell.subcircuit} is not linear enough for drain volts in {encoding.top_drive} steps: at "
            f"{shares[worst]:.0%} of the full drain volts the current of the largest weight is "
            f"{away[worst] * encoding.top_drive:.2g} steps from the line, and {HALF:g} is the most. Use a dac_bits "
            f"of at most {bits}, a smaller drain_full, or the bit-serial encoding, which needs no linear cell"
        )


@lru_cache(maxsize=32)
def curve(cell: Cell, encoding: Encoding) -> Callable[[Floats], Floats]:
    """Return a function from currents `[n]` under the verify read of `encoding` to thresholds `[n]` of `cell`.

    It interpolates reads of the cell in the simulator.
    """
    gate, drain = encoding.verify_volts
    return threshold_curve(cell, lambda c, volts: cell_amps(c, volts, gate, drain))


@lru_cache(maxsize=32)
def most_amps(cell: Cell, encoding: Encoding) -> float:
    """Return the current, amperes, of `cell` at its lowest threshold under the verify read of `encoding`."""
    return float(cell_amps(cell, np.array([cell.limits[0]]), *encoding.verify_volts)[0])


@lru_cache(maxsize=32)
def leakage(cell: Cell, encoding: Encoding) -> Callable[[Floats], Floats]:
    """Return a function from thresholds `[n]` of `cell` to its currents `[n]` with its wordline not selected, and its
    bitline as in the verify read of `encoding`.

    Over-erased cells have thresholds below the cell's limits, by up to OVER_ERASED windows; lower ones count as that.
    """
    _, drain = encoding.verify_volts
    least = cell.erased_volts - OVER_ERASED * (cell.programmed_volts - cell.erased_volts)
    over_erased = replace(cell, lowest_volts=min(least, cell.limits[0]))
    return current_curve(over_erased, lambda c, volts: cell_amps(c, volts, encoding.off_volts, drain))


@lru_cache(maxsize=32)
def amps_of(cell: Cell, gate_volts: float, drain_volts: float) -> Callable[[Floats], Floats]:
    """Return a function from thresholds `[...]` of `cell` to its currents, same shape, at these volts; it interpolates
    reads of the cell in the simulator."""
    return current_curve(cell, lambda c, volts: cell_amps(c, volts, gate_volts, drain_volts))


@lru_cache(maxsize=32)
def neutral_volts(cell: Cell) -> float:
    """Return the threshold of `cell` without stored charge, volts.

    Raises ConfigurationError if neither the cell nor its netlist tells it.
    """
    found = chosen_simulator(cell).neutral_volts(cell) if cell.neutral_volts is None else cell.neutral_volts
    if found is None:
        raise ConfigurationError(
            f"the threshold of the cell {cell.subcircuit} without stored charge is not known: its state is no charge, "
            "and no delvto of a transistor in its netlist follows it linearly. Give silicon.neutral, which the loss of "
            "charge (silicon.lost_a_decade) needs"
        )
    return found


@lru_cache(maxsize=32)
def tracked_volts(cell: Cell, threshold: float, amps: float, gate_volts: float, drain_volts: float) -> float:
    """Return the gate volts at which a reference cell of that threshold conducts `amps`, near `gate_volts`.

    Raises ConfigurationError if there are none between 0.5 and 1.5 times `gate_volts`.
    """

    def excess(volts: float) -> float:
        return float(cell_amps(cell, np.array([threshold]), volts, drain_volts)[0]) / amps - 1

    low, high = 0.5 * gate_volts, 1.5 * gate_volts
    if not excess(low) < 0 < excess(high):
        raise ConfigurationError(
            f"no wordline volts between {low:g} V and {high:g} V make the reference cell conduct {amps:.3g} A at "
            f"{cell.temperature_kelvin:g} K; read closer to the temperature of programming, or without tracking"
        )
    found: float = brentq(excess, low, high, xtol=1e-7)
    return found


@lru_cache(maxsize=32)
def peripheral_volts(
    programmed: Cell, cell: Cell, amps: tuple[float, ...], gate_volts: float, drain_volts: float
) -> tuple[float, ...]:
    """Return the gate volts `[n]` at which a peripheral cell conducts rising currents `amps` `[n]`; 0 V for 0 A.

    The cell was programmed, as `programmed`, to conduct the last current at `gate_volts`, and is `cell` when it is
    read; both at `drain_volts`. Raises ConfigurationError for a current that it does not conduct between 0 V and 1.5
    times `gate_volts`.
    """
    wanted = np.array(amps)
    found = find_levels(programmed, wanted[-1:], lambda c, volts: cell_amps(c, volts, gate_volts, drain_volts))
    state, sweep = float(found.thresholds[0]), chosen_simulator(cell).drain_amps

    def excess(gates: Floats, target: Floats) -> Floats:
        one = np.ones(len(gates))
        conducted = sweep(cell, gates, drain_volts * one, 0 * one, state * one)
        excess: Floats = np.log(np.maximum(conducted, LEAST_SHARE * target) / target)
        return excess

    on = wanted > 0
    ends = np.zeros(int(on.sum())), np.full(int(on.sum()), 1.5 * gate_volts)
    low, high = (excess(end, wanted[on]) for end in ends)
    if not ((low < 0) & (high > 0)).all():
        worst = wanted[on][~((low < 0) & (high > 0))][0]
        raise ConfigurationError(
            f"no wordline volts between 0 V and {1.5 * gate_volts:g} V make a peripheral cell conduct {worst:.3g} A at "
            f"{cell.temperature_kelvin:g} K: change input_full, wordline_full, or the temperature"
        )
    root = elementwise.find_root(
        excess, ends, args=(wanted[on],),
        tolerances={"xatol": ABSOLUTE_VOLTS, "xrtol": 0.0, "fatol": 0.0, "frtol": 0.0}, maxiter=MOST_STEPS,
    )  # fmt: skip
    if not np.all(root.success):
        raise SolveError("the peripheral cells' volts did not converge: does the cell's current rise with its gate?")
    volts = np.zeros(len(wanted))
    volts[on] = root.x
    return tuple(volts.tolist())


def aimed(tile: Tile, stimulus: Stimulus, target_amps: Floats, random: np.random.Generator) -> tuple[Tile, Floats]:
    """Return `tile` with each threshold moved until its cell in the array conducts `target_amps`, and what is missing
    of the currents, amperes, where the window ends before.

    `target_amps` is `[wordlines, bitlines]`. The load is that of random drives of the kind of `stimulus`; see
    norsim.solver.in_situ.
    """
    drive = driven(stimulus)
    inputs = drive.inputs(tile)

    def table_of(some: Tile, thresholds: Floats) -> CellTable:
        ends = drive.stimulus(np.array([np.zeros(inputs), np.ones(inputs)]), some)
        return characterisation(some, ends, thresholds)

    with ONE_AT_A_TIME:
        return in_situ.aim(tile, drive, target_amps, table_of, random)
