"""Batches of images on the array: a run computes them one by one, and keeps finished ones if it is interrupted."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import torch
from torch import nn

from norsim.backends.backend import Backend
from norsim.backends.characterised import ONE_AT_A_TIME
from norsim.data.inputs.structure import Structure, count_of
from norsim.data.tensors import identity_of
from norsim.errors import ConfigurationError
from norsim.evaluation.clipping import Tally, Use
from norsim.evaluation.metrics import Predictions, classes_of, plain
from norsim.evaluation.proof.kept_reads import samples_of, samples_table
from norsim.evaluation.proof.sampling import KeptReads, Quota, Sample, Sampler
from norsim.jobs.unit_store import UnitStore, unit_key
from norsim.jobs.workers import HERE, Unit, Workers
from norsim.quantization.forward import forward
from norsim.tiling.convert import fingerprint
from norsim.tiling.grid import TileGrid
from norsim.tiling.modules import digital, reading, tiled_layers
from norsim.tiling.read_noise import ReadNoise
from norsim.tiling.reader import Reader
from norsim.zoo.attributes import has_own_code

# Classes `[images]`, or the outputs themselves.
Answers = Any


@dataclass(frozen=True, eq=False)
class BatchResult:
    """The result of a batch.

    `array`, `quantized`   classes `[images]`, or outputs, from the array and from the integers
    `uses`      the use of each layer's converters
    """

    array: Answers
    quantized: Answers
    uses: dict[str, Use]


@dataclass(frozen=True)
class Kept:
    """The result of a batch as tables, for storage and for transfer between processes."""

    answers: pa.Table
    samples: pa.Table

    def result(self) -> BatchResult:
        """Return the result."""
        array, quantized = (_answers_of(self.answers[name]) for name in ("array", "quantized"))
        uses = json.loads(self.answers.schema.metadata[b"uses"])
        return BatchResult(array, quantized, {name: Use(*counts) for name, counts in uses.items()})

    def kept(self, grids: Mapping[str, TileGrid]) -> list[Sample]:
        """Return the reads kept for the verification, on the tiles of `grids`, by layer."""
        return samples_of(self.samples, grids)


def run_batches(
    model: nn.Module,
    batches: Iterable[Structure],
    reader: Reader,
    *,
    classify: bool = True,
    kept: KeptReads | None = None,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> list[BatchResult]:
    """Run each batch `[images, ...]` through the network, digitally and with `reader`; return the results in order.

    `classify` keeps the class of each image; otherwise the outputs themselves are kept.

    Reads chosen by the seed are added to `kept`. The seed and an image's number among all images determine its noise.
    Workers in other processes get whole batches or, if a simulator reads, decks. Batches are taken from the iterable
    one by one as workers become free; they are taken from the reader's store if it has them, and added to it otherwise.
    Batches of a network with user-supplied code are not shared between runs: its answers may depend on anything.
    `progress(images done)` reports progress.
    """
    quota = kept.quota if kept else Quota(0, 0, 0)
    own_code = has_own_code(model)
    store, apart = reader.store, done_elsewhere(reader.backend, reader.workers)
    workers = reader.workers if apart else HERE
    own = Reader(reader.backend) if apart else reader
    sent = workers.share(model)
    if store is not None and own_code:
        store = UnitStore(store.folders[:1])
    print_of_model = "" if store is None else fingerprint(model, reader.backend)
    grids = {name: layer.grid for name, layer in tiled_layers(model).items()}
    results: dict[int, BatchResult] = {}
    counts: dict[int, int] = {}
    keys: dict[int, str] = {}

    def units() -> Iterator[Unit]:
        first = 0
        for index, images in enumerate(batches):
            counts[index], place = count_of(images), (index, first)
            first += counts[index]
            if store is not None:
                # Only a network that answers as before resumes.
                answered = _answered(model, images) if own_code else ""
                keys[index] = batch_key(f"{print_of_model} {answered}", place, images, classify, quota, seed)
                found = find(store, keys[index])
                if found is not None:
                    finish(index, found)
                    continue
            yield Unit(index, f"batch {index}", (sent, images, own, classify, quota, seed, place))

    def ran(index: int, found: Kept) -> None:
        if store is not None:
            keep(store, keys[index], found)
        finish(index, found)

    def finish(index: int, found: Kept) -> None:
        results[index] = found.result()
        if kept:
            kept.add(found.kept(grids))
        if progress:
            progress(sum(counts[done] for done in results))

    # In this process, failed decks of a batch have already been retried.
    workers.run(run_alone if apart else run_batch, units(), ran, tries=2 if apart else 1)
    return [results[index] for index in sorted(results)]


def done_elsewhere(backend: Backend, workers: Workers) -> bool:
    """Return whether workers get whole batches: those in other processes do, unless a simulator reads; then they get
    decks."""
    return workers.elsewhere and backend.simulator is None


def run_batch(
    model: nn.Module, images: Structure, reader: Reader, classify: bool, quota: Quota, seed: int, place: tuple[int, int]
) -> Kept:
    """Run one batch `[images, ...]`; `place` is its index, and the number of its first image among all images.

    The seed, the chip and the index determine which reads are kept, the seed and the numbers of the images their noise.
    """
    index, first = place
    answer = classes if classify else outputs
    with digital(model):
        quantized = answer(model, images)
    chip = next(iter(tiled_layers(model).values())).grid.chip
    sampler, tally = Sampler(quota, seed, chip.draw.chip, index), Tally()

    def observe(*read: Any) -> None:
        tally.observe(*read)
        sampler.observe(*read)

    noise = ReadNoise(seed, first_image=first, images=count_of(images))
    with reading(model, replace(reader, observe=observe, noise=noise)):
        array = answer(model, images)
    columns = pa.table({"array": _column(array), "quantized": _column(quantized)})
    about = {"uses": json.dumps({name: astuple(use) for name, use in tally.uses.items()})}
    return Kept(columns.replace_schema_metadata(about), samples_table(sampler.samples()))


def run_alone(*arguments: Any) -> Kept:
    """Call `run_batch` in a process whose other threads may use the same model."""
    with ONE_AT_A_TIME:
        return run_batch(*arguments)


def classes(model: nn.Module, images: Structure) -> Predictions:
    """Return the class `[images]` of each image. Raises ConfigurationError if the network returns another number."""
    with torch.inference_mode():
        found = classes_of(forward(model, images))
    count = count_of(images)
    if len(found) != count:
        raise ConfigurationError(
            f"the network returns scores for {len(found)} images of {count}; expected scores [images, classes]"
        )
    return found


def outputs(model: nn.Module, images: Structure) -> Any:
    """Return the network's outputs for images `[images, ...]`, as tensors on the CPU."""
    with torch.inference_mode():
        return plain(forward(model, images))


def _column(answers: Answers) -> pa.Array:
    """Return classes unchanged as a column, or outputs as the bytes of a file written by torch."""
    if isinstance(answers, np.ndarray):
        return pa.array(answers)
    file = io.BytesIO()
    torch.save(answers, file)
    return pa.array([file.getvalue()], pa.large_binary())


def _answers_of(column: pa.ChunkedArray) -> Answers:
    """Invert `_column`."""
    if pa.types.is_large_binary(column.type):
        return torch.load(io.BytesIO(column[0].as_py()), weights_only=True)
    return np.array(column.to_numpy(), np.int64)


def _answered(model: nn.Module, images: Structure) -> str:
    """Return a hash of the outputs of a converted network, computed in integers, for images `[images, ...]`."""
    with digital(model):
        column = _column(outputs(model, images))
    return hashlib.sha256(column[0].as_py()).hexdigest()


def keep(store: UnitStore, key: str, kept: Kept) -> None:
    """Store a batch: samples first, because the batch counts as done once its answers are stored."""
    store.put(f"{key}-samples", kept.samples)
    store.put(key, kept.answers)


def find(store: UnitStore, key: str) -> Kept | None:
    """Return the batch stored under `key`; None if there is none."""
    kept, samples = store.get(key), store.get(f"{key}-samples")
    return None if kept is None or samples is None else Kept(kept, samples)


def batch_key(
    print_of_model: str, place: tuple[int, int], images: Structure, classify: bool, quota: Quota, seed: int
) -> str:  # fmt: skip
    """Return the key of a batch `[images, ...]` at a place, as of `run_batch`, in a store."""
    return unit_key("batch", print_of_model, *place, *identity_of(images), classify, quota, seed)
