"""The findings of a cell check, one function each: a value, the expectation, and advice on what to change."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.constants import Boltzmann, elementary_charge

from norsim.array.tile import Floats
from norsim.cell_check.curves import Curves
from norsim.periphery.encoding import Encoding
from norsim.periphery.programming import Levels
from norsim.periphery.registry import read_keys

PINS = "check the order of cell.pins, and the model for snapback"
# The simulator's noise, as a share of the top level's current; smaller steps are ignored.
NOISE = 1e-6
# Largest error, as a share of the step between levels, before codes are mistaken for their neighbours.
HALF_A_STEP = 0.5
# Share of the step between levels below which a cell counts as off.
OFF = 0.01
# Per cent per kelvin.
LEAST_SLOPE = 1e-6
# What findings advise to change if the encoding has no section in the chip file.
UNNAMED_KEYS = ("the gate volts of the read", "its drain volts", "the top level")

# Keys of the ends of the window: if the state has its own unit, its own keys count, and the volts are only a scale.
ERASED = "cell.erased (or cell.state_erased if it is set)"
PROGRAMMED = "cell.programmed (or cell.state_programmed if it is set)"
SWAPPED = "swap cell.state_erased and cell.state_programmed, or check the sign of cell.state"


@dataclass(frozen=True)
class Finding:
    """One finding. `value` is in `unit`, or None if there is none; `ok` is None if there is no requirement;
    `advice` states what to change, or what the value means."""

    name: str
    value: float | None
    unit: str
    expected: str = ""
    ok: bool | None = None
    advice: str = ""


def step_amps(encoding: Encoding) -> float:
    """Return the current between two neighbouring levels, amperes."""
    levels = encoding.level_amps
    return float(levels[-1] - levels[0]) / (len(levels) - 1)


def window(thresholds: Floats, amps: Floats, ends: tuple[float, float], encoding: Encoding) -> list[Finding]:
    """Find the thresholds between which the levels lie, and check that the window with `ends`, volts, contains them.

    `thresholds` `[n]` volts and `amps` `[n]` are as in Curves.
    """
    top = float(encoding.level_amps[-1])
    erased, programmed = (float(np.interp(end, thresholds, amps)) for end in ends)
    reached, off = last_above(thresholds, amps, top), last_above(thresholds, amps, OFF * step_amps(encoding))
    found = [
        *reach(erased, programmed, encoding),
        Finding("on/off ratio", erased / programmed if programmed > 0 else None, "",
                advice="" if programmed > 0 else "a programmed cell conducts nothing"),
        Finding("threshold of the top level", reached, "V"),
        Finding(f"threshold at which {OFF:g} of a step is left", off, "V",
                advice="" if off is not None else "no threshold turns the cell off to this level"),
    ]  # fmt: skip
    return found


def reach(erased: float, programmed: float, encoding: Encoding) -> list[Finding]:
    """Check that currents of the erased and the programmed cell, amperes, reach the lowest and the highest level."""
    base, top = (float(level) for level in encoding.level_amps[[0, -1]])
    found = [
        Finding("current of an erased cell", erased, "A", f"at least the top level, {top:.3g} A", erased >= top,
                "" if erased >= top else _lack(erased, programmed, encoding)),
    ]  # fmt: skip
    if base > 0:
        ok = programmed <= base
        key = (read_keys(encoding) or UNNAMED_KEYS)[2].replace("top_level", "base_level")
        advice = f"raise {key} to {1.1 * programmed:.2g} A or more, or {PROGRAMMED} if cells can be programmed further"
        expected = f"at most the base level, {base:.3g} A"
        found.insert(0, Finding("current of a programmed cell", programmed, "A", expected, ok, "" if ok else advice))
    return found


def _lack(erased: float, programmed: float, encoding: Encoding) -> str:
    """Return advice for an erased cell that conducts less than the top level, amperes."""
    gate, drain, top_key = read_keys(encoding) or UNNAMED_KEYS
    if erased < 0:
        return "the current is negative: mirror a p-channel cell, as the tutorial shows, or check cell.pins"
    if programmed > erased:
        return f"a programmed cell conducts more, {programmed:.3g} A: {SWAPPED}"
    if erased == 0:
        return "the cell does not conduct: check cell.pins and the read volts"
    return (
        f"lower {top_key} to {0.9 * erased:.2g} A or less, raise {gate} or {drain}, or lower {ERASED} if cells can be "
        "erased further"
    )


def last_above(thresholds: Floats, amps: Floats, wanted: float) -> float | None:
    """Return the threshold, volts, above which the cell conducts less than `wanted` amperes, or None.

    `amps` `[n]` are the currents at the rising `thresholds` `[n]`, volts.
    """
    above = np.flatnonzero(amps >= wanted)
    if not len(above) or above[-1] + 1 == len(amps):
        return None
    k = int(above[-1])
    share = (amps[k] - wanted) / (amps[k] - amps[k + 1])
    return float(thresholds[k] + share * (thresholds[k + 1] - thresholds[k]))


def levels(found: Levels, encoding: Encoding) -> list[Finding]:
    """Check how well the levels are met, the current left at code 0, and the spacing of the levels."""
    step, top_key = step_amps(encoding), (read_keys(encoding) or UNNAMED_KEYS)[2]
    off = np.abs(found.achieved_amps - found.target_amps)
    rest, worst = float(off[0]) / step, float(off[1:].max() / found.target_amps.max())
    gaps = np.abs(np.diff(found.thresholds))
    return [
        Finding("levels found", float(len(off)), "", f"each within {NOISE:g} of the top level", worst <= NOISE,
                "" if worst <= NOISE else f"the worst is off by {worst:.1e}: check the model for a step"),
        Finding("closest two levels", 1e3 * float(gaps.min()), "mV",
                advice="compare with the accuracy of program-verify, silicon.programming_volts"),
        Finding("code 0 is off by", rest, "steps", f"at most {HALF_A_STEP:g}", rest <= HALF_A_STEP,
                "" if rest <= HALF_A_STEP else f"raise {PROGRAMMED} or {top_key}: a programmed cell still conducts"),
    ]  # fmt: skip


def monotone(curves: Curves, ends: tuple[float, float], top_amps: float) -> list[Finding]:
    """Check that the current falls with rising threshold, within the window, and rises with gate and drain volts."""
    inside = (curves.thresholds >= ends[0]) & (curves.thresholds <= ends[1])
    amps, (gate_volts, drain_volts) = curves.over_threshold[inside], curves.read_volts
    rise, at = _largest(np.diff(amps), curves.thresholds[inside])
    drain, where = _largest(-np.diff(_read_part(curves.over_drain, curves.drains, drain_volts)), curves.drains)
    gate, there = _largest(-np.diff(_read_part(curves.over_gate, curves.gates, gate_volts)), curves.gates)
    two_states = (
        f"it rises between {at[0]:.4g} V and {at[1]:.4g} V, where the model may have two states: keep the window away "
        "from these thresholds"
    )
    bends = (
        f"it falls between {there[0]:.3g} V and {there[1]:.3g} V, which is no problem if reads do not use such gate "
        "volts: an ambipolar cell, or drain leakage"
    )
    falls = f"it falls between {where[0]:.3g} V and {where[1]:.3g} V, but the solvers need it to rise: {PINS}"
    return [
        _monotone("falls with rising threshold", rise / top_amps, SWAPPED if amps[-1] > amps[0] else two_states),
        _monotone("rises with the drain", drain / top_amps, falls),
        Finding("current rises with the gate, except by", gate / top_amps, "of the top level",
                advice=bends if gate > NOISE * top_amps else ""),
    ]  # fmt: skip


def _read_part(amps: Floats, volts: Floats, read: float) -> Floats:
    """Return the currents `[levels, points]` up to the volts of the read."""
    part: Floats = amps[:, np.abs(volts) <= abs(read) * (1 + 1e-9)]
    return part


def _monotone(does: str, step: float, advice: str) -> Finding:
    ok = step <= NOISE
    name = f"current {does}, except by"
    return Finding(name, step, "of the top level", f"at most {NOISE:g}", ok, "" if ok else advice)


def _largest(steps: Floats, volts: Floats) -> tuple[float, tuple[float, float]]:
    """Return the largest of the steps `[..., points - 1]`, at least 0, and the volts `[points]` on both sides of it."""
    place = int(np.argmax(steps)) % steps.shape[-1]
    return max(float(steps.max()), 0.0), (float(volts[place]), float(volts[place + 1]))


def slope(curves: Curves, kelvin: float) -> Finding:
    """Measure the steepest subthreshold slope of the topmost level, millivolts of gate per decade of current."""
    least = 1e3 * math.log(10) * Boltzmann * kelvin / elementary_charge
    within = np.abs(curves.gates) <= abs(curves.read_volts[0])
    gates, amps = curves.gates[within], curves.over_gate[-1, within]
    usable = (amps > OFF**2 * amps[-1]) & (amps > 0)
    gates, amps = gates[usable], amps[usable]
    rising = np.concatenate([[True], amps[1:] > np.maximum.accumulate(amps)[:-1]]) if len(amps) else usable[:0]
    decades, gates = np.log10(amps[rising]), gates[rising]
    steepest = None
    if len(decades) > 1 and decades[-1] - decades[0] >= 1:
        starts = decades[decades <= decades[-1] - 1]
        steepest = 1e3 * float(np.min(np.interp(starts + 1, decades, gates) - np.interp(starts, decades, gates)))
    about = ""
    if steepest is None:
        about = "the gate changes the current by less than a decade"
    elif steepest < 0.999 * least:
        about = "steeper than a transistor can be: a switch, or a model without a current below threshold"
    return Finding("subthreshold slope", steepest, "mV/decade", f"a transistor's is above {least:.1f}", advice=about)


def unselected(amps: Floats, thresholds: Floats, wordlines: int, encoding: Encoding) -> Finding:
    """Check the total leakage of the `wordlines` cells of a bitline at `off_volts` on the gate.

    One cell leaks `amps` `[n]` at `thresholds` `[n]`, volts; the worst counts.
    """
    worst = int(np.argmax(np.abs(amps)))
    share = abs(float(amps[worst])) * wordlines / step_amps(encoding)
    ok = share <= HALF_A_STEP
    lower = f"raise {ERASED}, lower wordline_off of the encoding's section"
    what = lower if worst == 0 else "if the cell is ambipolar, use a smaller window"
    advice = (
        f"a cell at {thresholds[worst]:.3g} V conducts {amps[worst]:.2g} A at {encoding.off_volts:g} V on the "
        f"gate: {what}, or reduce tile.wordlines"
    )
    return Finding(f"leakage of {wordlines} unselected cells", share, "steps", f"at most {HALF_A_STEP:g}", ok,
                   "" if ok else advice)  # fmt: skip


def lost(amps: float, top_amps: float, most: float) -> Finding:
    """Check the largest current lost through gate and bulk; nodal and macro accept a share `most` of the top level."""
    share = amps / top_amps
    ok = share <= most
    advice = (
        "nodal and macro will reject the cell; the ngspice backend accepts up to a tenth. Usual causes are junctions "
        "that a wrong order of pins forward-biases, and gate leakage"
    )
    return Finding("current lost through gate and bulk", share, "of the top level", f"at most {most:g}", ok,
                   "" if ok else advice)  # fmt: skip


def temperature(amps: tuple[float, float], kelvin_apart: float) -> Finding:
    """Measure the temperature slope of the middle level's current; `amps` are currents `kelvin_apart` apart."""
    mean = (amps[0] + amps[1]) / 2
    percent = 100 * (amps[1] - amps[0]) / mean / kelvin_apart
    if abs(percent) < LEAST_SLOPE:
        advice = "the model has no temperature dependence"
    else:
        advice = "silicon.programmed_at simulates its effect, and silicon.tracking a compensation"
    return Finding("temperature slope of the middle level", percent, "%/K", advice=advice)


def same_card(shifted: float, card: float, gate: float, drain: float) -> Finding:
    """Compare the currents, amperes, of a programmed cell's own card and of an erased cell with a shifted threshold, at
    `gate` and `drain` volts that give them the overdrive of an erased cell in a read."""
    off = abs(shifted / card - 1) if card > 0 else None
    ok = off is not None and off <= 0.1
    at = (
        f"at {gate:g} V on the gate, the overdrive of an erased cell in a read, and {drain:g} V at the drain, the card "
        f"conducts {card:.3g} A, the shifted cell {shifted:.3g} A"
    )
    return Finding("card of a programmed cell against a shifted erased one", off, "of its current", "at most 0.1", ok,
                   at if ok else f"{at}: they differ in more than their threshold, or cell.programmed is not the "
                   "threshold of that card: change cell.programmed, or use a model with a state parameter, set in "
                   "cell.state")  # fmt: skip


def same_leak(shifted: float, card: float, gate: float, drain: float, encoding: Encoding) -> Finding:
    """Compare the same currents, amperes, at the chip's own read, `gate` and `drain` volts, in steps between levels."""
    off = abs(shifted - card) / step_amps(encoding)
    ok = off <= HALF_A_STEP
    at = f"at the read, {gate:g} V on the gate and {drain:g} V at the drain, the card conducts {card:.3g} A"
    times = f", {card / shifted:.3g} times the {shifted:.3g} A" if shifted > 0 else f", and not the {shifted:.3g} A"
    advice = f"{at}{times} of the shifted cell that norsim uses"
    return Finding("card of a programmed cell at the read", off, "steps", f"at most {HALF_A_STEP:g}", ok,
                   advice if ok else f"{advice}: the lowest level is not that card's; change cell.programmed, or "
                   "use a model with a state parameter, set in cell.state")  # fmt: skip


def fitted(error: float, tolerance: float, parts: int) -> Finding:
    """Check the error of the polynomials that nodal and macro use for the cell, relative to its largest current."""
    pieces = "one piece" if parts == 1 else f"{parts} pieces: the model has kinks"
    return Finding("characterisation", error, "of its largest current", f"at most {tolerance:g}", error <= tolerance,
                   pieces)  # fmt: skip


def agreement(name: str, error: float, most: float) -> Finding:
    """Check the difference of two solvers on a small tile, as a share of full scale."""
    ok = error <= most
    advice = "" if ok else "use the ngspice backend, which needs no fit, and check the curves for steps"
    return Finding(name, error, "of full scale", f"at most {most:g}", ok, advice)
