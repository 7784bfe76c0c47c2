"""A trained network from a folder, deployed on a chip, with its test data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from norsim.chip.load import ChipChoice
from norsim.data import Dataset, Samples, images_in
from norsim.data.inputs.choice import Choice, after, at_most, check_count, drawn, everything, first
from norsim.data.inputs.structure import Structure
from norsim.data.tensors import BATCH, tensors_of
from norsim.errors import ConfigurationError, DataError
from norsim.evaluation.metrics import Predictions, check_labels, scores_of
from norsim.experiments.deployed import DeployedNetwork
from norsim.experiments.deployment import Deployment, matching
from norsim.jobs.phases import Report, silent, step
from norsim.periphery.encoding import Codes
from norsim.quantization.exempt import check_patterns, is_exempt
from norsim.quantization.modules import quantized_operands
from norsim.random_streams import Stream, generator
from norsim.saved.network_folder import float_predictions, known_images, load_float_network, load_network
from norsim.saved.post_training import DataPlace
from norsim.tiling.digital import check_on_images
from norsim.tiling.grid import TileGrid
from norsim.tiling.tile import PlacedTile
from norsim.tiling.vectors import IMAGES, draw_vectors, read_vectors
from norsim.training.train import labels_in
from norsim.user_code import is_code


@dataclass(frozen=True)
class Experiment:
    """A network of the command line.

    `net`       the network on a chip, not calibrated yet
    `card`      card of the trained network
    `place`     where its data are
    """

    net: DeployedNetwork
    card: dict[str, Any]
    place: DataPlace

    def data(self, split: str, report: Report = silent, choose: Choice = everything) -> Dataset | Samples:
        """Return the `train` or `test` data, or a choice of them."""
        with step(report, f"data {split}"):
            return self.place.load(split, choose)

    def pictures(self, split: str, report: Report = silent, choose: Choice = everything) -> Dataset:
        """Return what `data` returns. Raises DataError unless these are images with a class each."""
        return images_in(self.data(split, report, choose))

    def grid(self, layer: str) -> TileGrid:
        """Return the tiles of a layer. Raises ConfigurationError, with the names of all layers, for an unknown one."""
        layers = self.net.tiled
        if layer not in layers:
            raise ConfigurationError(f"no layer {layer!r} on the array; the layers are {', '.join(layers)}")
        return layers[layer].grid

    def vectors(self, layer: str, part: PlacedTile | None, wanted: str, seed: int) -> Codes:
        """Return `[vectors, inputs]` codes: `wanted` is a number of vectors from test images, or the path of a file."""
        if wanted.isdigit():
            few = self.data("test", choose=at_most(IMAGES))
            return draw_vectors(self.net.parts.analog, layer, few, int(wanted), seed)
        return read_vectors(Path(wanted), self.grid(layer).layer, part)

    def images(
        self, count: int | None, split: str = "test", report: Report = silent, *, by_metric: bool = False,
        skipped: int = 0,
    ) -> tuple[Dataset | Samples, Predictions | None]:  # fmt: skip
        """Return the first `count` samples of a split after those `skipped`, all by default, and the float network's
        classes `[images]`.

        No others are read. The classes are None unless the card knows these test images. Raises ConfigurationError if
        the network does not accept the samples, DataError if there are fewer than `count`, and, unless they are judged
        `by_metric`, if the network has fewer scores than they have classes.
        """
        data = self.data(split, report, after(skipped) if count is None else first(count, skipped))
        self._check(data, by_metric)
        if split != "test" or self.card["dataset"] != data.name or not known_images(self.card, data, skipped):
            return data, None
        classes = float_predictions(self.card)
        return data, classes[skipped : skipped + len(data)] if len(classes) else None

    def sample(
        self, count: int | None, split: str = "test", report: Report = silent, *, by_metric: bool = False,
        skipped: int = 0,
    ) -> tuple[Dataset | Samples, int]:  # fmt: skip
        """Return a few samples like those that `images` returns, and the number of all of them."""
        data = self.data(split, report, at_most(min(BATCH, count or BATCH)))
        self._check(data, by_metric)
        available = data.available or len(data)
        wanted = max(available - skipped, 1) if count is None else count
        check_count(skipped + wanted, available, f"data set {data.name!r}, split {split!r}: ")
        return data, wanted

    def _check(self, data: Dataset | Samples, by_metric: bool) -> None:
        inputs, _ = tensors_of(data.take(min(3, len(data))))
        answers = check_on_images(self.net.parts.analog, inputs, f"the {data.split} images of {data.name}")
        if not by_metric:
            check_labels(labels_in(data), scores_of(answers))


def open_experiment(
    network: str, choice: ChipChoice, dataset: str | None = None, data_folder: Path | None = None, *,
    transform: str | None = None, by_metric: bool = False, pattern: str = "*", digital: tuple[str, ...] = (),
    backend: str = "macro", seed: int = 0, trusted: bool = False, name: str | None = None, report: Report = silent,
) -> Experiment:  # fmt: skip
    """Return the trained network `network` deployed on a chip; layers that do not match `pattern`, or match one of
    `digital`, compute their integers digitally: the float weights are not stored.

    `trusted`: whether Python code that the network names may run; `name`: its name in results, `network` by default;
    `by_metric`: whether the outputs of its float network are needed, which is then part of the result if its weights
    are known. `report(what, done, total)` reports progress. Raises ConfigurationError if no layer matches.
    """
    with step(report, "load"):
        model, card = load_network(network, trusted)
        original = load_float_network(network, card, trusted) if by_metric else None
    on_array = matching(model, (pattern,))
    check_patterns(model, digital)
    there = [name for name in on_array if not is_exempt(name, digital)]
    in_integers = tuple(name for name in quantized_operands(model) if name not in there)
    data = data_of(DataPlace(dataset, data_folder, transform), card, trusted)

    def training_inputs(count: int) -> Structure:
        random = generator(seed, Stream.CALIBRATION_IMAGES)
        return tensors_of(data.load("train", drawn(count, random)))[0]

    deployment = Deployment(name or network, model, choice, in_integers, original, training_inputs, seed)
    return Experiment(DeployedNetwork(deployment, deployment.converted(), backend), card, data)


def data_of(place: DataPlace, card: dict[str, Any], trusted: bool) -> DataPlace:
    """Return where the data are: what `place` leaves open is as on the network's card.

    Raises DataError if the card's data set is Python code that is not trusted.
    """
    kept = str(card["dataset"])
    if place.name is None and is_code(kept) and not trusted:
        raise DataError(f"the network's data set is the Python code {kept}, which is not run unless it is trusted")
    if place.name is None:
        return replace(place, name=kept, transform=place.transform or card.get("transform"))
    return place
