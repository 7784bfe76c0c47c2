"""Mean and variance of channels: torch's, to the last bit, for every layout in memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from norsim.quantization.post_training.by_channel import mean_and_variance


def of_torch(values: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    variance, mean = torch.var_mean(values.movedim(axis, 0).reshape(values.shape[axis], -1), dim=1, correction=0)
    return mean, variance


@pytest.mark.parametrize(("shape", "axis"), [
    ((3, 5, 7, 6), 1), ((1, 5, 40, 40), 1), ((64, 9, 1, 1), 1), ((2, 11, 9), 1), ((40, 6), 1), ((2, 3, 4, 8), 3),
    ((5, 33), 0), ((7, 6, 5), 0),
])  # fmt: skip
def test_they_are_those_of_torch_to_the_last_bit(shape: tuple[int, ...], axis: int) -> None:
    random = np.random.default_rng(len(shape) + axis)
    values = torch.from_numpy((3 + random.normal(size=shape) * random.uniform(0.1, 9, shape[axis:][:1] + (1,) * (
        len(shape) - axis - 1))).astype(np.float32))  # fmt: skip
    layouts = [values, values.movedim(axis, -1).contiguous().movedim(-1, axis), values.transpose(0, -1).contiguous(
        ).transpose(0, -1)]  # fmt: skip
    for one in layouts:
        for found, expected in zip(mean_and_variance(one, axis), of_torch(values, axis), strict=True):
            assert torch.equal(found, expected)


def test_they_do_not_depend_on_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.randn(37, 4, 3, generator=torch.Generator().manual_seed(1))
    found = []
    for threads in (1, 2, 5):
        monkeypatch.setattr("norsim.quantization.post_training.by_channel.torch.get_num_threads", lambda n=threads: n)
        found.append(torch.stack(mean_and_variance(values, 1)))
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


def test_a_value_that_is_not_finite_shows() -> None:
    values = torch.ones(4, 3)
    values[2, 1] = torch.nan
    mean, variance = mean_and_variance(values, 1)
    assert mean.isnan().tolist() == variance.isnan().tolist() == [False, True, False]
