"""Runs a converted network on labelled images and says what accuracy it keeps, with its proof."""

from __future__ import annotations

import platform
import time
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import binomtest
from torch import nn

from norsim.data import Dataset
from norsim.network.layers import reading, tiled_layers
from norsim.network.reader import Reader
from norsim.network.verify import Sampler, Verification
from norsim.spice.ngspice import find_ngspice, version_line

Predictions = NDArray[np.int64]


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found; `summary()` is its JSON.

    Accuracies are fractions of `images`; `accuracy_ci95` is Wilson's interval; `drop_points` is
    100 (accuracy_float - accuracy). `accuracy_float` is None where the float network's answers are unknown.
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
    predictions: Predictions = field(repr=False)
    predictions_quantized: Predictions = field(repr=False)

    @property
    def drop_points(self) -> float | None:
        """Percentage points lost from the float network to the array."""
        return None if self.accuracy_float is None else 100 * (self.accuracy_float - self.accuracy)

    def summary(self) -> dict[str, Any]:
        """The keys of `eval-network --json`."""
        content = {name: value for name, value in asdict(self).items() if not name.startswith("predictions")}
        return {**content, "drop_points": self.drop_points}


def evaluate(
    model: nn.Module,
    data: Dataset,
    reader: Reader,
    *,
    network: str,
    seed: int,
    spice_sample: int,
    float_predictions: Predictions | None,
    batch: int = 100,
) -> Evaluation:
    """Accuracy of a converted network on `data`, every layer read by `reader`.

    `spice_sample` of the reads are solved again by ngspice, each alone, and compared. `float_predictions`
    `[images]` are the float network's classes for the same images, where they are known.
    """
    started = time.monotonic()
    sampler = Sampler(spice_sample, seed)
    watched = Reader(reader.backend, reader.jobs, reader.progress, sampler.observe)
    predictions = classes(model, data, watched, batch)
    digital = predictions if reader.backend == "ideal" else classes(model, data, Reader("ideal"), batch)
    encodings = {layer.grid.chip.encoding.name for layer in tiled_layers(model).values()}
    accuracy, interval = share(predictions, data)
    quantized, quantized_interval = share(digital, data)
    full, full_interval = (None, None) if float_predictions is None else share(float_predictions, data)
    return Evaluation(
        network, data.name, len(data), reader.backend, ", ".join(sorted(encodings)),
        accuracy, interval, quantized, quantized_interval, full, full_interval,
        sampler.verify(reader.jobs), layer_table(model, reader, sampler), time.monotonic() - started, seed,
        versions(reader.backend),
        predictions, digital,
    )  # fmt: skip


def images_tensor(data: Dataset) -> torch.Tensor:
    """`[images, channels, height, width]` float32 in [0, 1]."""
    return torch.from_numpy(data.images).float() / data.full_scale


def classes(model: nn.Module, data: Dataset, reader: Reader, batch: int) -> Predictions:
    """`[images]`: the class the network gives each image."""
    images, found = images_tensor(data), []
    with reading(model, reader), torch.inference_mode():
        for start in range(0, len(data), batch):
            found.append(model(images[start : start + batch]).argmax(dim=1).numpy())
    return np.concatenate(found)


def share(predictions: Predictions, data: Dataset) -> tuple[float, tuple[float, float]]:
    """Share of right answers and its 95 % Wilson interval."""
    right = int((predictions == data.labels).sum())
    interval = binomtest(right, len(data)).proportion_ci(0.95, method="wilson")
    return right / len(data), (float(interval.low), float(interval.high))


def layer_table(model: nn.Module, reader: Reader, sampler: Sampler) -> list[dict[str, Any]]:
    """For each layer: its tiles, their size and how many reads they took."""
    return [
        {
            "name": name,
            "tiles": len(layer.grid.tiles),
            "inputs": layer.grid.layer.inputs,
            "outputs": layer.grid.layer.outputs,
            "backend": layer.fixed_backend or reader.backend,
            "reads": sampler.reads.get(name, 0),
        }
        for name, layer in tiled_layers(model).items()
    ]


def versions(backend: str) -> dict[str, str | None]:
    """What the numbers depend on."""
    return {
        "norsim": version("norsim"),
        "ngspice": None if backend == "ideal" else version_line(find_ngspice()),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
