"""Products with weights that a forward computes in functions: they get layers, and compute the same."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from norsim.chip.load import load_chip
from norsim.errors import PlacementError
from norsim.quantization.equivalents.products import Product, as_json, find_products, products_of, route_products
from norsim.quantization.modules import quantized_operands
from norsim.quantization.quantize import quantize
from norsim.saved.network_folder import load_network
from norsim.saved.post_training import DataPlace, quantized_folder
from norsim.tiling.convert import convert
from norsim.tiling.digital import digital_parts
from norsim.tiling.macs import count_macs
from tests.tiling.real_networks import Functional, Swin

NETWORKS: dict[str, tuple[Any, tuple[int, ...], list[str]]] = {
    "functional": (Functional, (3, 3, 6, 6), ["stem.weight_product", "mix.weight_product", "embedding_product",
                                              "kernel_product", "matrix_product", "rows_product"]),
    "swin": (Swin, (2, 3, 8, 8), ["attention.0.qkv", "attention.0.proj", "attention.1.qkv", "attention.1.proj"]),
}  # fmt: skip


@pytest.mark.parametrize("kind", NETWORKS)
@torch.no_grad()
def test_layers_do_the_products_of_functions_and_outputs_stay(kind: str) -> None:
    make, shape, layers = NETWORKS[kind]
    torch.manual_seed(0)
    network, images = make().eval(), torch.rand(shape)
    products = find_products(network, images)
    assert sorted(one.layer for one in products) == sorted(layers)
    routed = route_products(copy.deepcopy(network), products)
    calls: list[str] = []
    for name in layers:
        routed.get_submodule(name).register_forward_hook(lambda *_, name=name: calls.append(name))
    torch.testing.assert_close(routed(images), network(images), rtol=1e-5, atol=1e-6)
    assert sorted(calls) == sorted(layers)
    assert [Product.of(one) for one in as_json(products)] == products == products_of(routed) or kind == "functional"
    copied = copy.deepcopy(routed)
    for name in layers:
        nn.init.zeros_(copied.get_submodule(name).weight)  # type: ignore[arg-type]
    # A copy has layers of its own, and they are used.
    torch.testing.assert_close(routed(images), network(images), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(copied(images), network(images))


class Biased(nn.Module):
    """A layer whose bias a function changes, as in the second Swin, beside a weight that two functions share."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.twice = nn.Linear(6, 6), nn.Parameter(torch.randn(6, 6))
        self.scaled = nn.Parameter(torch.randn(4, 6))

    def forward(self, x: Tensor) -> Tensor:
        bias = self.first.bias.clone()
        bias[2:4] = 0
        x = functional.linear(x, self.first.weight, bias)
        x = functional.linear(functional.linear(x, self.twice), self.twice.t())
        return functional.linear(x, self.scaled * 2)


def test_what_no_layer_could_do_stays_in_its_function() -> None:
    network, rows = Biased().eval(), torch.rand(9, 6)
    quantized = quantize(network, [rows], 8, 8)
    assert list(quantized_operands(quantized)) == ["first"]
    with torch.no_grad():
        found, expected = quantized(rows), network(rows)
    assert float((found - expected).abs().max()) < 0.02 * float(expected.abs().max())


def test_a_module_that_stays_digital_keeps_its_functions() -> None:
    torch.manual_seed(0)
    images = torch.rand(4, 3, 6, 6)
    kept = quantize(Functional(), [images], digital=["stem", "mix", "rows_*"])
    assert sorted(quantized_operands(kept)) == ["embedding_product", "kernel_product", "matrix_product"]


class Other(nn.Conv2d):
    """A convolution that changes its weight in its forward."""

    def forward(self, input: Tensor) -> Tensor:
        return functional.conv2d(input, self.weight / self.weight.norm(), self.bias)


def test_a_layer_that_computes_its_weight_is_refused_by_name() -> None:
    with pytest.raises(PlacementError, match=r"'0': Other overrides forward.*digital: digital=\[\"0\"\]"):
        quantize(nn.Sequential(Other(1, 2, 3)), [torch.rand(3, 1, 5, 5)])


@pytest.mark.parametrize("width", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_width_are_converted_with_a_note(
    width: torch.dtype, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)).eval().to(width)
    quantized = quantize(network, [torch.rand(9, 6)], 8, 8)
    assert {value.dtype for value in quantized.parameters()} == {torch.float32}
    assert f"Sequential has weights of {width}; norsim computes with float32" in caplog.text
    assert next(network.parameters()).dtype == width


def test_weights_without_values_are_refused() -> None:
    with torch.device("meta"):
        network = nn.Sequential(nn.Linear(6, 5))
    with pytest.raises(PlacementError, match=r"module '0' \(Linear\) is on the device meta.*load_state_dict"):
        quantize(network, [torch.rand(9, 6)])


def test_scripted_modules_are_refused_unless_they_stay_digital() -> None:
    torch.manual_seed(0)
    with pytest.warns(DeprecationWarning):
        scripted = torch.jit.script(nn.Linear(6, 6))
    network, rows = nn.Sequential(nn.Linear(6, 6), scripted), torch.rand(9, 6)
    with pytest.raises(PlacementError, match=r"module '1' .* is a module of torch.jit.*digital: digital=\[\"1\"\]"):
        quantize(network, [rows])
    quantized = quantize(network, [rows], 8, 8, digital=["1"])
    with torch.no_grad():
        torch.testing.assert_close(quantized(rows), network(rows), rtol=0, atol=0.02)
    analog = convert(quantized, load_chip("etox65"))
    assert count_macs(analog, rows).on_array == 0.5 and digital_parts(analog, rows)["operations"] == {}


NET = """
import torch
from torch import nn
from torch.nn import functional

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.kernel, self.bias = nn.Parameter(torch.randn(4, 1, 3, 3)), nn.Parameter(torch.randn(4))
        self.gru, self.out = nn.GRU(4, 5, batch_first=True), nn.Parameter(torch.randn(5, 10))
        self.head = nn.Linear(10, 10)

    def forward(self, x):
        x = functional.conv2d(x, self.kernel, self.bias, stride=2)
        return self.head(self.gru(x.flatten(2).transpose(1, 2))[1][0] @ self.out)

def make(): return Net()
"""


def test_a_stored_network_has_its_layers_for_functions_again(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(NET)
    folder = tmp_path / "network"
    quantized_folder(
        f"{tmp_path}/nets.py:make", None, DataPlace("digits"), folder, "norsim", images=20, digital=("head",)
    )
    network, card = load_network(folder, trusted=True)
    assert list(quantized_operands(network)) == ["gru.ih_l0", "gru.hh_l0", "kernel_product", "out_product"]
    assert card["digital"] == ["head"] and type(network.get_submodule("head")) is nn.Linear
