"""What a CUDA card makes of `nodal`: a part of benchmarks.gpu, in the same two steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from norsim.array.tile import Stimulus
from norsim.solver.nodal import on_device as nodal_on_device

# nodal reads one vector for this number of those of the tile that macro reads.
SHARE = 8
# Threads of the kernels that it is compared with.
THREADS = 2
SecondsOf = Callable[[Callable[[], Any], torch.device, int], float]


def prepare_nodal(wordlines: int, bitlines: int, vectors: int, seconds_of: SecondsOf) -> dict[str, Any]:
    """Return a prepared tile of the preset, some reads of it, and their currents and seconds by the kernels."""
    import numba

    from benchmarks.cases import Case
    from norsim.solver import nodal

    case, cpu = Case(wordlines, bitlines, "bit-serial"), torch.device("cpu")
    prepared, stimulus = case.prepared(), case.stimulus(max(vectors // SHARE, 1))
    most = numba.get_num_threads()
    numba.set_num_threads(min(THREADS, most))
    seconds, threads = seconds_of(lambda: nodal.solve(prepared, stimulus), cpu, 3), numba.get_num_threads()
    numba.set_num_threads(most)
    return {
        "name": case.name, "prepared": prepared, "stimulus": stimulus,
        "bitline": nodal.solve(prepared, stimulus).bitline, "seconds": seconds, "threads": threads,
    }  # fmt: skip


def measure_nodal(
    kept: dict[str, Any], device: torch.device, vectors: int, repeats: int, seconds_of: SecondsOf
) -> dict[str, Any]:
    """Return the time of a share of `vectors` reads on a device, with volts from memory and currents to it, beside that
    of the kernels' threads, and the largest difference of a line's current, in units of the largest."""
    array, few, compiled = nodal_on_device.on_device(kept["prepared"], device), kept["stimulus"], device.type == "cuda"
    times = -(-vectors // (SHARE * few.vectors))
    many = Stimulus(np.tile(few.wordline_volts, (times, 1)), np.tile(few.bitline_volts, (times, 1)))
    found, again = (nodal_on_device.solve(array, few, compiled) for _ in range(2))
    seconds = (
        seconds_of(lambda: nodal_on_device.solve(array, many, compiled), device, max(repeats // 3, 1)) / many.vectors
    )
    on_cpu = kept["seconds"] / few.vectors
    return {
        "tile": kept["name"], "vectors": many.vectors, "us_vector": 1e6 * seconds, "cpu_us_vector": 1e6 * on_cpu,
        "cpu_threads": kept["threads"], "speed_over_cpu": on_cpu / seconds,
        "max_error": float(np.abs(found.bitline - kept["bitline"]).max() / kept["bitline"].max()),
        "converged": bool(found.converged.all()),
        "repeats_bit_for_bit": bool(np.array_equal(found.bitline, again.bitline)),
    }  # fmt: skip
