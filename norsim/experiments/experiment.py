"""A trained network from a folder, deployed on a chip, with its test data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from norsim.chip.load import ChipChoice
from norsim.data import Dataset, load
from norsim.data.arrays import same_source
from norsim.data.tensors import images_tensor
from norsim.errors import ConfigurationError, DataError
from norsim.evaluation.metrics import Predictions, check_labels, scores_of
from norsim.experiments.deployed import DeployedNetwork
from norsim.experiments.deployment import Deployment, matching
from norsim.jobs.phases import Report, silent, step
from norsim.periphery.encoding import Codes
from norsim.quantization.exempt import check_patterns, is_exempt
from norsim.quantization.modules import quantized_operands
from norsim.random_streams import Stream, generator
from norsim.saved.network_folder import float_predictions, load_network
from norsim.tiling.digital import check_on_images
from norsim.tiling.grid import TileGrid
from norsim.tiling.tile import PlacedTile
from norsim.tiling.vectors import draw_vectors, read_vectors
from norsim.user_code import is_code


@dataclass(frozen=True)
class Experiment:
    """A network of the command line.

    `net`       the network on a chip, not calibrated yet
    `card`      card of the trained network
    `dataset`, `data_folder`   name and folder of its data set
    """

    net: DeployedNetwork
    card: dict[str, Any]
    dataset: str
    data_folder: Path | None

    def data(self, split: str, report: Report = silent) -> Dataset:
        """Return the `train` or `test` images."""
        with step(report, f"data {split}"):
            return load(self.dataset, split, self.data_folder)

    def grid(self, layer: str) -> TileGrid:
        """Return the tiles of a layer. Raises ConfigurationError, with the names of all layers, for an unknown one."""
        layers = self.net.tiled
        if layer not in layers:
            raise ConfigurationError(f"no layer {layer!r} on the array; the layers are {', '.join(layers)}")
        return layers[layer].grid

    def vectors(self, layer: str, part: PlacedTile | None, wanted: str, seed: int) -> Codes:
        """Return `[vectors, inputs]` codes: `wanted` is a number of vectors from test images, or the path of a file."""
        if wanted.isdigit():
            return draw_vectors(self.net.parts.analog, layer, self.data("test"), int(wanted), seed)
        return read_vectors(Path(wanted), self.grid(layer).layer, part)

    def images(
        self, count: int | None, split: str = "test", report: Report = silent
    ) -> tuple[Dataset, Predictions | None]:
        """Return the first `count` images of a split, all by default, and the float network's classes `[images]`.

        The classes are None unless these are among the test images of the card, which are the first ones of the split.
        Raises ConfigurationError if the network does not accept these images, DataError if it has fewer scores than
        they have classes.
        """
        data = self.data(split, report)
        first = images_tensor(data.take(min(3, len(data))))
        answers = check_on_images(self.net.parts.analog, first, f"the {split} images of {data.name}")
        check_labels(data.labels, scores_of(answers))
        shown = data.take(count, None) if count else data
        known = self.card["dataset"] == data.name and same_source(self.card["data_source"], data.source)
        if split != "test" or not known or not len(shown) <= self.card["test_images"] <= len(data):
            return shown, None
        return shown, float_predictions(self.card)[: len(shown)]


def open_experiment(
    network: str, choice: ChipChoice, dataset: str | None = None, data_folder: Path | None = None, *,
    pattern: str = "*", digital: tuple[str, ...] = (), backend: str = "macro", seed: int = 0, trusted: bool = False,
    name: str | None = None, report: Report = silent,
) -> Experiment:  # fmt: skip
    """Return the trained network `network` deployed on a chip; layers that do not match `pattern`, or match one of
    `digital`, compute their integers digitally: the float weights are not stored.

    `trusted`: whether Python code that the network names may run; `name`: its name in results, `network` by default.
    `report(what, done, total)` reports progress. Raises ConfigurationError if no layer matches.
    """
    with step(report, "load"):
        model, card = load_network(network, trusted)
    on_array = matching(model, (pattern,))
    check_patterns(model, digital)
    there = [name for name in on_array if not is_exempt(name, digital)]
    in_integers = tuple(name for name in quantized_operands(model) if name not in there)
    named = dataset_of(dataset, card, trusted)

    def training_images(count: int) -> Tensor:
        train = load(named, "train", data_folder)
        random = generator(seed, Stream.CALIBRATION_IMAGES)
        return images_tensor(train.take(min(count, len(train)), random))

    deployment = Deployment(name or network, model, choice, in_integers, inputs=training_images, seed=seed)
    return Experiment(DeployedNetwork(deployment, deployment.converted(), backend), card, named, data_folder)


def dataset_of(named: str | None, card: dict[str, Any], trusted: bool) -> str:
    """Return the data set `named`, by default that of the network's card.

    Raises DataError if the card's data set is Python code that is not trusted.
    """
    kept = str(card["dataset"])
    if named is None and is_code(kept) and not trusted:
        raise DataError(f"the network's data set is the Python code {kept}, which is not run unless it is trusted")
    return named or kept
