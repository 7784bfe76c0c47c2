"""Weights that hooks and parametrizations compute: what is quantized is what the float network multiplies by."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

import norsim
from norsim.quantization.modules import quantized_operands
from norsim.quantization.quantize import quantize, replace_layers
from tests.faults.networks import Two, check_same_answers, pictures, rows

OLD = "ignore:.*weight_norm.* is deprecated:FutureWarning"


def both(net: Two, change: Callable[[nn.Module], Any]) -> Two:
    for layer in (net.a, net.b):
        change(layer)
    return net


class Doubled(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


def pruned_twice(layer: nn.Module) -> None:
    prune.random_unstructured(layer, "weight", 0.3)
    prune.l1_unstructured(layer, "weight", 0.3)
    prune.random_unstructured(layer, "bias", 0.5)


def normed_and_pruned(layer: nn.Module) -> None:
    nn.utils.weight_norm(layer)
    prune.l1_unstructured(layer, "weight_v", 0.3)


CHANGES: dict[str, Callable[[nn.Module], Any]] = {
    "weight norm": nn.utils.weight_norm,
    "weight norm of all": lambda layer: nn.utils.weight_norm(layer, dim=None),
    "spectral norm": nn.utils.spectral_norm,
    "parametrized weight norm": parametrizations.weight_norm,
    "parametrized spectral norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "a parametrization": lambda layer: parametrize.register_parametrization(layer, "weight", Doubled()),
    "a parametrized bias": lambda layer: parametrize.register_parametrization(layer, "bias", Doubled()),
    "pruned": lambda layer: prune.l1_unstructured(layer, "weight", 0.4),
    "pruned in rows": lambda layer: prune.ln_structured(layer, "weight", 0.4, 2, 0),
    "pruned twice": pruned_twice,
    "weight norm and pruned": normed_and_pruned,
}  # fmt: skip


@pytest.mark.filterwarnings(OLD)
@pytest.mark.parametrize("change", CHANGES)
def test_computed_weights_are_quantized(change: str) -> None:
    """Both after they were computed with gradients and in training mode; the network stays as it is."""
    net = both(Two(), CHANGES[change]).train()
    net(rows()).sum().backward()
    before, names = copy.deepcopy(net.state_dict()), [name for name, _ in net.named_parameters()]
    check_same_answers(net, rows())
    assert [name for name, _ in net.named_parameters()] == names
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    net.train()(rows())


@pytest.mark.filterwarnings(OLD)
def test_computed_weights_of_other_modules_and_of_attention() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.conv = nn.utils.weight_norm(nn.Conv2d(3, 8, 3))
            self.norm = nn.BatchNorm2d(8)
            parametrize.register_parametrization(self.norm, "weight", Doubled())
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            prune.l1_unstructured(self.attention, "in_proj_weight", 0.3)

        def forward(self, x: Tensor) -> Any:
            x = self.norm(self.conv(x)).flatten(2).mT
            return self.attention(x, x, x)[0]

    net = Mixed()
    found = quantize(net, [pictures()])
    assert list(quantized_operands(found)) == ["conv", *(f"attention.{part}_proj" for part in ("q", "k", "v", "out"))]
    weights = torch.cat([found.get_submodule(f"attention.{part}_proj").weight for part in "qkv"])
    assert torch.equal(weights, net.attention.in_proj_weight) and int((weights == 0).sum()) >= 57
    assert torch.equal(found.norm.weight, net.norm.weight) and parametrize.is_parametrized(net.norm)


def test_a_structure_for_stored_weights_has_plain_weights() -> None:
    layers = replace_layers(both(Two(), parametrizations.weight_norm))
    assert [key for key in layers.state_dict() if "parametrizations" in key] == []
    assert set(layers.state_dict()) == set(quantize(both(Two(), parametrizations.weight_norm), [rows()]).state_dict())


def test_a_parametrized_network_can_be_saved_and_loaded(tmp_path: Path) -> None:
    chip = {"calibration.reads": 8, "calibration.images": 8}
    net = norsim.deploy(both(Two(), parametrizations.spectral_norm), calibration=rows(), set=chip)
    again = norsim.load_deployed(net.save(tmp_path))
    assert torch.equal(again(rows()), net(rows())) and torch.equal(again.original(rows()), net.original(rows()))


def test_tensors_kept_with_their_gradients_are_copied_without() -> None:
    def call(net: Any, x: Tensor) -> Any:
        net.features = {"last": [net.a(x)]}
        return net.b(net.features["last"][0])

    net = Two(call)
    net(rows())
    check_same_answers(net, rows())
