"""From measured curves to a cell: fitted, judged, and with a read of an array of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from norsim.cell_fit.csv_file import read_csv
from norsim.cell_fit.divider import Divider
from norsim.cell_fit.fit import Fitted, fit
from norsim.cell_fit.judge import Judgement, judge
from norsim.cell_fit.mdm import read_mdm
from norsim.cell_fit.measured import Curve, fitted_half, noise_amps, points_of, states_of
from norsim.cell_fit.read_point import ReadPoint, read_point
from norsim.cell_fit.writers.chip_file import chip_text
from norsim.cell_fit.writers.spice_cell import netlist
from norsim.cell_fit.writers.verilog_a import module
from norsim.errors import DataError

READERS = {".mdm": read_mdm, ".csv": read_csv}


@dataclass(frozen=True, eq=False)
class FittedCell:
    """A cell fitted to measured curves.

    `name`      of its subcircuit, its module and its files
    `curves`, `states`   the measured curves, and the labels of their states
    `fitted`, `judgement`  the channel, and how far it is from the curves
    `divider`   between the cell's terminals and the channel's gate
    `read`      a read of an array of such cells
    """

    name: str
    curves: list[Curve]
    states: list[str]
    fitted: Fitted
    judgement: Judgement
    divider: Divider
    read: ReadPoint

    def files(self, remarks: list[str]) -> dict[str, str]:
        """Return the texts of its netlist, its Verilog-A module and its chip file by name; `remarks` are lines of their
        heads."""
        parts = (self.name, self.fitted, self.divider, self.read.erased_volts)
        return {
            f"{self.name}.sp": netlist(*parts, [f"{self.name}.sp: {remarks[0]}", *remarks[1:]]),
            f"{self.name}.va": module(*parts, [f"{self.name}.va: {remarks[0]}", *remarks[1:]]),
            f"{self.name}.yaml": chip_text(
                self.name, self.read, self.fitted.values["tref"], [f"{self.name}.yaml: {remarks[0]}", *remarks[1:]]
            ),
        }


def read_curves(paths: Sequence[Path], kelvin: float) -> list[Curve]:
    """Return the curves of `.mdm` and `.csv` files; `kelvin` is the temperature of those that state none.

    Raises DataError for a file of another kind, or that cannot be read as its kind, with the line.
    """
    found: list[Curve] = []
    for path in paths:
        reader = READERS.get(path.suffix.lower())
        if reader is None:
            raise DataError(f"{path}: measured curves are read from {' and '.join(READERS)} files, not {path.suffix!r}")
        found += reader(path, kelvin)
    return found


def fit_cell(
    name: str, curves: list[Curve], measured: Divider, cell: Divider, judged: bool = True, noise: float | None = None
) -> FittedCell:
    """Fit a cell with the divider `cell` to curves that were measured behind the divider `measured`.

    If `judged`, half of the curves are fitted and the others judge the fit. `noise` of the instrument, amperes, is
    found in the curves if it is None. Raises DataError or SolveError if the curves cannot be fitted.
    """
    states = states_of(curves)
    points = points_of(curves, states)
    found = noise_amps(points)
    noise = found if noise is None else noise
    chosen = fitted_half(curves) if judged else np.full(len(curves), True)
    fitted = fit(points.take(chosen[points.curve]), states, noise, measured)
    judgement = judge(fitted, curves, points, chosen, noise)
    return FittedCell(name, curves, states, fitted, judgement, cell, read_point(fitted, judgement, cell))
