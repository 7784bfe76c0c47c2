"""The scripts in examples/ do what they say, on fewer images, chips and steps; they share one small network."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import norsim
from tests.docs.test_docs import ROOT

EXAMPLES = ROOT / "examples"
GALLERY = ROOT / "docs" / "gallery.md"
STUDIES = sorted(path.stem for path in EXAMPLES.glob("*.py") if path.stem not in ("pictures", "transformers"))


@pytest.fixture(scope="module")
def examples() -> Iterator[dict[str, ModuleType]]:
    """Return the scripts as modules; they import each other as when one is run."""
    sys.path.insert(0, str(EXAMPLES))
    before = set(sys.modules)
    yield {name: importlib.import_module(name) for name in STUDIES}
    sys.path.remove(str(EXAMPLES))
    for name in {path.stem for path in EXAMPLES.glob("*.py")} - before:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def digits(examples: dict[str, ModuleType]) -> tuple[Any, Any, Any]:
    """Return a trained network, and few training and test images."""
    (train, labels), (test, truth) = (examples["your_network"].digits(split) for split in ("train", "test"))
    network = examples["your_network"].trained((train, labels), steps=80)
    return network, (train[:300], labels[:300]), (test[:60], truth[:60])


def assert_drawn(module: ModuleType, found: Any, folder: Path) -> None:
    module.draw(found, folder / "drawn.svg")
    assert (folder / "drawn.svg").read_text().count("<path") > 10


def test_each_example_has_its_place_in_the_gallery() -> None:
    text = GALLERY.read_text()
    for name in STUDIES:
        assert f"](gallery/{name}.svg)" in text and f"{{literalinclude}} ../examples/{name}.py" in text, name
        assert f"python examples/{name}.py runs/gallery\n" in text, name
        assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) <= 130, name


@pytest.mark.slow
def test_your_network(examples: dict[str, ModuleType], digits: Any, tmp_path: Path) -> None:
    module = examples["your_network"]
    found = module.study(*digits, chips=[one for one in module.CHIPS if one[0] in ("preset", "resistive source lines")])
    preset, resistive = found["preset"], found["resistive source lines"]
    assert preset.accuracy > 0.8 and abs(preset.accuracy - preset.accuracy_quantized) < 0.1
    assert resistive.accuracy < preset.accuracy
    assert max(one.verification.max_error_full_scale for one in found.values()) < 1e-4
    assert_drawn(module, found, tmp_path)


def test_ir_drop(examples: dict[str, ModuleType], tmp_path: Path) -> None:
    """To first order the loss is linear in the resistance."""
    found = examples["ir_drop"].study((2.0, 20.0), (4, 8), 16, 16)
    assert found.distance < 1e-6
    for every in (4, 8):
        assert found.lost[20.0, every].mean() == pytest.approx(10 * found.lost[2.0, every].mean(), rel=0.03)
    assert found.lost[20.0, 8].mean() > 2 * found.lost[20.0, 4].mean()
    assert_drawn(examples["ir_drop"], found, tmp_path)


@pytest.mark.slow
def test_verilog_a_cell(examples: dict[str, ModuleType], digits: Any, tmp_path: Path) -> None:
    found = examples["verilog_a_cell"].study(*digits, drains=np.array([0.1, 0.5, 1.0]))
    np.testing.assert_allclose(found.simulated, found.by_hand, rtol=1e-6)
    assert abs(found.result.accuracy - found.result.accuracy_quantized) < 0.1
    assert found.result.verification.witness == "vacask"
    assert found.result.verification.max_error_full_scale < 1e-4
    assert_drawn(examples["verilog_a_cell"], found, tmp_path)


@pytest.mark.slow
def test_finetune(examples: dict[str, ModuleType], digits: Any, tmp_path: Path) -> None:
    found = examples["finetune"].study(*digits, steps=10, refresh=5)
    assert found.before.accuracy < found.before.accuracy_quantized - 0.1
    assert [done for done, _ in found.losses] == [5, 10] and found.losses[1][1] < found.losses[0][1]
    assert_drawn(examples["finetune"], found, tmp_path)


@pytest.mark.slow
def test_monte_carlo_yield(examples: dict[str, ModuleType], digits: Any, tmp_path: Path) -> None:
    """Cells that have drifted far cost accuracy, on each chip another one; the yield is what the accuracies say."""
    network, train, test = digits
    quantized = norsim.quantize(network, [train[0]])
    module = examples["monte_carlo_yield"]
    found = module.study(quantized, train, test, ("40 mV",), 2)
    result, chips = found["40 mV"], module.chips_of(found["40 mV"])
    low, high = sorted(chips.accuracies)
    assert low < high < result.accuracy_quantized - 0.05
    assert [chips.above(least)["share"] for least in (low, high, high + 0.01)] == [1.0, 0.5, 0.0]
    assert result.verification.max_error_full_scale < 1e-4
    assert_drawn(module, found, tmp_path)


@pytest.mark.slow
def test_language_model(examples: dict[str, ModuleType], tmp_path: Path) -> None:
    module, transformers = examples["language_model"], importlib.import_module("transformers")
    text = module.documents()[:40000]
    train, test = transformers.halves(text, 8)
    model = transformers.LanguageModel(len(set(text)), 8, 8, 2, 1)
    untrained = model(train[0][0][None])
    assert untrained.shape == (1, 8, len(set(text)))
    found = module.study(module.trained(train, model, steps=60), train, test, ("8/8",), tested=12)["8/8"]
    assert found.metric_float < 0.7 * len(set(text)), "better than chance"
    assert found.metric_quantized == pytest.approx(found.metric_float, rel=0.05)
    assert found.metric_ci95[0] < found.metric_value < found.metric_ci95[1]
    low, high = found.metric_change_quantized_ci95
    assert low <= found.metric_change_quantized <= high
    assert found.verification.max_error_full_scale < 1e-4
    assert_drawn(module, {"8/8": found}, tmp_path)


@pytest.mark.slow
def test_sweep_on_cluster(examples: dict[str, ModuleType], digits: Any, tmp_path: Path) -> None:
    module, vary = examples["sweep_on_cluster"], {"adc.bits": [2, 8], "tile.wordlines": [64]}
    found = module.study(*digits, vary=vary)
    here = norsim.deploy(digits[0], "etox65", calibration=digits[1]).sweep(digits[2], vary)
    assert found.rows() == here.rows() and found.points[0].accuracy < found.points[1].accuracy
    assert_drawn(module, found, tmp_path)
