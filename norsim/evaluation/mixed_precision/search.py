"""From losses and energies of each layer to assignments of bits. Pure functions, no network.

Losses of layers are taken as additive, as in Cai et al., "ZeroQ: A Novel Zero Shot Quantization Framework" (CVPR 2020).
The least loss for an energy is then a knapsack problem with one choice for each layer. Its linear relaxation is solved
exactly by following, from the widest widths on, the lower convex hulls of all layers in the order of loss per energy
saved (Sinha and Zoltners, "The Multiple-Choice Knapsack Problem", Operations Research 27, 1979).
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass

from norsim.quantization.by_layer.bits import Bits


@dataclass(frozen=True)
class Option:
    """Widths that a layer can have, with the energy of its conversions and the loss that they cause alone."""

    bits: Bits
    joules: float
    loss: float


@dataclass(frozen=True)
class Assignment:
    """An option for each layer."""

    options: Mapping[str, Option]

    @property
    def bits(self) -> dict[str, Bits]:
        """Return the widths of each layer."""
        return {name: option.bits for name, option in self.options.items()}

    @property
    def joules(self) -> float:
        """The energy of all conversions of an image."""
        return sum(option.joules for option in self.options.values())

    @property
    def loss(self) -> float:
        """The sum of the losses that each layer causes alone."""
        return sum(option.loss for option in self.options.values())

    def with_option(self, name: str, option: Option) -> Assignment:
        """Return the assignment with another option of a layer."""
        return Assignment({**self.options, name: option})


def hull(options: list[Option]) -> list[Option]:
    """Return the options on the lower convex hull of loss over energy, from the most energy to the least; the first
    one is that with the most energy, and of equal energies only the least loss counts."""
    widest = max(options, key=lambda option: (option.joules, -option.loss))
    best: dict[float, Option] = {}
    for option in options:
        if option.joules not in best or option.loss < best[option.joules].loss:
            best[option.joules] = option
    found: list[Option] = [widest]
    for option in sorted(best.values(), key=lambda option: -option.joules):
        if option.joules >= widest.joules:
            continue
        while len(found) > 1 and _slope(found[-2], found[-1]) >= _slope(found[-2], option):
            found.pop()
        found.append(option)
    return found


def _slope(one: Option, other: Option) -> float:
    """Return the loss per energy saved from one option to another of less energy."""
    return (other.loss - one.loss) / (one.joules - other.joules)


def path(options: Mapping[str, list[Option]]) -> list[Assignment]:
    """Return assignments from the most energy to the least, each with one layer on the next option of its hull: always
    the layer that loses least per energy saved."""
    hulls = {name: hull(own) for name, own in options.items()}
    at = Assignment({name: own[0] for name, own in hulls.items()})
    waiting = [(_slope(own[0], own[1]), name, 1) for name, own in hulls.items() if len(own) > 1]
    heapq.heapify(waiting)
    found = [at]
    while waiting:
        _, name, place = heapq.heappop(waiting)
        own = hulls[name]
        at = at.with_option(name, own[place])
        found.append(at)
        if place + 1 < len(own):
            heapq.heappush(waiting, (_slope(own[place], own[place + 1]), name, place + 1))
    return found


def filled(at: Assignment, options: Mapping[str, list[Option]], joules: float) -> Assignment:
    """Return `at` with options of more energy and less loss, as long as all take at most `joules`.

    The option that gains most per energy comes first; what is left of a budget between two assignments of a path is
    used like this.
    """
    while True:
        left = joules - at.joules
        gains = [
            ((at.options[name].loss - option.loss) / (option.joules - at.options[name].joules), name, option)
            for name, own in options.items()
            for option in own
            if 0 < option.joules - at.options[name].joules <= left and option.loss < at.options[name].loss
        ]
        if not gains:
            return at
        _, name, option = max(gains, key=lambda gain: gain[:2])
        at = at.with_option(name, option)


def within(options: Mapping[str, list[Option]], joules: float) -> Assignment:
    """Return the assignment of the least loss that takes at most `joules`, as far as the path has it; that of the least
    energy if all take more."""
    assignments = path(options)
    at = next((one for one in assignments if one.joules <= joules), assignments[-1])
    return filled(at, options, joules)
