"""An ngspice deck for a tile and a stimulus, which a person can read and run by hand."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

from norsim.array.cell import Cell
from norsim.array.tile import Stimulus, Tile
from norsim.spice.cell_text.braces import with_parentheses
from norsim.spice.cell_text.verilog_a import compiled_files
from norsim.spice.elements import Comment, Drive, Element, ammeters, elements, number, printable

if TYPE_CHECKING:
    from PySpice.Spice.Netlist import Circuit

RAW_FILE = "currents.raw"

# ngspice takes two threads whatever OMP_NUM_THREADS says. They wait for each other in spin locks, so two decks at the
# same time on two cores took ten times as long as one after the other.
ONE_THREAD = "set num_threads=1"

# gmin's default of 1e-12 S would leak a nanoampere from a thousand rows at 1 V, so it is lowered to 1e-15;
# the other options request currents with a relative accuracy of 1e-6.
OPTIONS = "gmin=1e-15 abstol=1e-15 reltol=1e-6 vntol=1e-9"
ASKED = {name: float(value) for name, value in (word.split("=") for word in OPTIONS.split())}

# The source whose sweep steps through the reads.
INDEX = Element("V", "idx", ("idx", "0"), "0")


def deck(tile: Tile, stimulus: Stimulus) -> str:
    """Return the deck: `ngspice -b` on it writes the ammeters' currents of every read to `currents.raw`.

    The reads are the points of one `.dc` sweep of `v(idx)` from 0 to vectors - 1.
    """
    lines = [*preamble(tile, stimulus), line_of(INDEX)]
    for item in elements(tile, stimulus):
        lines.append(f"* {item.text}" if isinstance(item, Comment) else line_of(source_of(item)))
    return "\n".join([*lines, *_analysis(tile, stimulus)])


def circuit(tile: Tile, stimulus: Stimulus) -> Circuit:
    """Return the same circuit as a PySpice `Circuit`, to extend and to simulate with PySpice's own tools.

    It has the cell, the elements and the options, but no analysis: `v(idx)` selects the read, so sweep
    `Vidx` from 0 to vectors - 1, or set it.
    """
    from PySpice.Spice.Netlist import Circuit

    result = Circuit(printable(tile.name))
    result.raw_spice = "\n".join([*cell_text(tile.cell), options(tile.cell)])
    adders = {"R": result.R, "V": result.V, "I": result.I, "X": result.X, "B": result.B}
    for item in [INDEX, *elements(tile, stimulus)]:
        if isinstance(item, Comment):
            continue
        item = source_of(item)
        if item.kind == "X":
            name, state = item.value.split(" ", 1)
            parameter, value = state.split("=")
            result.X(item.name, name, *item.nodes, **{parameter: value})
        elif item.kind == "F":
            meter, gain = item.value.split()
            result.F(item.name, *item.nodes, meter, gain)
        elif item.kind == "B":
            result.B(item.name, *item.nodes, voltage_expression=item.value.removeprefix("V="))
        else:
            adders[item.kind](item.name, *item.nodes, item.value)
    return result


def preamble(tile: Tile, stimulus: Stimulus) -> list[str]:
    """Return the lines before the elements: a description of the tile, the models and the cell."""
    mode = tile.cell.compatibility
    command = f"ngspice -D ngbehavior={mode} -b" if mode else "ngspice -b"
    run = f"{command} on this file writes {RAW_FILE}: i(vblJ) flows into bitline J,"
    first = [f"First compile the cell: openvaf-r {path}" for path, _ in tile.cell.verilog_a]
    return [*header(tile, stimulus, [run, _sources(tile), *first]), *cell_text(tile.cell)]


def source_of(item: Element | Drive) -> Element:
    """Convert a drive to an ngspice source, which follows v(idx) if the drive steps; return an element as it is."""
    if isinstance(item, Element):
        return item
    if not item.steps:
        return Element("V", item.node, (item.node, "0"), number(item.volts[0]))
    steps = ",".join(f"{k},{number(value)}" for k, value in enumerate(item.volts))
    return Element("B", item.node, (item.node, "0"), f"V=pwl(v(idx),{steps})")


def line_of(element: Element) -> str:
    """Return an element as a line of a deck."""
    text = f"{element.kind}{element.name} {' '.join(element.nodes)} {element.value}"
    if len(text) <= 120:
        return text
    return wrapped(text.replace(",", ", "))


def wrapped(text: str) -> str:
    """Break a long card into several lines."""
    return "\n+ ".join(textwrap.wrap(text, 110, break_long_words=False, break_on_hyphens=False))


def header(tile: Tile, stimulus: Stimulus, run: list[str], point: str = "point of v(idx)") -> Iterator[str]:
    """Yield comment lines that describe the tile and the reads, and how to run the deck."""
    wires = tile.wires
    straps = f"straps every {wires.strap_every} bitlines" if wires.strap_every else "sensed next to bitline 0"
    # ngspice repeats the title in its log, where the name of a layer could be mistaken for an error.
    yield "* NOR-flash tile"
    yield f"* {printable(tile.name)}"
    yield "*"
    yield f"* {tile.wordlines} wordlines x {tile.bitlines} bitlines, {stimulus.vectors} reads, one per {point}"
    yield f"* bitline      {wires.bitline_ohms:g} ohm per segment, {wires.bitline_end_ohms:g} ohm at the driven end"
    yield (
        f"* source line  {wires.source_ohms:g} ohm per segment, {wires.source_end_ohms:g} ohm at its ends, "
        f"{wires.rows_per_source_line} wordline(s) per line, {straps}"
    )
    if wires.has_strap_metal:
        yield (
            f"* straps       {wires.strap_ohms:g} ohm per cell, grounded at {wires.strap_ends} of their ends through "
            f"{wires.ground_ohms:g} ohm"
        )
    yield f"* Cells: Xi_j is the cell of wordline i and bitline j; {tile.cell.state} is its threshold."
    if wires.strap_every and wires.source_ohms:
        yield "* Wires: Rslk_j is the segment of source line k from bitline j - 1, or from a strap, to bitline j;"
        yield "*        Rslk_jw is the segment from bitline j - 1 to the strap before bitline j."
    if wires.has_strap_metal:
        yield "*        Rgms_k is the metal of strap s from source line k - 1 to k; Rgnds and Rgndsf ground its ends."
    for note in (*tile.notes, *stimulus.notes):
        yield from textwrap.wrap(printable(note), 116, initial_indent="* ", subsequent_indent="*   ",
                                 break_long_words=False, break_on_hyphens=False)  # fmt: skip
    yield f"* Run:   {run[0]}"
    yield from (f"*        {line}" for line in run[1:])
    yield "*"


def _sources(tile: Tile) -> str:
    return "i(vret) out of all straps." if tile.wires.strap_every else "i(vslK) out of source line K."


def cell_text(cell: Cell) -> Iterator[str]:
    """Yield the definition of a cell: its model cards and its netlist."""
    yield with_parentheses(cell.models.strip())
    yield with_parentheses(cell.netlist.strip())


def options(cell: Cell, tolerances: str = OPTIONS) -> str:
    """Return the options of a deck: the solver's tolerances, the temperature, and those that the cell's models need."""
    return " ".join(
        [f".options {tolerances} temp={celsius(cell)}", *(f"{name}={value}" for name, value in cell.options)]
    )


def control(cell: Cell, *commands: str) -> Iterator[str]:
    """Yield the control block: load the cell's compiled models, then run `commands`."""
    loads = (compiled(path) for path in compiled_files(cell))
    yield from (".control", *loads, ONE_THREAD, *commands, "quit", ".endc", ".end", "")


def compiled(path: str) -> str:
    """Return the command that loads a compiled model."""
    return f'pre_osdi "{path}"'


def celsius(cell: Cell) -> float:
    """Return a cell's temperature in degrees Celsius, without the rounding error of the subtraction."""
    return round(cell.temperature_kelvin - 273.15, 6)


def _analysis(tile: Tile, stimulus: Stimulus) -> Iterator[str]:
    yield options(tile.cell)
    yield wrapped(" ".join([".save", *ammeters(tile)]))
    yield f".dc Vidx 0 {stimulus.vectors - 1} 1"
    yield from control(tile.cell, "set filetype=binary", "run", f"write {RAW_FILE}")
