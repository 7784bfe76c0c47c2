"""Runs a converted network on labelled images and says what accuracy it keeps, with its proof."""

from __future__ import annotations

import platform
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from scipy.stats import binomtest
from torch import Tensor, nn

from norsim.backends.registry import Progress, simulator_of, simulators
from norsim.data import Dataset
from norsim.data.tensors import Batches, dataset_batches
from norsim.errors import ConfigurationError
from norsim.evaluation.batches import Predictions, run_batches
from norsim.evaluation.proof import Sample, Verification, choose_samples, verify
from norsim.jobs.unit_store import UnitStore
from norsim.jobs.workers import HERE, Workers
from norsim.spice.simulators.choice import chosen_simulator
from norsim.tiling.modules import TiledLayer, tiled_layers
from norsim.tiling.reader import Reader

# Reads kept of a run, so that more of them can be verified later than at once.
KEPT_SAMPLES = 64
ASSUMPTIONS = (
    "cells conduct for cost.sample of each read, on the mean currents of the calibration's reads; a line that goes up "
    "draws C V^2; a conversion takes cost.adc_step for each of its 2^bits steps; all tiles of a layer are read at "
    "once, every cost.sample or cost.conversion, whichever is longer; drivers, references, clocks, the digital part "
    "and data movement are left out"
)


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found; `summary()` is its JSON.

    Accuracies are fractions of `images`; `accuracy_ci95` is Wilson's interval; `drop_points` is 100 (accuracy_float -
    accuracy). `accuracy_float` is None where the float network's answers are unknown. Predictions are `[images]`.
    """

    network: str
    dataset: str
    images: int
    backend: str
    encoding: str
    accuracy: float
    accuracy_ci95: tuple[float, float]
    accuracy_quantized: float
    accuracy_quantized_ci95: tuple[float, float]
    accuracy_float: float | None
    accuracy_float_ci95: tuple[float, float] | None
    verification: Verification
    layers: list[dict[str, Any]]
    seconds: float
    seed: int
    versions: dict[str, str | None]
    labels: Predictions = field(repr=False)
    predictions: Predictions = field(repr=False)
    predictions_quantized: Predictions = field(repr=False)
    predictions_float: Predictions | None = field(repr=False)
    samples: list[Sample] = field(repr=False)

    @property
    def drop_points(self) -> float | None:
        """Percentage points lost from the float network to the array."""
        return None if self.accuracy_float is None else 100 * (self.accuracy_float - self.accuracy)

    def summary(self) -> dict[str, Any]:
        """The keys of `eval-network --json`."""
        kept = {part.name: getattr(self, part.name) for part in fields(self) if part.repr}
        content = {**kept, "verification": asdict(self.verification), "energy": image_costs(self.layers)}
        return {**content, "drop_points": self.drop_points}


def evaluate(
    model: nn.Module,
    data: Dataset | Batches,
    backend: str = "macro",
    *,
    spice_sample: int = 12,
    seed: int = 0,
    workers: Workers = HERE,
    progress: Progress | None = None,
    network: str = "",
    float_predictions: Predictions | None = None,
    store: UnitStore | None = None,
) -> Evaluation:
    """Accuracy of a converted network on labelled images, every layer read by `backend`.

    `data` is a Dataset, or batches of `[images, channels, height, width]` float32 and `[images]` labels,
    as a DataLoader gives them. `spice_sample` of the reads are solved again by ngspice, or by what NORSIM_SIMULATOR
    names, each alone, and compared. `float_predictions` `[images]` are the float network's classes, where known.
    Calibrate the converters first: see `norsim.calibrate`. Batches, and reads of simulators, that are in `store` are
    taken from it, and the others put into it: what comes back is the same to the last bit.
    """
    started = time.monotonic()
    layers, count = tiled_layers(model), max(spice_sample, KEPT_SAMPLES)
    per_tile = -(-count // sum(len(layer.grid.tiles) for layer in layers.values()))
    # Where batches are quick, or done elsewhere, images are counted; else each layer's decks are worth a word.
    by_images = backend in ("macro", "ideal") or (workers.elsewhere and simulator_of(backend) is None)
    labels: list[Predictions] = []

    def images() -> Iterator[Tensor]:
        for some, answers in dataset_batches(data) if isinstance(data, Dataset) else data:
            labels.append(np.asarray(answers))
            yield some

    def images_done(done: int) -> None:
        if by_images and progress and isinstance(data, Dataset):
            progress(done, len(data))

    reader = Reader(backend, workers, None if by_images else progress, store=store)
    results = run_batches(model, images(), reader, per_tile=per_tile, seed=seed, progress=images_done)
    truth = np.concatenate(labels)
    found, exact = (np.concatenate([getattr(result, kind) for result in results]) for kind in ("array", "quantized"))
    reads = sum((result.reads for result in results), Counter[str]())
    if float_predictions is not None and len(float_predictions) != len(truth):
        raise ConfigurationError(f"{len(float_predictions)} float predictions for {len(truth)} images")
    samples = choose_samples([sample for result in results for sample in result.samples], count)
    accuracy, interval = share(found, truth)
    quantized, quantized_interval = share(exact, truth)
    full, full_interval = (None, None) if float_predictions is None else share(float_predictions, truth)
    encodings = {layer.grid.chip.encoding.name for layer in layers.values()}
    return Evaluation(
        network, getattr(data, "name", ""), len(truth), backend, ", ".join(sorted(encodings)),
        accuracy, interval, quantized, quantized_interval, full, full_interval,
        verify(samples[:spice_sample], workers, chosen_simulator().name),
        layer_table(model, backend, reads, len(truth)),
        time.monotonic() - started, seed, versions(backend), truth, found, exact, float_predictions, samples,
    )  # fmt: skip


def share(predictions: Predictions, labels: Predictions) -> tuple[float, tuple[float, float]]:
    """Share of right answers, `[images]` against `[images]`, and its 95 % Wilson interval."""
    right = int((predictions == labels).sum())
    interval = binomtest(right, len(labels)).proportion_ci(0.95, method="wilson")
    return right / len(labels), (float(interval.low), float(interval.high))


def layer_table(model: nn.Module, backend: str, reads: Mapping[str, int], images: int) -> list[dict[str, Any]]:
    """For each layer: its tiles, their size, how many reads they took, and the energy and time of them for an image.

    All tiles of a layer are read at the same time. What stays digital takes no part.
    """
    return [
        {
            "name": name,
            "tiles": len(layer.grid.tiles),
            "inputs": layer.grid.layer.inputs,
            "outputs": layer.grid.layer.outputs,
            "backend": layer.fixed_backend or backend,
            "reads": reads.get(name, 0),
            **_costs(layer, reads.get(name, 0) / images / len(layer.grid.tiles)),
        }
        for name, layer in tiled_layers(model).items()
    ]


def _costs(layer: TiledLayer, reads: float) -> dict[str, float]:
    """What one image takes whose layer reads each of its tiles so many times."""
    parts = {
        f"{kind}_joules_image": reads * sum(getattr(part.energy, kind) for part in layer.grid.tiles)
        for kind in ("cells", "lines", "converters")
    }
    shape, chip = layer.grid.layer, layer.grid.chip
    macs = reads / chip.encoding.passes(shape.input_bits) * shape.inputs * shape.outputs
    return {"macs_image": macs, **parts, "seconds_image": reads * chip.costs.read_seconds}


def image_costs(layers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Energy and time of an image, from the rows of `layer_table`, with what they assume.

    `joules_image` is the sum of the parts below it; `latency_seconds` one image alone, layer after layer;
    `interval_seconds` from one image to the next when all layers work at once.
    """
    parts = {kind: sum(row[f"{kind}_joules_image"] for row in layers) for kind in ("cells", "lines", "converters")}
    seconds = [row["seconds_image"] for row in layers]
    return {
        "macs_image": sum(row["macs_image"] for row in layers), "joules_image": sum(parts.values()),
        **{f"{kind}_joules_image": joules for kind, joules in parts.items()},
        "latency_seconds": sum(seconds), "interval_seconds": max(seconds, default=0.0), "assumptions": ASSUMPTIONS,
    }  # fmt: skip


def versions(backend: str) -> dict[str, str | None]:
    """What the numbers depend on."""
    return {
        "norsim": version("norsim"),
        "ngspice": None,
        **simulators(backend),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
