"""Post-training quantization of a user's float network into a network folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from norsim.data import Dataset, load
from norsim.data.tensors import images_tensor
from norsim.errors import ConfigurationError, NorsimError
from norsim.jobs.phases import Report, silent, step
from norsim.quantization.normalise import Normalise
from norsim.saved.float_weights import load_float
from norsim.saved.network_folder import save_network
from norsim.training.recipes import POST_TRAINING
from norsim.training.train import train
from norsim.zoo.registry import spec_of


def quantized_folder(
    name: str, weights: Path | None, dataset: str | None, data_folder: Path | None, folder: Path, command: str,
    normalise: Normalise | None = None, images: int | None = None, report: Report = silent,
) -> None:  # fmt: skip
    """Quantize the network `name`, norsim's or user-supplied, without training, and store it in `folder`.

    `weights` is the file of its float weights; a user-supplied network may contain its weights. `normalise` applies to
    all its images and is stored with it. The card is about the first `images` test images, all by default; `command` is
    the line recorded on it. Raises ConfigurationError if the data set is not known or does not fit the network.
    """
    spec = spec_of(name)
    spec = replace(spec, dataset=dataset or spec.dataset, normalise=normalise)
    if not spec.dataset:
        raise ConfigurationError(f"{name} has no data set: name the one to calibrate and to evaluate it on")
    float_network = spec.build()
    state = load_float(weights, float_network) if weights else float_network.state_dict()
    with step(report, "data train"):
        train_set = load(spec.dataset, "train", data_folder)
    with step(report, "data test"):
        test_set = load(spec.dataset, "test", data_folder)
        test_set = test_set if images is None else test_set.take(images, None)
    check_answers(float_network, train_set, name)
    found = train(spec, train_set, test_set, POST_TRAINING, folder, start=state, report=report)
    save_network(found, folder, command, report)


@torch.no_grad()
def check_answers(network: nn.Module, data: Dataset, name: str) -> None:
    """Raise ConfigurationError unless `network` returns a score for each class of `data`."""
    images = images_tensor(data.take(min(2, len(data))))
    try:
        answers = network.eval()(images)
    except NorsimError:
        raise
    except Exception as problem:  # user code may raise anything
        said = str(problem).strip().partition("\n")[0]
        raise ConfigurationError(
            f"{name} does not accept images {list(images.shape)} of {data.name}: {type(problem).__name__}: {said}"
        ) from problem
    if not isinstance(answers, Tensor) or answers.ndim != 2 or len(answers) != len(images):
        kind = list(answers.shape) if isinstance(answers, Tensor) else type(answers).__name__
        raise ConfigurationError(f"{name} returns {kind} for {len(images)} images; expected scores [images, classes]")
    if answers.shape[1] < len(data.classes):
        scores, classes = answers.shape[1], len(data.classes)
        raise ConfigurationError(f"{name} returns {scores} scores; {data.name} has {classes} classes")
