"""What a run will take, said beforehand: its work counted on a few images, times rates measured on its own tiles."""

from __future__ import annotations

import math
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import torch
from torch import Tensor, nn

from norsim.array.tile import Currents
from norsim.backends import macro_model, read
from norsim.data import Dataset
from norsim.errors import SolveError
from norsim.network.batch import classes, samples_table
from norsim.network.evaluate import BATCH, KEPT_SAMPLES
from norsim.network.layers import TiledLayer, digital, layer_codes, tiled_layers
from norsim.network.placement import PlacedTile
from norsim.network.reader import READS_AT_ONCE
from norsim.network.recipes import Recipe
from norsim.network.train import train
from norsim.network.verify import Sampler
from norsim.network.zoo import NetworkSpec
from norsim.periphery.encoding import Codes
from norsim.spice import neospice, ngspice
from norsim.spice.deck import deck
from norsim.spice.simulator import chosen_simulator, simulator_of
from norsim.units import currents_table, parquet
from norsim.workers import Threads

# Reads of a layer that are looked through for equal ones, and reads made to measure a rate.
COUNTED_READS = 40_000
MACRO_READS = 4096
FEW_READS = {"ngspice": 6, "ngspice-shared": 6, "neospice": 6, "nodal": 64}
# Simulators that are processes of their own.
PROCESSES = {"ngspice": ngspice.read, "neospice": neospice.read}
TRAINED_BATCHES = 8
# Longer than this no rate is waited for: the estimate then is a lower bound. Shorter than this a probe says little,
# and more reads are made.
LONGEST_PROBE_SECONDS = 120.0
SHORTEST_PROBE_SECONDS = 0.5


@dataclass(frozen=True)
class Estimate:
    """What a run takes.

    `tiles`     arrays that it reads
    `decks`     pieces of work that a simulator is given
    `solves`    reads of a tile that are solved, those of the fit and of the proof included
    `seconds`   on this machine, with its number of jobs, and `core_hours` of work in them
    `memory_bytes`  the most at a time, simulators included
    `disk_bytes`    in the run's folder and in the cache that runs share
    `at_least`  whether a read took so long that all this is only a lower bound
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
        """The keys of `--dry-run --json`."""
        return {"dry_run": True, **asdict(self)}


@dataclass(frozen=True)
class Rate:
    """Of one size of tile: `start` seconds before the first read, seconds a `read`, `bytes` that a read is kept in."""

    start: float
    read: float
    bytes: float = 0.0


@dataclass
class Work:
    """What is added up: seconds of this process and of simulators, those that they are waited for, and the rest."""

    jobs: int
    own: float = 0.0
    simulators: float = 0.0
    waiting: float = 0.0
    decks: float = 0.0
    solves: float = 0.0
    disk_bytes: float = 0.0
    at_least: bool = False
    rates: dict[tuple[str, bool, tuple[int, ...]], Rate] = field(default_factory=dict)

    def add(self, part: PlacedTile, codes: Codes, backend: str, reads: float, starts: float, together: float) -> None:
        """`reads` reads of a tile whose activation codes are like `codes` `[vectors, inputs]`, begun `starts` times;
        `together` decks can be solved at a time before something must wait for all of them."""
        rate = self.rate(part, codes, backend, alone=reads <= starts)
        seconds = starts * rate.start + reads * rate.read
        self.solves += reads
        if simulator_of(backend):
            # The library solves in this process, one deck after the other.
            at_a_time = min(self.jobs, max(together, 1)) if backend in PROCESSES else 1
            self.simulators += seconds
            self.waiting += seconds / at_a_time
            self.decks += starts
            self.disk_bytes += reads * rate.bytes
        else:
            self.own += seconds

    def rate(self, part: PlacedTile, codes: Codes, backend: str, alone: bool) -> Rate:
        """How fast tiles of that size are read, measured on this one the first time; `alone`: one read at a time.

        `codes` are `[vectors, inputs]`.
        """
        key = (backend, alone, part.tile().thresholds.shape)
        if key not in self.rates:
            try:
                self.rates[key] = (
                    _macro_rate(part, codes) if backend == "macro"
                    else _rate(part, codes, backend, self.jobs, 1 if alone else FEW_READS[backend])
                )  # fmt: skip
            except SlowError:
                self.at_least = True
                self.rates[key] = Rate(0.0, LONGEST_PROBE_SECONDS)
        return self.rates[key]

    def estimate(self, tiles: int) -> Estimate:
        """The sum; memory is what this process has had so far, and a simulator's for each job."""
        unit = 1 if sys.platform == "darwin" else 1024
        kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        own, simulator = (unit * resource.getrusage(kind).ru_maxrss for kind in kinds)
        return Estimate(
            tiles, round(self.decks), round(self.solves),
            self.own + self.waiting,
            (self.own * torch.get_num_threads() + self.simulators) / 3600,
            own + self.jobs * simulator, round(self.disk_bytes), self.at_least,
        )  # fmt: skip


class SlowError(SolveError):
    """A read took longer than anybody waits for an estimate."""


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    found = call()
    return time.perf_counter() - started, found


def _rate(part: PlacedTile, codes: Codes, backend: str, jobs: int, reads: int) -> Rate:
    """Of a solver that takes reads one after the other: from one read, and from so many.

    So many decks of a simulator at a time as the run will have: what they cost each other is in the rate.
    """
    tile, (stimulus, _) = part.tile(), part.drive(codes).distinct()
    many = min(stimulus.vectors, reads)

    def solve(reads: int) -> Currents:
        some = stimulus.take(slice(0, reads))
        if backend not in PROCESSES:
            return read(tile, some, backend)
        try:
            with Threads(jobs).executor() as pool:
                found = list(pool.map(lambda _: PROCESSES[backend](tile, some, LONGEST_PROBE_SECONDS), range(jobs)))
                return found[0]
        except SolveError as problem:
            raise SlowError(str(problem)) if "did not finish" in str(problem) else problem from None

    if backend == "nodal":
        solve(1)
    one, currents = _timed(lambda: solve(1))
    if one < SHORTEST_PROBE_SECONDS:
        # The first of all also waits for what later ones find in memory.
        one, currents = min((_timed(lambda: solve(1)) for _ in range(2)), key=itemgetter(0))
    if many == 1:
        return Rate(0.0, one, _parquet_bytes(currents_table(currents)))
    few, currents = _timed(partial(solve, many))
    while few < SHORTEST_PROBE_SECONDS and many < stimulus.vectors and reads > 1:
        many = min(4 * many, stimulus.vectors)
        few, currents = _timed(partial(solve, many))
    each = max((few - one) / (many - 1), 0.0)
    return Rate(max(one - each, 0.0), each, _parquet_bytes(currents_table(currents)) / many)


def _macro_rate(part: PlacedTile, codes: Codes) -> Rate:
    """Of the reduced model: the time to build it, and that of many reads once it is there."""
    passes = part.chip.encoding.passes(part.layer.input_bits)
    # The first model of all waits for its kernels to be loaded, and for the cell to be characterised.
    list(part.read_reduced(codes[:1]))
    macro_model.cache_clear()
    build, _ = _timed(lambda: list(part.read_reduced(codes[:1])))
    vectors = max(MACRO_READS // passes, 1)
    some = np.resize(codes, (vectors, codes.shape[1]))
    seconds, _ = _timed(lambda: list(part.read_reduced(some)))
    return Rate(build, seconds / (vectors * passes))


def _parquet_bytes(table: pa.Table) -> int:
    # And a line of checksum.
    return len(parquet(table)) + 140


def recorded(model: nn.Module, images: Tensor) -> tuple[float, dict[str, Codes]]:
    """Seconds of a digital pass of `images`, and the activation codes `[vectors, inputs]` of every layer in it."""
    with digital(model):
        seconds, _ = _timed(lambda: classes(model, images))
    return seconds, layer_codes(model, images)


def estimate_evaluation(
    model: nn.Module, images: Tensor, backend: str, *, calibration_images: int, jobs: int, spice_sample: int | None,
    copies: int, set_up_seconds: float, evaluations: int = 1, passes: int = 1, fits: int = 1,
) -> Estimate:  # fmt: skip
    """What it takes to evaluate all `images` on all layers, `evaluations` times, after `fits` fits of the converters.

    The images `[n, channels, height, width]` go through the network `passes` times; `copies` of each unit of work are
    kept on disk. With a `spice_sample` of None no reads are kept for a proof.
    """
    layers, work = tiled_layers(model), Work(jobs)
    analog = {name: layer for name, layer in layers.items() if _backend(layer, backend) != "ideal"}
    _, codes = recorded(model, images[:1])
    most = max(_reads(layers[name], some) for name, some in codes.items())
    counted = min(len(images), BATCH, max(COUNTED_READS // most, 1))
    seconds, codes = recorded(model, images[:counted])
    each, batches = seconds / counted, -(-len(images) // BATCH)
    # Every image is seen by the digital network and, on its way between the tiles, once more.
    work.own = set_up_seconds + each * (2 * passes * len(images) + fits * calibration_images)
    for name, layer in analog.items():
        used, some, reads = _backend(layer, backend), codes[name], _reads(layer, codes[name])
        at_once = READS_AT_ONCE.get(used, reads)
        tiles = len(layer.grid.tiles)
        for part in layer.grid.tiles:
            distinct = reads if used == "macro" else part.drive(some).distinct()[0].vectors
            fitted = min(layer.grid.chip.calibration.reads, distinct)
            fit_decks = -(-fitted // at_once)
            work.add(part, some, used, fits * fitted, fits * fit_decks, tiles * fit_decks)
            total = distinct / counted * len(images)
            decks = 0 if used == "macro" else math.ceil(total / batches / at_once)
            work.add(part, some, used, evaluations * total, evaluations * batches * decks, tiles * decks)
    answers = np.zeros(min(len(images), BATCH), np.int64)
    answers_bytes = _parquet_bytes(pa.table({"array": answers, "quantized": answers}))
    work.disk_bytes += passes * batches * (_add_proof(work, analog, codes, spice_sample) + answers_bytes)
    work.disk_bytes *= copies
    return work.estimate(sum(len(layer.grid.tiles) for layer in analog.values()))


def estimate_reads(
    parts: Sequence[PlacedTile], codes: Codes, backend: str, *, jobs: int, copies: int, set_up_seconds: float
) -> Estimate:
    """What it takes to fit some tiles and to read all of the layer's `[vectors, inputs]` codes from each, once."""
    work = Work(jobs, own=set_up_seconds)
    text_bytes = 0
    for part in parts:
        stimulus, reads = part.drive(codes), part.chip.calibration.reads
        decks = -(-reads // READS_AT_ONCE.get(backend, reads))
        work.add(part, codes, backend, reads, decks, decks * len(parts))
        work.add(part, codes, backend, stimulus.vectors, 1, len(parts))
        text_bytes += len(deck(part.tile(), stimulus))
    work.disk_bytes = copies * work.disk_bytes + text_bytes
    return work.estimate(len(parts))


def estimate_training(spec: NetworkSpec, train_set: Dataset, test_set: Dataset, recipe: Recipe) -> Estimate:
    """What a training takes: two epochs of each phase are made of a few batches, and the second of each is counted."""
    batches = -(-len(train_set) // recipe.batch_size)
    few = min(batches, TRAINED_BATCHES)
    some = train_set.take(min(few * recipe.batch_size, len(train_set)))
    tested = test_set.take(max(len(test_set) * few // batches, 1))
    wanted = {"float": recipe.float_epochs, "quantized": recipe.quantized_epochs}
    short = replace(recipe, float_epochs=2, quantized_epochs=2)
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        records = train(spec, some, tested, short, Path(folder)).records
        taken = time.monotonic() - started
        disk_bytes = sum(path.stat().st_size for path in Path(folder).iterdir())
    epochs = {record.phase: record.seconds for record in records if record.epoch == 2}
    once = taken - sum(record.seconds for record in records)
    work = Work(1, own=once + sum(wanted[phase] * epochs[phase] * batches / few for phase in wanted))
    work.disk_bytes = disk_bytes
    return work.estimate(0)


def _backend(layer: TiledLayer, backend: str) -> str:
    return layer.fixed_backend or backend


def _reads(layer: TiledLayer, codes: Codes) -> int:
    return len(codes) * layer.grid.chip.encoding.passes(layer.grid.layer.input_bits)


def _add_proof(work: Work, layers: dict[str, TiledLayer], codes: dict[str, Codes], spice_sample: int | None) -> int:
    """The reads that are solved again, spread over the tiles. Gives the bytes that a batch's samples are kept in."""
    places = [(name, part) for name, layer in layers.items() for part in layer.grid.tiles]
    if spice_sample is None or not places:
        return _parquet_bytes(samples_table([]))
    if spice_sample:
        for name, part in places:
            share = spice_sample / len(places)
            work.add(part, codes[name], chosen_simulator().name, share, share, spice_sample)
    sampler, random = Sampler(-(-max(spice_sample, KEPT_SAMPLES) // len(places)), 0), np.random.default_rng(0)
    for name, part in places:
        some = codes[name][: sampler.count]
        amps = random.normal(size=(part.drive(some).vectors, len(part.outputs)))
        sampler.observe(part, some, part.interpret(some, part.full_scale_amps * amps))
    return _parquet_bytes(samples_table(sampler.samples()))
