"""What is asked of a cell, each question by itself: a number, what was expected of it, and what to change."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.constants import Boltzmann, elementary_charge

from norsim.array.tile import Floats
from norsim.cell_check.curves import Curves
from norsim.periphery.encoding import Encoding
from norsim.periphery.programming import Levels

# A simulator's own noise, of the top level's current: a step below it is no step.
NOISE = 1e-6
# Of a level's step: what may be off before two codes are taken for each other.
HALF_A_STEP = 0.5
# Of a level's step: where a cell counts as off.
OFF = 0.01
# Chip-file keys of what findings tell to change: read volts of gate and drain.
READ_KEYS = {
    "bit-serial": ("bit_serial.wordline_read", "bit_serial.bitline_read", "bit_serial.top_level"),
    "linear-pair": ("linear_pair.wordline_bias", "linear_pair.drain_full", "linear_pair.top_level"),
}
# The same of an encoding that has no section of a chip file.
UNNAMED_KEYS = ("the gate volts of the read", "its drain volts", "the top level")


@dataclass(frozen=True)
class Finding:
    """One answer. `value` is in `unit`, None where there is none; `ok` is None where nothing is asked of it;
    `advice` says what to change, or what the number means."""

    name: str
    value: float | None
    unit: str
    expected: str = ""
    ok: bool | None = None
    advice: str = ""


def step_amps(encoding: Encoding) -> float:
    """The current between two neighbouring levels, amperes."""
    levels = encoding.level_amps
    return float(levels[-1] - levels[0]) / (len(levels) - 1)


def window(thresholds: Floats, amps: Floats, ends: tuple[float, float], encoding: Encoding) -> list[Finding]:
    """Between which thresholds the levels lie, and whether the window with its `ends`, volts, holds them.

    `thresholds` `[n]` volts and `amps` `[n]` as in Curves.
    """
    gate, drain, top_key = READ_KEYS.get(encoding.name, UNNAMED_KEYS)
    top, erased = float(encoding.level_amps[-1]), float(np.interp(ends[0], thresholds, amps))
    programmed = float(np.interp(ends[1], thresholds, amps))
    reached, off = last_above(thresholds, amps, top), last_above(thresholds, amps, OFF * step_amps(encoding))
    lack = (
        "the cell does not conduct: check cell.pins and the read volts"
        if erased <= 0
        else (
            f"lower {top_key} to {0.9 * erased:.2g} A or less, raise {gate} or {drain}, "
            "or lower cell.erased if cells can be erased further"
        )
    )
    found = [
        Finding("current of an erased cell", erased, "A", f"at least the top level, {top:.3g} A", erased >= top,
                "" if erased >= top else lack),
        Finding("on/off ratio", erased / programmed if programmed > 0 else None, "",
                advice="" if programmed > 0 else "a programmed cell conducts nothing"),
        Finding("threshold of the top level", reached, "V"),
        Finding(f"threshold at which {OFF:g} of a step is left", off, "V",
                advice="" if off is not None else "no threshold turns the cell off that far"),
    ]  # fmt: skip
    return found


def last_above(thresholds: Floats, amps: Floats, wanted: float) -> float | None:
    """The threshold, volts, above which the cell conducts less than `wanted` amperes; None where there is none.

    `amps` `[n]` are those of cells at the rising `thresholds` `[n]`, volts.
    """
    above = np.flatnonzero(amps >= wanted)
    if not len(above) or above[-1] + 1 == len(amps):
        return None
    k = int(above[-1])
    share = (amps[k] - wanted) / (amps[k] - amps[k + 1])
    return float(thresholds[k] + share * (thresholds[k + 1] - thresholds[k]))


def levels(found: Levels, encoding: Encoding) -> list[Finding]:
    """How well the levels are met, what code 0 leaves, and how near levels lie to each other."""
    step, top_key = step_amps(encoding), READ_KEYS.get(encoding.name, UNNAMED_KEYS)[2]
    off = np.abs(found.achieved_amps - found.target_amps)
    rest, worst = float(off[0]) / step, float(off[1:].max() / found.target_amps.max())
    gaps = np.abs(np.diff(found.thresholds))
    return [
        Finding("levels found", float(len(off)), "", f"each within {NOISE:g} of the top level", worst <= NOISE,
                "" if worst <= NOISE else f"the worst is {worst:.1e} off: does the model step at some threshold?"),
        Finding("closest two levels", 1e3 * float(gaps.min()), "mV",
                advice="compare with what program-verify can do, silicon.programming_volts"),
        Finding("code 0 is off by", rest, "steps", f"at most {HALF_A_STEP:g}", rest <= HALF_A_STEP,
                "" if rest <= HALF_A_STEP else f"raise cell.programmed or {top_key}: a programmed cell still conducts"),
    ]  # fmt: skip


def monotone(curves: Curves, ends: tuple[float, float], top_amps: float) -> list[Finding]:
    """Whether the current falls as the threshold rises, within the window, and rises with gate and with drain."""
    inside = (curves.thresholds >= ends[0]) & (curves.thresholds <= ends[1])
    rise = _largest(np.diff(curves.over_threshold[inside])) / top_amps
    backwards = "swap cell.state_erased and cell.state_programmed, or check the sign of cell.state"
    below_zero = "the solvers expect it: is a pin in the wrong place in cell.pins, or does the model snap back?"
    found = [_monotone("falls as the threshold rises, but for", rise, backwards)]
    for name, amps, volts, read in (
        ("rises with the gate, but for", curves.over_gate, curves.gates, curves.read_volts[0]),
        ("rises with the drain, but for", curves.over_drain, curves.drains, curves.read_volts[1]),
    ):
        fall = _largest(-np.diff(amps[:, volts <= read])) / top_amps
        found.append(_monotone(name, fall, below_zero))
    return found


def _monotone(name: str, step: float, advice: str) -> Finding:
    ok = step <= NOISE
    return Finding(f"current {name}", step, "of the top level", f"at most {NOISE:g}", ok, "" if ok else advice)


def _largest(steps: Floats) -> float:
    return float(np.maximum(steps, 0).max(initial=0.0))


def slope(curves: Curves, kelvin: float) -> Finding:
    """Gate millivolts in which the current of the topmost level grows tenfold, where it does so fastest."""
    least = 1e3 * math.log(10) * Boltzmann * kelvin / elementary_charge
    within = curves.gates <= curves.read_volts[0]
    gates, amps = curves.gates[within], curves.over_gate[-1, within]
    usable = amps > OFF**2 * amps[-1]
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
        about = "steeper than a transistor can be: a switch, or a model that knows nothing below threshold"
    return Finding("subthreshold slope", steepest, "mV/decade", f"a transistor's is above {least:.1f}", advice=about)


def unselected(amps: float, wordlines: int, encoding: Encoding) -> Finding:
    """What all cells of a bitline of so many `wordlines` leak together at 0 V on the gate, `amps` each, if erased."""
    share = amps * wordlines / step_amps(encoding)
    ok = share <= HALF_A_STEP
    return Finding(f"leak of {wordlines} unselected cells", share, "steps", f"at most {HALF_A_STEP:g}", ok,
                   "" if ok else "raise cell.erased, or take fewer tile.wordlines")  # fmt: skip


def lost(amps: float, top_amps: float, most: float) -> Finding:
    """What leaves a cell by gate and bulk, at most; `most` is the share of the top level that nodal and macro take."""
    share = amps / top_amps
    ok = share <= most
    return Finding("current lost through gate and bulk", share, "of the top level", f"at most {most:g}", ok,
                   "" if ok else "nodal and macro will refuse the cell; --backend ngspice takes it. Junctions forward "
                   "biased by a pin in the wrong place, or a gate that leaks, are the usual reasons")  # fmt: skip


def temperature(amps: tuple[float, float], kelvin_apart: float) -> Finding:
    """How the current of the middle level follows the temperature; `amps` are those `kelvin_apart` apart."""
    mean = (amps[0] + amps[1]) / 2
    percent = 100 * (amps[1] - amps[0]) / mean / kelvin_apart
    what_then = "see silicon.programmed_at for what that costs, and silicon.tracking for what helps"
    return Finding("temperature slope of the middle level", percent, "%/K", advice=what_then)


def same_card(shifted: float, card: float) -> Finding:
    """Whether a programmed cell's own card conducts what an erased one whose threshold is shifted does, amperes."""
    off = abs(shifted / card - 1) if card > 0 else None
    ok = off is not None and off <= 0.1
    return Finding("card of a programmed cell against a shifted erased one", off, "of its current", "at most 0.1", ok,
                   "" if ok else "they differ in more than their threshold, or cell.programmed is not that card's: "
                   "move cell.programmed, or give a model with a parameter for its state in cell.state")  # fmt: skip


def fitted(error: float, tolerance: float, parts: int) -> Finding:
    """The error of the polynomials that nodal and macro have in place of the cell, of its largest current."""
    pieces = "one piece" if parts == 1 else f"{parts} pieces: the model has kinks"
    return Finding("characterisation", error, "of its largest current", f"at most {tolerance:g}", error <= tolerance,
                   pieces)  # fmt: skip


def agreement(name: str, error: float, most: float) -> Finding:
    """How far two solvers are apart on a small tile, in full scale."""
    ok = error <= most
    advice = "" if ok else "use --backend ngspice, which needs no fit, and look at the curves for steps"
    return Finding(name, error, "of full scale", f"at most {most:g}", ok, advice)
