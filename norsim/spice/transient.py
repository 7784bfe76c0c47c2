"""Transient simulation of one read: the input lines step from rest, and the currents settle.

The circuit is that of `norsim.spice.elements` plus what has no effect at DC: wordlines as resistor ladders behind a
driver, and a capacitor to ground on every node of every line. All volts except the input's are applied from the start.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from norsim.array.tile import Floats, Stimulus, Tile
from norsim.errors import ConfigurationError, SolveError
from norsim.spice.deck import INDEX, RAW_FILE, control, line_of, options, preamble, source_of, wrapped
from norsim.spice.elements import Comment, Element, ammeters, bitline_node, elements, far_ends, number, source_node
from norsim.spice.rawfile import read_raw
from norsim.spice.simulators.ngspice import run_deck
from norsim.spice.simulators.running import own_folder

# Rise time of the input, as a share of the simulated time, and number of points that are written.
EDGE = 1e-4
POINTS = 401
TIMEOUT_SECONDS = 3600.0


@dataclass(frozen=True, eq=False)
class Transient:
    """The currents of one read over time.

    `seconds` `[times]` since the input's step; `bitline` `[times, bitlines]` and `source` `[times, source lines]`,
    amperes, with the signs of `Currents`.
    """

    seconds: Floats
    bitline: Floats
    source: Floats


def read_in_time(tile: Tile, stimulus: Stimulus, seconds: float) -> Transient:
    """Simulate one read, a `stimulus` of one vector, over `seconds` after its input steps from 0 V, or from
    `off_volts` of the stimulus.

    Raises ConfigurationError for several vectors or a stimulus that does not state which lines it drives, SolveError if
    ngspice does not reach the end.
    """
    if stimulus.vectors != 1 or stimulus.driven is None:
        raise ConfigurationError("a transient needs one read, with a stimulus that states which lines it drives")
    with own_folder() as folder:
        (folder / "tile.cir").write_text(transient_deck(tile, stimulus, seconds))
        run_deck(tile.cell, folder, TIMEOUT_SECONDS)
        table = read_raw(folder / RAW_FILE, ["time", *ammeters(tile)], POINTS)
    if abs(table[-1, 0] - seconds) > 1e-6 * seconds:
        raise SolveError(f"ngspice stopped at {table[-1, 0]:g} s, before the end at {seconds:g} s")
    return Transient(table[:, 0], table[:, 1 : 1 + tile.bitlines], table[:, 1 + tile.bitlines :])


def transient_deck(tile: Tile, stimulus: Stimulus, seconds: float) -> str:
    """Return the deck of a transient read; ngspice writes the ammeters' currents at 401 times to `currents.raw`."""
    lines = [*preamble(tile, stimulus), line_of(INDEX)]
    for item in _in_time(tile, stimulus, seconds):
        lines.append(f"* {item.text}" if isinstance(item, Comment) else line_of(item))
    step = number(seconds / (POINTS - 1))
    names = " ".join(ammeters(tile))
    lines += [
        f"{options(tile.cell)} method=gear",
        wrapped(f".save {names}"),
        f".tran {step} {number(seconds)} 0 {step}",
        *control(tile.cell, "set filetype=binary", "run", "linearize", f"write {RAW_FILE}"),
    ]
    return "\n".join(lines)


def _in_time(tile: Tile, stimulus: Stimulus, seconds: float) -> Iterator[Element | Comment]:
    """Yield the elements at DC, with the input's sources stepping, gates on ladders, and capacitors."""
    wires, up, off = tile.wires, stimulus.driven == "wordlines", stimulus.off_volts
    for item in elements(tile, stimulus):
        if isinstance(item, Comment):
            yield item
            continue
        item = source_of(item)
        if item.kind == "X":
            i, j = (int(part) for part in item.name.split("_"))
            here, _, source, bulk = item.nodes
            gate = _gate(tile, i, j)
            yield item._replace(nodes=(here, gate, source, bulk))
            if wires.wordline_ohms and j:
                yield Element("R", gate, (_gate(tile, i, j - 1), gate), number(wires.wordline_ohms))
            farads_of = (wires.wordline_farads, wires.bitline_farads, wires.source_farads)
            for kind, node, farads in zip("gds", (gate, here, source), farads_of, strict=True):
                # An ideal ground has nothing to charge.
                if farads and node != "ret":
                    yield Element("C", f"{kind}{i}_{j}", (node, "0"), number(farads))
        elif item.kind == "V" and item.name.startswith("wl"):
            value = _step(item.value, seconds, off) if up else item.value
            yield from _wordline(tile, int(item.name[2:]), value)
        elif item.kind == "V" and item.name.startswith("drive") and not up:
            yield item._replace(value=_step(item.value, seconds, off))
        else:
            yield item
    yield from _at_ends(tile)


def _at_ends(tile: Tile) -> Iterator[Element]:
    """Yield the capacitors between the parts at the ends of lines."""
    wires = tile.wires
    ends = [(wires.bitline_end, str(j), bitline_node(tile, 0, j)) for j in range(tile.bitlines)]
    if not wires.strap_every:
        ends += [(wires.source_end, f"s{k}", source_node(tile, k, 0)) for k in range(tile.source_lines)]
    for parts, line, last in ends:
        for part, node in far_ends(parts, line, last):
            if part.farads:
                yield Element("C", f"{part.name}{line}", (node, "0"), number(part.farads))


def _gate(tile: Tile, i: int, j: int) -> str:
    return f"wl{i}_{j}" if tile.wires.wordline_ohms else f"wl{i}"


def _wordline(tile: Tile, i: int, value: str) -> Iterator[Element]:
    """Yield a driver of that value and its resistance."""
    near = _gate(tile, i, 0)
    if tile.wires.wordline_end_ohms:
        yield Element("V", f"wl{i}", (f"drv{i}", "0"), value)
        yield Element("R", f"drv{i}", (f"drv{i}", near), number(tile.wires.wordline_end_ohms))
    else:
        yield Element("V", f"wl{i}", (near, "0"), value)


def _step(volts: str, seconds: float, off_volts: float) -> str:
    return f"PWL(0 {number(off_volts)} {number(EDGE * seconds)} {volts})"


def mean_amps(seconds: Floats, amps: Floats, end_seconds: float, window_seconds: float) -> Floats:
    """Return the mean of `amps` `[times, lines]` over the window before a time, or their values at that time, from
    straight lines between the simulated times `seconds` `[times]`; `[lines]`."""
    times = np.linspace(end_seconds - window_seconds, end_seconds, 1001) if window_seconds else np.array([end_seconds])
    found = np.stack([np.interp(times, seconds, line) for line in amps.T], axis=1)
    mean: Floats = (found[1:] + found[:-1]).mean(axis=0) / 2 if window_seconds else found[0]
    return mean


def settling_seconds(transient: Transient, amps: Floats, settled: Floats, within_amps: float) -> float:
    """Return the time from which all `amps` `[times, outputs]` stay within `within_amps` of `settled` `[outputs]`.

    Raises SolveError if they have not settled at the end of the simulation.
    """
    away = np.abs(amps - settled).max(axis=1) > within_amps
    if away[-1]:
        raise SolveError(
            f"after {transient.seconds[-1]:g} s a current is still {np.abs(amps[-1] - settled).max():.3g} A from its "
            f"settled value; expected at most {within_amps:.3g} A: simulate longer"
        )
    return float(transient.seconds[int(np.flatnonzero(away)[-1]) + 1]) if away.any() else 0.0
