"""A float network that was trained elsewhere becomes a folder that `--network` takes."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path

from norsim.data import load
from norsim.errors import ConfigurationError
from norsim.network.float_weights import load_float
from norsim.network.normalise import Normalise
from norsim.network.recipes import POST_TRAINING
from norsim.network.store import save_network
from norsim.network.train import train
from norsim.network.zoo import spec_of


def quantized_folder(
    name: str, weights: Path | None, dataset: str | None, data_folder: Path | None, folder: Path,
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
    state = load_float(weights, spec.build()) if weights else spec.build().state_dict()
    train_set, test_set = (load(spec.dataset, split, data_folder) for split in ("train", "test"))
    if normalise is not None:
        normalise.check(train_set.images.shape[1])
    found = train(spec, train_set, test_set, POST_TRAINING, folder, start=state)
    save_network(found, folder, shlex.join(["norsim", *sys.argv[1:]]))
