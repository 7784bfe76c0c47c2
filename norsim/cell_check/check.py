"""The check of a cell, step by step, with the simulator for the cell as the witness."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from norsim.array.cell import Cell
from norsim.array.tile import Floats, Stimulus, Tile
from norsim.backends.characterised import MOST_LOST, characterisation
from norsim.backends.nodal import Nodal
from norsim.backends.programming import program_levels
from norsim.backends.reference_cells import coupled
from norsim.backends.registry import reference
from norsim.cell_check import findings
from norsim.cell_check.curves import Curves, measure, over_thresholds
from norsim.cell_check.findings import Finding
from norsim.chip.model import Chip
from norsim.errors import ConfigurationError, SolveError
from norsim.periphery.encoding import Encoding, full_scale_amps, integrated, sensed_amps
from norsim.periphery.programming import Levels
from norsim.solver import characterize
from norsim.spice.simulators.choice import chosen_simulator
from norsim.spice.single_cells import is_slow

KELVIN = 10.0
# Size of the small tile, and number of activation vectors that it is read with.
WORDLINES, BITLINES, VECTORS = 32, 32, 4
# The same for a cell that ngspice reads slowly: its time grows as the square of cells times cards, 2.5 s for 64 of 180.
FEW_WORDLINES, FEW_BITLINES = 4, 16
AGREEMENT = 1e-5
# Width of its activation codes without a DAC.
USUAL_BITS = 4
# Number of thresholds at which unselected cells are checked, ends of the window included.
UNSELECTED_STATES = 17

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class CellCheck:
    """The result of a check.

    `findings` are in order, `curves` at the levels' thresholds (evenly spaced ones if there are no levels), `warnings`
    are the simulator's, and `seconds` are the times that parts took.
    """

    findings: list[Finding]
    curves: Curves
    levels: Levels | None
    warnings: list[str]
    seconds: dict[str, float]

    @property
    def ok(self) -> bool:
        """Whether no finding fails."""
        return all(finding.ok is not False for finding in self.findings)


def check(
    chip: Chip, programmed_card: Cell | None = None, progress: Progress = lambda what, done, total: None
) -> CellCheck:
    """Sweep the cell of `chip` and assess it for the chip's encoding; `programmed_card` is the cell made of
    `cell.programmed_as`.

    `progress(what, done, total)` is called at every step. Raises SimulatorError without a simulator, and SolveError if
    not even single cells can be swept.
    """
    simulator, encoding, cell = chosen_simulator(chip.cell), chip.encoding, chip.cell
    ends, read_volts = (cell.erased_volts, cell.programmed_volts), encoding.verify_volts
    steps = ("window", "levels", "curves", "leaks", "temperature", "small tile")
    found: list[Finding] = []
    seconds: dict[str, float] = {}
    levels: Levels | None = None

    def now(step: str) -> None:
        progress(step, steps.index(step), len(steps))

    now("window")
    by_threshold = over_thresholds(cell, read_volts, simulator)
    found += findings.window(*by_threshold, ends, encoding)
    now("levels")
    try:
        levels = program_levels(cell, encoding)
        found += findings.levels(levels, encoding)
    except (ConfigurationError, SolveError) as problem:
        count = len(encoding.level_amps)
        found.append(Finding("levels found", None, "", f"all {count}", False, str(problem)))
    now("curves")
    states = np.linspace(*ends[::-1], len(encoding.level_amps)) if levels is None else levels.thresholds
    curves = measure(cell, read_volts, states, by_threshold, simulator)
    found += findings.monotone(curves, ends, float(encoding.level_amps[-1]))
    found.append(findings.slope(curves, cell.temperature_kelvin))
    now("leaks")
    found += _leaks(chip)
    if programmed_card is not None:
        found += _same_card(cell, programmed_card, encoding)
    warnings = [*cell.notes, *simulator.warnings(cell, states)]
    now("temperature")
    middle = float(states[len(states) // 2])
    around = [replace(cell, temperature_kelvin=cell.temperature_kelvin + by) for by in (-KELVIN, KELVIN)]
    colder, warmer = (_amps(one, middle, *read_volts) for one in around)
    found.append(findings.temperature((colder, warmer), 2 * KELVIN))
    if levels is not None:
        now("small tile")
        found += _small_tile(chip, levels, seconds)
    progress("small tile", len(steps), len(steps))
    return CellCheck(found, curves, levels, warnings, seconds)


def _leaks(chip: Chip) -> list[Finding]:
    """Check the leakage of unselected cells, and the current lost through gate and bulk."""
    cell, encoding = chip.cell, chip.encoding
    gate, drain = encoding.verify_volts
    ends, found = np.array([cell.erased_volts, cell.programmed_volts]), []
    if encoding.has_unselected_cells:
        states = np.linspace(cell.erased_volts, cell.programmed_volts, UNSELECTED_STATES)
        zero = np.zeros(len(states))
        off = chosen_simulator(cell).drain_amps(
            cell, zero + encoding.off_volts, np.full(len(states), drain), zero, states
        )
        found.append(findings.unselected(off, states, chip.wordlines, encoding))
    points: Floats = np.array(list(product((encoding.off_volts, gate), (0.0, drain), (0.0,), ends)))
    amps = float(np.abs(chosen_simulator(cell).lost_amps(cell, *points.T)).max())
    return [*found, findings.lost(amps, float(encoding.level_amps[-1]), MOST_LOST)]


def _same_card(cell: Cell, card: Cell, encoding: Encoding) -> list[Finding]:
    """Compare both with the overdrive that an erased cell has in a read, and in the read itself."""
    read, drain = encoding.verify_volts
    above = read + cell.programmed_volts - cell.erased_volts
    pairs = [
        (_amps(cell, cell.programmed_volts, gate, drain), _amps(card, card.erased_volts, gate, drain), gate, drain)
        for gate in (above, read)
    ]
    return [findings.same_card(*pairs[0]), findings.same_leak(*pairs[1], encoding)]


def _amps(cell: Cell, threshold: float, gate: float, drain: float) -> float:
    """Return the current into the drain of a single cell at those volts, amperes, wherever it leaves."""
    volts = (np.array([value]) for value in (gate, drain, 0.0, threshold))
    return float(chosen_simulator(cell).drain_amps(cell, *volts)[0])


def _small_tile(chip: Chip, levels: Levels, seconds: dict[str, float]) -> list[Finding]:
    """Check the characterisation for a small tile, and compare nodal with the simulator on it."""
    tile, stimulus, outputs = small_tile(chip, levels)
    by, started = chosen_simulator(chip.cell).name, time.monotonic()
    reads = tile.thresholds.size * stimulus.vectors
    exact = reference(chip.cell).read(tile, stimulus)
    seconds[f"{by}_a_cell"] = (time.monotonic() - started) / reads
    started = time.monotonic()
    try:
        table = characterisation(tile, stimulus, np.unique(tile.thresholds))
        seconds["characterisation"] = time.monotonic() - started
        Nodal().read(tile, stimulus)  # compiles its kernels
        started = time.monotonic()
        solved = Nodal().read(tile, stimulus)
    except SolveError as problem:
        return [Finding("characterisation", None, "", "", False, str(problem))]
    seconds["nodal_a_cell"] = (time.monotonic() - started) / reads
    sense = chip.encoding.sense(outputs)
    bits = _input_bits(chip.encoding)
    inputs, _ = chip.encoding.capacity(tile.wordlines, tile.bitlines)
    full = full_scale_amps(chip.encoding, inputs, len(levels.thresholds).bit_length() - 1, bits)
    off = integrated(sensed_amps(solved, sense) - sensed_amps(exact, sense), chip.encoding.slots(bits))
    error = float(np.abs(off).max()) / full
    tolerance = characterize.TOLERANCE if table.parts == 1 else characterize.KINKED_TOLERANCE
    return [
        findings.fitted(table.error_amps / table.top_amps, tolerance, table.parts),
        findings.agreement(f"nodal against {by} on {tile.wordlines} x {tile.bitlines} cells", error, AGREEMENT),
    ]


def small_tile(chip: Chip, levels: Levels) -> tuple[Tile, Stimulus, int]:
    """Make a tile of 32 x 32 cells at random codes with the chip's wires, a smaller one of cells that ngspice reads
    slowly; return it, random reads and its outputs."""
    random, encoding = np.random.default_rng(0), coupled(chip.encoding, chip.cell, chip.cell)
    size = (FEW_WORDLINES, FEW_BITLINES) if is_slow(chip.cell) else (WORDLINES, BITLINES)
    inputs, outputs = encoding.capacity(*size)
    count = len(levels.thresholds)
    weights = random.integers(0, count, (inputs, outputs), dtype=np.uint8)
    codes = encoding.cell_codes(weights, count // 2)
    tile, bits = Tile(levels.thresholds[codes], chip.cell, chip.wires, name="cell check"), _input_bits(encoding)
    vectors = random.integers(0, 2**bits, (VECTORS, inputs), dtype=np.uint8)
    return tile, encoding.drive(vectors, outputs, bits), outputs


def _input_bits(encoding: Encoding) -> int:
    """Return the width of the codes that the small tile is read with: that of the DAC if there is one."""
    return USUAL_BITS if encoding.top_drive == 1 else encoding.top_drive.bit_length()
