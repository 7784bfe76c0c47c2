"""The weights file: exact round trips, size and layout, and damaged or malicious files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from norsim.errors import ConfigurationError, DataError
from norsim.quantization.modules import QuantConv2d, quantized_layers
from norsim.quantization.quantize import quantize
from norsim.saved.fold import fold
from norsim.saved.network_folder import float_file
from norsim.saved.packed_weights import decode, encode, pack, unpack
from norsim.zoo.registry import spec_of
from tests.saved.test_fold import stir

INPUTS = {"digits": (1, 8, 8), "cifar10": (3, 32, 32)}


def made(name: str, width: float = 1.0, **bits: int) -> tuple[nn.Module, nn.Module, Tensor]:
    """Return a float network with random weights and statistics, the same quantized, and images."""
    torch.manual_seed(0)
    network = stir(spec_of(name, width).build())
    images = torch.rand(8, *INPUTS[spec_of(name).dataset])
    return network, quantize(network, [images], **bits), images


@pytest.fixture(scope="module")
def content() -> bytes:
    return encode(made("digits-cnn")[1], spec_of("digits-cnn"))


@pytest.fixture
def path(content: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "width"),
    [("digits-cnn", 1.0), ("resnet20", 1.0), ("resnet18", 0.05), ("alexnet", 0.05), ("vgg16", 0.1)],
)
def test_the_folded_network_is_read_back(tmp_path: Path, name: str, width: float) -> None:
    _, quantized, images = made(name, width)
    path = tmp_path / "weights.safetensors"
    path.write_bytes(encode(quantized, spec_of(name, width)))
    random = torch.get_rng_state()
    network, header = decode(path)
    assert torch.equal(random, torch.get_rng_state())
    assert header["network"] == name and header["width"] == width
    assert not any(part.training for part in network.modules())
    assert all(value.device.type == "cpu" for value in network.state_dict().values())
    assert all(value.requires_grad for value in network.parameters())
    folded, _ = fold(quantized)
    with torch.no_grad():
        assert torch.equal(network(images), folded(images))
    original = quantized_layers(quantized)
    for layer_name, layer in quantized_layers(network).items():
        assert np.array_equal(layer.weights, original[layer_name].weights)
        assert layer.weight_zero == original[layer_name].weight_zero
        assert layer.input_scale == original[layer_name].input_scale
        assert layer.geometry == original[layer_name].geometry
    # Storing a folded network again yields the same bytes.
    assert encode(network, spec_of(name, width)) == path.read_bytes()


@pytest.mark.parametrize(("name", "width"), [("resnet20", 1.0), ("resnet18", 0.25), ("vgg16", 0.25), ("alexnet", 0.25)])
def test_the_file_is_smaller_than_the_float_network_by_seven_and_a_half(name: str, width: float) -> None:
    float_network, quantized, _ = made(name, width)
    assert len(float_file(float_network)) >= 7.5 * len(encode(quantized, spec_of(name, width)))


def test_other_bits_round_trip(tmp_path: Path) -> None:
    _, wide, images = made("digits-cnn", weight_bits=6, activation_bits=5)
    (tmp_path / "wide").write_bytes(encode(wide, spec_of("digits-cnn")))
    network, _ = decode(tmp_path / "wide")
    layer = network.get_submodule("conv1")
    assert isinstance(layer, QuantConv2d) and (layer.weight_bits, layer.input_bits) == (6, 5)
    with torch.no_grad():
        assert torch.equal(network(images), fold(wide)[0](images))


def test_plain_safetensors_reads_the_documented_layout(path: Path) -> None:
    tensors = load_file(path)
    network, _ = decode(path)
    layers = quantized_layers(network)
    assert sorted(tensors) == ["codes", "grids", "vectors"]
    assert tensors["codes"].shape == ((72 + 1440 + 3200) // 2,)
    low, high = tensors["codes"][:36] & 15, tensors["codes"][:36] >> 4
    assert torch.stack([low, high], 1).flatten().tolist() == layers["conv1"].weights.flatten().tolist()
    conv1 = layers["conv1"]
    assert tensors["grids"][0].tolist() == [4, conv1.weight_zero, 4, conv1.input_zero]
    sizes = [1, 8, 8, 1, 20, 20, 10, 10, 1]
    parts = torch.split(tensors["vectors"], sizes)
    names = ["conv1.input_scale", "bn1.weight", "bn1.bias", "conv2.input_scale", "bn2.weight", "bn2.bias",
             "fc.bias", "fc.weight_scale", "fc.input_scale"]  # fmt: skip
    state = network.state_dict()
    assert all(torch.equal(part, state[key]) for key, part in zip(names, parts, strict=True))


@pytest.mark.parametrize("count", [0, 1, 6, 7])
@pytest.mark.parametrize("bits", [4, 6])
def test_packing(count: int, bits: int) -> None:
    codes = np.random.default_rng(0).integers(0, 2**bits, count).astype(np.uint8)
    packed = pack(codes, bits)
    assert len(packed) == ((count + 1) // 2 if bits == 4 else count)
    assert np.array_equal(unpack(packed, count, bits), codes)


def test_the_first_code_is_in_the_low_half() -> None:
    assert pack(np.array([1, 2, 3], dtype=np.uint8), 4).tolist() == [0x21, 0x03]


Edit = Callable[[dict[str, Tensor], dict[str, Any]], object]


def rewrite(path: Path, edit: Edit) -> None:
    """Change tensors and header of a weights file."""
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["norsim"])
        tensors = {key: file.get_tensor(key).clone() for key in file.keys()}
    edit(tensors, header)
    save_file(tensors, path, {"norsim": json.dumps(header)})


# Offsets of state dict entries in `vectors`: see the test of the layout.
CONV1_INPUT_SCALE, BN1_BIAS, FC_SCALE = 0, 9, 68


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda t, h: t.pop("codes"), "'codes' is missing"),
        (lambda t, h: t.update(extra=torch.zeros(1)), r"it has unknown tensors: \['extra'\]"),
        (lambda t, h: t.update(codes=t["codes"][:-1].clone()), "'codes' is torch.uint8 .2355."),
        (lambda t, h: t.update(codes=t["codes"].short()), "'codes' is torch.int16"),
        (lambda t, h: t.update(vectors=t["vectors"].double()), "float64"),
        (lambda t, h: t.update(vectors=t["vectors"][1:].clone()), "'vectors' is torch.float32 .78.; .* .79."),
        (lambda t, h: t.update(grids=t["grids"][1:].clone()), "'grids' is torch.uint8 .2, 4."),
        (lambda t, h: t["vectors"][BN1_BIAS].fill_(torch.inf), "'bn1.bias' holds a value that is not finite"),
        (lambda t, h: t["vectors"][FC_SCALE].fill_(torch.nan), "'fc.weight_scale' holds .* not finite"),
        (lambda t, h: t["vectors"][FC_SCALE].fill_(-1), "'fc.weight_scale' .* below 1e-08"),
        (lambda t, h: t["vectors"][FC_SCALE].fill_(3e38), "'fc' has a scale so large that weights overflow"),
        (lambda t, h: t["vectors"][CONV1_INPUT_SCALE].fill_(0), "'conv1.input_scale' .* below"),
        (lambda t, h: t["grids"][2, 1].fill_(16), "'fc' has a zero point of 16, which 4 bits"),
        (lambda t, h: t["grids"][0, 3].fill_(200), "'conv1' has a zero point of 200"),
        (lambda t, h: t["grids"][1, 0].fill_(9), "'conv2' has codes of 9 bits; expected 1 to 8"),
        (lambda t, h: t["grids"][1, 2].fill_(0), "'conv2' has codes of 0 bits"),
        (lambda t, h: t["grids"][2, 0].fill_(5), "expected torch.uint8 .3956."),
        (lambda t, h: (t["grids"][:, 0].fill_(3), t["grids"][:, 1].fill_(0),
                       t.update(codes=torch.full((4712,), 8, dtype=torch.uint8))), "code of 8, which 3 bits"),
        (lambda t, h: h.update(network="alexnot"), "no network is called 'alexnot'"),
        (lambda t, h: h.update(network="resnet20"), "it lists the layers"),
        (lambda t, h: h.update(network=3), "lacks the network's name"),
        (lambda t, h: h.update(width=0.5), "'vectors' is torch.float32 .79."),
        (lambda t, h: h.update(width=60), "expected torch.float32"),
        (lambda t, h: h.update(width=0), "width is 0; expected above 0"),
        (lambda t, h: h.update(width=10**400), "at most 64"),
        (lambda t, h: h.update(width=float("nan")), "width is nan"),
        (lambda t, h: h.update(width="1"), "its width is '1'; expected a number"),
        (lambda t, h: h.update(width=True), "its width is True"),
        (lambda t, h: h.pop("width"), "its width is None"),
        (lambda t, h: h.update(format_version=1), "format version 1; this norsim reads version 2"),
        (lambda t, h: h.update(layers=[]), "lacks the network's name or its layers"),
        (lambda t, h: h["layers"].pop("fc"), "it lists the layers"),
        (lambda t, h: h["layers"].update(fc="bn1"), "'conv1' cannot be folded with 'bn1'"),
        (lambda t, h: h["layers"].update(conv1=None, fc="bn1"), "'fc' cannot be folded with 'bn1'"),
        (lambda t, h: h["layers"].update(conv1="bn2"), "'conv1' cannot be folded with 'bn2'"),
        (lambda t, h: h["layers"].update(conv1="relu1"), "'conv1' cannot be folded with 'relu1'"),
        (lambda t, h: h["layers"].update(conv1="nothing"), "'conv1' cannot be folded with 'nothing'"),
        (lambda t, h: h["layers"].update(conv1=[7]), "'conv1' cannot be folded with .7."),
        (lambda t, h: h["layers"].update(conv1=None), "'vectors' is torch.float32 .79.; .* .103."),
    ],
)  # fmt: skip
def test_weights_that_do_not_match(path: Path, edit: Edit, problem: str) -> None:
    rewrite(path, edit)
    with pytest.raises(DataError, match=problem) as caught:
        decode(path)
    assert str(path) in str(caught.value) and "train the network again" in str(caught.value)


def test_a_batch_norm_that_is_not_folded_keeps_its_statistics(path: Path) -> None:
    def unfold(tensors: dict[str, Tensor], header: dict[str, Any], variance: float = 2.0) -> None:
        header["layers"]["conv1"] = None
        scale, rest = tensors["vectors"][:1], tensors["vectors"][17:]
        eight = [torch.full((8,), value) for value in (0.25, 3.0, 4.0, 5.0, variance)]
        tensors["vectors"] = torch.cat([eight[0], scale, *eight[1:], rest])

    rewrite(path, unfold)
    network, _ = decode(path)
    assert network.get_parameter("conv1.weight_scale")[0] == 0.25
    assert network.get_buffer("bn1.running_mean")[0] == 5 and network.get_buffer("bn1.running_var")[0] == 2
    rewrite(path, lambda t, h: t["vectors"][40].fill_(-1))
    with pytest.raises(DataError, match=r"'bn1.running_var' holds a value that is not finite or is below 0"):
        decode(path)


@pytest.mark.parametrize("keep", [0, 4, 8, 100, 3000, -1])
def test_truncated_weights(path: Path, keep: int) -> None:
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match="weights.safetensors: it cannot be read"):
        decode(path)


@pytest.mark.parametrize("metadata", [None, {"norsim": "{"}, {"norsim": "[" * 100_000}, {"norsim": "[]"}])
def test_weights_without_usable_metadata(path: Path, metadata: dict[str, str] | None) -> None:
    save_file({"a": torch.zeros(1)}, path, metadata)
    with pytest.raises(DataError, match="weights.safetensors"):
        decode(path)


NETS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.register_buffer("places", torch.tensor([3, 1, 0, 2]))
        self.register_buffer("mask", torch.zeros(4, 4).masked_fill(torch.ones(4, 4).triu(1) > 0, -torch.inf))
        self.register_buffer("scale", torch.tensor(BIG, dtype=torch.float64))
        self.register_buffer("twist", torch.linspace(0, 1, 4), persistent=False)
        self.plain = torch.arange(4.0)

    def forward(self, x):
        x = self.layer(x)[:, self.places]
        return torch.softmax(x[:, None] + self.mask, -1).sum(1) * self.scale + self.twist * self.plain

make = Net
"""


def test_masks_and_indices_are_stored_as_they_are(tmp_path: Path) -> None:
    """Like in public transformers, inside or outside the state dict; values that float32 would change are an error."""
    (tmp_path / "nets.py").write_text(NETS.replace("BIG", "0.5"))
    spec, images = spec_of(f"{tmp_path / 'nets.py'}:make"), torch.rand(3, 4)
    quantized = quantize(spec.build(), [images])
    (tmp_path / "w").write_bytes(encode(quantized, spec))
    before = torch.get_rng_state()
    network, _ = decode(tmp_path / "w", trusted=True)
    assert torch.equal(torch.get_rng_state(), before)
    kinds = [network.get_buffer(name).dtype for name in ("places", "mask", "scale")]
    assert kinds == [torch.int64, torch.float32, torch.float64]
    with torch.no_grad():
        torch.testing.assert_close(network(images), quantized(images))
    (tmp_path / "nets.py").write_text(NETS.replace("BIG", "0.1"))
    spec = spec_of(f"{tmp_path / 'nets.py'}:make")
    message = "'scale' has torch.float64 values that the float32 of the file cannot hold"
    with pytest.raises(ConfigurationError, match=message):
        encode(quantize(spec.build(), [images]), spec)
