"""Split attention against torch's attention, and torch's transformers on the array."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from norsim.chip.load import load_chip
from norsim.errors import PlacementError
from norsim.quantization.equivalents.attention import SplitAttention
from norsim.quantization.equivalents.rewrite import with_equivalents
from norsim.quantization.modules import quantized_layers
from norsim.quantization.quantize import quantize
from norsim.saved.packed_weights import decode, encode
from norsim.tiling.calibrate import calibrate
from norsim.tiling.convert import convert
from norsim.tiling.modules import reading, tiled_layers
from norsim.zoo.registry import spec_of
from tests.conftest import reader_by

WIDTH, HEADS, IMAGES, TARGETS, SOURCES = 8, 2, 3, 4, 5
PADDING = torch.tensor([[False] * 4 + [True], [False] * 5, [True, False, False, True, False]])
LATER = torch.ones(TARGETS, SOURCES, dtype=torch.bool).triu(1)
EACH = torch.randn(IMAGES * HEADS, TARGETS, SOURCES, generator=torch.Generator().manual_seed(2))
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "images first": ({"batch_first": True}, {"need_weights": False}),
    "no bias": ({"bias": False}, {"average_attn_weights": False}),
    "other widths": ({"kdim": 6, "vdim": 7, "batch_first": True}, {}),
    "padding": ({}, {"key_padding_mask": PADDING}),
    "causal": ({"batch_first": True}, {"attn_mask": LATER, "is_causal": True, "need_weights": False}),
    "mask of each": ({}, {"attn_mask": EACH}),
    "both masks": (
        {},
        {"attn_mask": torch.zeros(TARGETS, SOURCES).masked_fill(LATER, -math.inf), "key_padding_mask": 0.3 * PADDING},
    ),
}


def drawn(**options: Any) -> nn.MultiheadAttention:
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(WIDTH, HEADS, **options).eval()
    for value in attention.parameters():
        nn.init.normal_(value, std=0.5)
    return attention


def inputs(attention: nn.MultiheadAttention) -> list[Tensor]:
    shapes = (TARGETS, WIDTH), (SOURCES, attention.kdim), (SOURCES, attention.vdim)
    order = (IMAGES, -1) if attention.batch_first else (-1, IMAGES)
    generator = torch.Generator().manual_seed(1)
    return [
        torch.randn(*(count if size < 0 else size for size in order), width, generator=generator)
        for count, width in shapes
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gradients", [True, False])
def test_split_attention_is_torchs(kind: str, gradients: bool) -> None:
    """With gradients, torch computes step by step; without them, in one fused function if it can."""
    options, masks = KINDS[kind]
    attention = drawn(**options)
    split = with_equivalents(copy.deepcopy(attention))
    assert isinstance(split, SplitAttention) and not split.training
    with torch.set_grad_enabled(gradients):
        (expected, weights), (found, own) = (part(*inputs(attention), **masks) for part in (attention, split))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    assert (own is None) == (weights is None)
    if weights is not None:
        torch.testing.assert_close(own, weights, rtol=1e-6, atol=1e-6)


def test_one_image_needs_no_axis_of_images() -> None:
    attention = drawn(batch_first=True)
    one = [part[0] for part in inputs(attention)]
    mask = {"key_padding_mask": PADDING[0]}
    for (expected, found) in zip(attention(*one, **mask), with_equivalents(copy.deepcopy(attention))(*one, **mask),
                                 strict=True):  # fmt: skip
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_a_shared_attention_stays_shared() -> None:
    attention = drawn()
    model = with_equivalents(nn.ModuleList([attention, nn.Sequential(attention)]))
    assert isinstance(model[0], SplitAttention) and model[1][0] is model[0]


class OwnAttention(nn.MultiheadAttention):
    def forward(self, query: Tensor) -> Tensor:  # type: ignore[override]
        return query


@pytest.mark.parametrize(
    ("attention", "problem"),
    [
        (nn.MultiheadAttention(4, 2, add_bias_kv=True), "'0.deep': attention with add_bias_kv or add_zero_attn"),
        (nn.MultiheadAttention(4, 2, add_zero_attn=True), "'0.deep': attention with add_bias_kv or add_zero_attn"),
        (OwnAttention(4, 2), "'0.deep': OwnAttention overrides forward"),
    ],
)
def test_what_cannot_be_split_is_refused_by_name(attention: nn.Module, problem: str) -> None:
    model = nn.Sequential(nn.ModuleDict({"deep": attention}))
    with pytest.raises(PlacementError, match=problem):
        quantize(model, [torch.rand(2, 2, 4)])


class Encoder(nn.Module):
    """An image's rows as tokens of torch's encoder with two layers, each of which torch can compute in one function."""

    def __init__(self, padded: bool = False) -> None:
        super().__init__()
        self.embed, self.padded = nn.Linear(6, WIDTH), padded
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 12, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, images: Tensor) -> Tensor:
        rows = self.embed(images.flatten(0, 1))
        mask = None
        if self.padded:
            mask = torch.zeros(rows.shape[:2], dtype=torch.bool, device=rows.device)
            mask[:, -2:] = True
        found: Tensor = self.head(self.encoder(rows, src_key_padding_mask=mask)[:, :-2].mean(1))
        return found


class Decoder(nn.Module):
    """Attention to other tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerDecoderLayer(6, 2, 8)

    def forward(self, images: Tensor) -> Tensor:
        rows = images.flatten(0, 1).transpose(0, 1)
        found: Tensor = self.layer(rows[:3], rows[3:]).mean(0)
        return found


PROJECTIONS = ("q_proj", "k_proj", "v_proj", "out_proj")


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.slow
def test_torchs_encoder_is_on_the_array_layer_by_layer(padded: bool, lossless: tuple[str, ...]) -> None:
    """All of its weights are used, not bypassed by torch's fused function; reads return the outputs of the integers."""
    torch.manual_seed(0)
    network, images = Encoder(padded).eval(), torch.rand(4, 1, 5, 6)
    with torch.no_grad():
        expected = network(images)
        split = with_equivalents(copy.deepcopy(network))(images)
    torch.testing.assert_close(split, expected, rtol=1e-5, atol=1e-5)
    quantized = quantize(network, [images], 8, 8)
    with torch.no_grad():
        assert (quantized(images) - expected).abs().max() < 0.1 * expected.abs().max()
    quantized = quantize(network, [images])
    names = [f"self_attn.{name}" for name in PROJECTIONS] + ["linear1", "linear2"]
    layers = [f"encoder.layers.{k}.{name}" for k in range(2) for name in names]
    assert sorted(quantized_layers(quantized)) == sorted(["embed", *layers, "head"])
    analog = convert(quantized, load_chip("etox65", (*lossless, "adc.bits=24", "calibration.reads=32")))
    seen: set[str] = set()
    calibrate(analog, images, "nodal")
    with torch.inference_mode():
        expected = analog(images)
        with reading(analog, reader_by("nodal", observe=lambda part, *_: seen.add(part.layer.name))):
            found = analog(images)
    assert seen == set(tiled_layers(analog)) == set(quantized_layers(quantized))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_attention_to_other_tokens_is_placed() -> None:
    torch.manual_seed(0)
    quantized = quantize(Decoder(), [torch.rand(4, 1, 5, 6)])
    names = [f"layer.{kind}.{name}" for kind in ("self_attn", "multihead_attn") for name in PROJECTIONS]
    assert set(names) <= set(quantized_layers(quantized))


def test_a_stored_network_has_its_attention(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.mix = nn.MultiheadAttention(6, 2, batch_first=True)\n"
        "    def forward(self, x):\n"
        "        x = x.flatten(0, 1)\n"
        "        return self.mix(x, x, x)[0].mean(1)\n"
        "make = Net\n"
    )
    spec = spec_of(f"{tmp_path / 'nets.py'}:make")
    images = torch.rand(3, 1, 5, 6)
    quantized = quantize(spec.build(), [images])
    (tmp_path / "w.safetensors").write_bytes(encode(quantized, spec))
    network, _ = decode(tmp_path / "w.safetensors", trusted=True)
    with torch.no_grad():
        torch.testing.assert_close(network(images), quantized(images), rtol=1e-6, atol=1e-6)
