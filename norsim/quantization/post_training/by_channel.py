"""The mean and the variance of each channel of a tensor, summed in double precision: compiled for tensors on a CPU."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from norsim.array.compiled import in_threads, njit
from norsim.array.tile import Floats

# Parts that values are summed in, by as many threads as there are.
PARTS = 16


def mean_and_variance(values: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Return mean and variance `[channels]`, in single precision, of `values` over all axes but `axis`.

    torch.var_mean sums in double precision too, so results agree but for a last bit. It takes several times as long.
    """
    values = values.detach().float()
    if values.device.type != "cpu":
        by_channel = values.movedim(axis, 0).reshape(values.shape[axis], -1)
        variance, mean = torch.var_mean(by_channel, dim=1, correction=0)
        return mean, variance
    # In the order of a contiguous tensor: sums must not depend on the layout in memory either.
    found = _by_numba(values.contiguous(), axis % values.ndim)
    return found[0], found[1]


def _by_numba(values: Tensor, axis: int) -> Tensor:
    """Return mean and variance `[2, channels]` of contiguous `values`."""
    channels = values.shape[axis]
    parts = values.numpy().reshape(math.prod(values.shape[:axis]), channels, -1)
    # Sums must not depend on the number of threads.
    ends = [len(parts) * place // PARTS for place in range(PARTS + 1)]
    # numba's own number starts its threads, after which torch rounds differently than in a training that is resumed.
    threads = min(torch.get_num_threads(), PARTS)
    found, mean = np.zeros((2, channels)), np.zeros(channels)
    for moment in range(2):
        sums = np.zeros((PARTS, channels))
        work = partial(_add_parts, parts, ends, mean, bool(moment), sums, threads)
        in_threads(work, threads)
        found[moment] = sums.sum(axis=0) / (parts.shape[0] * parts.shape[2])
        mean = found[0]
    return torch.from_numpy(found.astype(np.float32))


def _add_parts(
    parts: NDArray[np.float32], ends: list[int], mean: Floats, squared: bool, sums: Floats, threads: int, thread: int
) -> None:  # fmt: skip
    """Sum every `threads`th part from `thread`."""
    for place in range(thread, PARTS, threads):
        _add(parts[ends[place] : ends[place + 1]], mean, squared, sums[place])


@njit(nogil=True, fastmath={"reassoc", "contract"}, error_model="numpy")
def _add(values, mean, squared, sums):  # type: ignore[no-untyped-def]
    """Add to sums `[channels]` the `values` `[m, channels, n]` less the channel's `mean`, or their squares."""
    rows, channels, count = values.shape
    for i in range(rows):
        if count == 1:
            # The loop over channels, which are adjacent in memory, takes several at a time.
            for channel in range(channels):
                difference = np.float64(values[i, channel, 0]) - mean[channel]
                sums[channel] += difference * difference if squared else difference
            continue
        for channel in range(channels):
            total = 0.0
            for j in range(count):
                difference = np.float64(values[i, channel, j]) - mean[channel]
                total += difference * difference if squared else difference
            sums[channel] += total
