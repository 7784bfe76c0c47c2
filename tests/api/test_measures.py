"""What is asked of a deployed network: chips, sweeps, attributions, fine-tuning, reports."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import norsim
from norsim.evaluation.proof.defaults import SPICE_SAMPLE
from norsim.experiments.sweep import designs, fits_fresh
from tests.api.conftest import SETTINGS, Split, deployed, split_of
from tests.api.networks import Small

SPREAD = {**SETTINGS, "silicon.drift_cell": "30 mV"}


@pytest.fixture
def unchanged(net: norsim.DeployedNetwork, test_set: Split) -> Iterator[norsim.DeployedNetwork]:
    """The network, which must be afterwards what it was before."""
    state, logits = copy.deepcopy(net.state_dict()), net(test_set.x)
    deployment, layers = (
        net.parts.deployment,
        {name: (one.grid, one.fixed, one.reader) for name, one in net.tiled.items()},
    )
    yield net
    assert {name: (one.grid, one.fixed, one.reader) for name, one in net.tiled.items()} == layers
    assert net.parts.deployment is deployment and net.backend == "macro" and not net.training
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert torch.equal(net(test_set.x), logits)


def by_hand(
    model: nn.Module, train_set: Split, test_set: Split, settings: dict[str, Any], chip: int = 0, seed: int = 0
) -> norsim.Evaluation:
    """The network on one chip of a design, by the single steps."""
    quantized = norsim.quantize(model, train_set.pair, digital=["fc"])
    drawn = norsim.load_chip("etox65", settings).specimen(seed, chip)
    analog = norsim.convert(quantized, drawn)
    norsim.calibrate(analog, train_set.pair, seed=seed)
    return norsim.evaluate(analog, test_set.pair, seed=seed, spice_sample=0)


def test_several_chips_are_those_that_the_seed_draws(model: nn.Module, train_set: Split, test_set: Split) -> None:
    net = deployed(model, train_set, set=SPREAD, seed=4)
    found = net.evaluate(test_set.pair, trials=3)
    each = [by_hand(model, train_set, test_set, SPREAD, chip, seed=4) for chip in range(3)]
    assert found.chips is not None and found.chips.accuracies == tuple(one.accuracy for one in each)
    assert found.accuracy == pytest.approx(np.mean([one.accuracy for one in each]))
    for one, predictions in zip(each, found.predictions_by_chip, strict=True):
        assert np.array_equal(one.predictions, predictions)
    assert np.array_equal(found.predictions, net(test_set.x).argmax(1))
    assert len({tuple(one.predictions) for one in each}) > 1
    assert found.verification.samples == SPICE_SAMPLE and 0 < (found.verification.max_error_full_scale or 0) < 1e-4


def test_a_sweep_is_an_evaluation_of_each_point(
    unchanged: norsim.DeployedNetwork, model: nn.Module, train_set: Split, test_set: Split
) -> None:
    seen: list[Any] = []
    found = unchanged.sweep(test_set.pair, {"adc.bits": [3, 6]}, trials=2, spice_sample=1, done=seen.append)
    assert found.keys == ("adc.bits",) and tuple(seen) == found.points
    for point, bits in zip(found.points, (3, 6), strict=True):
        chips = [by_hand(model, train_set, test_set, {"adc.bits": bits}, chip).accuracy for chip in range(2)]
        assert point.values == {"adc.bits": bits} and point.accuracy == np.mean(chips)
        assert point.sigma == 0 == np.std(chips)  # nothing varies from chip to chip
        assert point.ci95[0] <= point.accuracy <= point.ci95[1]
        assert 0 < (point.max_error_full_scale or 0) < 1e-4
    assert found.points[0].accuracy < found.points[1].accuracy and found.best is found.points[1]
    assert [row["adc.bits"] for row in found.rows()] == [3, 6]
    two = unchanged.sweep(test_set.pair, {"adc.bits": (4, 9), "tile.wordlines": [32]}, spice_sample=0)
    assert [point.values for point in two.points] == [
        {"adc.bits": 4, "tile.wordlines": 32}, {"adc.bits": 9, "tile.wordlines": 32},
    ]  # fmt: skip


def losses(found: norsim.Attribution) -> list[float]:
    return [points for share in found.shares for points in (share.alone.points, share.without.points)]


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("causes", ["cell", "bitline", "source line", "converter", "straps"]),
        ("cures", ["column fit", "programming in place", "row order"]),
        ("layers", ["conv", "body.3"]),
    ],
)
def test_an_attribution_is_of_the_array_and_changes_nothing(
    unchanged: norsim.DeployedNetwork, test_set: Split, by: Any, names: list[str]
) -> None:
    result = unchanged.evaluate(test_set.pair, spice_sample=0)
    found = unchanged.attribute(test_set.pair, by=by)
    assert [share.name for share in found.shares] == names and found.images == 60
    if by != "cures":
        assert found.array.points == pytest.approx(100 * (result.accuracy_quantized - result.accuracy))
    assert found.quantization is not None and result.accuracy_float is not None
    assert found.quantization.points == pytest.approx(100 * (result.accuracy_float - result.accuracy_quantized))
    again = unchanged.attribute(test_set.data if by == "layers" else [test_set.pair], by=by)
    assert losses(again) == losses(found) and again == found


def test_attributions_say_which_layer_it_is(model: nn.Module, train_set: Split, test_set: Split) -> None:
    """On a bad array, losses of single layers are those of the network with that layer alone on it."""
    bad = {"bit_serial.wires.source_line": "1 kohm"}
    net = norsim.deploy(model, "etox65-stress", calibration=train_set.pair, set=bad)
    found = net.attribute(test_set.pair, by="layers")
    integers = net.evaluate(test_set.pair, spice_sample=0).accuracy_quantized
    for share in found.shares:
        others = [name for name in net.tiled if name != share.name]
        deployment = replace(net.parts.deployment, digital=tuple(others))
        alone = norsim.DeployedNetwork(deployment, deployment.converted()).calibrate()
        accuracy = alone.evaluate(test_set.pair, spice_sample=0).accuracy
        assert share.alone.points == pytest.approx(100 * (integers - accuracy))
    assert max(share.alone.points for share in found.shares) > 5 and found.base.points == 0


@pytest.mark.slow
def test_random_orders_of_many_layers_come_from_the_seed_and_share_configurations() -> None:
    """Six layers have 720 orders; three of them are drawn, and each set of layers is classified once."""
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(6, 6) for _ in range(6)))
    data, seen = (torch.rand(30, 6), torch.arange(30) % 6), list[tuple[str, int, int]]()
    net = norsim.deploy(model, calibration=data, set={"adc.bits": 3, "calibration.reads": 16})
    found = net.attribute(data, by="layers", orders=3, report=lambda *part: seen.append(part))
    assert found.orders == 3 and not found.exact and len(found.shares) == 6
    lost = sum(share.shapley.points for share in found.shares)
    assert lost == pytest.approx(found.array.points - found.base.points)
    nats = sum(share.cross_entropy.nats for share in found.shares)
    assert nats == pytest.approx(found.array_cross_entropy.nats - found.base_cross_entropy.nats, abs=1e-9)
    assert abs(nats) > 1e-4
    # None, all, 6 alone, 6 last; 3 of the 5 beginnings of each order are neither.
    classified = [(done, total) for what, done, total in seen if what == "classify"]
    assert 14 < len(classified) <= 14 + 3 * 3 and classified[-1] == (len(classified), len(classified))
    assert net.attribute(data, by="layers", orders=3) == found
    with pytest.raises(norsim.ConfigurationError, match="orders is 1; expected an integer of at least 2"):
        net.attribute(data, by="layers", orders=1)
    with pytest.raises(norsim.ConfigurationError, match="margin is 0; expected percentage points above 0"):
        net.attribute(data, by="layers", margin=0)


SONOS = {
    "silicon.programming": {"scale": "19.887 nA", "knee": "176.31 nA"},
    "silicon.aged": {"scale": "34.579 nA", "knee": "207.34 nA", "after": "5 day"},
}


@pytest.mark.slow
def test_a_sweep_over_time_fits_converters_before_ageing(
    net: norsim.DeployedNetwork, model: nn.Module, train_set: Split, test_set: Split
) -> None:
    """Unless `calibration.fresh` says otherwise; the fit of an aged chip is another one."""
    aged, times = deployed(model, train_set, set=SONOS), {"silicon.time": ["0 s", "5 day"]}
    deployment = aged.parts.deployment
    for vary, chosen, fresh in (
        (times, deployment, True),
        ({"silicon.reads": [0, 1000]}, deployment, True),
        ({"adc.bits": [8]}, deployment, False),
        ({**times, "calibration.fresh": [False, True]}, deployment, False),
        (times, deployment.with_settings({"calibration.fresh": False}), False),
    ):
        assert fits_fresh(chosen, vary) == fresh
    found = [design.choice.chip.calibration.fresh for _, design in designs(deployment, times)]
    assert found == [True, True] and not deployment.choice.chip.calibration.fresh
    swept = aged.sweep(test_set.pair, times, spice_sample=0)
    assert swept.fitted_fresh and not net.sweep(test_set.pair, {"adc.bits": [8]}, spice_sample=0).fitted_fresh
    point = {**SONOS, "silicon.time": "5 day"}
    fits = []
    for fresh in (True, False):
        one = deployed(model, train_set, set={**point, "calibration.fresh": fresh})
        fits.append([tile.gain for layer in one.tiled.values() for tile in layer.grid.tiles])
        if fresh:
            assert one.evaluate(test_set.pair, spice_sample=0).accuracy == swept.points[1].accuracy
    assert not all(np.array_equal(a, b) for a, b in zip(*fits, strict=True))


@pytest.fixture(scope="module")
def bad(model: nn.Module, train_set: Split) -> norsim.DeployedNetwork:
    """The network on source lines of 1 kilohm per cell, which cost it most of its accuracy."""
    return norsim.deploy(model, "etox65-stress", calibration=train_set.pair, seed=1, digital=["fc"],
                         set={"bit_serial.wires.source_line": "1 kohm"})  # fmt: skip


@pytest.mark.slow
def test_finetuning_recovers_a_bad_chip_and_changes_nothing_else(
    bad: norsim.DeployedNetwork, model: nn.Module, tmp_path: Path
) -> None:
    net, test, train = copy.deepcopy(bad), split_of("test", 200), split_of("train", 1000)
    before = copy.deepcopy(model.state_dict())
    first = net.evaluate(test.pair, spice_sample=0)
    steps: list[tuple[int, int]] = []
    found = net.finetune(
        train.pair, steps=30, rate=0.03, folder=tmp_path, progress=lambda done, of, _: steps.append((done, of))
    )
    assert found is net and net.calibrated and steps == [(10, 30), (20, 30), (30, 30)]
    second = net.evaluate(test.pair, spice_sample=2)
    assert first.accuracy < first.accuracy_quantized - 0.05
    assert second.accuracy > first.accuracy + 0.03
    assert (second.verification.max_error_full_scale or 1) < 1e-4
    assert second.accuracy_float == first.accuracy_float
    assert (net.backend, net.chip, net.digital) == (bad.backend, bad.chip, bad.digital)
    assert [name for name, _ in net.named_modules()] == [name for name, _ in bad.named_modules()]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert (tmp_path / "checkpoint.pt").is_file()
    same = copy.deepcopy(bad).finetune(train.pair, steps=30, rate=0.03, folder=tmp_path, resume=True)
    assert torch.equal(same(test.x[:20]), net(test.x[:20]))


def test_a_layer_that_stays_digital_is_trained_as_it_is(
    bad: norsim.DeployedNetwork, train_set: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fine-tuning reads the tiles of the other layers only."""
    from norsim.tiling.grid import TileGrid

    read: set[str] = set()
    multiply = TileGrid.multiply

    def watching(grid: TileGrid, codes: Any, reader: Any) -> Any:
        read.update([] if reader.backend.gives_integers else [grid.layer.name])
        return multiply(grid, codes, reader)

    monkeypatch.setattr(TileGrid, "multiply", watching)
    net = copy.deepcopy(bad).finetune(train_set.data, steps=2, refresh=1, augmentation="shift")
    assert read == {"conv", "body.3"} and net.digital["fc"] == "Linear"
    kept = [some.parts.deployment.quantized.fc for some in (bad, net)]
    assert [type(one) for one in kept] == [nn.Linear] * 2 and torch.equal(kept[0].weight, kept[1].weight)


def test_an_evaluation_is_reported_with_its_images(
    net: norsim.DeployedNetwork, test_set: Split, tmp_path: Path
) -> None:
    result = net.evaluate(test_set.data, spice_sample=2)
    assert result.dataset == "digits" and result.network == "Small"
    low, high = (f"{100 * end:.2f} %" for end in result.accuracy_ci95 or ())
    lines = str(result).splitlines()
    assert lines[0] == f"accuracy of Small on 60 images, {result.encoding}:"
    assert lines[1] == f"  {100 * (result.accuracy or 0):.2f} % ({low} to {high}) on the array (macro)"
    assert len(lines) == 5 and lines[4].startswith("  2 reads by ngspice") and len(repr(result)) > 1000
    page = norsim.write_report(result, tmp_path, test_set.data).read_text()
    wrong = int((result.predictions != result.labels).sum())
    assert f"Small classifies {100 * (60 - wrong) / 60:.2f} %" in page and "of 60 test images of digits" in page
    assert {path.name for path in (tmp_path / "figures").iterdir()} >= {"accuracies.svg", "confusion.svg"}


def test_progress_is_reported(model: nn.Module, train_set: Split, test_set: Split) -> None:
    seen: list[tuple[str, int, int]] = []

    def report(what: str, done: int, total: int) -> None:
        seen.append((what, done, total))

    net = deployed(model, train_set, report=report)
    net.evaluate(test_set.data, spice_sample=0, report=report)
    net.sweep(test_set.data, {"adc.bits": [8]}, spice_sample=0, report=report)
    assert {what.partition(" ")[0] for what, _, _ in seen} == {
        "quantize", "characterise", "program", "build", "data", "calibrate", "read", "proof", "points",
    }  # fmt: skip
    assert ("program body.3", 2, 2) in seen and ("read", 60, 60) in seen
    assert all(0 <= done <= total or not total for _, done, total in seen), seen


def test_an_untrained_network_is_a_network_too(train_set: Split) -> None:
    torch.manual_seed(3)
    net = deployed(Small(), train_set, name="mine")
    assert net.evaluate(train_set.data.take(20), spice_sample=0).network == "mine"
