"""The curves of a cell, as SVG."""

from __future__ import annotations

import io
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from norsim.array.tile import Floats
from norsim.cell_check.curves import Curves

# The same curves give the same bytes.
STYLE: Any = {"svg.hashsalt": "norsim", "font.size": 9}
# Below the first is no measurable current; no current at all has no logarithm.
LEAST_SHOWN_AMPS, LEAST_AMPS = 1e-13, 1e-20


def draw(curves: Curves, level_amps: Floats, ends: tuple[float, float]) -> str:
    """Current over gate, drain and threshold, as SVG: a curve a level; the read's volts, the window's `ends`, volts,
    and `level_amps` `[levels]`, what levels should conduct, as thin lines."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10.5, 3.4), layout="constrained")
        gate, drain, threshold = figure.subplots(1, 3)
        colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.9, len(curves.levels)))
        for over_gate, over_drain, colour in zip(curves.over_gate, curves.over_drain, colours, strict=True):
            gate.semilogy(curves.gates, np.maximum(over_gate, LEAST_AMPS), color=colour, linewidth=1)
            drain.plot(curves.drains, 1e6 * over_drain, color=colour, linewidth=1)
        gate_volts, drain_volts = curves.read_volts
        gate.set(xlabel=f"gate, V, at {drain_volts:g} V on the drain", ylabel="drain current, A")
        gate.axvline(gate_volts, color="C7", linewidth=0.8, linestyle="--")
        drain.set(xlabel=f"drain, V, at {gate_volts:g} V on the gate", ylabel="drain current, µA")
        drain.axvline(drain_volts, color="C7", linewidth=0.8, linestyle="--")
        threshold.semilogy(curves.thresholds, np.maximum(curves.over_threshold, LEAST_AMPS), color="k", linewidth=1)
        threshold.set(xlabel=f"threshold, V, at {gate_volts:g} V and {drain_volts:g} V", ylabel="drain current, A")
        for volts in ends:
            threshold.axvline(volts, color="C7", linewidth=0.8, linestyle="--")
        for wanted, volts, colour in zip(level_amps, curves.levels, colours, strict=True):
            threshold.plot([volts], [max(float(wanted), LEAST_AMPS)], "o", color=colour, markersize=3)
        gate.set_ylim(bottom=LEAST_SHOWN_AMPS)
        threshold.set_ylim(bottom=LEAST_SHOWN_AMPS)
        for panel in (gate, drain, threshold):
            panel.grid(alpha=0.3)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
