"""Training: resume in the same bits, augmentation, schedule, log, errors."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from norsim.data import Dataset
from norsim.errors import ConfigurationError, DataError, WriteError
from norsim.training import batches
from norsim.training.images import augment, draw_moves, to_input
from norsim.training.learner import one_cycle
from norsim.training.recipes import Recipe
from norsim.training.train import EpochRecord, predict, train
from norsim.zoo.registry import NetworkSpec
from tests.conftest import contents

TINY = Recipe(
    float_epochs=2,
    quantized_epochs=2,
    batch_size=16,
    float_rate=0.1,
    quantized_rate=0.05,
    ema_decay=0.9,
    augmentation="crop-flip",
    distillation=0.5,
    label_smoothing=0.1,
)


def tiny_network(width: float = 1.0) -> nn.Module:
    channels = int(4 * width)
    # Dropout draws from the global random state, which a resumed run must restore too.
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Flatten(),
        nn.Linear(channels * 36, 3),
    )


SPEC = NetworkSpec("tiny", "noise", tiny_network, "for this test")


def dataset(split: str, count: int = 70) -> Dataset:
    generator = np.random.default_rng(len(split))
    labels = generator.integers(0, 3, count)
    images = generator.integers(0, 100, (count, 3, 6, 6)).astype(np.uint8)
    images[np.arange(count), labels] += 100
    return Dataset("noise", split, images, labels, ("a", "b", "c"), 255, "made for this test")


class Killed(Exception):
    pass


def state_bytes(network: nn.Module) -> dict[str, bytes]:
    return {key: value.numpy().tobytes() for key, value in network.state_dict().items()}


@pytest.mark.parametrize("killed_after", [1, 2, 3])
@pytest.mark.parametrize("recipe", [TINY, replace(TINY, ema_decay=0.0, distillation=0.0)])
def test_a_killed_and_resumed_run_ends_in_the_same_bits(tmp_path: Path, recipe: Recipe, killed_after: int) -> None:
    whole = train(SPEC, dataset("train"), dataset("test"), recipe, tmp_path / "whole")
    seen: list[EpochRecord] = []

    def kill(record: EpochRecord) -> None:
        seen.append(record)
        if len(seen) == killed_after:
            raise Killed

    with pytest.raises(Killed):
        train(SPEC, dataset("train"), dataset("test"), recipe, tmp_path / "part", progress=kill)
    torch.rand(7)  # a later process has another random state
    part = train(SPEC, dataset("train"), dataset("test"), recipe, tmp_path / "part", resume=True)
    assert state_bytes(part.network) == state_bytes(whole.network)
    assert state_bytes(part.float_network) == state_bytes(whole.float_network)
    assert [replace(row, seconds=0) for row in part.records] == [replace(row, seconds=0) for row in whole.records]


def test_log_result_and_random_state_of_the_caller(tmp_path: Path) -> None:
    state = torch.get_rng_state()
    seen: list[EpochRecord] = []
    result = train(SPEC, dataset("train"), dataset("test"), TINY, tmp_path, progress=seen.append)
    assert torch.equal(state, torch.get_rng_state())
    with (tmp_path / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["phase"], row["epoch"]) for row in rows] == [
        ("float", "1"),
        ("float", "2"),
        ("quantized", "1"),
        ("quantized", "2"),
    ]
    assert [float(row["train_loss"]) for row in rows] == [record.train_loss for record in seen]
    assert tuple(seen) == result.records
    labels = dataset("test").labels
    assert (result.float_predictions == labels).mean() == result.records[1].test_accuracy > 0.5
    assert (predict(result.network, dataset("test")) == labels).mean() == result.records[-1].test_accuracy
    assert not result.network.training
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.pt", "log.csv"]


def test_the_last_weights_are_kept_regardless_of_test_accuracy(tmp_path: Path) -> None:
    other = replace(dataset("test"), labels=np.zeros(70, dtype=np.int64))
    one = train(SPEC, dataset("train"), dataset("test"), TINY, tmp_path / "one")
    two = train(SPEC, dataset("train"), other, TINY, tmp_path / "two")
    assert state_bytes(one.network) == state_bytes(two.network)


def test_without_resume_a_run_starts_from_the_beginning(tmp_path: Path) -> None:
    train(SPEC, dataset("train"), dataset("test"), TINY, tmp_path)
    again = train(SPEC, dataset("train"), dataset("test"), replace(TINY, seed=1), tmp_path)
    assert len(again.records) == 4


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    train(SPEC, dataset("train"), dataset("test"), TINY, tmp_path)
    with pytest.raises(ConfigurationError, match="another network, recipe or data set"):
        train(SPEC, dataset("train"), dataset("test"), replace(TINY, seed=1), tmp_path, resume=True)


def test_a_narrower_network_is_another_training(tmp_path: Path) -> None:
    half = replace(SPEC, width=0.5)
    result = train(half, dataset("train"), dataset("test"), TINY, tmp_path)
    assert len(result.network.get_parameter("0.weight")) == 2
    again = train(half, dataset("train"), dataset("test"), TINY, tmp_path, resume=True)
    assert state_bytes(again.network) == state_bytes(result.network)
    with pytest.raises(ConfigurationError, match="another network, recipe or data set"):
        train(SPEC, dataset("train"), dataset("test"), TINY, tmp_path, resume=True)


def test_at_full_width_a_checkpoint_is_identified_by_name_recipe_and_data(tmp_path: Path) -> None:
    """Checkpoints from before widths existed still resume."""
    train(SPEC, dataset("train"), dataset("test"), TINY, tmp_path)
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    source = "made for this test"
    assert json.loads(saved["identity"]) == ["tiny", asdict(TINY), [source, 70, source, 70]]


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut short"])
def test_a_damaged_checkpoint_is_a_data_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(DataError, match="checkpoint.pt cannot be read.*delete it"):
        train(SPEC, dataset("train"), dataset("test"), TINY, tmp_path, resume=True)


@pytest.mark.parametrize("name", ["checkpoint.pt", "log.csv"])
def test_a_full_disk_keeps_the_old_file(tmp_path: Path, full_disk: Callable[[str], None], name: str) -> None:
    train(SPEC, dataset("train"), dataset("test"), TINY, tmp_path)
    before = contents(tmp_path)
    full_disk(name)
    with pytest.raises(WriteError, match=f"{name} cannot be written: No space left on device"):
        train(SPEC, dataset("train"), dataset("test"), replace(TINY, seed=1), tmp_path)
    after = contents(tmp_path)
    assert after.keys() == before.keys() and after[name] == before[name]


def test_divergence_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="lower the learning rate"):
        train(SPEC, dataset("train"), dataset("test"), replace(TINY, float_rate=1e38), tmp_path)


def moves_of(pixels: Tensor, augmentation: str) -> Tensor:
    return draw_moves(len(pixels), pixels.shape[2:], augmentation, torch.Generator().manual_seed(0))


def test_shift_moves_images_by_at_most_one_pixel() -> None:
    pixels = torch.zeros(200, 1, 5, 5, dtype=torch.uint8)
    pixels[:, :, 2, 2] = 9
    moved = augment(pixels, torch.ones(200, dtype=torch.bool), moves_of(pixels, "shift"), "shift")
    places = moved[:, 0].nonzero()[:, 1:]
    assert len(places) == 200 and moved.max() == 9
    assert {tuple(place) for place in places.tolist()} == {(row, col) for row in (1, 2, 3) for col in (1, 2, 3)}


def test_crop_flip_mirrors_the_given_images_and_none_changes_nothing() -> None:
    pixels = torch.arange(1, 5, dtype=torch.uint8).expand(400, 2, 4, 4).contiguous()
    mirrored = torch.arange(400) % 3 == 0
    moved = augment(pixels, mirrored, moves_of(pixels, "crop-flip"), "crop-flip").int()
    falling = (moved.diff(dim=3) == -1).any(dim=3).any(dim=(1, 2))
    rising = (moved.diff(dim=3) == 1).any(dim=3).any(dim=(1, 2))
    assert moved.shape == pixels.shape and 40 < int(falling.sum()) and 90 < int(rising.sum())
    assert not (falling & ~mirrored).any() and not (rising & mirrored).any()
    assert augment(pixels, mirrored, moves_of(pixels, "none"), "none") is pixels


def test_cutout_greys_one_square_that_can_cross_the_edge() -> None:
    pixels, mirrored = torch.ones((300, 3, 32, 32), dtype=torch.uint8), torch.zeros(300, dtype=torch.bool)
    plain = augment(pixels, mirrored, moves_of(pixels, "crop-flip"), "crop-flip")
    holed = augment(pixels, mirrored, moves_of(pixels, "crop-flip-cutout"), "crop-flip-cutout")
    grey = holed == 128
    assert torch.equal(holed[~grey], plain[~grey]) and torch.equal(grey[:, 0], grey[:, 2])
    tall, wide = (grey[:, 0].any(dim=axis).sum(dim=1) for axis in (2, 1))
    assert torch.equal(grey[:, 0].sum(dim=(1, 2)), tall * wide)
    assert (int(tall.max()), int(wide.max())) == (8, 8) and int(tall.min()) >= 4 and int(wide.min()) >= 4
    assert grey.any(dim=0).all()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_an_image_is_mirrored_in_every_other_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: Literal["float32", "bfloat16"]
) -> None:
    seen: list[Tensor] = []

    def watched(pixels: Tensor, mirrored: Tensor, *rest: Any) -> Tensor:
        seen.append(torch.stack([(pixels.flatten(1).long() * key).sum(dim=1), mirrored.long()], dim=1))
        return augment(pixels, mirrored, *rest)

    key = torch.randint(2**40, (108,), generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(batches, "augment", watched)
    recipe = replace(TINY, quantized_epochs=0, batch_size=70, precision=precision)
    found = train(SPEC, dataset("train"), dataset("test"), recipe, tmp_path)
    first, second = (part[part[:, 0].argsort()] for part in seen)
    assert torch.equal(first[:, 0], second[:, 0]) and torch.equal(first[:, 1], 1 - second[:, 1])
    assert 0 < int(first[:, 1].sum()) < 70
    assert {value.dtype for value in found.network.state_dict().values()} <= {torch.float32, torch.int64}


def test_one_cycle_rises_to_the_peak_and_falls_to_nearly_zero() -> None:
    rates = [one_cycle(step, 100, 0.4) for step in range(100)]
    top = int(np.argmax(rates))
    assert max(rates) == pytest.approx(0.4) and rates[0] > 0 and rates[-1] < 1e-3
    assert all(np.diff(rates[: top + 1]) > 0) and all(np.diff(rates[top:]) < 0)
    assert one_cycle(0, 1, 0.4) > 0


def test_inputs_are_zero_to_one_and_prediction_leaves_training_mode() -> None:
    images = torch.from_numpy(dataset("test").images)
    for layout in (torch.channels_last, torch.contiguous_format):
        values = to_input(images, 255, layout)
        assert values.dtype == torch.float32 and float(values.max()) <= 1
        assert values.is_contiguous(memory_format=layout)
    network = tiny_network().train()
    assert predict(network, dataset("test")).shape == (70,)
    assert not network.training
