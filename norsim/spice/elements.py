"""The circuit of a tile as a list of elements, from which both the deck and the PySpice circuit are made.

Node names: `wl3` wordline 3; `bl5_3` bitline 5 at wordline 3 (`bl5` if the line has no resistance);
`off5` bitline 5 after its amplifier's offset; `virt5`, `amp5`, `gbl5` and `mux5`, with an `s` before the number for
source lines, the far ends of what its sense path consists of (norsim.periphery.sensing);
`d3_5` the drain of cell (3, 5) if cells have gains;
`sl1_5` source line 1 at bitline 5 (`sl1` likewise); `st1_2` its contact to strap 2; `gm2_1` the metal of strap 2 at
source line 1 (`gm2` if it has no resistance along it); `0` ground and bulk.
A segment is named after the node at its far end; the segment that ends at the strap before bitline 9 is `Rsl1_9w`, and
`Rsl1_9` is the one after that strap.
`Voff5` is an offset, and `Ileak5` what other cells draw from bitline 5. Ammeters: `Vbl5` in bitline 5, `Vsl1` in source
line 1, `Vret` in the common return of all straps. The bulk has none: with a node shared by all cells, ngspice would
take ten times as long.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from norsim.array.tile import Floats, Stimulus, Tile
from norsim.array.wires import EndPart, EndParts

Node = str


class Element(NamedTuple):
    """One line of a netlist: `kind` is SPICE's letter, `value` the text after the nodes."""

    kind: str
    name: str
    nodes: tuple[Node, ...]
    value: str


class Drive(NamedTuple):
    """An ideal source from `node` to ground, named after the node, with the volts of each read, `volts` `[reads]`."""

    node: Node
    volts: Floats

    @property
    def steps(self) -> bool:
        """Whether the volts differ between reads."""
        return bool(np.any(self.volts != self.volts[0]))


class Comment(NamedTuple):
    """A comment between elements."""

    text: str


Item = Element | Drive | Comment


def number(value: float) -> str:
    """Return the shortest text that reads back as the same float64, so that a deck has full precision."""
    return repr(float(value))


def ammeters(tile: Tile) -> list[str]:
    """Return the names of the raw-file vectors of a tile's currents: bitlines first, then source lines or return."""
    sources = ["vret"] if tile.wires.strap_every else [f"vsl{k}" for k in range(tile.source_lines)]
    return [f"i({name})" for name in [*(f"vbl{j}" for j in range(tile.bitlines)), *sources]]


def elements(tile: Tile, stimulus: Stimulus) -> Iterator[Item]:
    """Yield the whole circuit: drives, then bitlines with their cells, then source lines."""
    yield Comment("wordlines: gate volts of each read")
    for i in range(tile.wordlines):
        yield from _note("wordline", i, tile.wordline_notes)
        yield Drive(f"wl{i}", stimulus.wordline_volts[:, i])
    for j in range(tile.bitlines):
        yield from _bitline(tile, stimulus, j)
    for line in range(tile.source_lines):
        yield from _source_line(tile, stimulus, line)
    if tile.wires.strap_every:
        if tile.wires.has_strap_metal:
            yield from _metal(tile, tile.wires.strap_every)
        yield Comment("ammeter in the common return of all straps")
        yield Element("V", "ret", ("ret", "0"), number(stimulus.source_volts))


def printable(text: str) -> str:
    """Replace every line break and control character in `text`, so that a name cannot become a deck line."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _note(line: str, index: int, notes: tuple[str, ...]) -> Iterator[Comment]:
    if notes:
        yield Comment(f"{line} {index}: {printable(notes[index])}")


def bitline_node(tile: Tile, i: int, j: int) -> Node:
    """Return the node of a bitline at a wordline."""
    return f"bl{j}_{i}" if tile.wires.bitline_ohms else f"bl{j}"


def source_node(tile: Tile, line: int, j: int) -> Node:
    """Return the node of a source line at a bitline."""
    wires = tile.wires
    if wires.source_ohms:
        return f"sl{line}_{j}"
    return "ret" if wires.strap_every and not wires.source_end_ohms else f"sl{line}"


def _bitline(tile: Tile, stimulus: Stimulus, j: int) -> Iterator[Item]:
    """Yield drive, ammeter, end resistance, then a segment and a cell for each wordline."""
    yield from _note("bitline", j, tile.bitline_notes)
    yield Drive(f"drive{j}", stimulus.bitline_volts[:, j])
    near, held = bitline_node(tile, 0, j), f"drive{j}"
    if tile.offsets is not None:
        held = f"off{j}"
        yield Element("V", held, (held, f"drive{j}"), number(tile.offsets[j]))
    after_meter = f"end{j}" if tile.wires.bitline_end_ohms else near
    yield Element("V", f"bl{j}", (held, after_meter), "0")
    if tile.wires.bitline_end_ohms:
        yield from _in_series(tile.wires.bitline_end, str(j), after_meter, near)
    if tile.leaks is not None:
        yield Element("I", f"leak{j}", (near, "0"), number(tile.leaks[j]))
    for i in range(tile.wordlines):
        here = bitline_node(tile, i, j)
        if i and tile.wires.bitline_ohms:
            yield Element("R", here, (bitline_node(tile, i - 1, j), here), number(tile.wires.bitline_ohms))
        source = source_node(tile, i // tile.wires.rows_per_source_line, j)
        state = f"{tile.cell.subcircuit} {tile.cell.state}={number(tile.thresholds[i, j])}"
        if tile.gains is None:
            yield Element("X", f"{i}_{j}", (here, f"wl{i}", source, "0"), state)
        else:
            yield from _amplified(i, j, (here, f"wl{i}", source, "0"), state, float(tile.gains[i, j]))


def _in_series(parts: EndParts, line: str, first: Node, last: Node) -> Iterator[Element]:
    """Yield the resistances at the end of a line, from its volts to the array; each is named after its far end, but for
    the last one."""
    here = first
    for part, after in far_ends(parts, line, last):
        yield Element("R", f"{part.name}{line}", (here, after), number(part.ohms))
        here = after


def far_ends(parts: EndParts, line: str, last: Node) -> Iterator[tuple[EndPart, Node]]:
    """Yield the resistances at the end of a line, each with its node at the side of the array."""
    for place, part in enumerate(parts, 1):
        yield part, last if place == len(parts) else f"{part.name}{line}"


def _amplified(i: int, j: int, nodes: tuple[Node, ...], state: str, gain: float) -> Iterator[Item]:
    """Yield a cell whose current is multiplied by `gain`: a source beside it adds what the drain draws, gain - 1 times.

    Unlike a multiplier on the cell, which ngspice passes to transistors and not to behavioural sources, this holds for
    every subcircuit and simulator.
    """
    here, _, source, _ = nodes
    drain = f"d{i}_{j}"
    yield Element("V", f"m{i}_{j}", (here, drain), "0")
    yield Element("X", f"{i}_{j}", (drain, *nodes[1:]), state)
    yield Element("F", f"{i}_{j}", (here, source), f"Vm{i}_{j} {number(gain - 1)}")


def _source_line(tile: Tile, stimulus: Stimulus, line: int) -> Iterator[Item]:
    first = line * tile.wires.rows_per_source_line
    last = min(first + tile.wires.rows_per_source_line, tile.wordlines) - 1
    yield Comment(f"source line {line}: wordlines {first} to {last}")
    if tile.wires.strap_every:
        yield from _strapped(tile, line, tile.wires.strap_every)
    else:
        yield from _sensed(tile, stimulus, line)


def _strapped(tile: Tile, line: int, every: int) -> Iterator[Element]:
    """Yield a source line with straps before bitline 0, after each `every` bitlines and after the last bitline."""
    wires = tile.wires
    before = sorted({*range(0, tile.bitlines, every), tile.bitlines})
    for strap, j in enumerate(before):
        metal = _metal_node(tile, strap, line)
        contact = f"st{line}_{strap}" if wires.source_end_ohms and wires.source_ohms else metal
        if wires.source_end_ohms:
            top = contact if wires.source_ohms else f"sl{line}"
            yield Element("R", f"st{line}_{strap}", (top, metal), number(wires.source_end_ohms))
        if wires.source_ohms:
            yield from _to_strap(tile, line, j, contact)
    for j in sorted(set(range(tile.bitlines if wires.source_ohms else 0)) - set(before)):
        here = source_node(tile, line, j)
        yield Element("R", here, (source_node(tile, line, j - 1), here), number(wires.source_ohms))


def _metal_node(tile: Tile, strap: int, line: int) -> Node:
    """Return the node of a strap at a source line."""
    wires, last = tile.wires, tile.source_lines - 1
    grounded = line == 0 or (wires.strap_ends == "both" and line == last)
    if not wires.has_strap_metal or (grounded and not wires.ground_ohms):
        return "ret"
    return f"gm{strap}_{line}" if wires.strap_ohms else f"gm{strap}"


def _metal(tile: Tile, every: int) -> Iterator[Item]:
    """Yield the metal of all straps, each from its near end to its far end."""
    wires, last = tile.wires, tile.source_lines - 1
    ohms = wires.strap_ohms * wires.rows_per_source_line
    yield Comment(f"straps: metal along the bitlines, grounded at {wires.strap_ends} of their ends")
    for strap in range(-(-tile.bitlines // every) + 1):
        ends = [("", 0), ("f", last)] if wires.strap_ends == "both" else [("", 0)]
        for name, line in ends if wires.ground_ohms else []:
            node = _metal_node(tile, strap, line)
            yield Element("R", f"gnd{strap}{name}", (node, "ret"), number(wires.ground_ohms))
        for line in range(1, last + 1 if wires.strap_ohms else 0):
            nodes = _metal_node(tile, strap, line - 1), _metal_node(tile, strap, line)
            yield Element("R", f"gm{strap}_{line}", nodes, number(ohms))


def _to_strap(tile: Tile, line: int, j: int, contact: Node) -> Iterator[Element]:
    """Yield the segments on both sides of the strap before bitline j."""
    ohms = number(tile.wires.source_ohms)
    if j:
        yield Element("R", f"sl{line}_{j}w", (source_node(tile, line, j - 1), contact), ohms)
    if j < tile.bitlines:
        yield Element("R", f"sl{line}_{j}", (contact, source_node(tile, line, j)), ohms)


def _sensed(tile: Tile, stimulus: Stimulus, line: int) -> Iterator[Element]:
    """Yield a source line sensed at the end next to bitline 0, through the sense amplifier's resistance and ammeter."""
    near = source_node(tile, line, 0)
    meter = f"sense{line}" if tile.wires.source_end_ohms else near
    yield Element("V", f"sl{line}", (meter, "0"), number(stimulus.source_volts))
    if tile.wires.source_end_ohms:
        if tile.wires.source_end_parts:
            yield from _in_series(tile.wires.source_end_parts, f"s{line}", meter, near)
        else:
            yield Element("R", f"sense{line}", (near, meter), number(tile.wires.source_end_ohms))
    for j in range(1, tile.bitlines if tile.wires.source_ohms else 0):
        here = source_node(tile, line, j)
        yield Element("R", here, (source_node(tile, line, j - 1), here), number(tile.wires.source_ohms))
