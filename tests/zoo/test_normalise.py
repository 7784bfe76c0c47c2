"""Images are normalised before the first layer, with the same numbers in every form of the network."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from norsim.backends.ideal import Ideal
from norsim.chip.load import load_chip
from norsim.errors import ConfigurationError, DataError
from norsim.quantization.quantize import quantize
from norsim.saved.packed_weights import decode, encode
from norsim.tiling.convert import convert, fingerprint
from norsim.tiling.digital import digital_operations
from norsim.tiling.modules import digital
from norsim.zoo.normalise import Normalise, from_header, normalisation
from norsim.zoo.registry import NetworkSpec, build, spec_of

COLOURS = Normalise((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))


def test_images_are_normalised_by_channel_and_names_stay() -> None:
    network = nn.Sequential(nn.Identity())
    names = list(network.state_dict())
    images = torch.rand(2, 3, 4, 5)
    found = COLOURS.on(network)(images)
    for channel in range(3):
        expected = (images[:, channel] - COLOURS.mean[channel]) / COLOURS.std[channel]
        torch.testing.assert_close(found[:, channel], expected)
    assert list(network.state_dict()) == names
    with pytest.raises(ConfigurationError, match="images have 1 channels, but mean and std have 3 numbers"):
        network(torch.rand(2, 1, 4, 5))


@pytest.mark.parametrize("network", [nn.Sequential(nn.Conv2d(3, 4, 3)), nn.Conv2d(3, 4, 3)], ids=["inner", "root"])
def test_a_quantized_and_a_converted_network_normalise_as_the_float_one(network: nn.Module) -> None:
    """This holds also if the whole network is one layer, which is replaced; the fingerprint includes the hook."""
    images = torch.rand(4, 3, 5, 5)
    plain = copy.deepcopy(network)
    quantized = quantize(COLOURS.on(network), [images], 8, 8)
    shifted = (images - torch.tensor(COLOURS.mean)[:, None, None]) / torch.tensor(COLOURS.std)[:, None, None]
    with torch.no_grad():
        expected = plain(shifted)
        assert (quantized(images) - expected).abs().max() < 0.02 * expected.abs().max()
        quantized = quantize(network, [images])
        analog = convert(quantized, load_chip("etox65"))
        with digital(analog):
            found = analog(images)
        torch.testing.assert_close(found, quantized(images), rtol=1e-4, atol=1e-5)
    assert normalisation(analog) == [COLOURS]
    assert digital_operations(analog, images) == {"sub": 1, "div": 1}
    before = fingerprint(analog, Ideal())
    analog._forward_pre_hooks.clear()
    assert fingerprint(analog, Ideal()) != before


def test_a_stored_network_normalises(tmp_path: Path) -> None:
    spec = NetworkSpec(**{**vars(spec_of("resnet20", 0.25)), "normalise": COLOURS})
    images = torch.rand(2, 3, 32, 32)
    quantized = quantize(spec.build(), [images])
    (tmp_path / "w.safetensors").write_bytes(encode(quantized, spec))
    network, header = decode(tmp_path / "w.safetensors")
    assert header["normalise"] == {"mean": list(COLOURS.mean), "std": list(COLOURS.std)}
    with torch.no_grad():
        torch.testing.assert_close(network(images), quantized(images), rtol=1e-4, atol=1e-5)
    assert list(build("resnet20").state_dict()) == list(build("resnet20", normalise=COLOURS).state_dict())


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ([0.5], "expected mean and std"),
        ({"mean": [0.5]}, "expected mean and std"),
        ({"mean": 0.5, "std": 0.5}, "expected lists of numbers"),
        ({"mean": [0.5], "std": ["a"]}, "std is .*; expected one finite number per channel"),
        ({"mean": [True], "std": [1.0]}, "mean is .*; expected one finite number per channel"),
        ({"mean": [], "std": []}, "expected one finite number per channel"),
        ({"mean": [float("nan")], "std": [1.0]}, "expected one finite number per channel"),
        ({"mean": [0.5, 0.5], "std": [0.5]}, "2 means and 1 standard deviations"),
        ({"mean": [0.5], "std": [0.0]}, "expected numbers above 0"),
    ],
)
def test_what_cannot_be_meant_is_refused(content: object, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        from_header(content)


def test_a_stored_file_that_says_nonsense_is_refused(tmp_path: Path) -> None:
    spec = NetworkSpec(**{**vars(spec_of("digits-cnn")), "normalise": Normalise((0.5,), (0.25,))})
    whole = encode(quantize(spec.build(), [torch.rand(2, 1, 8, 8)]), spec)
    (tmp_path / "w.safetensors").write_bytes(whole.replace(b'\\"std\\":[0.25]', b'\\"std\\":[-.25]'))
    with pytest.raises(DataError, match="cannot be read"):
        decode(tmp_path / "w.safetensors")
    (tmp_path / "w.safetensors").write_bytes(whole.replace(b'\\"std\\":[0.25]', b'\\"std\\":[0.00]'))
    with pytest.raises(DataError, match="expected numbers above 0"):
        decode(tmp_path / "w.safetensors")
