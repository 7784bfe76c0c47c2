"""Layers of other kinds against torch's own, for all their options."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from norsim.errors import ConfigurationError, PlacementError
from norsim.quantization.equivalents.rewrite import with_equivalents
from norsim.quantization.placeable import placeable_layers
from norsim.quantization.quantize import quantize

LAYERS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "transposed 2d": (lambda: nn.ConvTranspose2d(3, 4, 2, 2), (2, 3, 4, 5)),
    "overlapping": (lambda: nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2), (2, 4, 4, 5)),
    "dilated": (lambda: nn.ConvTranspose2d(3, 2, (3, 2), (1, 2), (2, 1), dilation=2, bias=False), (2, 3, 5, 4)),
    "transposed 1d": (lambda: nn.ConvTranspose1d(3, 4, 3, 2, 1), (2, 3, 6)),
    "transposed 3d": (lambda: nn.ConvTranspose3d(2, 3, 2, 2, output_padding=1), (1, 2, 3, 2, 3)),
    "without images": (lambda: nn.ConvTranspose2d(3, 4, 2, 2), (3, 4, 5)),
    "volume": (lambda: nn.Conv3d(2, 4, 3, padding=1), (2, 2, 4, 5, 6)),
    "volume of all options": (lambda: nn.Conv3d(4, 6, (2, 3, 1), (2, 1, 2), (1, 0, 2), (1, 2, 1), 2, False,
                              padding_mode="replicate"), (2, 4, 5, 6, 5)),
    "volume, same": (lambda: nn.Conv3d(2, 3, (2, 3, 2), padding="same"), (2, 4, 5, 6)),
    "even kernel, same": (lambda: nn.Conv2d(3, 4, (2, 4), padding="same"), (2, 3, 5, 6)),
    "1d, same, circular": (lambda: nn.Conv1d(3, 4, 4, padding="same", padding_mode="circular"), (2, 3, 7)),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("kind", LAYERS)
def test_convolutions_give_the_outputs_of_torch(kind: str) -> None:
    torch.manual_seed(0)
    make, shape = LAYERS[kind]
    layer, images = make(), torch.randn(shape)
    network = nn.ModuleDict({"one": layer})
    split = with_equivalents(copy.deepcopy(network)).get_submodule("one")
    with torch.no_grad():
        torch.testing.assert_close(split(images), layer(images), rtol=1e-5, atol=1e-6)
    assert list(placeable_layers(split)) == ["product"]
    assert sum(value.numel() for value in split.parameters()) == sum(value.numel() for value in layer.parameters())


RECURRENT: dict[str, Any] = {
    "lstm": lambda: nn.LSTM(3, 4, 2), "gru": lambda: nn.GRU(3, 4, batch_first=True),
    "two ways": lambda: nn.GRU(3, 4, 2, bidirectional=True, batch_first=True, dropout=0.5),
    "projections": lambda: nn.LSTM(3, 5, 2, bias=False, bidirectional=True, proj_size=2),
    "rnn": lambda: nn.RNN(3, 4), "relu": lambda: nn.RNN(3, 4, nonlinearity="relu"),
}  # fmt: skip


def test_a_transposed_convolution_takes_the_size_of_its_output() -> None:
    layer, x = nn.ConvTranspose2d(3, 4, 3, (2, 3), 1), torch.rand(2, 3, 4, 5)
    split: Any = with_equivalents(copy.deepcopy(nn.Sequential(layer))).get_submodule("0")
    for size in ([7, 13], [8, 15], [2, 4, 7, 14]):
        torch.testing.assert_close(split(x, output_size=size), layer(x, output_size=size))
    for size in ([9, 13], [7, 12]):
        with pytest.raises(ConfigurationError, match=r"expected \[7, 13\], or more by less than the strides \[2, 3\]"):
            split(x, output_size=size)


@pytest.mark.parametrize("given", ["tokens", "state", "without images"])
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("kind", RECURRENT)
def test_recurrent_layers_give_the_outputs_and_states_of_torch(kind: str, given: str) -> None:
    torch.manual_seed(0)
    layer = RECURRENT[kind]().eval()
    network = nn.ModuleDict({"one": layer})
    split = with_equivalents(copy.deepcopy(network)).get_submodule("one")
    tokens = torch.randn(6, 3) if given == "without images" else torch.randn(5, 6, 3)
    arguments: tuple[Any, ...] = (tokens,)
    with torch.no_grad():
        expected = layer(tokens)
        if given == "state":
            arguments = tokens, expected[1]
            expected = layer(*arguments)
        for found, known in zip(_flat(split(*arguments)), _flat(expected), strict=True):
            torch.testing.assert_close(found, known, rtol=1e-5, atol=1e-6)
    assert {name.partition("_")[0] for name in placeable_layers(split)} <= {"ih", "hh", "hr"}
    split.flatten_parameters()


def _flat(found: Any) -> list[Tensor]:
    return [found] if isinstance(found, Tensor) else [one for part in found for one in _flat(part)]


@pytest.mark.parametrize("kind", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_cells_give_the_states_of_torch(kind: Any) -> None:
    torch.manual_seed(0)
    cell = kind(3, 4, bias=kind is not nn.GRUCell)
    split = with_equivalents(copy.deepcopy(nn.ModuleDict({"one": cell}))).get_submodule("one")
    inputs = torch.randn(5, 3)
    with torch.no_grad():
        state = cell(inputs)
        for known in (None, state):
            for found, expected in zip(_flat(split(inputs, known)), _flat(cell(inputs, known)), strict=True):
                torch.testing.assert_close(found, expected)


class Own(nn.GRU):
    def forward(self, input: Tensor, hx: Any = None) -> Any:
        return super().forward(input * 2, hx)


def test_an_overridden_layer_is_refused_by_name_unless_it_stays_digital() -> None:
    network = nn.Sequential(nn.Linear(3, 3), Own(3, 4))
    with pytest.raises(PlacementError, match=r"layer '1': Own overrides forward.*leave it digital: digital=\[\"1\"\]"):
        quantize(network, [torch.rand(4, 2, 3)])
    kept = quantize(network, [torch.rand(4, 2, 3)], digital=["1"])
    assert type(kept[1]) is Own  # type: ignore[index]
