"""Saved networks: exact round trips, the shipped one, and files that are broken or hostile."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from norsim.data import load
from norsim.errors import DataError
from norsim.network.quantize import QuantConv2d, quantize, quantized_layers
from norsim.network.store import float_predictions, load_network, pack, save_network, unpack
from norsim.network.train import TrainResult, predict, to_input
from norsim.network.zoo import RECIPES, build, spec_of


@pytest.fixture(scope="module")
def result() -> TrainResult:
    """A network with random weights, quantized but not trained; enough to be stored."""
    torch.manual_seed(0)
    test_set = load("digits", "test").take(40)
    network = build("digits-cnn").eval()
    quantized = quantize(network, [to_input(torch.from_numpy(test_set.images), 16)])
    return TrainResult(
        spec=spec_of("digits-cnn"),
        recipe=RECIPES["digits-cnn"],
        network=quantized,
        float_network=network,
        float_predictions=predict(network, test_set),
        quantized_predictions=predict(quantized, test_set),
        test_set=test_set,
        records=(),
    )


@pytest.fixture
def folder(result: TrainResult, tmp_path: Path) -> Path:
    save_network(result, tmp_path / "saved", "norsim train digits-cnn")
    return tmp_path / "saved"


def test_round_trip_is_exact(result: TrainResult, folder: Path) -> None:
    state = torch.get_rng_state()
    network, card = load_network(folder)
    assert torch.equal(state, torch.get_rng_state())
    assert not any(part.training for part in network.modules())
    for name, layer in quantized_layers(network).items():
        original = quantized_layers(result.network)[name]
        assert np.array_equal(layer.weights, original.weights)
        assert np.array_equal(layer.weight_scale, original.weight_scale)
        assert (layer.weight_zero, layer.input_scale) == (original.weight_zero, original.input_scale)
        assert layer.geometry == original.geometry
    images = to_input(torch.from_numpy(result.test_set.images), 16)
    with torch.no_grad():
        assert torch.equal(network(images), result.network(images))
    assert np.array_equal(float_predictions(card), result.float_predictions)
    assert float_predictions(card)[:10].shape == (10,)


def test_card_says_where_it_comes_from_and_the_sizes(result: TrainResult, folder: Path) -> None:
    card = json.loads((folder / "card.json").read_text())
    assert card["command"] == "norsim train digits-cnn" and card["seed"] == 0
    assert card["test_images"] == 40 and card["data_source"] == result.test_set.source
    assert card["float_accuracy"] == result.float_accuracy
    assert card["recipe"]["float_epochs"] == RECIPES["digits-cnn"].float_epochs
    assert card["file_bytes"] == (folder / "weights.safetensors").stat().st_size
    assert card["weights"] == 72 + 1440 + 3200
    assert 4 * card["weights"] < card["float32_file_bytes"] < 5 * card["weights"]
    assert sorted(path.name for path in folder.iterdir()) == ["card.json", "weights.safetensors"]


def test_other_widths_round_trip(result: TrainResult, tmp_path: Path) -> None:
    images = to_input(torch.from_numpy(result.test_set.images), 16)
    wide = quantize(result.float_network, [images], weight_bits=6, activation_bits=5)
    save_network(replace(result, network=wide), tmp_path, "")
    network, _ = load_network(tmp_path)
    layer = network.get_submodule("conv1")
    assert isinstance(layer, QuantConv2d) and (layer.weight_bits, layer.input_bits) == (6, 5)
    with torch.no_grad():
        assert torch.equal(network(images), wide(images))


@pytest.mark.parametrize("count", [0, 1, 6, 7])
@pytest.mark.parametrize("bits", [4, 6])
def test_packing(count: int, bits: int) -> None:
    codes = np.random.default_rng(0).integers(0, 2**bits, count).astype(np.uint8)
    packed = pack(codes, bits)
    assert len(packed) == ((count + 1) // 2 if bits == 4 else count)
    assert np.array_equal(unpack(packed, count, bits), codes)


def test_the_earlier_code_is_in_the_low_half() -> None:
    assert pack(np.array([1, 2, 3], dtype=np.uint8), 4).tolist() == [0x21, 0x03]


def test_shipped_network_does_what_its_card_says() -> None:
    network, card = load_network("digits-cnn")
    test_set = load("digits", "test")
    assert card["data_source"] == test_set.source and card["test_images"] == len(test_set) == 360
    assert (float_predictions(card) == test_set.labels).mean() == card["float_accuracy"] >= 0.98
    assert (predict(network, test_set) == test_set.labels).sum() == pytest.approx(card["quantized_correct"], abs=1)
    assert card["quantized_accuracy"] >= card["float_accuracy"] - 0.01
    assert replace(RECIPES["digits-cnn"], **card["recipe"]) == RECIPES["digits-cnn"]


def test_unknown_name_and_missing_folder() -> None:
    with pytest.raises(DataError, match="did you mean 'digits-cnn'.*write ./digitscnn"):
        load_network("digitscnn")
    with pytest.raises(DataError, match="weights.safetensors is missing"):
        load_network("./nowhere")
    with pytest.raises(DataError):
        load_network("..")


Edit = Callable[[dict[str, Tensor], dict[str, Any]], object]


def rewrite(folder: Path, edit: Edit) -> None:
    """Change tensors and header of a saved network, and its card along with the header."""
    path = folder / "weights.safetensors"
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["norsim"])
        tensors = {key: file.get_tensor(key).clone() for key in file.keys()}
    edit(tensors, header)
    save_file(tensors, path, {"norsim": json.dumps(header)})
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | header))


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda t, h: t.pop("fc.bias"), "'fc.bias' is missing"),
        (lambda t, h: t.update(extra=torch.zeros(1)), r"does not have: \['extra'\]"),
        (lambda t, h: t.update({"fc.codes": t["fc.codes"][:-1].clone()}), "'fc.codes' is torch.uint8 .1599."),
        (lambda t, h: t.update({"fc.scale": t["fc.scale"].double()}), "float64"),
        (lambda t, h: t["fc.scale"].fill_(torch.nan), "'fc.scale' holds a value that is not finite"),
        (lambda t, h: t["fc.scale"].fill_(-1), "scale below"),
        (lambda t, h: t["fc.scale"].fill_(3e38), "overflow"),
        (lambda t, h: t["fc.input_scale"].fill_(0), "scale below"),
        (lambda t, h: t["fc.zero"].fill_(16), "code of 16, which 4 bits"),
        (lambda t, h: t["fc.input_zero"].fill_(200), "code of 200"),
        (lambda t, h: t["bn1.running_var"].fill_(-1), "negative variance"),
        (lambda t, h: t["bn1.bias"].fill_(torch.inf), "not finite"),
        (lambda t, h: h.update(network="alexnot"), "no network is called 'alexnot'"),
        (lambda t, h: h.update(network="resnet20"), "it lists the layers"),
        (lambda t, h: h.update(network=3), "lacks the network's name"),
        (lambda t, h: h.update(format_version=99), "format version 99"),
        (lambda t, h: h.update(layers=[]), "lacks the network's name or its layers"),
        (lambda t, h: h["layers"].pop("fc"), "it lists the layers"),
        (lambda t, h: h["layers"].update(fc=7), "expected 1 to 8"),
        (lambda t, h: h["layers"]["fc"].update(weight_bits=10**9), "expected 1 to 8"),
        (lambda t, h: h["layers"]["fc"].update(weight_bits=5), "expected torch.uint8 .3200."),
        (lambda t, h: h.update(float_correct=41), "records 41 of 40"),
        (lambda t, h: h.update(float_accuracy=0.999), "float_accuracy 0.999 is not"),
        (lambda t, h: h.update(test_images=0), "of 0 test images"),
    ],
)
def test_weights_that_do_not_fit(folder: Path, edit: Edit, problem: str) -> None:
    rewrite(folder, edit)
    with pytest.raises(DataError, match=problem) as caught:
        load_network(folder)
    assert str(folder) in str(caught.value) and "train the network again" in str(caught.value)


@pytest.mark.parametrize("keep", [0, 4, 8, 100, 3000, -1])
def test_truncated_weights(folder: Path, keep: int) -> None:
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match="weights.safetensors: it cannot be read"):
        load_network(folder)


@pytest.mark.parametrize("metadata", [None, {"norsim": "{"}, {"norsim": "[" * 100_000}, {"norsim": "[]"}])
def test_weights_without_usable_metadata(folder: Path, metadata: dict[str, str] | None) -> None:
    save_file({"a": torch.zeros(1)}, folder / "weights.safetensors", metadata)
    with pytest.raises(DataError, match="weights.safetensors"):
        load_network(folder)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "cannot be read"),
        (b"\xff\xfe{", "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        (b"[1]", "cannot be read"),
        (b"{}", "cannot be read"),
        (b'{"float_predictions": 3}', "cannot be read"),
        (b'{"float_predictions": "!"}', "cannot be read"),
        (b'{"float_predictions": ""}', "its format_version is not the one in"),
        (b" " * (16 * 2**20 + 1), "larger than"),
    ],
)
def test_broken_card(folder: Path, content: bytes, problem: str) -> None:
    (folder / "card.json").write_bytes(content)
    with pytest.raises(DataError, match=f"card.json: .*{problem}"):
        load_network(folder)


def test_card_with_other_predictions_or_none_at_all(folder: Path) -> None:
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | {"float_predictions": "AAAA"}))
    with pytest.raises(DataError, match="3 float predictions for 40 test images"):
        load_network(folder)
    (folder / "card.json").unlink()
    with pytest.raises(DataError, match="card.json"):
        load_network(folder)
