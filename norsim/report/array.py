"""The tile of a run with the largest current deviation, solved again by nodal at every node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from norsim.array.tile import Floats, Stimulus
from norsim.array.variation import PERFECT
from norsim.backends.characterised import read_nodes
from norsim.backends.reference_cells import coupled_in_reads
from norsim.errors import NorsimError
from norsim.evaluation.proof.sampling import Sample
from norsim.evaluation.proof.verification import tiles_of
from norsim.experiments.run_record import Missing
from norsim.periphery.encoding import integrated
from norsim.periphery.sensing import IDEAL_SENSING
from norsim.solver.input_lines import driven
from norsim.tiling.program import program_tile
from norsim.tiling.tile import PlacedTile


@dataclass(frozen=True)
class Deviation:
    """Deviation of a layer's output currents from ideal ones, in shares of full scale, over the reads kept by a run.

    `step` is a converter step as a share of full scale, averaged over these reads.
    """

    layer: str
    reads: int
    rms: float
    worst: float
    step: float


@dataclass(frozen=True, eq=False)
class SolvedTile:
    """One read of one tile, cell by cell.

    `thresholds`  `[wordlines, bitlines]`, volts; `codes`: the programmed level of each cell
    `amps`        `[wordlines, bitlines]`: the current of each cell, amperes
    `drop`, `rise`   of bitline nodes below their drive, and of source-line nodes above ground, volts
    `lost`        `[wordlines, bitlines]`: by how much the volts across each cell are below its drive, their sum
    `error`       `[wordlines, bitlines]`: a cell's current minus that of a cell exactly at its level on lossless wires,
                  in shares of the top level
    `worst`       largest deviation of an output current in the run's read, in shares of full scale
    `straps`      bitlines between straps, None without straps
    """

    name: str
    thresholds: Floats
    codes: NDArray[np.uint8]
    amps: Floats
    drop: Floats
    rise: Floats
    lost: Floats
    error: Floats
    worst: float
    wordlines_up: int
    straps: int | None


def exact_amps(part: PlacedTile, stimulus: Stimulus) -> Floats:
    """Return the currents of exact cells on lossless wires, `[reads, conversions]`, amperes."""
    encoding = coupled_in_reads(part.chip, part.encoding)
    # A kept read does not know which of its lines carry the input.
    nothing = np.zeros((1, len(part.inputs)), np.uint8)
    kind = driven(encoding.drive(nothing, len(part.outputs), part.layer.input_bits))
    drives = integrated(kind.drives(stimulus), part.slots)
    lines = np.rint(drives * encoding.top_drive).astype(np.uint8)
    bits = encoding.top_drive.bit_length()
    values = encoding.pass_values(part.in_layer_order(lines), part.weights_in_layer_order, part.layer.weight_zero, bits)
    amps: Floats = values[:, 0] * encoding.lsb_amps
    return amps


def errors(sample: Sample) -> Floats:
    """Return the deviation of a read's currents from ideal ones, `[conversions]`, in shares of full scale."""
    off: Floats = (sample.amps - exact_amps(sample.part, sample.stimulus)[0]) / sample.part.full_scale_amps
    return off


def deviations(by_layer: Mapping[str, Sequence[Sample]]) -> list[Deviation]:
    """Return the deviation of each layer."""
    found = []
    for name, some in by_layer.items():
        off = np.concatenate([errors(sample) for sample in some])
        steps = [sample.part.ranges.step_amps.mean() / sample.part.full_scale_amps for sample in some]
        rms, worst = float(np.sqrt(np.square(off).mean())), float(np.abs(off).max())
        found.append(Deviation(name, len(some), rms, worst, float(np.mean(steps))))
    return found


def solve_worst(samples: Sequence[Sample]) -> SolvedTile | Missing:
    """Solve again, by nodal, the read among `samples` with the largest deviation of an output."""
    worst = max(samples, key=lambda sample: float(np.abs(errors(sample)).max()))
    try:
        return _solved(worst)
    except NorsimError as problem:
        return Missing(f"{worst.part.name} was not solved again: {problem}")


def _solved(sample: Sample) -> SolvedTile:
    # In the first of several slots every input that is not zero is up.
    part, stimulus = sample.part, sample.stimulus.take(slice(0, 1))
    (tile,), chip = tiles_of([sample]), part.chip
    nominal = replace(chip.fresh(), silicon=PERFECT, in_situ=False, wordline_rise_seconds=None, sensing=IDEAL_SENSING)
    exact = program_tile(replace(part, chip=nominal)).tile
    low = chip.encoding.off_volts
    up = stimulus.wordline_volts > max(low, 0.0)
    ideal_volts = replace(stimulus, wordline_volts=np.where(up, chip.encoding.wordline_volts, low))
    if part.encoding.input_amps is not None:
        nothing, bits = np.zeros((1, len(part.inputs)), np.uint8), part.layer.input_bits
        each = [coupled_in_reads(one, part.encoding) for one in (chip, nominal)]
        now, then = (driven(encoding.drive(nothing, len(part.outputs), bits)) for encoding in each)
        ideal_volts = then.stimulus(now.drives(stimulus), exact)
    found, ideal = read_nodes(tile, stimulus), read_nodes(exact, ideal_volts, lossless=True)
    off = errors(sample)
    rise = np.repeat(found.rise, tile.wires.rows_per_source_line, axis=0)[: len(found.drop)]
    return SolvedTile(
        part.name, tile.thresholds, part.cell_codes(),
        found.amps, found.drop, found.rise, found.drop + rise,
        (found.amps - ideal.amps) / float(chip.encoding.level_amps.max()),
        float(off[np.abs(off).argmax()]), int(up.sum()), chip.wires.strap_every,
    )  # fmt: skip
