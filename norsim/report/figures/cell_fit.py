"""Measured curves against the fitted cell, the residuals, and where the data end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps

from norsim.cell_fit.cell import FittedCell
from norsim.cell_fit.judge import Judgement
from norsim.cell_fit.measured import Curve
from norsim.cell_fit.read_point import ReadPoint
from norsim.report.figures.svg import BLUE, GREY, ORANGE, Drawing, drawing, figure, plain_log

# Residuals beyond this are drawn at the edge.
MOST_PERCENT = 20.0


def fit_figures(one: FittedCell) -> list[Drawing]:
    """Draw the curves, the residuals in per cent and in LSB, and the region of the data, as SVG."""
    return [_curves(one.curves, one.judgement), _residuals(one.judgement, one.read), _region(one)]


def _curves(curves: Sequence[Curve], found: Judgement) -> Drawing:
    with figure(10.5, 4.0) as drawn:
        panels: Any = drawn.subplots(1, 2)
        for panel, swept in zip(panels, ("gate", "drain"), strict=True):
            own = [place for place, one in enumerate(curves) if one.swept == swept]
            colours = colormaps["viridis"](np.linspace(0, 0.9, max(len(own), 1)))
            for place, colour in zip(own, colours, strict=False):
                _curve(panel, curves[place], place, found, colour)
            scale = "A" if swept == "gate" else "µA"
            panel.set(xlabel=f"{swept} over source, V", ylabel=f"drain current, {scale}")
            panel.grid()
            if swept == "gate" and own:
                panel.set_yscale("log")
                panel.axhspan(found.on_amps / 1e3, found.on_amps, color=GREY, alpha=0.15, linewidth=0)
                panel.set_ylim(max(found.noise_amps, found.on_amps / 1e3), 2 * found.points.amps.max())
                plain_log(panel.yaxis)
        panels[0].set_title("dots: measured, filled where fitted; lines: the cell; grey: outside the on-region")
        return drawing("curves", "Measured and fitted drain currents over gate and drain volts", drawn)


def _curve(panel: Any, curve: Curve, place: int, found: Judgement, colour: Any) -> None:
    own = found.points.curve == place
    volts = (curve.gate_volts if curve.swept == "gate" else curve.drain_volts) - curve.source_volts
    factor = 1.0 if curve.swept == "gate" else 1e6
    measured, computed = factor * found.points.amps[own], factor * found.fitted_amps[own]
    filled = colour if found.is_fitted[place] else "none"
    shown = measured > 0 if curve.swept == "gate" else np.full(len(measured), True)
    panel.plot(
        volts[shown], measured[shown], "o", markersize=3, color=colour, markerfacecolor=filled, markeredgewidth=0.6
    )
    panel.plot(volts, computed, color=colour, linewidth=1)


def _residuals(found: Judgement, read: ReadPoint) -> Drawing:
    with figure(10.5, 3.2) as drawn:
        panels: Any = drawn.subplots(1, 2)
        amps, percent = found.points.amps, np.clip(100 * found.errors, -MOST_PERCENT, MOST_PERCENT)
        lsb = (found.fitted_amps - found.points.amps) / read.step_amps
        in_range = found.is_on & (amps <= read.top_amps)
        half = found.is_fitted[found.points.curve]
        for panel, values, chosen in ((panels[0], percent, found.is_on), (panels[1], lsb, in_range)):
            for fitted, colour, label in ((True, BLUE, "fitted curves"), (False, ORANGE, "other curves")):
                own = chosen & (half == fitted)
                panel.semilogx(amps[own], values[own], "o", markersize=3, color=colour, label=label)
            panel.axhline(0, color=GREY, linewidth=0.8)
            panel.axvline(read.top_amps, color=GREY, linewidth=0.8, linestyle="--")
            panel.grid()
            panel.set(xlabel="measured current, A")
        panels[0].set(ylabel="fitted over measured, %", ylim=(-1.05 * MOST_PERCENT, 1.05 * MOST_PERCENT))
        panels[0].legend()
        panels[1].set(ylabel="fitted minus measured, LSB")
        panels[1].set_title("up to the top level (dashed)")
        for panel in panels:
            if panel.lines[0].get_xdata().size or panel.lines[1].get_xdata().size:
                plain_log(panel.xaxis)
        return drawing("residuals", "Residuals of the fit in per cent and in LSB over the measured current", drawn)


def _region(one: FittedCell) -> Drawing:
    found, read = one.judgement, one.read
    with figure(5.2, 3.2) as drawn:
        panel: Any = drawn.subplots()
        overdrive = one.fitted.overdrive(found.points)
        across = found.points.drain - found.points.source
        for on, colour, label in ((False, GREY, "below the on-region"), (True, BLUE, "on-region")):
            chosen = found.is_on == on
            panel.plot(overdrive[chosen], across[chosen], "o", markersize=2.5, color=colour, label=label)
        thresholds = np.array([read.programmed_volts, read.erased_volts])
        ends = one.divider.gate * (read.wordline_volts - thresholds) + one.divider.drain * read.bitline_volts
        panel.plot(ends, [read.bitline_volts] * 2, color=ORANGE, linewidth=3, label="reads, programmed to erased")
        panel.set(xlabel="gate of the channel over threshold and source, V", ylabel="drain over source, V")
        panel.grid()
        panel.legend()
        return drawing("region", "Where the data end, and where the cell is read", drawn)
