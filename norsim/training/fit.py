"""Whether a network fits the images of a training."""

from __future__ import annotations

import torch
from torch import nn

from norsim.data import Dataset
from norsim.errors import ConfigurationError
from norsim.evaluation.metrics import check_labels, scores_of
from norsim.quantization.forward import check_single_images, forward
from norsim.training.images import to_input


@torch.no_grad()
def check_fit(network: nn.Module, data: Dataset) -> None:
    """Raise ConfigurationError unless `network` has, for each image of `data` by itself, a score for each label."""
    mode, images = network.training, to_input(torch.from_numpy(data.images[:3]), data.full_scale)
    network.eval()
    try:
        check_single_images(network, images)
        check_labels(data.labels, scores_of(forward(network, images)))
    except ConfigurationError as problem:
        raise type(problem)(f"the {data.split} images of {data.name} do not fit the network: {problem}") from problem
    finally:
        network.train(mode)
