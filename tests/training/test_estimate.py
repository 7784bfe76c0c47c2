"""The time of a quantization, from that of a few inputs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from norsim.quantization.post_training.rounding import STEPS
from norsim.quantization.quantize import quantize
from norsim.training import estimate
from norsim.training.estimate import TIMED_INPUTS, TIMED_STEPS, seconds_left_out

BATCHES = [torch.rand(count, 6, generator=torch.Generator().manual_seed(0)) for count in (40, 40, 20)]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a pass of inputs take 320 s, learned rounding 1,000 s and 10 s a step, and measuring them no time."""

    def timed(call: Any) -> tuple[float, Any]:
        return 1000.0 + 10 * call.keywords["steps"] if "steps" in call.keywords else 320.0, call()

    monkeypatch.setattr(estimate, "timed", timed)
    monkeypatch.setattr(estimate, "time", SimpleNamespace(monotonic=lambda: 0.0))


@pytest.fixture
def networks() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).eval()
    return network, quantize(network, [BATCHES[0][:4]])


def test_each_input_passes_through_both_networks(clock: None, networks: tuple[nn.Module, nn.Module]) -> None:
    each = 2 * 320.0 / TIMED_INPUTS
    assert seconds_left_out(*networks, BATCHES, 12) == pytest.approx(each * (100 - 12))


def test_learned_rounding_takes_its_steps(clock: None, networks: tuple[nn.Module, nn.Module]) -> None:
    plain, learned = (seconds_left_out(*networks, BATCHES, 12, learned_rounding=wanted) for wanted in (False, True))
    distances = 2 * 100 * 2 * 320.0 / TIMED_INPUTS
    assert TIMED_STEPS < STEPS and learned - plain == pytest.approx(10 * STEPS + distances)
