"""Comparison with badcrossbar, a nodal solver of resistive crossbars, on the same network of resistors.

In badcrossbar, word line m is driven next to bit line 0, bit lines are grounded after the last word line, and
each of these has one more segment to the source or to ground. In norsim, bitline j is driven next to
wordline 0 and source line i is sensed next to bitline 0, through end resistances. So wordline i is bit
line n = i, bitline j is word line m = bitlines - 1 - j, and the end resistances equal a segment.
"""

from __future__ import annotations

import importlib
import logging
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks.measure import Measured, seconds, spread, worst
from benchmarks.speed import LEAST_SECONDS
from norsim.array.cell import Cell
from norsim.array.tile import Floats, Tile
from norsim.array.wires import Wires
from norsim.backends.characterised import _Content, macro_model, read_nodal
from norsim.solver.input_lines import Driven

REQUIREMENTS = Path(__file__).parent / "requirements.txt"
KILOHM_CELL = Cell(
    "resistor", ".subckt resistor d g s b kilohm=100\nRcell d s {1e3*kilohm}\n.ends resistor", "", "kilohm", 10.0, 1e4
)
TOP_VOLTS = 0.1


@dataclass(frozen=True)
class Network:
    """Resistors of `kilohms` `[wordlines, bitlines]` between lines whose segments all have `ohms`."""

    kilohms: Floats
    ohms: float

    @property
    def tile(self) -> Tile:
        """The network as norsim's tile."""
        ends = (self.ohms,) * 4
        return Tile(self.kilohms, KILOHM_CELL, Wires(*ends, 1, None), name="resistors")

    @property
    def resistances(self) -> Floats:
        """The network as badcrossbar's resistances `[word lines, bit lines]`."""
        return 1e3 * self.kilohms.T[::-1]

    @property
    def full_scale_amps(self) -> float:
        """Current of a source line with all cells at the lowest resistance under full drive."""
        return float(self.kilohms.shape[1] * TOP_VOLTS / (1e3 * self.kilohms.min()))


def network(wordlines: int, bitlines: int, ohms: float) -> Network:
    """Make a network of random levels, sixteen from 100 kilohm to 1 megohm, uniform in conductance."""
    levels = np.round(1e3 / np.linspace(1.0, 10.0, 16), 6)
    return Network(levels[np.random.default_rng(0).integers(0, 16, (wordlines, bitlines))], ohms)


@contextmanager
def badcrossbar() -> Iterator[ModuleType]:
    """Install badcrossbar into a temporary folder and import it, without log messages and plots."""
    with tempfile.TemporaryDirectory(prefix="norsim-benchmark-") as folder:
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
             "--target", folder, "-r", str(REQUIREMENTS)],
            check=True,
        )  # fmt: skip
        sys.path.insert(0, folder)
        logging.disable(logging.INFO)
        try:
            # It warns about missing dependencies of its plots, whatever the warning filters.
            with warnings.catch_warnings(record=True):
                module = importlib.import_module("badcrossbar")
            yield module
        finally:
            logging.disable(logging.NOTSET)
            sys.path.remove(folder)
            for name in [name for name in sys.modules if name.split(".")[0] in ("badcrossbar", "pathvalidate")]:
                del sys.modules[name]


def peer_amps(module: Any, of: Network, x: Floats) -> Floats:
    """Solve amperes `[vectors, source lines]` by badcrossbar for drives `x` `[vectors, bitlines]`."""
    volts = TOP_VOLTS * x.T[::-1]
    solved = module.compute(volts, of.resistances, of.ohms, node_voltages=False, all_currents=False)
    amps: Floats = solved.currents.output
    return amps


def against(module: Any, of: Network, peer_batch: int, batch: int, repeats: int) -> dict[str, Measured]:
    """Measure the claims `peer-speed` (one call per vector), `peer-speed-batch`, `peer-error` and `peer-nodal`.

    In a batch badcrossbar factors its matrix once for all vectors, so the two speeds are far apart.
    """
    x = np.random.default_rng(1).integers(0, 16, (batch, of.tile.bitlines)) / 15
    x[0] = 1.0
    few, drive = x[:peer_batch], Driven("bitlines", TOP_VOLTS, 0.0)
    start = time.perf_counter()
    model = macro_model(_Content(of.tile), drive)
    built = time.perf_counter() - start
    single = x.astype(np.float32)
    model.lines(single)
    peer_amps(module, of, few[:1])
    times = np.array([
        (
            seconds(lambda: model.lines(single), LEAST_SECONDS) / batch,
            seconds(lambda: peer_amps(module, of, few[:1])),
            seconds(lambda: peer_amps(module, of, few)) / peer_batch,
        )
        for _ in range(repeats)
    ])  # fmt: skip
    ours, alone, batched = 1e3 * np.median(times, axis=0)
    theirs = peer_amps(module, of, few)
    macro_amps = model.lines(single[:peer_batch]).astype(np.float64)
    nodal_amps = read_nodal(of.tile, drive.stimulus(few, of.tile)).source
    macro_note = (
        f"macro {ours:.3g} ms per vector, batch {batch}, without {built:.2g} s once to build the model; "
        f"{of.ohms:g} ohm per segment, cells of 100 kilohm to 1 megohm"
    )
    return {
        "peer-speed": spread(list(times[:, 1] / times[:, 0]), f"badcrossbar {alone:.3g} ms; {macro_note}"),
        "peer-speed-batch": spread(list(times[:, 2] / times[:, 0]), f"badcrossbar {batched:.3g} ms; {macro_note}"),
        "peer-error": worst(_deviations(macro_amps, theirs, of), f"{peer_batch} vectors; range over vectors"),
        "peer-nodal": worst(_deviations(nodal_amps, theirs, of), f"{peer_batch} vectors: the networks are the same"),
    }


def _deviations(amps: Floats, exact: Floats, of: Network) -> list[float]:
    """Return the largest deviation of each vector, relative to full scale."""
    return [float(value) for value in np.abs(amps - exact).max(axis=1) / of.full_scale_amps]
