"""Lines in time: how far gates lag behind their drivers, and how much of a cell's current has reached its amplifier.

A line is a ladder of resistors with a capacitor at each node, behind what is at its end. With the matrix G of its
conductances, G 1 is the conductance at the end in the first place and 0 elsewhere. So after a step of the driver a node
has reached the share

    h(t) = 1 - exp(-C^-1 G t) 1,

and after a step of the current that a cell takes from a node, that share of it flows through the end: the two are
transposes of each other. Shares are computed from the eigenvectors of C^-1/2 G C^-1/2 as sums of exponentials.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from norsim.array.tile import Floats
from norsim.array.wires import EndParts, Wires
from norsim.errors import ConfigurationError

# A read whose current has reached its amplifier to less than this share has not begun.
LEAST_SHARE = 1e-3
# Intervals of time in a sample.
INTERVALS = 96


@dataclass(frozen=True, eq=False)
class Response:
    """Shares of cells' places along a line over time: 1 - left exp(-rates t / unit) right.

    `rates`  `[modes]`, in units of one over `unit_seconds`
    `left`   `[cells, modes]`;  `right`   `[modes]`
    """

    rates: Floats
    unit_seconds: float
    left: Floats
    right: Floats

    def mean(self, seconds: float, window_seconds: float = 0.0) -> Floats:
        """Return the shares `[cells]` at a time after the step, or their mean over the window before it."""
        return 1 - self.left @ (self.decays(seconds, window_seconds) * self.right)

    def decays(self, seconds: float, window_seconds: float) -> Floats:
        """Return exp(-rates t) `[modes]` at a time, or its mean over the window before it."""
        at: Floats = np.exp(-self.rates * seconds / self.unit_seconds)
        if not window_seconds:
            return at
        x = self.rates * window_seconds / self.unit_seconds
        before = np.exp(-self.rates * (seconds - window_seconds) / self.unit_seconds)
        # -expm1 keeps its digits where a mode hardly moves within the window.
        mean: Floats = before * -np.expm1(-x) / x
        return mean


@lru_cache(maxsize=16)
def ladder(ohms: float, farads: float, cells: int, end: EndParts) -> Response | None:
    """Return the response of a line of `cells` nodes with `ohms` between them and `farads` at each, behind the parts
    at its end; None for a line that does not lag.

    A line without anything at its end has a millionth of a segment's resistance there. The last results are kept,
    because the tiles of a chip have few different lines.
    """
    resistances, capacitances, place = _nodes(ohms, farads, cells, end)
    if not resistances:
        return None
    unit = ohms or resistances[0]
    scale = farads or capacitances[0]
    count = len(resistances)
    conductances = unit / np.array(resistances)
    along = np.diag(conductances)
    step = np.arange(count - 1)
    along[step, step] += conductances[1:]
    along[step, step + 1] = along[step + 1, step] = -conductances[1:]
    root = np.sqrt(np.array(capacitances) / scale)
    rates, modes = np.linalg.eigh(along / root[:, None] / root)
    return Response(rates, unit * scale, (modes / root[:, None])[place], (root[:, None] * modes).sum(axis=0))


def _nodes(ohms: float, farads: float, cells: int, end: EndParts) -> tuple[list[float], list[float], list[int] | slice]:
    """Return the resistance before and the capacitance at each node, and the node of each cell. Capacitors without a
    resistance between them are one; those at the volts of the line itself have no effect."""
    resistances: list[float] = []
    capacitances: list[float] = []
    before = 0.0

    def add(capacitance: float) -> None:
        nonlocal before
        if before:
            resistances.append(before)
            capacitances.append(capacitance)
            before = 0.0
        elif capacitances:
            capacitances[-1] += capacitance

    for part in end:
        before += part.ohms
        if part.farads:
            add(part.farads)
    if farads and ohms:
        # A driver without resistance is modelled as a millionth of a segment's resistance.
        before = before if resistances else max(before, 1e-6 * ohms)
        add(farads)
        first = len(resistances) - 1
        resistances += [ohms] * (cells - 1)
        capacitances += [farads] * (cells - 1)
        return resistances, capacitances, slice(first, first + cells)
    if farads:
        add(farads * cells)
    return resistances, capacitances, [len(resistances) - 1] * cells


def gate_shares(wires: Wires, bitlines: int, seconds: float) -> Floats:
    """Return gate volts `[bitlines]` along a wordline as a share of the driver's, `seconds` after its step from 0."""
    if not wires.wordline_ohms and wires.wordline_end_ohms and wires.wordline_farads:
        share = -np.expm1(-seconds / (wires.wordline_end_ohms * wires.wordline_farads * bitlines))
        return np.full(bitlines, float(share))
    found = wordline(wires, bitlines)
    return np.ones(bitlines) if found is None else found.mean(seconds)


def wordline(wires: Wires, bitlines: int) -> Response | None:
    """Return the response of a wordline; None for one that does not lag."""
    if not (wires.wordline_ohms or wires.wordline_end_ohms):
        return None
    return ladder(wires.wordline_ohms, wires.wordline_farads, bitlines, wires.wordline_end)


def bitline(wires: Wires, wordlines: int) -> Response | None:
    """Return the response of a bitline; None for one that does not lag."""
    return ladder(wires.bitline_ohms, wires.bitline_farads, wordlines, wires.bitline_end)


def source_line(wires: Wires, bitlines: int) -> Response | None:
    """Return the response of a source line that is sensed at its end; None for one that does not lag."""
    return ladder(wires.source_ohms, wires.source_farads, bitlines, wires.source_end)


def arrived(sensed: Response | None, cells: int, seconds: float, window_seconds: float) -> Floats:
    """Return the shares `[cells]` of steps of cells' currents that have reached the end of a line, `seconds` after the
    step, as the mean over the window before that time; before the step they are 0."""
    inside = min(window_seconds, seconds)
    if seconds <= 0:
        return np.zeros(cells)
    found = np.ones(cells) if sensed is None else sensed.mean(seconds, inside)
    return found * (inside / window_seconds) if window_seconds else found


def seen_times(
    sensed: Response | None, cells: int, seconds: float, window_seconds: float
) -> tuple[Floats, Floats]:  # fmt: skip
    """Return times after a step of the input, `[times]`, and their weights in a sample, `[cells, times]`.

    A current takes its way along the sensed line, so a sample at t, or the mean over the window before it, sees the
    currents that cells have at all times s before, with the weights - dh(t - s), h being `arrived`. Intervals are
    shorter the nearer they are to the sample. Raises ConfigurationError if less than a thousandth of a cell's current
    arrives.
    """
    whole = arrived(sensed, cells, seconds, window_seconds)
    if whole.min() < LEAST_SHARE:
        raise ConfigurationError(
            f"{seconds:g} s after the step of its input a line has passed on {whole.min():.1g} of a cell's current; "
            "make sense.read_time longer, or the resistances and capacitances of the line smaller"
        )
    if sensed is None and not window_seconds:
        return np.array([seconds]), np.ones((cells, 1))
    before = seconds * np.linspace(0.0, 1.0, INTERVALS + 1) ** 3
    reached = np.stack([arrived(sensed, cells, float(one), window_seconds) for one in before], axis=1)
    return seconds - (before[1:] + before[:-1]) / 2, np.diff(reached, axis=1)
