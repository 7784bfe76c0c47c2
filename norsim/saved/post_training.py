"""Post-training quantization of a user's float network into a network folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from norsim.data import Dataset, Samples, load
from norsim.data.batches import inputs_of
from norsim.data.inputs.choice import Choice, everything, first, spread
from norsim.data.inputs.structure import Structure, count_of, described, mapped, taken, tensors_in
from norsim.data.tensors import tensors_of
from norsim.errors import ConfigurationError, NorsimError, first_line
from norsim.evaluation.dry_run.rates import timed
from norsim.evaluation.metrics import scores_of
from norsim.jobs.phases import Report, silent, step
from norsim.quantization.forward import forward
from norsim.quantization.placeable import check_loaded
from norsim.quantization.plain import plain_copy
from norsim.quantization.quantize import check_quantizable
from norsim.saved.float_weights import load_float
from norsim.saved.network_folder import save_network
from norsim.training.estimate import seconds_left_out
from norsim.training.post_training import is_kept, quantized_once
from norsim.training.recipes import POST_TRAINING, Recipe
from norsim.training.train import TrainResult, predict
from norsim.zoo.normalise import Normalise
from norsim.zoo.registry import NetworkSpec, spec_of

# What a quantization takes of each batch whose codes only need to have the right shapes: as many values of each layer's
# inputs are sampled as of a whole batch, so that fitting scales to them takes as long.
FEW_IMAGES = 4


@dataclass(frozen=True)
class DataPlace:
    """Where data are: the name of a data set (None: that of the network's definition), its folder, and the transform of
    its photos."""

    name: str | None = None
    folder: Path | None = None
    transform: str | None = None

    def load(self, split: str, choose: Choice = everything) -> Dataset | Samples:
        """Return a choice of the samples of a split; see norsim.data.load."""
        assert self.name is not None
        return load(self.name, split, self.folder, choose, self.transform)


def quantized_folder(
    name: str, weights: Path | None, place: DataPlace, folder: Path, command: str,
    normalise: Normalise | None = None, images: int | None = None, digital: tuple[str, ...] = (), *,
    recipe: Recipe = POST_TRAINING, width: float = 1.0, by_metric: bool = False, shapes_only: bool = False,
    report: Report = silent,
) -> float:  # fmt: skip
    """Quantize the network `name`, norsim's or user-supplied, without training, and store it in `folder`.

    `weights` is the file of its float weights; a user-supplied network may contain its weights. `normalise` applies to
    all its images and is stored with it. Of the training data, only the samples of the calibration are read, and of the
    test data the first `images`, all by default, which the card is about; `command` is the line recorded on it. Modules
    that match the patterns `digital` stay float. `recipe` has the widths of codes and how they are found, and `width`
    is the network's factor of channels. With `by_metric`, data need no classes. `shapes_only` takes FEW_IMAGES of each
    batch and of the test data, for a network whose scales do not matter, unless its quantization is kept on disk;
    returned are the seconds that the whole takes besides, 0 without `shapes_only`. Raises ConfigurationError if the
    data set is not known or does not fit the network, and for patterns of layers that do not fit it.
    """
    spec = spec_of(name, width)
    spec = replace(spec, dataset=place.name or spec.dataset, normalise=normalise, digital=digital)
    place = replace(place, name=spec.dataset)
    if not spec.dataset:
        raise ConfigurationError(f"{name} has no data set: name the one to calibrate and to evaluate it on")
    network = spec.build()
    check_storable(network, name, digital)
    state = load_float(weights, network) if weights else network.state_dict()
    with step(report, "data train"):
        train_set = place.load("train", spread(recipe.calibration_images))
    with step(report, "data test"):
        count = min(images or FEW_IMAGES, FEW_IMAGES) if shapes_only else images
        test_set = place.load("test", everything if count is None else first(count))
    network.load_state_dict(state)
    classes = [check_answers(network, part, name, digital, by_metric) for part in (train_set, test_set)]
    check_layers(network, train_set, name, digital, recipe.bits)
    left_out = 0.0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        network = _laid_out(network.eval(), spec, train_set)
        seen = [_laid_out(some, spec, train_set) for some in inputs_of(train_set, recipe.batch_size)]
        options: Any = {
            "bits": recipe.bits, "digital": digital, "activation_range": recipe.activation_range,
            "learned_rounding": recipe.learned_rounding,
        }  # fmt: skip
        few = shapes_only and not is_kept(network, seen, **options)
        used = [taken(some, slice(FEW_IMAGES)) for some in seen] if few else seen
        quantized = quantized_once(
            network, used, **options | {"learned_rounding": recipe.learned_rounding and not few}, report=report
        ).eval()
        if few:
            done = sum(map(count_of, used))
            left_out = seconds_left_out(
                network, quantized, seen, done, bits=recipe.bits, digital=digital,
                learned_rounding=recipe.learned_rounding,
            )  # fmt: skip
    known = None
    if all(classes):
        seconds, known = timed(lambda: predict(network, test_set, partial(report, "classify float")))
        if shapes_only:
            available = test_set.available or len(test_set)
            left_out += seconds * ((images or available) / len(test_set) - 1)
    found = TrainResult(spec, recipe, quantized, network, known, test_set, ())
    save_network(found, folder, command, report, place.transform)
    return left_out


def _laid_out(content: Any, spec: NetworkSpec, data: Dataset | Samples) -> Any:
    """Return a network or inputs in the memory format of the network's definition."""
    if not (spec.channels_last and isinstance(data, Dataset) and data.images.shape[1] > 1):
        return content
    if isinstance(content, nn.Module):
        return content.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return mapped(content, lambda part: part.contiguous(memory_format=torch.channels_last))


def check_storable(network: nn.Module, name: str, digital: tuple[str, ...] = ()) -> None:
    """Raise ConfigurationError for a network of unsuitable modules, except those that match the patterns `digital`, or
    with a state that is no tensor."""
    try:
        check_loaded(network)
        plain_copy(network, digital)
    except NorsimError as problem:
        raise type(problem)(f"{name}: {problem}") from problem
    for key, value in network.state_dict().items():
        if not isinstance(value, Tensor):
            raise ConfigurationError(
                f"{name} has a {type(value).__name__} as {key!r} in its state_dict; expected tensors only, so keep "
                "other values as attributes"
            )


@torch.no_grad()
def check_answers(
    network: nn.Module, data: Dataset | Samples, name: str, digital: tuple[str, ...] = (), by_metric: bool = False
) -> bool:
    """Return whether `network` returns a score for each class of `data`, and each sample has one class.

    Two images are classified by a plain copy, in which modules that match the patterns `digital` stay as they are.
    Raises ConfigurationError if that fails, and for data without classes unless these are judged `by_metric`.
    """
    inputs, targets = tensors_of(data.take(min(3, len(data))))
    pair = taken(inputs, slice(2))
    try:
        answers = forward(plain_copy(network, digital), pair)
    except NorsimError as problem:
        why = problem.__cause__
        if why is None:
            raise type(problem)(f"{name}: {problem}") from problem
        shape = ", ".join(str(list(part.shape)) for part in tensors_in(pair))
        raise type(problem)(
            f"{name} does not accept images {shape} of {data.name}: {type(why).__name__}: {first_line(why)}. These are "
            f"{data.split} images; give images that the network accepts"
        ) from why
    try:
        _check_classes(answers, targets, data, name)
    except ConfigurationError:
        if not by_metric:
            raise
        return False
    return True


def check_layers(
    network: nn.Module, data: Dataset | Samples, name: str, digital: tuple[str, ...] = (), bits: str = "4"
) -> None:  # fmt: skip
    """Check that the layers of `network` can have codes of `bits`, except in modules that match the patterns `digital`.

    The float network and one with quantized layers are called on one image of `data` and on three. Raises the errors of
    norsim.quantization.quantize.check_quantizable.
    """
    inputs, _ = tensors_of(data.take(min(3, len(data))))
    try:
        check_quantizable(network, inputs, digital, bits)
    except ConfigurationError as problem:
        raise type(problem)(f"{name} and the {data.split} images of {data.name}: {problem}") from problem


def _check_classes(answers: Structure, targets: Structure, data: Dataset | Samples, name: str) -> None:
    """Raise ConfigurationError unless `answers` are scores `[images, classes]` and `targets` labels `[images]`."""
    advice = "to judge other answers, name a metric"
    if not isinstance(targets, Tensor) or targets.ndim != 1 or targets.is_floating_point():
        kind = described(targets) + (f" of {targets.dtype}" if isinstance(targets, Tensor) else "")
        raise ConfigurationError(
            f"the targets of {data.name} are {kind} for {len(targets)} images; an accuracy needs the number of a "
            f"class for each image; {advice}"
        )
    try:
        scores = scores_of(answers)
    except ConfigurationError:
        shape = f"{list(answers.shape)}" if isinstance(answers, Tensor) else described(answers)
        raise ConfigurationError(
            f"{name} returns {shape} for {min(2, len(targets))} images; expected scores [images, classes]; {advice}"
        ) from None
    classes = len(data.classes) if isinstance(data, Dataset) else int(targets.max()) + 1
    if scores.shape[1] < classes:
        raise ConfigurationError(f"{name} returns {scores.shape[1]} scores; {data.name} has {classes} classes")
    if int(targets.min()) < 0:
        raise ConfigurationError(f"the labels of {data.name} go down to {int(targets.min())}; expected 0 and above")
