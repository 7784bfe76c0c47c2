"""Post-training quantization of a user's float network into a network folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from norsim.data import Dataset, load
from norsim.data.tensors import images_tensor
from norsim.errors import ConfigurationError, NorsimError, first_line
from norsim.jobs.phases import Report, silent, step
from norsim.quantization.placeable import check_loaded
from norsim.quantization.plain import plain_copy
from norsim.quantization.quantize import check_quantizable, layer_bits
from norsim.saved.float_weights import load_float
from norsim.saved.network_folder import save_network
from norsim.training.recipes import POST_TRAINING
from norsim.training.train import train
from norsim.zoo.normalise import Normalise
from norsim.zoo.registry import spec_of


def quantized_folder(
    name: str, weights: Path | None, dataset: str | None, data_folder: Path | None, folder: Path, command: str,
    normalise: Normalise | None = None, images: int | None = None, report: Report = silent,
    digital: tuple[str, ...] = (), *, bits: str = POST_TRAINING.bits, width: float = 1.0,
    learned_rounding: bool = False,
) -> None:  # fmt: skip
    """Quantize the network `name`, norsim's or user-supplied, without training, and store it in `folder`.

    `weights` is the file of its float weights; a user-supplied network may contain its weights. `normalise` applies to
    all its images and is stored with it. The card is about the first `images` test images, all by default; `command` is
    the line recorded on it. Modules that match the patterns `digital` stay float. `bits` are the widths of codes
    (norsim.quantization.by_layer.bits.read_bits), `width` is the network's factor of channels, and `learned_rounding`
    that of `norsim.quantize`. Raises ConfigurationError if the data set is not known or does not fit the network, and
    for patterns of layers that do not fit it.
    """
    spec = spec_of(name, width)
    spec = replace(spec, dataset=dataset or spec.dataset, normalise=normalise, digital=digital)
    if not spec.dataset:
        raise ConfigurationError(f"{name} has no data set: name the one to calibrate and to evaluate it on")
    float_network = spec.build()
    check_storable(float_network, name, digital)
    state = load_float(weights, float_network) if weights else float_network.state_dict()
    with step(report, "data train"):
        train_set = load(spec.dataset, "train", data_folder)
    with step(report, "data test"):
        test_set = load(spec.dataset, "test", data_folder)
        test_set = test_set if images is None else test_set.take(images, None)
    for part in (train_set, test_set):
        check_answers(float_network, part, name, digital)
    layer_bits(float_network, bits, images_tensor(train_set.take(2)), digital)
    recipe = replace(POST_TRAINING, bits=bits, learned_rounding=learned_rounding)
    found = train(spec, train_set, test_set, recipe, folder, start=state, report=report)
    save_network(found, folder, command, report)


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
def check_answers(network: nn.Module, data: Dataset, name: str, digital: tuple[str, ...] = ()) -> None:
    """Raise ConfigurationError unless `network` can be quantized and returns a score for each class of `data`.

    Two images are classified, then one and three, by the float network and by one with quantized layers, except in
    modules that match the patterns `digital`.
    """
    images = images_tensor(data.take(min(3, len(data))))
    pair = images[:2]
    try:
        answers = plain_copy(network, digital)(pair)
    except NorsimError as problem:
        raise type(problem)(f"{name}: {problem}") from problem
    except Exception as problem:  # user code may raise anything
        raise ConfigurationError(
            f"{name} does not accept images {list(pair.shape)} of {data.name}: {type(problem).__name__}: "
            f"{first_line(problem)}. These are {data.split} images; give images that the network accepts"
        ) from problem
    if not isinstance(answers, Tensor) or answers.ndim != 2 or len(answers) != len(pair):
        kind = list(answers.shape) if isinstance(answers, Tensor) else type(answers).__name__
        raise ConfigurationError(f"{name} returns {kind} for {len(pair)} images; expected scores [images, classes]")
    if answers.shape[1] < len(data.classes):
        scores, classes = answers.shape[1], len(data.classes)
        raise ConfigurationError(f"{name} returns {scores} scores; {data.name} has {classes} classes")
    try:
        check_quantizable(network, images, digital)
    except ConfigurationError as problem:
        raise type(problem)(f"{name} and the {data.split} images of {data.name}: {problem}") from problem
