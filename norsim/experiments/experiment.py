"""From the options of a command to a converted network, its data and a reader."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from norsim.chip.model import Chip
from norsim.data import Dataset, load
from norsim.data.tensors import images_tensor
from norsim.errors import ConfigurationError, DataError
from norsim.evaluation.batches import Predictions
from norsim.evaluation.chips import Chips, evaluate_chips
from norsim.evaluation.evaluate import Evaluation
from norsim.jobs.unit_store import UnitStore
from norsim.jobs.workers import Workers
from norsim.periphery.encoding import Codes
from norsim.saved.network_folder import float_predictions, load_network
from norsim.tiling.calibrate import calibrate
from norsim.tiling.convert import convert
from norsim.tiling.grid import TileGrid
from norsim.tiling.modules import tiled_layers
from norsim.tiling.tile import PlacedTile
from norsim.tiling.vectors import draw_vectors, read_vectors
from norsim.user_code import is_code

Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Subject:
    """A network on a chip, and the data it is judged on."""

    name: str
    model: nn.Module
    card: dict[str, Any]
    dataset: str
    data_folder: Path | None
    pattern: str = "*"
    trusted: bool = False

    def data(self, split: str) -> Dataset:
        """The `train` or `test` images."""
        return load(self.dataset, split, self.data_folder)

    def calibration_images(self, count: int, seed: int) -> Tensor:
        """Up to `count` training images, drawn by the seed: `[images, channels, height, width]`."""
        train = self.data("train")
        return images_tensor(train.take(min(count, len(train)), np.random.default_rng([seed, 4])))

    def grid(self, layer: str) -> TileGrid:
        """The tiles of a layer, or a ConfigurationError that lists the layers."""
        layers = tiled_layers(self.model)
        if layer not in layers:
            raise ConfigurationError(f"no layer {layer!r} on the array; there are {', '.join(layers)}")
        return layers[layer].grid

    def vectors(self, layer: str, part: PlacedTile | None, wanted: str, seed: int) -> Codes:
        """`--vectors`: `[vectors, inputs]` codes, a number of them from the test images or those of a file."""
        if wanted.isdigit():
            return draw_vectors(self.model, layer, self.data("test"), int(wanted), seed)
        return read_vectors(Path(wanted), self.grid(layer).layer, part)

    def on(self, chip: Chip) -> Subject:
        """The same network on another chip."""
        return subject(self.name, chip, self.dataset, self.data_folder, self.pattern, self.trusted)

    def float_predictions(self, test: Dataset) -> NDArray[Any] | None:
        """`[images]`: the float network's classes, where the card's test set is this very one."""
        same = self.card["dataset"] == test.name and self.card["test_images"] == len(test)
        return float_predictions(self.card) if same and self.card["data_source"] == test.source else None


def subject(
    network: str, chip: Chip, dataset: str | None, data_folder: Path | None, pattern: str = "*", trusted: bool = False
) -> Subject:  # fmt: skip
    """The network `network` converted for `chip`; layers whose names do not match `pattern` stay digital.

    Raises ConfigurationError where none matches.
    """
    model, card = load_network(network, trusted)
    analog = convert(model, chip)
    names = list(tiled_layers(analog))
    digital = {name: {"backend": "ideal"} for name in names if not fnmatch(name, pattern)}
    if len(digital) == len(names):
        raise ConfigurationError(f"--layers {pattern!r} matches none of {', '.join(names)}")
    if digital:
        analog = convert(model, chip, digital)
    return Subject(network, analog, card, dataset_of(dataset, card, trusted), data_folder, pattern, trusted)


def evaluate_subject(
    chosen: Subject, chip: Chip, shown: Dataset, known: Predictions | None, trials: int, backend: str, *,
    spice_sample: int, seed: int, workers: Workers, report: Report, store: UnitStore,
) -> tuple[Evaluation, list[Predictions], Chips | None]:  # fmt: skip
    """`evaluate_chips` of the network on `trials` chips of a kind, each calibrated on training images.

    `known` are the float network's classes `[images]`, and so is each chip's answer.
    """
    images = None if backend == "ideal" else chosen.calibration_images(chip.calibration.images, seed)

    def fitted(number: int) -> nn.Module:
        model = chosen.on(chip.specimen(seed, number)).model
        if images is not None:
            progress = partial(report, "calibrate")
            calibrate(model, images, backend, seed=seed, workers=workers, progress=progress, store=store)
        return model

    return evaluate_chips(
        fitted, trials, shown, backend, spice_sample=spice_sample, seed=seed, workers=workers,
        progress=partial(report, "read"), network=chosen.name, float_predictions=known, store=store,
    )  # fmt: skip


def dataset_of(named: str | None, card: dict[str, Any], trusted: bool) -> str:
    """The data set that the command line names, else the one of a network's card.

    Raises DataError where the card's is code and nobody said that it is trusted.
    """
    kept = str(card["dataset"])
    if named is None and is_code(kept) and not trusted:
        raise DataError(f"the network's data set is the Python code {kept}; --trust-model has norsim run it")
    return named or kept
