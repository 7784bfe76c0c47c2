"""Currents of cells that were programmed to one target, read back by the simulator."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from norsim.array.draw import Draw
from norsim.array.tile import Floats
from norsim.backends.reference_cells import curves
from norsim.spice.simulators.choice import chosen_simulator
from norsim.validation.row import Load, Predicted

CELLS = 2000
TARGET = 400e-9
# Of a chip file with all of them; `null` leaves one out.
WITHOUT: dict[str, str | None] = {f"silicon.{name}": None for name in ("programming", "aged", "mean_drift")}


def _currents(load: Load, settings: Mapping[str, str | None]) -> Floats:
    """Return the currents of many cells, nanoamperes."""
    chip = load(settings)
    targets = np.full((1, CELLS), TARGET)
    thresholds = np.broadcast_to(curves(chip).verify(targets[0]), targets.shape)
    drawn = chip.silicon.thresholds(thresholds, targets, chip.cell, curves(chip), Draw(0, 0, (1,)))
    gate, drain = (np.full(CELLS, volts) for volts in chip.encoding.verify_volts)
    return 1e9 * chosen_simulator(chip.cell).drain_amps(chip.cell, gate, drain, np.zeros(CELLS), drawn[0])


def _spread(load: Load, settings: Mapping[str, str | None]) -> Predicted:
    found = _currents(load, settings)
    return Predicted(float(found.std()), f"The mean is {found.mean():.4g} nA.")


programming = partial(_spread, settings={"silicon.reading": None, "silicon.aged": None, "silicon.mean_drift": None})
reading = partial(_spread, settings={**WITHOUT, "silicon.reading_drawn": "per_chip"})
five_days = partial(_spread, settings={"silicon.reading": None, "silicon.time": "5 day"})


def mean_shift(load: Load) -> Predicted:
    """Return how far the mean falls in five days, nanoamperes."""
    found = _currents(load, {"silicon.reading": None, "silicon.time": "5 day"})
    return Predicted(1e9 * TARGET - float(found.mean()))
