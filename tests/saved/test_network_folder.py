"""Saved networks: weights with their card, the shipped network, and damaged or mismatched cards."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from norsim.data import load
from norsim.errors import DataError, WriteError
from norsim.quantization.modules import quantized_operands
from norsim.quantization.quantize import quantize
from norsim.saved import network_folder
from norsim.saved.float_weights import load_float
from norsim.saved.fold import fold
from norsim.saved.network_folder import float_predictions, load_network, save_network
from norsim.training.images import to_input
from norsim.training.recipes import RECIPES
from norsim.training.train import TrainResult, predict
from norsim.zoo.registry import NetworkSpec, build, spec_of
from tests.conftest import contents
from tests.saved.test_fold import stir


def untrained(spec: NetworkSpec) -> TrainResult:
    """Return a network with random weights, quantized but not trained, which suffices for storage."""
    torch.manual_seed(0)
    test_set = load("digits", "test").take(40)
    network = stir(spec.build())
    return TrainResult(
        spec=spec,
        recipe=RECIPES["digits-cnn"],
        network=quantize(network, [to_input(torch.from_numpy(test_set.images), 16)]),
        float_network=network,
        float_predictions=predict(network, test_set),
        test_set=test_set,
        records=(),
    )


@pytest.fixture(scope="module")
def result() -> TrainResult:
    return untrained(spec_of("digits-cnn"))


@pytest.fixture
def folder(result: TrainResult, tmp_path: Path) -> Path:
    save_network(result, tmp_path / "saved", "norsim train digits-cnn")
    return tmp_path / "saved"


def test_the_folded_network_and_its_card_are_loaded(result: TrainResult, tmp_path: Path) -> None:
    written = save_network(result, tmp_path, "")
    network, card = load_network(tmp_path)
    images = to_input(torch.from_numpy(result.test_set.images), 16)
    with torch.no_grad():
        assert torch.equal(network(images), fold(result.network)[0](images))
    assert card == written
    assert np.array_equal(float_predictions(card), result.float_predictions)


@pytest.mark.parametrize("width", [1.0, 0.5])
def test_a_network_is_loaded_in_its_width(tmp_path: Path, width: float) -> None:
    save_network(untrained(spec_of("digits-cnn", width)), tmp_path, "")
    network, card = load_network(tmp_path)
    assert card["width"] == width
    assert network.get_parameter("conv1.weight").shape == (8 * width, 1, 3, 3)


@pytest.mark.parametrize("name", ["weights.safetensors", "float.safetensors", "card.json"])
def test_a_full_disk_keeps_the_old_file(
    result: TrainResult, folder: Path, full_disk: Callable[[str], None], name: str
) -> None:
    before = contents(folder)
    full_disk(name)
    with pytest.raises(WriteError, match=f"{name} cannot be written: No space left on device"):
        save_network(result, folder, "another command")
    assert contents(folder) == before


def test_card_records_origin_and_sizes(result: TrainResult, folder: Path) -> None:
    card = json.loads((folder / "card.json").read_text())
    assert card["command"] == "norsim train digits-cnn" and card["seed"] == 0
    assert card["test_images"] == 40 and card["data_source"] == result.test_set.source
    assert card["float_accuracy"] == (result.float_predictions == result.test_set.labels).mean()
    assert card["recipe"]["float_epochs"] == RECIPES["digits-cnn"].float_epochs
    assert card["file_bytes"] == (folder / "weights.safetensors").stat().st_size
    assert card["weights"] == 72 + 1440 + 3200
    assert 4 * card["weights"] < card["float32_file_bytes"] < 5 * card["weights"]
    assert card["size_ratio"] == pytest.approx(card["float32_file_bytes"] / card["file_bytes"], abs=1e-3)
    assert [layer["norm"] for layer in card["layers"].values()] == ["bn1", "bn2", None]
    assert sorted(path.name for path in folder.iterdir()) == ["card.json", "float.safetensors", "weights.safetensors"]


def test_the_accuracy_on_the_card_is_that_of_the_stored_network(
    result: TrainResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tested with a file that holds another network than the given one."""
    constant = copy.deepcopy(result.network)
    with torch.no_grad():
        list(quantized_operands(constant).values())[-1].bias[int(result.test_set.labels[0])] += 1e3
    other = replace(result, network=constant)
    right = [int((predict(each.network, each.test_set) == each.test_set.labels).sum()) for each in (result, other)]
    monkeypatch.setattr(
        network_folder, "encode", lambda network, spec, encode=network_folder.encode: encode(other.network, spec)
    )
    assert right[0] != right[1] == save_network(result, tmp_path, "")["quantized_correct"]


def test_shipped_network_agrees_with_its_card() -> None:
    network, card = load_network("digits-cnn")
    test_set = load("digits", "test")
    assert card["data_source"] == test_set.source and card["test_images"] == len(test_set) == 360
    assert (float_predictions(card) == test_set.labels).mean() == card["float_accuracy"] >= 0.98
    assert (predict(network, test_set) == test_set.labels).sum() == pytest.approx(card["quantized_correct"], abs=1)
    assert card["quantized_accuracy"] >= card["float_accuracy"] - 0.01
    # The card is older than `bits`, which stands for its two widths.
    recipe = dict(card["recipe"])
    bits = f"{recipe.pop('weight_bits')}/{recipe.pop('activation_bits')}"
    assert replace(RECIPES["digits-cnn"], **recipe, bits=bits) == RECIPES["digits-cnn"]


def test_unknown_name_and_missing_folder() -> None:
    with pytest.raises(DataError, match="did you mean 'digits-cnn'.*write ./digitscnn"):
        load_network("digitscnn")
    with pytest.raises(DataError, match="weights.safetensors is missing"):
        load_network("./nowhere")
    with pytest.raises(DataError):
        load_network("..")


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


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"network": "vgg16"}, "its network is not the one in weights.safetensors"),
        ({"width": 2.0}, "its width is not the one"),
        ({"weights_sha256": None}, "belongs to other weights"),
        ({"dataset": None}, "its dataset is None; expected a string"),
        ({"data_source": 3}, "its data_source is 3"),
        ({"float_correct": 41}, "records 41 of 40"),
        ({"quantized_correct": "7"}, "records '7' of 40"),
        ({"float_accuracy": 0.999}, "float_accuracy 0.999 is not"),
        ({"test_images": 0}, "of 0 test images"),
        ({"float_predictions": base64.b64encode(b"abc").decode()}, "3 bytes of float predictions for 40 test images"),
    ],
)
def test_card_that_does_not_match(folder: Path, change: dict[str, Any], problem: str) -> None:
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | change))
    with pytest.raises(DataError, match=f"card.json: .*{problem}.*train the network again"):
        load_network(folder)


def test_missing_card_and_card_of_other_weights(folder: Path, result: TrainResult, tmp_path: Path) -> None:
    other = replace(result, network=quantize(result.float_network, [torch.rand(4, 1, 8, 8)]))
    save_network(other, tmp_path / "other", "")
    (folder / "weights.safetensors").write_bytes((tmp_path / "other" / "weights.safetensors").read_bytes())
    with pytest.raises(DataError, match="card.json: its weights_sha256 is not that of weights.safetensors"):
        load_network(folder)
    (folder / "card.json").unlink()
    with pytest.raises(DataError, match="card.json"):
        load_network(folder)


def test_float_weights_of_other_programs_are_read(tmp_path: Path) -> None:
    network = build("resnet20")
    state = network.state_dict()
    old = {f"module.{key}": value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    torch.save({"state_dict": old, "epoch": 200}, tmp_path / "public.th")
    save_file(state, tmp_path / "weights.safetensors")
    for name in ("public.th", "weights.safetensors"):
        found = load_float(tmp_path / name, build("resnet20"))
        assert found.keys() == state.keys() and all(torch.equal(found[key], state[key]) for key in state)


class _Harm:
    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(HARMED), "w"))


HARMED = Path("harmed")


def test_float_weights_execute_no_code_and_invalid_ones_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": _Harm()}, tmp_path / "harm.pth")
    with pytest.raises(DataError, match="harm.pth holds Python objects.* only code can read"):
        load_float(tmp_path / "harm.pth", build("resnet20"))
    assert not HARMED.exists()
    torch.save([torch.zeros(3)], tmp_path / "list.pt")
    with pytest.raises(DataError, match="holds a list; expected a state dict"):
        load_float(tmp_path / "list.pt", build("resnet20"))
    torch.save(build("resnet20", 0.5).state_dict(), tmp_path / "narrow.pt")
    with pytest.raises(DataError, match="does not fit the network"):
        load_float(tmp_path / "narrow.pt", build("resnet20"))
