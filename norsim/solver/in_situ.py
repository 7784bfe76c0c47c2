"""In-situ programming: thresholds at which each cell conducts its target at its place in the tile, under a mean load.

Program-verify reads a cell alone. While a tile is read, the bitline has dropped and the source line has risen at the
cell, so it conducts less than verified, the more the further it is from driver and strap. The volts at a cell while its
own line is driven are nearly the same from read to read, so a lower threshold compensates for them.

The load is the mean over random drives, solved by `nodal`. The thresholds follow from the cell's own characterisation
by Newton's method on ln I. Since new thresholds change the load, both steps are repeated until the thresholds converge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from norsim.array.clipped import ROUNDING
from norsim.array.tile import Floats, Tile
from norsim.solver import nodal
from norsim.solver.characterize import CellTable
from norsim.solver.input_lines import Driven

VECTORS = 48
ROUNDS = 4
NEWTON_STEPS = 8
SETTLED_VOLTS = 1e-4
SLOPE_VOLTS = 5e-3
LARGEST_STEP_VOLTS = 0.2
# Cells with targets below this share of the largest one are left as they are, since their error is negligible.
LEAST_SHARE = 1e-3

TableOf = Callable[[Tile, Floats], CellTable]


def aim(
    tile: Tile, drive: Driven, target_amps: Floats, table_of: TableOf, random: np.random.Generator
) -> tuple[Tile, Floats]:
    """Return `tile` with thresholds at which its cells conduct `target_amps` `[wordlines, bitlines]` in their places,
    and the currents that are missing, amperes, same shape.

    Targets are currents under full drive. `table_of(tile, thresholds)` characterises the cell at `thresholds` `[n]`,
    sorted, over the volts that cells of `tile` can see. A cell that cannot reach its target within its window is left
    at the end of the window.
    """
    x, missing = _drives(tile, drive, random), np.zeros(target_amps.shape)
    wanted = target_amps > LEAST_SHARE * target_amps.max()
    nominal = target_amps if tile.gains is None else target_amps / tile.gains
    for _ in range(ROUNDS):
        table = table_of(tile, np.unique(tile.thresholds))
        across, source = _volts_in_place(nodal.prepare(tile, table), drive, x)
        thresholds = tile.thresholds.copy()
        volts = across[wanted], source[wanted]
        thresholds[wanted], reached = _thresholds(tile, drive, *volts, nominal[wanted], table_of)
        short = (thresholds[wanted] <= tile.cell.erased_volts) & (reached < 1 - ROUNDING)
        missing[wanted] = np.where(short, (1 - reached) * target_amps[wanted], 0.0)
        moved = float(np.abs(thresholds - tile.thresholds).max())
        tile = replace(tile, thresholds=thresholds)
        if moved <= SETTLED_VOLTS:
            break
    return tile, missing


def _drives(tile: Tile, drive: Driven, random: np.random.Generator) -> Floats:
    """Draw drives `[vectors, inputs]`, bits or shares of full drive, with the densities that activations have."""
    size = (VECTORS, drive.inputs(tile))
    x = (random.random(size) < random.uniform(0.1, 0.5, (VECTORS, 1))).astype(np.float64)
    return x if drive.direction == "wordlines" else x * random.random(size)


def _volts_in_place(prepared: nodal.Prepared, drive: Driven, x: Floats) -> tuple[Floats, Floats]:
    """Return volts across each cell and at its source, `[wordlines, bitlines]`, that go with its own full drive."""
    tile, stimulus = prepared.tile, drive.stimulus(x, prepared.tile)
    gates = np.searchsorted(prepared.table.gates, stimulus.wordline_volts).T
    _, drop, rise = nodal.relax(prepared, gates, stimulus.bitline_volts.T, None, None, "both")
    rise = np.repeat(rise, tile.wires.rows_per_source_line, axis=0)[: tile.wordlines]
    across = stimulus.bitline_volts.T[None] - drop - rise
    # The part that goes with a line's own drive: the mean while it is up, or the slope over its volts.
    weight = x.T[:, None, :] if drive.direction == "wordlines" else x.T[None, :, :]
    total = np.maximum((weight**2).sum(axis=2), 1e-30)
    return (across * weight).sum(axis=2) / total, (rise * weight).sum(axis=2) / total


def _thresholds(
    tile: Tile, drive: Driven, across: Floats, source: Floats, target: Floats, table_of: TableOf
) -> tuple[Floats, Floats]:
    """Find thresholds `[n]`, within the cell's window, at which cells with those volts conduct `target`, and the share
    of it, `[n]`, that they conducted in the last step."""
    gate = drive.top_volts if drive.direction == "wordlines" else drive.rest_volts
    low, high = tile.cell.erased_volts, tile.cell.programmed_volts
    found = np.full(target.shape, (low + high) / 2)

    def log_amps(thresholds: Floats) -> Floats:
        states, where = np.unique(thresholds, return_inverse=True)
        table = table_of(tile, states)
        up = int(np.searchsorted(table.gates, gate))
        inside = np.clip(across, table.box.across_low, table.box.across_high)
        amps = table.amps_each(up, where.ravel(), inside, source)
        return np.log(np.maximum(amps, 1e-30))

    for _ in range(NEWTON_STEPS):
        here = log_amps(found)
        slope = (log_amps(found + SLOPE_VOLTS) - here) / SLOPE_VOLTS
        step = (np.log(target) - here) / np.minimum(slope, -1e-3)
        found = np.clip(found + np.clip(step, -LARGEST_STEP_VOLTS, LARGEST_STEP_VOLTS), low, high)
        if np.abs(step).max() <= SETTLED_VOLTS / 10:
            break
    return found, np.exp(here) / target
