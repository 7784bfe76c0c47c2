"""A float network that was trained elsewhere becomes a folder that `--network` takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from norsim.data import Dataset, load
from norsim.data.tensors import images_tensor
from norsim.errors import ConfigurationError, NorsimError
from norsim.quantization.normalise import Normalise
from norsim.saved.float_weights import load_float
from norsim.saved.network_folder import save_network
from norsim.training.recipes import POST_TRAINING
from norsim.training.train import train
from norsim.zoo.registry import spec_of


def quantized_folder(
    name: str, weights: Path | None, dataset: str | None, data_folder: Path | None, folder: Path, command: str,
    normalise: Normalise | None = None,
) -> None:  # fmt: skip
    """Quantize the network `name`, of norsim or of the user's own, without training, and store it in `folder`.

    `weights` are its float weights; a network of the user's own may bring its weights along. `normalise` is done to all
    its images, also when it is read back. Raises ConfigurationError where it is not known which data set it is for, or
    where that has other channels.
    """
    spec = spec_of(name)
    spec = replace(spec, dataset=dataset or spec.dataset, normalise=normalise)
    if not spec.dataset:
        raise ConfigurationError("--model needs --dataset: what the network is calibrated and judged on")
    float_network = spec.build()
    state = load_float(weights, float_network) if weights else float_network.state_dict()
    train_set, test_set = (load(spec.dataset, split, data_folder) for split in ("train", "test"))
    check_answers(float_network, train_set, name)
    found = train(spec, train_set, test_set, POST_TRAINING, folder, start=state)
    save_network(found, folder, command)


@torch.no_grad()
def check_answers(network: nn.Module, data: Dataset, name: str) -> None:
    """Raise ConfigurationError where `network` does not give a score for each class of the images of `data`."""
    images = images_tensor(data.take(min(2, len(data))))
    try:
        answers = network.eval()(images)
    except NorsimError:
        raise
    except Exception as problem:  # whatever a forward of the user's own raises
        said = str(problem).strip().partition("\n")[0]
        raise ConfigurationError(
            f"{name} does not take images {list(images.shape)} of {data.name}: {type(problem).__name__}: {said}"
        ) from problem
    if not isinstance(answers, Tensor) or answers.ndim != 2 or len(answers) != len(images):
        found = list(answers.shape) if isinstance(answers, Tensor) else type(answers).__name__
        raise ConfigurationError(f"{name} gives {found} for {len(images)} images; expected scores [images, classes]")
    if answers.shape[1] < len(data.classes):
        raise ConfigurationError(f"{name} gives {answers.shape[1]} scores; {data.name} has {len(data.classes)} classes")
