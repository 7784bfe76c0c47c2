"""Decks for VACASK, a simulator that is independent of ngspice, with models that are compiled Verilog-A.

The reads are the points of a sweep of a variable, and the volts of a line that steps are an array with the variable as
its index. `abort always` ends a run at the first error, which VACASK would otherwise print and go on. The numbers of
Newton solves at the end tell whether it stepped gmin or sources without saying so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from norsim.array.cell import Cell
from norsim.array.tile import Floats, Stimulus, Tile
from norsim.spice.cell_text.verilog_a import compiled_files
from norsim.spice.deck import celsius, header
from norsim.spice.dialects.vacask_cell import RESISTOR, cell_lines, modules
from norsim.spice.elements import Comment, Drive, Element, Item, ammeters, elements, number

NAME = "tile.cir"
# VACASK stops a read's iteration when both hold; these agree with ngspice and nodal to 1e-9 of full scale.
OPTIONS = "gmin=1e-15 abstol=1e-15 reltol=1e-9 vntol=1e-12"
# The analysis, whose results are in a file of that name.
ANALYSIS = "currents"
INDEX = "norsim_read"
SAVED_AT_ONCE = 8


def deck(tile: Tile, stimulus: Stimulus) -> str:
    """Return the deck of a tile: `vacask tile.cir` writes the ammeters' currents of every read to `currents.raw`.

    Raises ConfigurationError for a cell that VACASK cannot have.
    """
    run = ["vacask -sp -se tile.cir on this file writes currents.raw: vblJ:flow(br) flows into bitline J,",
           "vret:flow(br) or vslK:flow(br) out of the source lines. norsim import-results reads it.",
           *(f"First compile the cell: openvaf-r {path}" for path, _ in tile.cell.verilog_a)]  # fmt: skip
    heading = [f"//{line[1:]}" for line in header(tile, stimulus, run, "point of the sweep")][1:]
    names = [name[2:-1] for name in ammeters(tile)]
    return _deck("NOR-flash tile", heading, tile.cell, elements(tile, stimulus), stimulus.vectors, names)


def sweep_deck(cell: Cell, points: Floats) -> str:
    """Return a deck with one cell, with its own ammeters, per row of `points` `[n, 4]`: gate, drain, source volts and
    threshold."""
    items: list[Item] = []
    for k, (gate, drain, source, threshold) in enumerate(points):
        items += [
            Element("V", f"g{k}", (f"g{k}", "0"), number(gate)),
            Element("V", f"d{k}", (f"p{k}", "0"), number(drain)),
            Element("V", f"m{k}", (f"p{k}", f"d{k}"), "0"),
            Element("V", f"s{k}", (f"s{k}", "0"), number(source)),
            _cell(cell, k, (f"d{k}", f"g{k}", f"s{k}"), threshold),
        ]
    return _deck("single cells at given volts", [], cell, items, 1, saved(len(points)))


def swept_deck(cell: Cell, cells: Floats, drives: Floats) -> str:
    """Return a deck with one cell, with its own ammeters, per row of `cells` `[cells, 2]`: gate volts and threshold.

    Their drains and sources share two lines, which a sweep drives to the volts of each row of `drives` `[drives, 2]`.
    """
    items: list[Item] = [Drive(f"drive{k}", drives[:, k]) for k in range(2)]
    gates, gate = np.unique(cells[:, 0], return_inverse=True)
    items += [Element("V", f"g{k}", (f"g{k}", "0"), number(volts)) for k, volts in enumerate(gates)]
    for k, threshold in enumerate(cells[:, 1]):
        items += [
            Element("V", f"m{k}", ("drive0", f"d{k}"), "0"),
            Element("V", f"s{k}", (f"s{k}", "drive1"), "0"),
            _cell(cell, k, (f"d{k}", f"g{gate[k]}", f"s{k}"), threshold),
        ]
    return _deck("single cells swept over drain and source volts", [], cell, items, len(drives), saved(len(cells)))


def saved(cells: int) -> list[str]:
    """Return the names of the ammeters of a deck of single cells: those of all drains, then those of all sources."""
    return [*(f"vm{k}" for k in range(cells)), *(f"vs{k}" for k in range(cells))]


def vector(name: str) -> str:
    """Return the name in the results of an ammeter's current, which is positive into the meter's first node."""
    return f"{name}:flow(br)"


def _cell(cell: Cell, k: int, nodes: tuple[str, str, str], threshold: float) -> Element:
    return Element("X", str(k), (*nodes, "0"), f"{cell.subcircuit} {cell.state}={number(threshold)}")


def _deck(title: str, heading: list[str], cell: Cell, items: Iterable[Item], points: int, names: list[str]) -> str:
    files, lines = cell_lines(cell)
    loads = ["resistor.osdi", *files, *compiled_files(cell)]
    circuit = [line for item in items for line in _written(item)]
    return "\n".join([
        title, *heading, *(f'load "{file}"' for file in loads), 'include "builtins.inc"',
        f"model {RESISTOR} resistor", "ground 0", *lines, *circuit, *_control(cell, points, names), "",
    ])  # fmt: skip


def _written(item: Item) -> Iterator[str]:
    if isinstance(item, Comment):
        yield f"// {item.text}"
        return
    if isinstance(item, Drive):
        node, volts = item.node.lower(), number(item.volts[0])
        if item.steps:
            yield f"parameters norsim_{node}=[{', '.join(map(number, item.volts))}]"
            volts = f"norsim_{node}[{INDEX}]"
        yield f"v{node} ({node} 0) vsource dc={volts}"
        return
    name, nodes = f"{item.kind}{item.name}".lower(), " ".join(item.nodes).lower()
    if item.kind == "X":
        subcircuit, state = item.value.split(" ", 1)
        yield f"{name} ({nodes}) {subcircuit.lower()} {state.lower()}"
    elif item.kind == "F":
        meter, gain = item.value.split(" ")
        yield f'{name} ({nodes}) cccs gain={gain} ctlinst="{meter.lower()}"'
    else:
        master, key = {"V": ("vsource", "dc"), "I": ("isource", "dc"), "R": (RESISTOR, "r")}[item.kind]
        yield f"{name} ({nodes}) {master} {key}={item.value}"


def _control(cell: Cell, points: int, names: list[str]) -> Iterator[str]:
    yield from ("control", "  abort always", f"  var {INDEX}=0", f"  options {OPTIONS} temp={celsius(cell)} tnom=27")
    for start in range(0, len(names), SAVED_AT_ONCE):
        yield f"  save {' '.join(f'i({name})' for name in names[start : start + SAVED_AT_ONCE])}"
    # Before the analysis, which fails if a terminal floats.
    yield from (f'  print device("{module}")' for module in modules(cell))
    yield f'  sweep point variable="{INDEX}" values=[{", ".join(map(str, range(points)))}]'
    yield f"    analysis {ANALYSIS} op"
    yield from ("  print stats", "endc")
