"""Bits per layer: what users write, and which layer gets which widths."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from norsim.errors import ConfigurationError
from norsim.quantization.by_layer.bits import Bits, label, label_of_rows, read_bits
from norsim.quantization.modules import bits_of, quantized_layers
from norsim.quantization.quantize import layer_bits, quantize

NAMES = ("conv1", "body.0.fc", "body.1.fc", "head")


@pytest.mark.parametrize(
    ("given", "text", "expected"),
    [
        (8, "8/8", ["8/8"] * 4),
        ("8", "8/8", ["8/8"] * 4),
        (" 4 / 8 ", "4/8", ["4/8"] * 4),
        ("conv1=8/8,*.fc=4/8,*=4/4", "conv1=8/8,*.fc=4/8,*=4/4", ["8/8", "4/8", "4/8", "4/4"]),
        ({"body.1*": (2, 3), "body.*": 5, "*": "7"}, "body.1*=2/3,body.*=5/5,*=7/7", ["7/7", "5/5", "2/3", "7/7"]),
    ],
)
def test_the_first_pattern_counts(given: Any, text: str, expected: list[str]) -> None:
    bits = read_bits(given)
    assert str(bits) == text and read_bits(text) == bits == read_bits(bits)
    assert [str(one) for one in bits.of(NAMES).values()] == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("conv2=8,*=4", "'conv2' matches no layer.*conv1"),
        ("conv1=8,head=8", r"layer 'body.0.fc' and 1 more are not given; add .*\*=4/4"),
        ("*=4,conv1=8", r"'conv1' has no effect, because '\*', which comes before it"),
        ("body.*=4,*.0.*=4,*=8", r"'\*.0.\*' has no effect, because 'body.\*'"),
        ("conv1=9,*=4", "bits of 'conv1': code width is 9 bits; expected an integer from 1 to 8"),
        ("conv1=4/0,*=4", "bits of 'conv1': code width is 0 bits"),
        ("conv1=8,4", "'4' has no pattern"),
        ("conv1=8,conv1=4,*=4", "'conv1' are given twice"),
        ("eight", "bits are 'eight'; expected WEIGHTS/ACTIVATIONS"),
        ("4/4/4", "bits are '4/4/4'"),
        (True, "bits are True"),
        (4.0, "bits are 4.0"),
        ({}, "bits are given for no layer"),
        ({"conv1": None}, "bits of 'conv1' are None"),
        ({3: 8}, "bits are given for 3; expected the name of a layer"),
        ({"*": (4.0, 4)}, "code width is 4.0 bits"),
    ],
)
def test_what_cannot_be_followed_is_an_error(given: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        read_bits(given).of(NAMES)


def test_every_layer_may_have_a_pattern_of_its_own_besides_the_last() -> None:
    assert read_bits("conv1=8,body.*=4,head=2,*=1").of(NAMES)["head"] == Bits(2, 2)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 6), nn.Linear(6, 4)).eval()


def test_layers_are_quantized_to_their_own_bits() -> None:
    images = torch.rand(12, 1, 6, 6)
    mixed = quantize(network(), [images], bits={"0": "8/3", "3": 2, "*": "5/8"})
    assert {name: str(bits) for name, bits in bits_of(mixed).items()} == {"0": "8/3", "3": "2/2", "4": "5/8"}
    for layer in quantized_layers(mixed).values():
        assert layer.weights.max() == 2**layer.weight_bits - 1
    # The input of the network is that of its first layer, and follows the same rule.
    codes = quantized_layers(mixed)["0"].encode(images)
    assert codes.max() == 7
    uniform = quantize(network(), [images], bits="5/8")
    assert torch.equal(uniform(images), quantize(network(), [images], 5, 8)(images))
    widths = layer_bits(network(), "3=8,*=1", images)
    assert widths == {"0": Bits(1, 1), "3": Bits(8, 8), "4": Bits(1, 1)}


def test_bits_exclude_the_widths_of_all_layers() -> None:
    for widths in ({"weight_bits": 4}, {"activation_bits": 8}):
        with pytest.raises(ConfigurationError, match="give either bits or these"):
            quantize(network(), [torch.rand(2, 1, 6, 6)], bits=8, **widths)


def test_patterns_are_checked_before_more_than_a_batch_is_read() -> None:
    """The first batch shows which products in functions get layers."""

    def unread() -> Any:
        yield torch.rand(2, 1, 6, 6)
        yield pytest.fail("the calibration was read")

    with pytest.raises(ConfigurationError, match="'5' matches no layer"):
        quantize(network(), unread(), bits="5=8,*=4")


def test_networks_are_called_by_their_bits() -> None:
    assert label([Bits(4, 4)] * 3) == "4-bit" and label([Bits(4, 8)]) == "4/8-bit"
    assert label([Bits(4, 8), Bits(8, 8)]) == "mixed-precision"
    rows = [{"weight_bits": 8, "activation_bits": 8}]
    assert label_of_rows(rows) == "8-bit" and label_of_rows([*rows, {}]) == label_of_rows([]) == "quantized"
