"""The table of networks and recipes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from norsim.errors import ConfigurationError
from norsim.network.zoo import NETWORKS, RECIPES, BasicBlock, build, spec_of

INPUTS = {"digits": (1, 8, 8), "cifar10": (3, 32, 32)}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_gives_ten_logits_and_has_a_recipe(name: str) -> None:
    spec = spec_of(name)
    with torch.no_grad():
        assert build(name).eval()(torch.rand(2, *INPUTS[spec.dataset])).shape == (2, 10)
    assert spec.name == name and spec.description
    assert RECIPES[name].weight_bits == RECIPES[name].activation_bits == 4


def test_digits_cnn_is_the_one_described() -> None:
    network = build("digits-cnn")
    shapes = {key: tuple(value.shape) for key, value in network.named_parameters() if value.ndim > 1}
    assert shapes == {"conv1.weight": (8, 1, 3, 3), "conv2.weight": (20, 8, 3, 3), "fc.weight": (10, 320)}


def test_resnet20_has_the_published_size_and_the_usual_names() -> None:
    network = build("resnet20")
    # He et al. 2016, table 6: 0.27 million parameters; 19 convolutions and one linear layer.
    assert sum(parameter.numel() for parameter in network.parameters()) == 269_722
    layers = [name for name, part in network.named_modules() if isinstance(part, (nn.Conv2d, nn.Linear))]
    assert len(layers) == 20
    assert (layers[0], layers[1], layers[-1]) == ("conv1", "layer1.0.conv1", "linear")


def test_shortcut_subsamples_and_appends_zero_channels() -> None:
    block = BasicBlock(2, 6, 2).eval()
    nn.init.zeros_(block.bn2.weight)
    images = torch.rand(1, 2, 4, 4)
    with torch.no_grad():
        outputs = block(images)
    assert torch.equal(outputs[:, 2:4], images[:, :, ::2, ::2])
    assert outputs.shape == (1, 6, 2, 2) and not outputs[:, [0, 1, 4, 5]].any()


def test_unknown_name_comes_with_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'resnet20'.*digits-cnn"):
        build("resnet-20")
    with pytest.raises(ConfigurationError, match="known networks: digits-cnn"):
        build("zzz")


@pytest.mark.parametrize(
    "change",
    [
        {"augmentation": "spin"},
        {"ema_decay": 1.5},
        {"batch_size": 0},
        {"float_rate": -1.0},
        {"temperature": 0.0},
    ],
)
def test_recipe_refuses_what_cannot_be_trained(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(change))):
        replace(RECIPES["digits-cnn"], **change)
