"""The list of what stays digital: modules by name, and operations between them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from norsim.array.tile import Currents, Stimulus, Tile
from norsim.backends.registry import BACKENDS, array_backends
from norsim.chip.load import load_chip
from norsim.errors import ConfigurationError
from norsim.quantization.quantize import quantize
from norsim.tiling.convert import convert
from norsim.tiling.digital import digital_modules, digital_operations, digital_parts, listed


class Free(nn.Module):
    """A forward function that cannot be traced: it depends on the number of images and on their content."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.body = nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1))
        self.kept = nn.Parameter(torch.ones(3, 4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x += self.body(x)
        x = functional.max_pool2d(x, 2).flatten(2).transpose(1, 2)
        if float(x.max()) > -1e9 and len(x) > 0:
            x = torch.softmax(2 - x @ x.mT, -1).matmul(x)
        return functional.linear(x.mean(1), self.kept)


@pytest.fixture(scope="module")
def analog() -> nn.Module:
    torch.manual_seed(0)
    return convert(quantize(Free(), [torch.rand(2, 1, 6, 6)]), load_chip("etox65"))


def test_modules_are_leaves_that_are_not_on_the_array(analog: nn.Module) -> None:
    assert digital_modules(analog) == {"body.0": "BatchNorm2d", "body.1": "ReLU"}


def test_everything_on_one_line() -> None:
    parts = {"modules": {"a": "ReLU", "b": "ReLU", "c": "GELU"}, "operations": {"add": 3}}
    assert listed(parts) == "2 ReLU, 1 GELU, 3 add"
    assert listed(parts, by_name=True) == "a (ReLU), b (ReLU), c (GELU), 3 add"
    assert listed({"modules": {}, "operations": {}}) == "no modules and no operations"


def test_a_layer_that_is_set_to_stay_digital_is_listed() -> None:
    network = quantize(Free(), [torch.rand(2, 1, 6, 6)])
    overridden = convert(network, load_chip("etox65"), {"stem": {"backend": "ideal"}, "body.2": {"backend": "nodal"}})
    assert digital_modules(overridden) == {"stem": "Conv2d", "body.0": "BatchNorm2d", "body.1": "ReLU"}


def test_operations_between_modules_are_counted(analog: nn.Module) -> None:
    """Weights that the forward function multiplies itself have a layer, so that no `linear` is among them."""
    expected = {"matmul": 2, "add": 1, "max_pool2d": 1, "max": 1, "sub": 1, "softmax": 1, "mean": 1}
    assert digital_operations(analog, torch.rand(1, 1, 6, 6)) == expected
    assert digital_parts(analog, torch.rand(2, 1, 6, 6)) == {
        "modules": digital_modules(analog), "operations": expected,
    }  # fmt: skip


def test_a_pass_reads_no_array_and_leaves_no_hook(analog: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(tile: Tile, stimulus: Stimulus) -> Currents:
        raise AssertionError(f"{tile.name} was read")

    for backend in array_backends():
        monkeypatch.setattr(BACKENDS[backend], "solve", forbidden)
    digital_operations(analog, torch.rand(1, 1, 6, 6))
    with pytest.raises(ConfigurationError, match="layer 'stem': input of shape"):
        digital_operations(analog, torch.rand(1, 2, 6, 6))
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in analog.modules())


def test_attention_of_torch_is_listed_by_its_products() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)
    parts = digital_parts(convert(quantize(layer, [torch.rand(2, 3, 8)]), load_chip("etox65")), torch.rand(1, 3, 8))
    assert parts["operations"] == {"matmul": 2, "add": 2, "mul": 1, "softmax": 1, "relu": 1}
    assert set(parts["modules"].values()) == {"LayerNorm", "Dropout"}
