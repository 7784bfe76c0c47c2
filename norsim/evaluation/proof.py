"""The verification of every result: a sample of a run's reads, solved again by a simulator, one by one."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import BadZipFile

import numpy as np

from norsim.array.tile import Floats, Stimulus, Tile
from norsim.backends.backend import Backend
from norsim.backends.batch import read_all
from norsim.errors import ConfigurationError, DataError
from norsim.evaluation.intervals import wilson
from norsim.jobs.workers import Workers
from norsim.periphery.adc import Adc
from norsim.periphery.encoding import Codes
from norsim.random_streams import Stream, generator
from norsim.tiling.grid import TileGrid
from norsim.tiling.program import ProgrammedTile, program_tile
from norsim.tiling.read_noise import tile_of_read
from norsim.tiling.tile import PlacedTile, TileRead, placed_tile


@dataclass(frozen=True)
class Verification:
    """The deviation of a run from a simulator, over `samples` reads of (layer, tile, vector, pass).

    Errors are in units of each tile's full scale, over all outputs of the sampled reads; `adc_mismatch_fraction` is the
    share of converter codes that differ, with Wilson's 95 % interval. `witness` is the backend that solved the reads
    again. All but `samples` are None if nothing was sampled.
    """

    samples: int
    max_error_full_scale: float | None = None
    rms_error_full_scale: float | None = None
    adc_mismatch_fraction: float | None = None
    adc_mismatch_ci95: tuple[float, float] | None = None
    witness: str | None = None


@dataclass(frozen=True, eq=False)
class Sample:
    """One read of the run: its place, its volts, and its results.

    `amps`, `adc`   `[outputs]`: amperes and converter codes
    `array`     the programmed array of its tile, if it is in memory
    `line_noise`   `[lines]`, amperes: what noise of the cells added to the lines' currents; None without
    """

    key: float
    part: PlacedTile
    stimulus: Stimulus
    amps: Floats
    adc: np.ndarray
    array: ProgrammedTile | None = None
    line_noise: Floats | None = None


class Sampler:
    """An observer of a batch's reads that keeps a sample of `count` reads of every tile, chosen by seed and batch.

    `reads`     number of reads, by layer
    """

    def __init__(self, count: int, seed: int, batch: int = 0) -> None:
        self.count = count
        self.random = generator(seed, Stream.PROOF_SAMPLE, batch)
        self.kept: dict[str, list[Sample]] = {}
        self.reads: Counter[str] = Counter()

    def observe(self, part: PlacedTile, array: ProgrammedTile, codes: Codes, result: TileRead) -> None:
        """Count one tile's reads of the layer's `codes`, `[vectors, inputs]`, and sample them."""
        vectors, passes, outputs = result.amps.shape
        self.reads[part.layer.name] += vectors * passes
        kept = self.kept.setdefault(part.name, [])
        keys = smallest_uniforms(vectors * passes, self.count, self.random)
        if kept and len(kept) == self.count:
            keys = keys[keys < kept[-1].key]
        if not len(keys):
            return
        places = self.random.choice(vectors * passes, len(keys), replace=False)
        amps, adc = result.amps.reshape(-1, outputs), result.adc.reshape(-1, outputs)
        for key, place in zip(keys, places, strict=True):
            vector, one = divmod(int(place), passes)
            stimulus = array.drive(part.codes(codes[vector : vector + 1])).take(slice(one, one + 1))
            # Copies, because views would keep the whole read in memory.
            noise = result.line_noise
            drawn = None if noise is None else noise[vector, one].astype(np.float64)
            found = amps[place].astype(np.float64), adc[place].astype(np.int32)
            kept.append(Sample(key, part, stimulus, *found, array, drawn))
        self.kept[part.name] = sorted(kept, key=lambda sample: sample.key)[: self.count]

    def samples(self) -> list[Sample]:
        """Return all kept reads."""
        return [sample for kept in self.kept.values() for sample in kept]


def choose_samples(samples: Iterable[Sample], count: int) -> list[Sample]:
    """Return `count` of the samples: one of each tile, the tiles in random order, then a second one, and so on.

    The choice depends only on their keys, not on who kept them or in which order.
    """
    kept: dict[str, list[Sample]] = {}
    for sample in sorted(samples, key=lambda sample: sample.key):
        kept.setdefault(sample.part.name, []).append(sample)
    rounds = zip_longest(*kept.values())
    return list(islice((sample for turn in rounds for sample in turn if sample), count))


def smallest_uniforms(many: int, count: int, random: np.random.Generator) -> Floats:
    """Draw the `count` smallest, or all, of `many` uniform random numbers in order, `[count]`, without drawing the
    rest."""
    count = min(count, many)
    # Gaps between ordered exponential variates are exponential (Renyi 1953).
    exponential = np.cumsum(random.exponential(size=count) / (many - np.arange(count)))
    smallest: Floats = -np.expm1(-exponential)
    return smallest


def verify(samples: Sequence[Sample], workers: Workers, witness: Backend) -> Verification:
    """Solve sampled reads again with `witness`, each one alone and from a cold start, and return the deviation.

    Where noise of the cells was drawn for the read, the tile is solved with thresholds drawn for the read, whose
    deviations add up to the run's on each line: see norsim.tiling.read_noise.
    """
    if not samples:
        return Verification(0)
    requests = [(tile, sample.stimulus) for tile, sample in zip(tiles_of(samples), samples, strict=True)]
    errors, differ = [], []
    for sample, currents in zip(samples, read_all(requests, witness, workers), strict=True):
        reference = sample.part.amps(currents)[0]
        errors.append((sample.amps - reference) / sample.part.full_scale_amps)
        # With noise, codes would differ by the noise alone, so they are converted again without it.
        noisy = sample.part.chip.converters.noise > 0
        differ.append((sample.part.convert(sample.amps) if noisy else sample.adc) != sample.part.convert(reference))
    found = _verification(len(samples), np.concatenate(errors), np.concatenate(differ))
    return replace(found, witness=witness.name)


def tiles_of(samples: Sequence[Sample]) -> list[Tile]:
    """Return the tile that each sample was read from, programmed now if it is not in memory, with the read's noise."""
    known: dict[tuple[int, str], ProgrammedTile] = {}
    found = []
    for sample in samples:
        key = (sample.part.chip.draw.chip, sample.part.name)
        array = known.setdefault(key, known.get(key) or sample.array or program_tile(sample.part))
        noise = sample.line_noise
        found.append(array.tile if noise is None else tile_of_read(sample.part, array, sample.stimulus, noise))
    return found


def save_samples(samples: Sequence[Sample], file: BinaryIO) -> None:
    """Write sampled reads as a NumPy archive: volts and currents by number, places and converters as one JSON text."""
    places, arrays = [], {}
    for k, sample in enumerate(samples):
        part, adc = sample.part, sample.part.adc
        places.append([
            part.layer.name, part.row, part.column, adc.bits, adc.low_amps, adc.high_amps, part.chip.draw.chip,
        ])  # fmt: skip
        arrays[f"wordline_volts_{k}"] = sample.stimulus.wordline_volts
        arrays[f"bitline_volts_{k}"] = sample.stimulus.bitline_volts
        arrays[f"amps_{k}"], arrays[f"adc_{k}"] = sample.amps, sample.adc
        if sample.line_noise is not None:
            arrays[f"line_noise_{k}"] = sample.line_noise
    np.savez_compressed(file, allow_pickle=False, places=np.array(json.dumps(places)), **arrays)


def load_samples(path: Path, grids: Mapping[str, TileGrid]) -> list[Sample]:
    """Return the sampled reads of a run, on the tiles of `grids`, by layer. Raises DataError for other files."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as kept:
            return [
                _sample(kept, k, grids[name].at(row, column), Adc(bits, low, high), int(chip))
                for k, (name, row, column, bits, low, high, chip) in enumerate(json.loads(str(kept["places"])))
            ]
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile, ConfigurationError) as problem:
        raise DataError(f"{path} does not hold sampled reads of this network and chip: {problem}") from None


def _sample(kept: Mapping[str, Any], k: int, part: PlacedTile, adc: Adc, chip: int) -> Sample:
    stimulus = Stimulus(kept[f"wordline_volts_{k}"], kept[f"bitline_volts_{k}"])
    amps, codes = kept[f"amps_{k}"], kept[f"adc_{k}"]
    if stimulus.vectors != 1 or not amps.shape == codes.shape == (len(part.outputs),):
        raise ValueError(f"sample {k} does not fit {part.name}")
    specimen = part.chip.specimen(part.chip.draw.seed, chip)
    there = placed_tile(part.layer, specimen, part.row, part.column, part.inputs, part.outputs)
    return Sample(0.0, replace(there, adc=adc), stimulus, amps, codes, line_noise=kept.get(f"line_noise_{k}"))


def _verification(samples: int, errors: Floats, differ: np.ndarray[Any, np.dtype[np.bool_]]) -> Verification:
    return Verification(
        samples,
        float(np.abs(errors).max()),
        float(np.sqrt(np.square(errors).mean())),
        float(differ.mean()),
        wilson(int(differ.sum()), len(differ)),
    )
