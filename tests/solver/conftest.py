"""Fixtures shared by the tests of the fast solvers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from norsim.array.tile import Floats, Stimulus
from norsim.spice.simulators.ngspice import drain_amps
from tests.solver.arrays import Array


@pytest.fixture(scope="session")
def exact_sums() -> Callable[[Array, Stimulus], Floats]:
    """Sums `[reads, lines]` over the sensed lines of single cells, each measured by ngspice."""

    def sums(array: Array, stimulus: Stimulus) -> Floats:
        gates, volts = stimulus.wordline_volts[:, :, None], stimulus.bitline_volts[:, None, :]
        points = np.broadcast_arrays(gates, volts, 0.0, array.tile.thresholds[None])
        kinds, place = np.unique(np.stack([values.ravel() for values in points]), axis=1, return_inverse=True)
        gate, drain, source, thresholds = kinds
        amps = drain_amps(array.tile.cell, gate, drain, source, thresholds)[place].reshape(points[0].shape)
        summed: Floats = amps.sum(axis=1 if array.encoding.name == "bit-serial" else 2)
        return summed

    return sums
