"""The curves that `norsim cell check` measures."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import colormaps

from norsim.array.tile import Floats
from norsim.cell_check.curves import Curves
from norsim.report.figures.svg import GREY, INK, drawing, figure, plain_log

# Currents below the first cannot be measured; zero has no logarithm.
LEAST_SHOWN_AMPS, LEAST_AMPS = 1e-13, 1e-20


def curves(found: Curves, level_amps: Floats, ends: tuple[float, float]) -> str:
    """Draw the drain current over gate volts, drain volts and threshold, one curve per level, as SVG.

    Dashed lines mark the read voltages and the `ends` of the threshold window, volts; dots mark `level_amps`
    `[levels]`, the target currents.
    """
    with figure(10.5, 3.4) as drawn:
        panels: Any = drawn.subplots(1, 3)
        gate, drain, threshold = panels
        colours = colormaps["viridis"](np.linspace(0, 0.9, len(found.levels)))
        for over_gate, over_drain, colour in zip(found.over_gate, found.over_drain, colours, strict=True):
            gate.semilogy(found.gates, np.maximum(over_gate, LEAST_AMPS), color=colour, linewidth=1)
            drain.plot(found.drains, 1e6 * over_drain, color=colour, linewidth=1)
        gate_volts, drain_volts = found.read_volts
        gate.set(xlabel=f"gate, V, at {drain_volts:g} V on the drain", ylabel="drain current, A")
        gate.axvline(gate_volts, color=GREY, linewidth=0.8, linestyle="--")
        drain.set(xlabel=f"drain, V, at {gate_volts:g} V on the gate", ylabel="drain current, µA")
        drain.axvline(drain_volts, color=GREY, linewidth=0.8, linestyle="--")
        threshold.semilogy(found.thresholds, np.maximum(found.over_threshold, LEAST_AMPS), color=INK, linewidth=1)
        threshold.set(xlabel=f"threshold, V, at {gate_volts:g} V and {drain_volts:g} V", ylabel="drain current, A")
        for volts in ends:
            threshold.axvline(volts, color=GREY, linewidth=0.8, linestyle="--")
        for wanted, volts, colour in zip(level_amps, found.levels, colours, strict=True):
            threshold.plot([volts], [max(float(wanted), LEAST_AMPS)], "o", color=colour, markersize=3)
        for panel in (gate, threshold):
            panel.set_ylim(bottom=LEAST_SHOWN_AMPS)
            plain_log(panel.yaxis)
        for panel in panels:
            panel.grid()
        alt = f"Drain current of the cell at {len(found.levels)} levels over gate volts, drain volts and threshold"
        return drawing("iv", alt, drawn).svg
