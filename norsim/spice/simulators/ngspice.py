"""Find ngspice, run a deck in a temporary folder, and check all results.

ngspice ends with exit code 0 on a singular matrix, on non-convergence and on an unknown vector, so the
exit code alone proves nothing: the log, the raw file and Kirchhoff's current law are checked as well.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path

import numpy as np

from norsim.array.cell import Cell
from norsim.array.tile import Currents, Floats, Stimulus, Tile
from norsim.errors import SimulatorError, SolveError
from norsim.spice.cell_text.verilog_a import compiled_files
from norsim.spice.deck import RAW_FILE, compiled, deck
from norsim.spice.elements import ammeters
from norsim.spice.kirchhoff import currents_from
from norsim.spice.rawfile import read_raw
from norsim.spice.simulators.compiled import copies
from norsim.spice.simulators.messages import check, warnings_in
from norsim.spice.simulators.probe import abilities
from norsim.spice.simulators.running import ENDS, LARGEST_BYTES, Program, own_environment, own_folder, run
from norsim.spice.single_cells import SingleCells, sweep_deck, swept_deck, terminals

EXECUTABLE_VARIABLE = "NORSIM_NGSPICE"
# Limit of single cells in a deck, because ngspice's time to read a deck grows faster than the deck.
CELLS_PER_DECK = 512
SWEEP_SECONDS = 600.0

# The sparse solver for large circuits, if ngspice was built with it. Emitted decks do without, so they run anywhere.
KLU = ".options klu"
MANY_CELLS = 1024
# What ngspice says of a compiled model whose version of OSDI it does not have.
OTHER_OSDI = re.compile(r"[^\n]*only supports OSDI v[^\n]*", re.IGNORECASE)


@lru_cache
def find_ngspice() -> str:
    """Return the path of the ngspice program: `$NORSIM_NGSPICE`, or `ngspice` on the PATH.

    Raises SimulatorError if there is no such program, or if it does not answer as ngspice does.
    """
    wanted = os.environ.get(EXECUTABLE_VARIABLE, "ngspice")
    found = shutil.which(wanted)
    if found is None:
        raise SimulatorError(
            f"no ngspice: {wanted!r} is not an executable program. Install it (Debian: apt-get install ngspice "
            f"libngspice0) or set ${EXECUTABLE_VARIABLE} to its path; `norsim doctor` shows what is installed"
        )
    # Absolute, because decks run in other folders.
    found = os.path.abspath(found)
    version_line(found)
    return found


@lru_cache
def version_line(executable: str) -> str:
    """Return the version in the output of `ngspice --version`, e.g. `ngspice-39`. Raises SimulatorError without one."""
    try:
        ended = subprocess.run(
            [executable, "--version"], capture_output=True, text=True, errors="replace", timeout=30, check=False
        )
        match = re.search(r"ngspice-\S+", ended.stdout + ended.stderr)
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise SimulatorError(f"{executable} does not run: {problem}. Reinstall ngspice") from None
    if match is None:
        raise SimulatorError(f"{executable} does not answer --version as ngspice does. Reinstall ngspice")
    return match.group(0)


def identity() -> str:
    """Return ngspice's version and whether it has KLU, since both affect its currents in the last bits.

    Raises SimulatorError without a usable ngspice.
    """
    executable = find_ngspice()
    return version_line(executable) + (" with KLU" if abilities(executable).klu else "")


def read(tile: Tile, stimulus: Stimulus, timeout_seconds: float = 3600.0) -> Currents:
    """Return the tile's currents as solved by ngspice from the emitted deck.

    Raises SimulatorError without a usable ngspice and SolveError if any check fails; then the folder
    with the deck, the log and the results is kept and named.
    """
    with own_folder() as folder:
        text = deck(tile, stimulus)
        if tile.thresholds.size >= MANY_CELLS and abilities(find_ngspice()).klu:
            text = text.replace("\n.control\n", f"\n{KLU}\n.control\n", 1)
        (folder / "tile.cir").write_text(text)
        most = LARGEST_BYTES + 16 * stimulus.vectors * len(ammeters(tile))
        run_deck(tile.cell, folder, timeout_seconds, most)
        return collect(tile, stimulus, folder)


def run_deck(cell: Cell, folder: Path, timeout_seconds: float, largest_bytes: int = LARGEST_BYTES) -> str:
    """Run `folder/tile.cir`, a deck of `cell`, in `folder`; return ngspice's output, which is also in `ngspice.log`
    and `ngspice-errors.log`. Log its warnings about the cell, each once.

    ngspice reads no `.spiceinit`, and a `spinit` without commands in place of the machine's, which could change options
    and compatibility. It loads copies of the cell's compiled models, has the folder as its home, and is stopped if it
    takes more than `timeout_seconds`, the machine's memory, or `largest_bytes` for a file.

    Raises ConfigurationError for unknown parameters of the cell and for compiled models that have changed, SolveError
    on other errors, SolveTimeoutError among them, and SimulatorError if ngspice is missing or cannot load what the
    cell needs.
    """
    executable = find_ngspice()
    needed = compiled_files(cell)
    if needed and not abilities(executable).osdi:
        raise SimulatorError(
            f"{version_line(executable)} cannot load OSDI models, and the cell needs {Path(needed[0]).name}. Use the "
            "vacask backend, or install ngspice 43 or newer, built with OSDI; `norsim doctor` shows what is installed"
        )
    mode = ["-D", f"ngbehavior={cell.compatibility}"] if cell.compatibility else []
    if cell.compatibility:
        # For running the deck by hand; norsim's own run does not read this file.
        (folder / ".spiceinit").write_text(mode_file(cell))
    if needed:
        _copy_compiled(cell, folder)
    program = Program("ngspice", [executable, "-n", *mode, "-b", "tile.cir"], own_environment(folder))
    code, output = run(program, folder, timeout_seconds, largest_bytes)
    other = OTHER_OSDI.search(output)
    if other:
        raise SimulatorError(
            f"{version_line(executable)} cannot load {Path(needed[0]).name if needed else 'a model'}: it says "
            f"{other[0]!r}. Use the vacask backend, or ngspice 44 or newer, which takes what openvaf-r writes"
        )
    check(output, cell)
    if code != 0:
        raise SolveError(f"ngspice ended with code {code}{ENDS.get(-code, '')}")
    return output


def _copy_compiled(cell: Cell, folder: Path) -> None:
    """Copy the compiled models of `cell` into `folder`, and let `folder/tile.cir` load the copies."""
    text = (folder / "tile.cir").read_text()
    for name, copy in copies(cell, folder):
        text = text.replace(compiled(name), compiled(str(copy)))
    (folder / "tile.cir").write_text(text)


def mode_file(cell: Cell) -> str:
    """Return the `.spiceinit` next to a deck of a cell that needs a compatibility mode."""
    return f"set ngbehavior={cell.compatibility}\n"


def collect(tile: Tile, stimulus: Stimulus, folder: Path) -> Currents:
    """Read the currents in `folder/currents.raw`, checked for presence, length, finiteness and Kirchhoff's law."""
    table = read_raw(folder / RAW_FILE, ammeters(tile), stimulus.vectors)
    return currents_from(table, tile, stimulus, "ngspice", lost_amps)


def warnings(cell: Cell, thresholds: Floats) -> list[str]:
    """Return ngspice's warnings about single cells at `thresholds` `[n]`, volts, each once; raises as `read`."""
    points = np.stack([np.zeros_like(thresholds)] * 3 + [thresholds], axis=1)
    with own_folder() as folder:
        (folder / "tile.cir").write_text(sweep_deck(cell, points))
        output = run_deck(cell, folder, SWEEP_SECONDS)
    return warnings_in(output, cell)


def _solve(cell: Cell, points: Floats) -> Floats:
    """Solve one deck of single cells for SingleCells."""
    return _table(cell, sweep_deck(cell, points), len(points), 1).reshape(2, -1).T


def _swept(cell: Cell, cells: Floats, drives: Floats) -> Floats:
    """Solve one deck of swept cells for SingleCells."""
    amps = _table(cell, swept_deck(cell, cells, drives), len(cells), len(drives))
    return amps.reshape(len(drives), 2, len(cells)).transpose(0, 2, 1)


def _table(cell: Cell, text: str, cells: int, points: int) -> Floats:
    """Run a deck of single cells; return the amperes of their terminals, `[points, 2 cells]`."""
    with own_folder() as folder:
        (folder / "tile.cir").write_text(text)
        run_deck(cell, folder, SWEEP_SECONDS)
        return read_raw(folder / RAW_FILE, terminals(cells), points)


CELLS = SingleCells(_solve, CELLS_PER_DECK, _swept)
drain_amps, lost_amps = CELLS.drain_amps, CELLS.lost_amps
