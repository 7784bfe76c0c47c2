"""All networks can be built, narrowed, quantized and placed; errors for invalid names and widths."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from norsim.chip.load import load_chip
from norsim.errors import ConfigurationError
from norsim.quantization.quantize import quantize
from norsim.tiling.convert import convert
from norsim.tiling.modules import digital, tiled_layers
from norsim.zoo.registry import NETWORKS, build, spec_of

INPUTS = {"digits": (1, 8, 8), "cifar10": (3, 32, 32)}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_returns_ten_logits(name: str) -> None:
    spec = spec_of(name)
    with torch.no_grad():
        assert spec.build().eval()(torch.rand(2, *INPUTS[spec.dataset])).shape == (2, 10)
    assert spec.name == name and spec.description and spec.width == 1


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_can_be_narrowed_quantized_and_placed(name: str) -> None:
    torch.manual_seed(0)
    images = torch.rand(2, *INPUTS[spec_of(name).dataset])
    network = build(name, width=0.05).eval()
    quantized = quantize(network, [images])
    analog = convert(quantized, load_chip("etox65"))
    weights = [part for part in network.modules() if isinstance(part, (nn.Conv2d, nn.Linear))]
    assert len(tiled_layers(analog)) == len(weights)
    assert all(len(part.weight) % 4 == 0 for part in weights[:-1]) and len(weights[-1].weight) == 10
    with digital(analog), torch.no_grad():
        torch.testing.assert_close(analog(images), quantized(images), rtol=1e-4, atol=1e-4)


def test_the_spec_keeps_the_width() -> None:
    assert spec_of("vgg16", 0.25).width == 0.25
    assert spec_of("vgg16", 0.25).build().get_parameter("features.0.weight").shape == (16, 3, 3, 3)


def test_the_error_for_an_unknown_name_suggests_the_closest() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'resnet20'.*digits-cnn"):
        build("resnet-20")
    with pytest.raises(ConfigurationError, match="known: digits-cnn"):
        build("zzz")


@pytest.mark.parametrize("width", [0.0, -1.0, 65.0, float("nan"), float("inf")])
def test_unusable_width(width: float) -> None:
    with pytest.raises(ConfigurationError, match="expected above 0, at most 64"):
        build("vgg16", width)
