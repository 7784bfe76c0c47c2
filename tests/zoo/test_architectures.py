"""Float definitions: sizes, names, widths, shortcuts."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from norsim.zoo.architectures import BasicBlock, PaddedShortcut, channels, projected_shortcut
from norsim.zoo.registry import build


def layers(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return name and weight shape of every convolution and linear layer."""
    kinds = (nn.Conv2d, nn.Linear)
    return {name: tuple(part.weight.shape) for name, part in network.named_modules() if isinstance(part, kinds)}


@pytest.mark.parametrize(
    ("count", "width", "expected"),
    [(64, 1.0, 64), (64, 0.25, 16), (6, 1.0, 8), (5, 1.0, 4), (64, 0.001, 4), (20, 0.3, 8), (64, 2.0, 128)],
)
def test_channels_are_multiples_of_four(count: int, width: float, expected: int) -> None:
    assert channels(count, width) == expected


def test_digits_cnn_has_the_documented_layers() -> None:
    assert layers(build("digits-cnn")) == {"conv1": (8, 1, 3, 3), "conv2": (20, 8, 3, 3), "fc": (10, 320)}


def test_alexnet_has_the_documented_layers() -> None:
    found = layers(build("alexnet"))
    assert list(found) == [*(f"features.{k}" for k in (0, 4, 8, 11, 14)), *(f"classifier.{k}" for k in (0, 2, 4))]
    assert [shape[0] for shape in found.values()] == [64, 192, 384, 256, 256, 1024, 512, 10]
    assert found["classifier.0"] == (1024, 256 * 4 * 4)


def test_vgg16_has_the_published_configuration() -> None:
    """Simonyan & Zisserman 2015, table 1, column D: the convolutions."""
    network = build("vgg16")
    found = layers(network)
    assert [shape[0] for shape in found.values()] == [*(2 * [64] + 2 * [128] + 3 * [256] + 6 * [512]), 10]
    assert all(shape[2:] == (3, 3) for key, shape in found.items() if key.startswith("features"))
    assert found["classifier.0"] == (10, 512)
    assert sum(isinstance(part, nn.MaxPool2d) for part in network.modules()) == 5


def test_resnet20_has_the_published_size_and_common_names() -> None:
    network = build("resnet20")
    # He et al. 2016, table 6: 0.27 million parameters; 19 convolutions and one linear layer.
    assert sum(parameter.numel() for parameter in network.parameters()) == 269_722
    names = list(layers(network))
    assert len(names) == 20
    assert (names[0], names[1], names[-1]) == ("conv1", "layer1.0.conv1", "linear")
    state = list(network.state_dict())
    assert state[:6] == ["conv1.weight", *(f"bn1.{key}" for key in ("weight", "bias", "running_mean", "running_var",
                                                                    "num_batches_tracked"))]  # fmt: skip
    assert len(state) == 116 and not any("shortcut" in key for key in state)


def test_resnet18_is_the_common_variant_for_cifar() -> None:
    network = build("resnet18")
    assert sum(parameter.numel() for parameter in network.parameters()) == 11_173_962
    found = layers(network)
    assert len(found) == 18 + 3
    assert found["layer2.0.shortcut.0"] == (128, 64, 1, 1) and "layer1.0.shortcut.0" not in found
    assert found["linear"] == (10, 512)


def test_padded_shortcut_subsamples_and_appends_zero_channels() -> None:
    block = BasicBlock(2, 6, 2, PaddedShortcut).eval()
    nn.init.zeros_(block.bn2.weight)
    images = torch.rand(1, 2, 4, 4)
    with torch.no_grad():
        outputs = block(images)
    assert torch.equal(outputs[:, 2:4], images[:, :, ::2, ::2])
    assert outputs.shape == (1, 6, 2, 2) and not outputs[:, [0, 1, 4, 5]].any()


@pytest.mark.parametrize("shortcut", [PaddedShortcut, projected_shortcut])
def test_a_block_that_keeps_the_shape_has_an_identity_shortcut(shortcut: type[PaddedShortcut]) -> None:
    block = BasicBlock(4, 4, 1, shortcut).eval()
    nn.init.zeros_(block.bn2.weight)
    images = torch.rand(1, 4, 3, 3)
    with torch.no_grad():
        assert torch.equal(block(images), images)
