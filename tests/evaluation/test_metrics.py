"""Metrics by name against their definitions, and intervals against the spread of the values themselves."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import norsim
from norsim.errors import ConfigurationError, DataError
from norsim.evaluation.metrics import name_of
from norsim.evaluation.quality import judge as judging
from norsim.evaluation.quality.choice import metric_of
from norsim.evaluation.quality.judge import judge, of_each
from norsim.evaluation.quality.named import METRICS
from norsim.evaluation.quality.values import accuracies_of, class_counts

RANDOM = torch.Generator().manual_seed(0)


def test_top5_is_the_share_of_labels_among_the_five_largest() -> None:
    scores, labels = torch.randn(40, 12, generator=RANDOM), torch.randint(12, (40,), generator=RANDOM)
    right = [int(label) in row.argsort(descending=True)[:5].tolist() for row, label in zip(scores, labels, strict=True)]
    found = judge(METRICS["top5"], {"array": scores}, labels)
    assert found.values["array"] == pytest.approx(np.mean(right))
    low, high = found.interval("array") or (1.0, 0.0)
    assert low < np.mean(right) < high and 0.1 < high - low < 0.35
    with pytest.raises(ConfigurationError, match="the network has 4 scores; top5 needs at least 5"):
        METRICS["top5"](scores[:, :4], labels % 4)


@pytest.mark.parametrize("last", [True, False])
def test_cross_entropy_and_perplexity_are_those_of_torch(last: bool) -> None:
    """For tokens, with classes in the last or the second axis; some targets are ignored."""
    scores, targets = torch.randn(6, 9, 5, generator=RANDOM), torch.randint(9, (6, 5), generator=RANDOM)
    targets[0, :3] = -100
    expected = float(functional.cross_entropy(scores, targets))
    given = scores.movedim(1, -1) if last else scores
    assert METRICS["cross-entropy"]((given, torch.zeros(6)), targets) == pytest.approx(expected)
    assert METRICS["perplexity"]({"aux": torch.zeros(6, 2), "logits": given}, targets) == pytest.approx(
        math.exp(expected)
    )
    right = (scores.argmax(1) == targets)[targets >= 0].double().mean()
    assert METRICS["prediction-accuracy"](given, targets) == pytest.approx(float(right))


def test_miou_is_the_mean_of_intersection_over_union() -> None:
    scores, truth = torch.randn(3, 4, 6, 7, generator=RANDOM), torch.randint(3, (3, 6, 7), generator=RANDOM)
    scores[:, 3] -= 100  # class 3 is neither predicted nor true, so it does not count
    truth[1, 0] = 255
    found = scores.argmax(1)
    ratios = [
        float(((found == k) & (truth == k)).sum() / (((found == k) & (truth != 255)) | (truth == k)).sum())
        for k in range(3)
    ]
    assert METRICS["miou"]({"out": scores}, truth) == pytest.approx(np.mean(ratios))


def test_errors_of_a_regression() -> None:
    found, truth = torch.randn(9, 4, generator=RANDOM), torch.randn(9, 4, generator=RANDOM)
    assert METRICS["mae"](found, truth) == pytest.approx(float((found - truth).abs().mean()))
    assert METRICS["rmse"]((found,), (truth,)) == pytest.approx(float(((found - truth) ** 2).mean().sqrt()))
    # One number each, as [n, 1] and [n].
    assert METRICS["mae"](found[:, :1], truth[:, 0]) == pytest.approx(float((found - truth)[:, 0].abs().mean()))
    with pytest.raises(DataError, match="expected one number for each target"):
        METRICS["mae"](found, truth[:, :3])


def test_targets_that_do_not_fit_are_refused() -> None:
    scores = torch.randn(5, 3, generator=RANDOM)
    with pytest.raises(DataError, match="values from 3 to 3 that are no class; expected 0 to 2"):
        METRICS["cross-entropy"](scores, torch.tensor([0, 1, 2, 3, 0]))
    with pytest.raises(DataError, match="expected integers, the number of a class"):
        METRICS["cross-entropy"](scores, torch.rand(5))
    with pytest.raises(ConfigurationError, match=r"returns a tensor \[5, 3\] for targets \[5, 2\]"):
        METRICS["miou"](scores, torch.zeros(5, 2, dtype=torch.int64))


def test_names_of_metrics(tmp_path: Path) -> None:
    assert metric_of(None) is metric_of("accuracy") is None and metric_of("miou") is METRICS["miou"]
    with pytest.raises(ConfigurationError, match="no metric 'perplexty'; did you mean 'perplexity'"):
        metric_of("perplexty")
    file = tmp_path / "own.py"
    file.write_text("def largest(outputs, targets):\n    return (outputs.max() - targets.max()).item()\n")
    own = metric_of(f"{file}:largest")
    assert own is not None and name_of(own) == "own.py:largest" and own(torch.ones(2), torch.zeros(2)) == 1
    file.write_text("def largest(outputs, targets):\n    return 1 / 0\n")
    with pytest.raises(ConfigurationError, match=r"own.py, line 2: ZeroDivisionError"):
        judge(own, {"array": torch.ones(2)}, torch.zeros(2))


def _mean(outputs: Tensor, targets: Tensor) -> float:
    return float((outputs - targets).abs().mean())


@pytest.mark.parametrize("metric", [METRICS["mae"], _mean], ids=["by name", "of a user"])
def test_intervals_are_those_of_a_mean_and_paired(metric: Any) -> None:
    """The mean of 400 images has an interval of 1.96 standard errors; the change between two networks that err alike
    has the narrow one of the differences."""
    truth = torch.zeros(400, 1)
    first = torch.rand(400, 1, generator=RANDOM) * 4
    second = first + 0.1 + 0.05 * torch.rand(400, 1, generator=RANDOM)
    found = judge(metric, {"array": second, "quantized": first}, truth)
    change = found.change("quantized", "array")[1]
    for values, interval in ((second, found.interval("array")), (second - first, change)):
        assert interval is not None
        error, middle = float(values.std()) / 20, float(values.mean())
        assert interval[0] == pytest.approx(middle - 1.96 * error, abs=0.35 * error)
        assert interval[1] == pytest.approx(middle + 1.96 * error, abs=0.35 * error)
    assert found.change("float", "array") == (None, None)
    assert of_each(metric, second, truth)[:2] == pytest.approx(second[:2, 0].tolist())


def test_a_slow_function_has_no_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "SECONDS", 0.0)
    found = judge(_mean, {"array": torch.ones(9)}, torch.zeros(9))
    assert found.values == {"array": 1.0} and found.interval("array") is None


@pytest.mark.parametrize("outputs", [torch.rand(4, 30), (torch.rand(30, 2), torch.tensor(2.0))])
def test_outputs_that_do_not_count_images_first_have_no_interval(outputs: Any) -> None:
    found = judge(lambda some, _: float(torch.as_tensor(some[0]).mean()), {"array": outputs}, torch.rand(30))
    assert found.values["array"] == pytest.approx(float(outputs[0].mean())) and found.interval("array") is None
    assert of_each(lambda *_: 1.0, outputs, torch.rand(30)) == [""] * 30


def test_values_that_some_resamples_lack_give_no_interval() -> None:
    def of_positives(outputs: Tensor, targets: Tensor) -> float:
        return 1 / float((targets > 0).sum())

    found = judge(of_positives, {"array": torch.ones(4)}, torch.tensor([0.0, 0.0, 0.0, 1.0]))
    assert found.values == {"array": 1.0} and found.interval("array") is None


def test_accuracies_are_known_only_with_classes() -> None:
    scores, labels = torch.randn(20, 4, generator=RANDOM), torch.randint(4, (20,), generator=RANDOM)
    known = accuracies_of((scores, scores, None), labels)
    assert known["accuracy"] == float((scores.argmax(1) == labels).double().mean()) and known["accuracy_ci95"]
    assert known["accuracy_float"] is None
    for targets in (torch.rand(20), labels - 1, labels + 1, torch.zeros(20, 2, dtype=torch.int64)):
        assert set(accuracies_of((scores, scores, scores), targets).values()) == {None}


def test_changed_predictions_are_counted_for_each_image() -> None:
    one = torch.eye(3)[torch.tensor([[0, 1, 2], [2, 2, 2]])]
    two = torch.eye(3)[torch.tensor([[0, 1, 1], [2, 0, 1]])]
    targets = torch.tensor([[0, 1, 2], [0, 0, -100]])
    assert class_counts(one, two, targets) == ([1, 1], [3, 2])
    assert class_counts(one, two, torch.rand(2, 3)) is None


class _Two(nn.Module):
    """Scores of two inputs, of which one is tokens, in a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.first, self.last = nn.Embedding(7, 8), nn.Linear(8, 8), nn.Linear(12, 5)

    def forward(self, tokens: Tensor, extra: Tensor) -> dict[str, Tensor]:
        hidden = torch.relu(self.first(self.words(tokens)))
        whole = torch.cat([hidden, extra[:, None].expand(-1, tokens.shape[1], -1)], -1)
        return {"scores": self.last(whole), "mean": hidden.mean((1, 2))}


@pytest.mark.parametrize("named", [False, True])
def test_a_network_of_two_inputs_and_two_outputs_is_judged_by_its_tokens(named: bool) -> None:
    torch.manual_seed(0)
    net = _Two()
    tokens, extra = torch.randint(7, (24, 6)), torch.randn(24, 4)
    inputs = {"tokens": tokens, "extra": extra} if named else (tokens, extra)
    with torch.no_grad():
        targets = net(tokens, extra)["scores"].argmax(-1)
    chip = {"calibration.reads": 8, "adc.bits": 10, "tile.wordlines": 64, "tile.bitlines": 32}
    data = (inputs, targets)
    deployed = norsim.deploy(net, "etox65", calibration=[(inputs,)], set=chip, weight_bits=6, activation_bits=6)
    found = deployed.evaluate(data, "prediction-accuracy", spice_sample=0, proof_images=8)
    assert found.images == 24 and found.metric == "prediction-accuracy" and found.accuracy is None
    assert found.metric_float == 1.0 and 0.8 < found.metric_quantized <= 1 and 0.8 < found.metric_value <= 1
    assert found.metric_ci95 and found.metric_ci95[0] <= found.metric_value <= found.metric_ci95[1]
    summary = found.summary()
    assert summary["accuracy"] is summary["drop_points"] is None and summary["metric_value"] == found.metric_value
    proof = found.end_to_end
    assert proof is not None and proof.images == 8 and proof.predictions == 48
    assert proof.changed is not None and proof.changed <= 2 and proof.accuracy_difference is None
    assert proof.metric_difference is not None and abs(proof.metric_difference) <= 2 / 48
    assert deployed.quantized(*((tokens, extra)))["scores"].shape == (24, 6, 5)
