"""A trained network from a folder, deployed on a chip, with the data it is judged on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from norsim.chip.load import ChipChoice
from norsim.data import Dataset, load
from norsim.data.tensors import images_tensor
from norsim.errors import ConfigurationError, DataError
from norsim.evaluation.metrics import Predictions
from norsim.experiments.deployed import DeployedNetwork
from norsim.experiments.deployment import Deployment, matching
from norsim.periphery.encoding import Codes
from norsim.quantization.modules import quantized_operands
from norsim.random_streams import Stream, generator
from norsim.saved.network_folder import float_predictions, load_network
from norsim.tiling.grid import TileGrid
from norsim.tiling.tile import PlacedTile
from norsim.tiling.vectors import draw_vectors, read_vectors
from norsim.user_code import is_code


@dataclass(frozen=True)
class Experiment:
    """`net`    the network on a chip, not calibrated yet
    `card`      of the trained network
    `dataset`, `data_folder`   its data set, and where that is
    """

    net: DeployedNetwork
    card: dict[str, Any]
    dataset: str
    data_folder: Path | None

    def data(self, split: str) -> Dataset:
        """The `train` or `test` images."""
        return load(self.dataset, split, self.data_folder)

    def grid(self, layer: str) -> TileGrid:
        """The tiles of a layer. Raises ConfigurationError, with the layers there are, for another."""
        layers = self.net.tiled
        if layer not in layers:
            raise ConfigurationError(f"no layer {layer!r} on the array; there are {', '.join(layers)}")
        return layers[layer].grid

    def vectors(self, layer: str, part: PlacedTile | None, wanted: str, seed: int) -> Codes:
        """`[vectors, inputs]` codes: so many as `wanted` says, from test images, or those of the file it names."""
        if wanted.isdigit():
            return draw_vectors(self.net.parts.analog, layer, self.data("test"), int(wanted), seed)
        return read_vectors(Path(wanted), self.grid(layer).layer, part)

    def float_predictions(self, test: Dataset) -> Predictions | None:
        """`[images]`: the float network's classes, where the card's test set is this very one."""
        same = self.card["dataset"] == test.name and self.card["test_images"] == len(test)
        return float_predictions(self.card) if same and self.card["data_source"] == test.source else None


def open_experiment(
    network: str, choice: ChipChoice, dataset: str | None = None, data_folder: Path | None = None, *,
    pattern: str = "*", backend: str = "macro", seed: int = 0, trusted: bool = False,
) -> Experiment:  # fmt: skip
    """The trained network `network` deployed on a chip; layers whose names do not match `pattern` stay digital.

    `trusted` says whether Python code that the network names may run. Raises ConfigurationError where no layer matches.
    """
    model, card = load_network(network, trusted)
    on_array = matching(model, (pattern,))
    digital = tuple(name for name in quantized_operands(model) if name not in on_array)
    named = dataset_of(dataset, card, trusted)

    def training_images(count: int) -> Tensor:
        train = load(named, "train", data_folder)
        random = generator(seed, Stream.CALIBRATION_IMAGES)
        return images_tensor(train.take(min(count, len(train)), random))

    deployment = Deployment(network, model, choice, digital, inputs=training_images, seed=seed)
    return Experiment(DeployedNetwork(deployment, deployment.converted(), backend), card, named, data_folder)


def dataset_of(named: str | None, card: dict[str, Any], trusted: bool) -> str:
    """The data set that was named, else the one of a network's card.

    Raises DataError where the card's is Python code that is not trusted.
    """
    kept = str(card["dataset"])
    if named is None and is_code(kept) and not trusted:
        raise DataError(f"the network's data set is the Python code {kept}, which is not run unless it is trusted")
    return named or kept
