"""An estimate of a run's cost: its work, counted on a few images, times rates measured on its own tiles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
from torch import nn

from norsim.array.tile import Stimulus
from norsim.backends.backend import Backend
from norsim.backends.registry import reference
from norsim.data.inputs.structure import Structure, count_of, taken
from norsim.data.tensors import BATCH
from norsim.evaluation.batches import outputs
from norsim.evaluation.dry_run.rates import drives_per_read, parquet_bytes, timed
from norsim.evaluation.dry_run.work import Estimate, Work
from norsim.evaluation.end_to_end import chunk_sizes, usual_images
from norsim.evaluation.proof.defaults import FIRST_CHUNK, PER_TILE
from norsim.evaluation.proof.kept_reads import samples_table
from norsim.evaluation.proof.sampling import Quota, Sample
from norsim.periphery.encoding import Codes
from norsim.spice.deck import deck
from norsim.tiling.calibrate import fits_are_kept
from norsim.tiling.modules import TiledLayer, digital, layer_codes, tiled_layers
from norsim.tiling.program import program_tile
from norsim.tiling.reader import VOLTS_AT_ONCE
from norsim.tiling.tile import PlacedTile
from norsim.zoo.attributes import has_own_code

# The largest number of drives of a layer, which is that of reads without slots, that are searched for equal ones.
COUNTED_READS = 40_000


def recorded(model: nn.Module, images: Structure) -> tuple[float, dict[str, Codes]]:
    """Return the seconds of a digital pass of `images` `[images, ...]`, and every layer's codes `[vectors, inputs]`."""
    with digital(model):
        seconds, _ = timed(lambda: outputs(model, images))
    return seconds, layer_codes(model, images)


def estimate_evaluation(
    model: nn.Module, few: Structure, images: int, backend: Backend, *, calibration: Structure | None, jobs: int,
    spice_sample: int | None, proof_images: int | None = 0, proof_seconds: float | None = None, each_pass: bool = True,
    copies: int, set_up_seconds: float, seed: int = 0, evaluations: int = 1, passes: int = 1, fits: int = 1,
) -> Estimate:  # fmt: skip
    """Return the cost of evaluating `images` images on all layers, `evaluations` times, after as many `fits` to the
    inputs `calibration` `[images, ...]`, unless these fits are kept on disk; None without any fit.

    Work is counted on `few` of them, `[n, ...]`. All go through the network `passes` times; `copies` of each unit of
    work are kept on disk. Without a `spice_sample`, no reads are kept. The proof by `proof_images` is made once.
    """
    layers, work = tiled_layers(model), Work(jobs)
    analog = {name: layer for name, layer in layers.items() if not layer.backend_with(backend).gives_integers}
    first, codes = recorded(model, taken(few, slice(1)))
    most = max(_reads(layers[name], some) * layers[name].grid.tiles[0].slots for name, some in codes.items())
    counted = min(images, count_of(few), BATCH, max(COUNTED_READS // most, 1))
    seconds, codes = recorded(model, taken(few, slice(counted)))
    each, batches = seconds / counted, -(-images // BATCH)
    programs, calibrated = fits, 0 if calibration is None else count_of(calibration)
    # Only the fits of the first chip are looked up.
    if analog and fits and calibration is not None and fits_are_kept(model, backend, calibration, seed):
        fits -= 1
    # Every image passes through the digital network and, between the tiles, through its digital part again; twice
    # through the network if its code is the user's, because only one that answers as before resumes.
    each_image = each * (3 if has_own_code(model) else 2)
    work.own = set_up_seconds + max(first - each, 0.0)
    work.own += passes * images * each_image + fits * calibrated * each
    # A calibration takes all of its images at a time.
    at_a_time = max(min(images, BATCH), calibrated if fits else 0)
    for name, layer in analog.items():
        used, some, reads = layer.backend_with(backend), codes[name], _reads(layer, codes[name])
        at_once = used.reads_per_deck or reads
        tiles = len(layer.grid.tiles)
        work.batch_bytes = max(work.batch_bytes, _result_bytes(layer, used, at_a_time / counted * len(some)))
        for part in layer.grid.tiles:
            distinct = reads if used.by_model else _volts(part, some).distinct()[0].vectors
            fitted = min(math.ceil(layer.grid.chip.calibration.reads * drives_per_read(part, some, used)), distinct)
            fit_decks = -(-fitted // at_once)
            # A model is needed with or without the fit.
            starts = programs if used.by_model else fits * fit_decks
            work.add(part, some, used, fits * fitted, starts, tiles * fit_decks, programs=programs, fits=fits)
            _add_other_state(work, part, some, used, fits)
            total = distinct / counted * images
            decks = 0 if used.by_model else math.ceil(total / batches / at_once)
            count = evaluations * batches
            work.add(part, some, used, evaluations * total, count * decks, tiles * decks, calls=count)
            work.kept_bytes += work.kept(part, used)
    answers = np.zeros(min(images, BATCH), np.int64)
    answers_bytes = parquet_bytes(pa.table({"array": answers, "quantized": answers}))
    kept_bytes = _add_proof(work, analog, codes, spice_sample, each_pass, backend, evaluations)
    work.disk_bytes += passes * batches * (kept_bytes + answers_bytes)
    _add_images(work, analog, codes, backend, images, counted, proof_images, proof_seconds)
    work.disk_bytes *= copies
    return work.estimate(sum(len(layer.grid.tiles) for layer in analog.values()))


def _add_other_state(work: Work, part: PlacedTile, codes: Codes, backend: Backend, fits: float) -> None:
    """Add what a tile takes whose converters are fitted in another state of its cells than it is read in."""
    chip = part.chip.when_fitted()
    if chip != part.chip:
        work.add(replace(part, chip=chip), codes, backend, 0, fits if backend.by_model else 0, 1, programs=fits)


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
        work.add(part, codes, backend, reads, decks, decks * len(parts), programs=1, fits=1)
        work.add(part, codes, backend, stimulus.vectors // part.slots * drives, 1, len(parts), calls=1)
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
        tiles, simulated = len(layer.grid.tiles), each_pass and spice_sample > 0
        of_passes = layer.grid.chip.encoding.passes(layer.grid.layer.input_bits) / tiles
        reads = spice_sample * share + of_passes * simulated
        # Reads of passes share the deck of one tile.
        decks = min(spice_sample * share, 1.0) + simulated / tiles
        drives = drives_per_read(part, codes[name], by)
        if reads:
            work.add(part, codes[name], by, reads * drives, min(decks, 1.0), len(places))
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
