"""Estimates count what a run does for its tiles, and nothing that is kept on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from norsim.backends.macro import Macro
from norsim.chip.model import Chip
from norsim.evaluation.dry_run import work
from norsim.evaluation.dry_run.estimate import estimate_evaluation
from norsim.evaluation.dry_run.rates import Rate
from norsim.quantization.quantize import quantize
from norsim.tiling.calibrate import calibrate
from norsim.tiling.convert import convert

IMAGES = torch.rand(6, 2, 5, 5, generator=torch.Generator().manual_seed(0))
# Far above what the passes of a small network through torch take.
PROGRAM, BUILD, FIT, CALL = 1e3, 1e5, 1e7, 1e9


@pytest.fixture
def quantized() -> nn.Module:
    torch.manual_seed(7)
    return quantize(nn.Sequential(nn.Conv2d(2, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4)), [IMAGES])


def seconds(analog: nn.Module, images: int) -> float:
    return estimate_evaluation(
        analog, IMAGES, images, Macro(), calibration=IMAGES, jobs=1, spice_sample=None, copies=1, set_up_seconds=0.0
    ).seconds


def test_tiles_are_counted_once_a_run_or_a_batch_and_kept_work_is_not(
    small_chip: Callable[..., Chip], quantized: nn.Module, own_arrays: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rate = Rate(BUILD, 0.0, call=CALL, program=PROGRAM, fit=FIT)
    monkeypatch.setattr(work, "measured", lambda *_: rate)
    cold, warm = convert(quantized, small_chip()), convert(quantized, small_chip())
    tiles = sum(len(layer.grid.tiles) for layer in cold.modules() if hasattr(layer, "grid"))
    assert tiles > 1
    for images, batches in ((6, 1), (1000, 10)):
        expected = tiles * (PROGRAM + BUILD + FIT + batches * CALL)
        assert seconds(cold, images) == pytest.approx(expected, abs=PROGRAM)
    calibrate(warm, [IMAGES])
    # A new process programs its tiles again, and finds models and fits.
    assert seconds(cold, 6) == pytest.approx(tiles * (PROGRAM + CALL), abs=PROGRAM)


def test_a_state_of_calibration_of_its_own_takes_a_model_more(
    small_chip: Callable[..., Chip], quantized: nn.Module, own_arrays: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "measured", lambda *_: Rate(BUILD, 0.0))
    chip = small_chip("calibration.fresh=true", "temperature=85 degC", "silicon.programmed_at=27 degC")
    assert chip.when_fitted() != chip
    one, two = (seconds(convert(quantized, used), 6) for used in (small_chip(), chip))
    assert two / one == pytest.approx(2, abs=0.01)
