"""The result of a fit in sentences, and as the content of summary.json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from norsim.cell_fit.cell import FittedCell
from norsim.cell_fit.channel import PARAMETERS
from norsim.cell_fit.divider import NO_DIVIDER
from norsim.cell_fit.fit import NOISES
from norsim.cell_fit.judge import FITTED, JUDGED, ON_SHARE


def in_levels(one: FittedCell) -> tuple[int, float, float] | None:
    """Return the residuals of the on-region's points up to the top level: their number, the root mean square and the
    largest, in steps between levels; None without such points."""
    found, read = one.judgement, one.read
    chosen = found.is_on & (found.points.amps <= read.top_amps)
    if not chosen.any():
        return None
    off = np.abs(found.fitted_amps - found.points.amps)[chosen] / read.step_amps
    return int(chosen.sum()), float(np.sqrt(np.mean(off**2))), float(off.max())


def sentences(one: FittedCell) -> list[str]:
    """Return what the fit is worth, in full sentences."""
    found, read = one.judgement, one.read
    fit, judged = found.halves[FITTED], found.halves[JUDGED]
    on = (
        f"The on-region is the currents of at least {found.on_amps:.3g} A, with the drain above the source: at least "
        f"{ON_SHARE:g} of the largest measured current and {NOISES:g} times the noise, {found.noise_amps:.2g} A."
    )
    said = [f"The median error over the on-region of the {fit.curves} fitted curves is {_percent(fit.median)}."]
    if judged.curves:
        said.append(
            f"Over that of the {judged.curves} other curves, which the fit has not seen, it is "
            f"{_percent(judged.median)}; 90 % of their points are within {_percent(judged.quantile_90)}, and the worst "
            f"is off by {_percent(judged.largest)}."
        )
    else:
        said.append("All curves were fitted, so none judges the fit.")
    near = in_levels(one)
    if near is not None:
        said.append(
            f"Up to the top level, {read.top_amps:.3g} A, {near[0]} points are off by {near[1]:.2g} LSB rms and at "
            f"most {near[2]:.2g} LSB, where an LSB is the current between two levels, {read.step_amps:.3g} A; "
            "program-verify takes this error out at the voltages of the read."
        )
    return [*said, on, _divider(one), _ends(one), *_parameters(one), _thresholds(one)]


def _divider(one: FittedCell) -> str:
    cell = one.divider
    shares = f"{cell.gate:g} of the control gate, {cell.drain:g} of the drain and {cell.source:g} of the source"
    if cell == NO_DIVIDER:
        return "The cell has no divider: its gate is that of the channel."
    if one.fitted.divider == NO_DIVIDER:
        return (
            f"Assumed, not measured: a floating gate that takes {shares}. The measured device is a transistor, so the "
            "threshold of a cell shifts that of its channel, and nothing else of it."
        )
    return f"The measured device is a cell; that its floating gate takes {shares} is given, not fitted."


def _ends(one: FittedCell) -> str:
    found, read = one.judgement, one.read
    return (
        f"The data end at an overdrive of {found.overdrive_volts:.3g} V, at {found.drain_volts:.3g} V between drain "
        f"and source, and at {found.on_amps:.2g} A. At the read, {read.wordline_volts:g} V on the wordline and "
        f"{read.bitline_volts:g} V on the bitline, cells with a threshold below {read.beyond_volts:.3g} V are beyond "
        "them, and so is the leakage of programmed and of unselected cells."
    )


def _parameters(one: FittedCell) -> list[str]:
    fitted, said = one.fitted, []
    if fitted.assumed:
        said.append(f"The data do not tell {_listed(fitted.assumed)}: the values are assumed.")
    if fitted.at_bounds:
        said.append(f"The fit left {_listed(fitted.at_bounds)} at a bound.")
    return said


def _thresholds(one: FittedCell) -> str:
    volts = one.fitted.thresholds / one.divider.gate
    if len(volts) == 1:
        return f"The threshold of the measured device, seen from the control gate of the cell, is {volts[0]:.3f} V."
    pairs = ", ".join(f"{state}: {threshold:.3f} V" for state, threshold in zip(one.states, volts, strict=True))
    return f"The thresholds of the states, seen from the control gate: {pairs}."


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def _percent(share: float | None) -> str:
    return "not known, because no current is in the on-region" if share is None else f"{100 * share:.2f} %"


def content(one: FittedCell, files: Sequence[str], difference: float, simulator: str) -> dict[str, Any]:
    """Return the content of summary.json for a cell fitted to `files`; `difference` is that of its netlist from the
    fit, of the largest current, in the `simulator`."""
    fitted, found, near = one.fitted, one.judgement, in_levels(one)
    thresholds = (fitted.thresholds / one.divider.gate).tolist()
    return {
        "cell": one.name, "files": list(files), "curves": len(one.curves), "points": len(found.points.amps),
        "on_region": {"least_amps": found.on_amps, "share_of_largest": ON_SHARE, "noise_amps": found.noise_amps},
        "halves": {half: asdict(errors) for half, errors in found.halves.items()},
        "lsb": None if near is None else dict(zip(("points", "rms", "largest"), near, strict=True)),
        "parameters": [
            {"name": key, "value": fitted.values[key], "unit": of.unit, "meaning": of.meaning,
             "assumed": key in fitted.assumed, "at_bound": key in fitted.at_bounds}
            for key, of in PARAMETERS.items()
        ],
        "temperature_kelvin": fitted.values["tref"],
        "coupling": asdict(one.divider), "measured_coupling": asdict(fitted.divider),
        "thresholds": [
            {"state": state, "volts": volts} for state, volts in zip(one.states, thresholds, strict=True)
        ],
        "read": asdict(one.read) | {"lsb_amps": one.read.step_amps},
        "data_end": {"overdrive_volts": found.overdrive_volts, "drain_volts": found.drain_volts,
                     "least_amps": found.on_amps},
        "by_curve": [
            {"where": curve.where, "swept": curve.swept, "state": curve.state, "fitted": bool(chosen),
             "median_error": error}
            for curve, chosen, error in zip(one.curves, found.is_fitted, found.by_curve, strict=True)
        ],
        "netlist_difference": difference, "simulator": simulator, "sentences": sentences(one),
    }  # fmt: skip
