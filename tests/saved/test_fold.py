"""Folding: which batch norms it finds, and that the network's outputs do not change."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from norsim.quantization.modules import QuantConv2d
from norsim.quantization.quantize import quantize
from norsim.saved.fold import fold, norms_after
from norsim.zoo.registry import build


def stir(network: nn.Module) -> nn.Module:
    """Give every batch norm random statistics and parameters, including gains of both signs."""
    with torch.no_grad():
        for part in network.modules():
            if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)):
                for vector in (part.weight, part.bias, part.running_mean):
                    if vector is not None:
                        vector.normal_()
                if part.running_var is not None:
                    part.running_var.uniform_(0.2, 3)
    return network.eval()


def images(count: int = 3, channels: int = 2) -> Tensor:
    return torch.rand(count, channels, 5, 5, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("bias", [False, True])
def test_a_folded_pair_is_the_same_function_with_constants_in_its_place(bias: bool) -> None:
    torch.manual_seed(0)
    pair = stir(nn.Sequential(nn.Conv2d(2, 6, 3, bias=bias), nn.BatchNorm2d(6, eps=1e-3)))
    quantized = quantize(pair, [images()])
    folded, norms = fold(quantized)
    layer, norm = folded[0], folded[1]  # type: ignore[index]
    assert norms == {"0": "1"} and isinstance(layer, QuantConv2d) and isinstance(norm, nn.BatchNorm2d)
    with torch.no_grad():
        torch.testing.assert_close(folded(images()), quantized(images()), rtol=1e-5, atol=1e-5)
        # The batch norm only multiplies by its weight and adds its bias.
        expected = layer(images()) * norm.weight[:, None, None] + norm.bias[:, None, None]
        torch.testing.assert_close(folded(images()), expected, rtol=1e-6, atol=1e-6)
        assert torch.equal(1 / torch.sqrt(norm.running_var + norm.eps), torch.ones(6))
    assert not norm.running_mean.any() and torch.equal(layer.weight_scale, torch.ones(6))
    assert bool((norm.weight < 0).any()) and bool((norm.weight > 0).any())
    assert not bias or not layer.bias.any()
    assert torch.equal(layer.weight_codes(), quantized[0].weight_codes())  # type: ignore[index]


def test_the_network_that_was_folded_is_left_alone() -> None:
    torch.manual_seed(0)
    quantized = quantize(stir(build("digits-cnn")), [torch.rand(4, 1, 8, 8)])
    before = {key: value.clone() for key, value in quantized.state_dict().items()}
    folded, _ = fold(quantized)
    assert all(torch.equal(value, before[key]) for key, value in quantized.state_dict().items())
    assert list(folded.state_dict()) == list(before)
    assert [type(part) for part in folded.modules()] == [type(part) for part in quantized.modules()]


def test_scales_that_training_pushed_below_zero_become_the_ones_in_use() -> None:
    torch.manual_seed(0)
    quantized = quantize(nn.Sequential(nn.Conv2d(2, 4, 3)), [images()])
    layer = quantized.get_submodule("0")
    assert isinstance(layer, QuantConv2d)
    with torch.no_grad():
        layer.weight_scale.neg_()
        layer.input_scale.neg_()
        layer.weight_zero.add_(0.3)
        expected = quantized(images())
        folded, norms = fold(quantized)
        assert torch.equal(folded(images()), expected)
    assert norms == {"0": None}
    assert torch.equal(folded.get_parameter("0.weight_scale"), -layer.weight_scale)
    assert torch.equal(folded.get_parameter("0.input_scale"), -layer.input_scale)


@pytest.mark.parametrize(
    ("name", "convolutions", "width"),
    [("digits-cnn", 2, 1.0), ("alexnet", 5, 0.05), ("vgg16", 13, 0.05), ("resnet18", 20, 0.05), ("resnet20", 19, 0.3)],
)
def test_every_convolution_of_the_zoo_is_folded_with_its_norm(name: str, convolutions: int, width: float) -> None:
    sample = torch.rand(2, *((1, 8, 8) if name == "digits-cnn" else (3, 32, 32)))
    torch.manual_seed(0)
    pairs = norms_after(quantize(build(name, width), [sample]))
    assert len(pairs) == len(set(pairs.values())) == convolutions
    for layer, norm in pairs.items():
        parent, _, last = layer.rpartition(".")
        expected = str(int(last) + 1) if last.isdigit() else last.replace("conv", "bn")
        assert norm == f"{parent}.{expected}".lstrip(".")


class Crossed(nn.Module):
    """A network with misleading names: `bn1` follows `conv2`, and `bn2` follows `conv1`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2)
        self.conv2, self.bn2 = nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.bn1(self.conv2(torch.relu(self.bn2(self.conv1(x)))))
        return result


def test_pairs_come_from_the_forward_and_not_from_names() -> None:
    assert norms_after(quantize(Crossed(), [images()])) == {"conv1": "bn2", "conv2": "bn1"}


class Pair(nn.Module):
    """A convolution and a batch norm, joined by `join(network, images)`."""

    def __init__(self, join: Callable[[Pair, Tensor], Tensor], norm: nn.Module) -> None:
        super().__init__()
        self.conv, self.norm, self.join = nn.Conv2d(2, 2, 3, padding=1), norm, join

    def forward(self, x: Tensor) -> Tensor:
        return self.join(self, x)


def twice_used(net: Pair, x: Tensor) -> Tensor:
    y = net.conv(x)
    result: Tensor = net.norm(y) + y
    return result


def also_returned(net: Pair, x: Tensor) -> tuple[Tensor, Tensor]:
    y = net.conv(x)
    return net.norm(y), y


def weight_elsewhere(net: Pair, x: Tensor) -> Tensor:
    result: Tensor = net.norm(net.conv(x)) + functional.conv2d(x, net.conv.weight, padding=1)
    return result


def by_the_data(net: Pair, x: Tensor) -> Tensor:
    result: Tensor = net.norm(net.conv(x)) if x.sum() > 0 else x
    return result


def plainly(net: Pair, x: Tensor) -> Tensor:
    result: Tensor = net.norm(net.conv(x))
    return result


@pytest.mark.parametrize(
    ("join", "norm"),
    [
        (twice_used, nn.BatchNorm2d(2)),
        (also_returned, nn.BatchNorm2d(2)),
        (by_the_data, nn.BatchNorm2d(2)),
        (lambda net, x: net.norm(torch.relu(net.conv(x))), nn.BatchNorm2d(2)),
        (lambda net, x: net.norm(net.conv(net.conv(x))), nn.BatchNorm2d(2)),
        (lambda net, x: net.norm(net.conv(net.norm(x))), nn.BatchNorm2d(2)),
        (plainly, nn.BatchNorm2d(2, affine=False)),
        (plainly, nn.BatchNorm2d(2, track_running_stats=False)),
        (plainly, nn.InstanceNorm2d(2, affine=True)),
    ],
)
def test_what_cannot_be_folded_stays(join: Callable[[Pair, Tensor], Tensor], norm: nn.Module) -> None:
    torch.manual_seed(0)
    quantized = quantize(stir(Pair(join, norm)), [images()])
    folded, norms = fold(quantized)
    assert norms == {"conv": None}
    assert folded.get_parameter("conv.weight_scale").tolist() == quantized.get_parameter("conv.weight_scale").tolist()
    with torch.no_grad():
        found, expected = folded(images()), quantized(images())
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_a_weight_that_is_used_elsewhere_keeps_its_scale() -> None:
    network = stir(Pair(weight_elsewhere, nn.BatchNorm2d(2)))
    assert norms_after(quantize(network, [images()])) == {}


def test_a_linear_layer_is_not_folded() -> None:
    """Its outputs are on the last axis, which a BatchNorm1d does not always normalise."""
    network = stir(nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6)))
    assert norms_after(quantize(network, [torch.rand(4, 6)])) == {}
