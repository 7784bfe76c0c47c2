"""The multiply-accumulates of a network, counted where they are computed, against counts by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from norsim.chip.load import load_chip
from norsim.quantization.quantize import quantize
from norsim.tiling.convert import convert
from norsim.tiling.macs import below_share, count_macs

TOKENS, WIDTH, HIDDEN = 5, 6, 7


class Mixed(nn.Module):
    """One part on the array, and one of each kind that stays digital."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.kind = kind
        self.first = nn.Linear(WIDTH, WIDTH)
        self.parts = nn.ModuleDict({
            "gru": nn.GRU(WIDTH, HIDDEN, batch_first=True), "lstm": nn.LSTM(WIDTH, HIDDEN, 2, bidirectional=True),
            "bilinear": nn.Bilinear(WIDTH, WIDTH, 3),
            "encoder": nn.TransformerEncoderLayer(WIDTH, 2, HIDDEN, batch_first=True),
            "depthwise": nn.Conv1d(TOKENS, 2 * TOKENS, 3, groups=TOKENS),
        })  # fmt: skip
        self.weight = nn.Parameter(torch.rand(4, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        x, kind = self.first(x), self.kind
        if kind == "attention":
            return functional.scaled_dot_product_attention(x, x, x)
        if kind == "functional":
            return functional.linear(x, self.weight)
        if kind == "products":
            return torch.einsum("bij,bkj->bik", x, x) @ x + (x @ self.weight[0])[..., None]
        if kind == "bilinear":
            found: Tensor = self.parts[kind](x, x)
            return found
        found = self.parts[kind](x)
        return found[0] if isinstance(found, tuple) else found


PAIRS = TOKENS * TOKENS * WIDTH
# Name of the module, and its multiply-accumulates for one image of 5 tokens.
DIGITAL = {
    "attention": ("", 2 * PAIRS), "functional": ("", TOKENS * 4 * WIDTH), "products": ("", 2 * PAIRS + TOKENS * WIDTH),
    "gru": ("parts.gru", TOKENS * 3 * HIDDEN * (WIDTH + HIDDEN)),
    "lstm": ("parts.lstm", TOKENS * 2 * 4 * HIDDEN * (WIDTH + HIDDEN + 2 * HIDDEN + HIDDEN)),
    "bilinear": ("parts.bilinear", TOKENS * 3 * WIDTH * WIDTH),
    "encoder": ("parts.encoder", TOKENS * 2 * WIDTH * HIDDEN + TOKENS * 4 * WIDTH * WIDTH + 2 * PAIRS),
    "depthwise": ("parts.depthwise", 2 * TOKENS * 3 * (WIDTH - 2)),
}  # fmt: skip


@pytest.mark.parametrize("kind", DIGITAL)
def test_every_product_is_counted_by_hand(kind: str) -> None:
    name, expected = DIGITAL[kind]
    inputs = torch.rand(9, TOKENS, WIDTH)
    left = ["parts", "weight_product"] if kind == "functional" else ["parts"]
    analog = convert(quantize(Mixed(kind), [inputs], digital=left), load_chip("etox65"))
    macs = count_macs(analog, inputs)
    assert macs.layers == {"first": TOKENS * WIDTH * WIDTH}
    of_part = sum(count for one, count in macs.modules.items() if one == name or (name and one.startswith(name)))
    assert (of_part, macs.total) == (expected, expected + TOKENS * WIDTH * WIDTH), macs.modules
    assert macs.on_array == TOKENS * WIDTH * WIDTH / macs.total
    assert sum(macs.elsewhere.values()) + macs.on_array == pytest.approx(1)


def test_convolutions_on_the_array_count_like_those_of_torch() -> None:
    """Groups, strides and padding; a layer that is computed in integers is not on the array."""
    network = nn.Sequential(nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=2), nn.ReLU(), nn.Conv2d(8, 3, 1))
    images = torch.rand(5, 4, 6, 6)
    quantized = quantize(network, [images])
    found = count_macs(convert(quantized, load_chip("etox65")), images)
    assert found.layers == {"0": 3 * 3 * 8 * 2 * 9, "2": 3 * 3 * 3 * 8} and not found.modules and found.on_array == 1
    some = count_macs(convert(quantized, load_chip("etox65"), {"2": {"backend": "ideal"}}), images)
    assert some.layers == found.layers and some.on_array == found.share(found.layers["0"])
    assert some.elsewhere == {"2": found.share(found.layers["2"])}


def test_a_small_share_is_a_warning_that_names_the_rest() -> None:
    assert below_share(0.95, {"lstm": 0.05}) is None
    warning = below_share(0.09, {"lstm": 0.6, "": 0.3})
    assert warning is not None and "only 9.0 % of the network's multiply-accumulates are on the array" in warning
    assert "most of the others are in lstm (60.0 %), the network itself (30.0 %)" in warning
