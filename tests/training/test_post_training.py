"""Quantizations that are kept on disk: the same as new ones, for the same network and inputs only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from norsim.caches.arrays import QUANTIZATIONS
from norsim.training import post_training as module
from norsim.training.post_training import quantized_once

IMAGES = torch.rand(8, 2, 5, 5, generator=torch.Generator().manual_seed(0))
BATCHES = [IMAGES[:5], IMAGES[5:]]


@pytest.fixture(autouse=True)
def made(own_arrays: Path, monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """The networks that are quantized."""
    found: list[nn.Module] = []
    usual = module.quantize

    def counted(network: nn.Module, *others: Any, **named: Any) -> nn.Module:
        found.append(network)
        return usual(network, *others, **named)

    monkeypatch.setattr(module, "quantize", counted)
    return found


def network(seed: int = 0, *, eps: float = 1e-5) -> nn.Module:
    torch.manual_seed(seed)
    norm = nn.BatchNorm2d(3, eps=eps)
    return nn.Sequential(nn.Conv2d(2, 3, 2), norm, nn.ReLU(), nn.Flatten(), nn.Linear(48, 4)).eval()


def state(found: nn.Module) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in found.state_dict().items()}


def test_a_kept_quantization_is_the_same_to_the_last_bit(made: list[nn.Module]) -> None:
    float_network = network()
    first, second = (quantized_once(float_network, BATCHES, bits="4/3") for _ in range(2))
    assert len(made) == 1 and state(first) == state(second) and str(first) == str(second)
    with torch.no_grad():
        assert torch.equal(first(IMAGES), second(IMAGES))
    # The batch norm is corrected, and the float network stays as it is.
    assert (
        state(first)["1.running_mean"] != state(float_network)["1.running_mean"] == state(network())["1.running_mean"]
    )


def test_options_are_kept_apart(made: list[nn.Module], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("norsim.quantization.post_training.rounding.STEPS", 3)
    options: list[dict[str, Any]] = [
        {}, {"learned_rounding": True}, {"learned_rounding": True}, {"activation_range": 90}, {"activation_range": "90"}
    ]  # fmt: skip
    _, learned, again, clipped, same = (quantized_once(network(), BATCHES, bits="2/4", **one) for one in options)
    assert len(made) == 3 and state(learned) == state(again) and state(clipped) == state(same)


def test_only_what_changes_is_kept() -> None:
    quantized_once(network(), BATCHES)
    (path,) = QUANTIZATIONS.files()
    kept = QUANTIZATIONS.get(path.stem)
    assert kept is not None and {"0.weight_scale", "4.input_scale", "1.running_var", "0.bias"} <= set(kept)
    assert "0.weight" not in kept


@pytest.mark.parametrize(
    "other",
    [
        lambda: (network(1), BATCHES, "4/4"),
        lambda: (network(eps=1e-3), BATCHES, "4/4"),
        lambda: (network(), [IMAGES], "4/4"),
        lambda: (network(), [BATCHES[0], BATCHES[1] + 1e-6], "4/4"),
        lambda: (network(), BATCHES, "3/4"),
        lambda: (network(), BATCHES, "4/3"),
    ],
    ids=["weights", "attribute", "batches", "inputs", "weight-bits", "activation-bits"],
)
def test_another_network_or_other_inputs_are_quantized_anew(
    made: list[nn.Module], other: Callable[[], tuple[nn.Module, list[Tensor], str]]
) -> None:
    quantized_once(network(), BATCHES)
    found, batches, bits = other()
    quantized_once(found, batches, bits=bits)
    assert len(made) == 2


class Own(nn.Sequential):
    """A network of user-supplied code."""


def test_nothing_is_kept_for_code_of_users(made: list[nn.Module]) -> None:
    for _ in range(2):
        quantized_once(Own(network()), BATCHES)
    assert len(made) == 2 and QUANTIZATIONS.files() == []
