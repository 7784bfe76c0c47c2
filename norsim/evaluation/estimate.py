"""An estimate of a run's cost: its work, counted on a few images, times rates measured on its own tiles."""

from __future__ import annotations

import math
import resource
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import torch
from torch import nn

from norsim.array.tile import Stimulus
from norsim.backends.backend import Backend
from norsim.backends.registry import reference
from norsim.data.inputs.structure import Structure, count_of, taken
from norsim.data.tensors import BATCH
from norsim.evaluation.batches import outputs
from norsim.evaluation.end_to_end import chunk_sizes, usual_images
from norsim.evaluation.proof.defaults import FIRST_CHUNK, PER_TILE
from norsim.evaluation.proof.kept_reads import samples_table
from norsim.evaluation.proof.sampling import Quota, Sample
from norsim.evaluation.rates import Rate, drives_per_read, measured, models_to_build, near, parquet_bytes, timed
from norsim.periphery.encoding import Codes
from norsim.spice.deck import deck
from norsim.tiling.modules import TiledLayer, digital, layer_codes, tiled_layers
from norsim.tiling.program import program_tile
from norsim.tiling.reader import VOLTS_AT_ONCE
from norsim.tiling.tile import PlacedTile

# The largest number of drives of a layer, which is that of reads without slots, that are searched for equal ones.
COUNTED_READS = 40_000


@dataclass(frozen=True)
class Estimate:
    """The estimated cost of a run.

    `tiles`     number of arrays that it reads
    `decks`     number of decks for a simulator
    `solves`    number of reads of a tile that are solved, including those of the calibration and verification
    `seconds`   on this machine, with its number of jobs, and `core_hours` of work in them
    `memory_bytes`  peak memory, including simulators
    `disk_bytes`    in the run's folder and in the cache shared by runs
    `at_least`  whether a read took so long that the estimate is only a lower bound
    """

    tiles: int
    decks: int
    solves: int
    seconds: float
    core_hours: float
    memory_bytes: int
    disk_bytes: int
    at_least: bool

    def summary(self) -> dict[str, Any]:
        """Return the JSON content of a dry run."""
        return {"dry_run": True, **asdict(self)}


@dataclass
class Work:
    """A sum of work: seconds of this process, of simulators and of waiting for them, decks, solves and bytes.

    `kept_bytes` is the memory of all tiles, `batch_bytes` that of a layer's results on a batch of images.
    """

    jobs: int
    own: float = 0.0
    simulators: float = 0.0
    waiting: float = 0.0
    decks: float = 0.0
    solves: float = 0.0
    disk_bytes: float = 0.0
    kept_bytes: float = 0.0
    batch_bytes: float = 0.0
    at_least: bool = False
    rates: dict[tuple[str, bool, tuple[int, ...]], Rate] = field(default_factory=dict)

    def add(
        self, part: PlacedTile, codes: Codes, backend: Backend, reads: float, starts: float, together: float
    ) -> None:  # fmt: skip
        """Add `reads` reads of a tile with activation codes like `codes` `[vectors, inputs]`, in `starts` decks.

        `together` decks are independent of each other and can be solved at the same time. A model that is kept on disk
        need not be built.
        """
        if starts and backend.by_model:
            starts = models_to_build(part, backend, starts)
        rate = self.rate(part, codes, backend, alone=reads <= starts)
        seconds = starts * rate.start + reads * rate.read
        self.solves += reads
        if backend.simulator is not None:
            # A library solves in this process, one deck at a time.
            at_a_time = min(self.jobs, max(together, 1)) if backend.own_process else 1
            self.simulators += seconds
            self.waiting += seconds / at_a_time
            self.decks += starts
            self.disk_bytes += reads * rate.bytes
        else:
            self.own += seconds

    def rate(self, part: PlacedTile, codes: Codes, backend: Backend, alone: bool) -> Rate:
        """Return the rate of reading tiles of that size, measured on the first one; `alone`: one read at a time.

        `codes` are `[vectors, inputs]`.
        """
        key = (backend.name, alone, part.cell_codes().shape)
        if key not in self.rates:
            self.rates[key] = near(self.rates, backend, *key[1:]) or measured(part, codes, backend, self.jobs, alone)
            self.at_least |= self.rates[key].at_least
        return self.rates[key]

    def kept(self, part: PlacedTile, backend: Backend) -> int:
        """Return the bytes that a tile whose reads were added keeps in memory."""
        own = backend.name, part.cell_codes().shape
        return next(rate.kept_bytes for (name, _, shape), rate in self.rates.items() if (name, shape) == own)

    def estimate(self, tiles: int) -> Estimate:
        """Return the sum. Memory is the peak of this process so far, what a run keeps besides, its tiles and a layer's
        results, and that of a simulator for each job.

        A child counts the memory of this process until it runs its own program, so a simulator's memory is known, and
        counted, only where it is larger.
        """
        unit = 1 if sys.platform == "darwin" else 1024
        kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        own, simulator = (unit * resource.getrusage(kind).ru_maxrss for kind in kinds)
        simulator = simulator if simulator > own else 0
        return Estimate(
            tiles, round(self.decks), round(self.solves),
            self.own + self.waiting,
            (self.own * torch.get_num_threads() + self.simulators) / 3600,
            round(own + self.jobs * simulator + self.kept_bytes + self.batch_bytes), round(self.disk_bytes),
            self.at_least,
        )  # fmt: skip


def recorded(model: nn.Module, images: Structure) -> tuple[float, dict[str, Codes]]:
    """Return the seconds of a digital pass of `images` `[images, ...]`, and every layer's codes `[vectors, inputs]`."""
    with digital(model):
        seconds, _ = timed(lambda: outputs(model, images))
    return seconds, layer_codes(model, images)


def estimate_evaluation(
    model: nn.Module, few: Structure, images: int, backend: Backend, *, calibration_images: int, jobs: int,
    spice_sample: int | None, proof_images: int | None = 0, proof_seconds: float | None = None, each_pass: bool = True,
    copies: int, set_up_seconds: float, evaluations: int = 1, passes: int = 1, fits: int = 1,
) -> Estimate:  # fmt: skip
    """Return the cost of evaluating `images` images on all layers, `evaluations` times, after `fits` calibrations.

    Work is counted on `few` of them, `[n, ...]`. All go through the network `passes` times; `copies` of each unit of
    work are kept on disk. Without a `spice_sample`, no reads are kept. The proof by `proof_images` is made once.
    """
    layers, work = tiled_layers(model), Work(jobs)
    analog = {name: layer for name, layer in layers.items() if not layer.backend_with(backend).gives_integers}
    _, codes = recorded(model, taken(few, slice(1)))
    most = max(_reads(layers[name], some) * layers[name].grid.tiles[0].slots for name, some in codes.items())
    counted = min(images, count_of(few), BATCH, max(COUNTED_READS // most, 1))
    seconds, codes = recorded(model, taken(few, slice(counted)))
    each, batches = seconds / counted, -(-images // BATCH)
    # Every image passes through the digital network and, between the tiles, through its digital part again.
    work.own = set_up_seconds + each * (2 * passes * images + fits * calibration_images)
    # A calibration takes all of its images at a time.
    at_a_time = max(min(images, BATCH), calibration_images if fits else 0)
    for name, layer in analog.items():
        used, some, reads = layer.backend_with(backend), codes[name], _reads(layer, codes[name])
        at_once = used.reads_per_deck or reads
        tiles = len(layer.grid.tiles)
        work.batch_bytes = max(work.batch_bytes, _result_bytes(layer, used, at_a_time / counted * len(some)))
        for part in layer.grid.tiles:
            distinct = reads if used.by_model else _volts(part, some).distinct()[0].vectors
            fitted = min(math.ceil(layer.grid.chip.calibration.reads * drives_per_read(part, some, used)), distinct)
            fit_decks = -(-fitted // at_once)
            work.add(part, some, used, fits * fitted, fits * fit_decks, tiles * fit_decks)
            total = distinct / counted * images
            decks = 0 if used.by_model else math.ceil(total / batches / at_once)
            work.add(part, some, used, evaluations * total, evaluations * batches * decks, tiles * decks)
            work.kept_bytes += work.kept(part, used)
    answers = np.zeros(min(images, BATCH), np.int64)
    answers_bytes = parquet_bytes(pa.table({"array": answers, "quantized": answers}))
    kept_bytes = _add_proof(work, analog, codes, spice_sample, each_pass, backend, evaluations)
    work.disk_bytes += passes * batches * (kept_bytes + answers_bytes)
    _add_images(work, analog, codes, backend, images, counted, proof_images, proof_seconds)
    work.disk_bytes *= copies
    return work.estimate(sum(len(layer.grid.tiles) for layer in analog.values()))


def estimate_reads(
    parts: Sequence[PlacedTile], codes: Codes, backend: Backend, *, jobs: int, copies: int, set_up_seconds: float
) -> Estimate:
    """Return the cost of calibrating some tiles and of reading all of the layer's `[vectors, inputs]` codes once."""
    work = Work(jobs, own=set_up_seconds)
    text_bytes = 0
    for part in parts:
        array, drives = program_tile(part), drives_per_read(part, codes, backend)
        reads = math.ceil(part.chip.calibration.reads * drives)
        stimulus = array.drive(part.codes(codes))
        decks = -(-reads // (backend.reads_per_deck or reads))
        work.add(part, codes, backend, reads, decks, decks * len(parts))
        work.add(part, codes, backend, stimulus.vectors // part.slots * drives, 1, len(parts))
        text_bytes += len(deck(array.tile, stimulus))
    work.disk_bytes = copies * work.disk_bytes + text_bytes
    return work.estimate(len(parts))


def _result_bytes(layer: TiledLayer, backend: Backend, vectors: float) -> float:
    """Return the memory of a layer's results for that many vectors.

    These are its sums in double precision, and its outputs in single precision, once more after each of two functions.
    Without a model, volts and currents of all lines are kept too, those of several slots for some vectors at a time.
    """
    found, first = vectors * layer.grid.layer.outputs * (8 + 3 * 4), layer.grid.tiles[0]
    if not backend.by_model:
        lines = sum(sum(part.cell_codes().shape) for part in layer.grid.tiles)
        volts = vectors * first.encoding.passes(layer.grid.layer.input_bits) * first.slots * lines
        found += 2 * 8 * (volts if first.slots == 1 else min(volts, VOLTS_AT_ONCE))
    return found


def _volts(part: PlacedTile, codes: Codes) -> Stimulus:
    """Return the volts of the layer's `[vectors, inputs]` codes, from ideal drivers."""
    return part.encoding.drive(part.codes(codes), len(part.outputs), part.layer.input_bits)


def _reads(layer: TiledLayer, codes: Codes) -> int:
    return len(codes) * layer.grid.chip.encoding.passes(layer.grid.layer.input_bits)


def _add_proof(
    work: Work, layers: dict[str, TiledLayer], codes: dict[str, Codes], spice_sample: int | None, each_pass: bool,
    backend: Backend, evaluations: int,
) -> int:  # fmt: skip
    """Add the reads of the verification. Return the size of a batch's samples in bytes.

    The random sample is spread over the tiles by their number of reads, those of every pass over the tiles of a layer.
    """
    places = [(name, part) for name, layer in layers.items() for part in layer.grid.tiles]
    if spice_sample is None or not places:
        return parquet_bytes(samples_table([]))
    every = sum(_reads(layers[name], codes[name]) for name, _ in places)
    kept = []
    for name, part in places:
        layer, by = layers[name], reference(part.chip.cell)
        share = _reads(layer, codes[name]) / every
        of_passes = layer.grid.chip.encoding.passes(layer.grid.layer.input_bits) / len(layer.grid.tiles)
        reads = spice_sample * share + (of_passes if each_pass and spice_sample else 0.0)
        drives = drives_per_read(part, codes[name], by)
        if reads:
            work.add(part, codes[name], by, reads * drives, min(reads, 1.0), len(places))
        rung = layer.backend_with(backend).rung_above
        if rung is not None:
            work.add(part, codes[name], rung, evaluations * PER_TILE * drives, evaluations, len(places))
        many = PER_TILE + round(Quota.for_sample(spice_sample).at_random * share + of_passes)
        kept += [_sample(part, codes[name], k) for k in range(many)]
    return parquet_bytes(samples_table(kept))


def _add_images(
    work: Work, layers: dict[str, TiledLayer], codes: dict[str, Codes], backend: Backend, images: int, counted: int,
    wanted: int | None, seconds: float | None,
) -> None:  # fmt: skip
    """Add the end-to-end proof; `codes` are those of `counted` images."""
    if backend.rung_above is None or wanted == 0 or not layers:
        return
    macs = sum(len(codes[name]) * layer.grid.layer.inputs * layer.grid.layer.outputs for name, layer in layers.items())
    most = min(images, usual_images(macs / counted) if wanted is None else wanted)
    proof = Work(work.jobs, rates=work.rates)
    for rung in (backend.rung_above, backend):
        for name, layer in layers.items():
            for part in layer.grid.tiles:
                used, some = layer.backend_with(rung), codes[name]
                distinct = _reads(layer, some) if used.by_model else _volts(part, some).distinct()[0].vectors
                proof.add(part, some, used, distinct / counted * most, 0, 1)
    done = most
    if seconds is not None and proof.own + proof.waiting > seconds:
        done = min(most, max(FIRST_CHUNK, int(most * seconds / (proof.own + proof.waiting))))
    share = done / most
    work.own, work.simulators = work.own + share * proof.own, work.simulators + share * proof.simulators
    work.waiting, work.solves = work.waiting + share * proof.waiting, work.solves + share * proof.solves
    work.decks, work.at_least = work.decks + share * proof.decks, work.at_least or proof.at_least
    # Scores are stored as a file of torch, which takes about 2 kB besides the scores.
    scores = pa.table({name: [bytes(2048)] for name in ("array", "quantized")})
    chunks = len(list(chunk_sizes(done)))
    work.disk_bytes += share * proof.disk_bytes
    work.disk_bytes += 2 * chunks * (parquet_bytes(scores) + parquet_bytes(samples_table([])))


def _sample(part: PlacedTile, codes: Codes, number: int) -> Sample:
    """Return a read of one of the `[vectors, inputs]` codes as a run keeps it; random currents need the same space."""
    first, random = number % len(codes), np.random.default_rng(number)
    stimulus = _volts(part, codes[first : first + 1]).take(slice(0, part.slots))
    amps = part.full_scale_amps * random.normal(size=part.conversions)
    return Sample(random.random(), part, stimulus, amps, part.convert(amps).astype(np.int32))
