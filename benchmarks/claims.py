"""The claims about solvers and runs: each with its bound, and a check whether a measurement meets it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from benchmarks.measure import Measured


@dataclass(frozen=True)
class Claim:
    """A claim: `key` links it to its measurement, `bound` must be met, `aim` is the goal."""

    key: str
    text: str
    sense: Literal["at most", "at least"]
    bound: float
    aim: float | None = None
    unit: str = ""

    def met(self, measured: Measured) -> bool:
        """Return whether the measured value, the median or the worst case, meets the bound. NaN never does."""
        return measured.value <= self.bound if self.sense == "at most" else measured.value >= self.bound


FULL_SCALE = "of full scale"
CLAIMS = (
    Claim("nodal-error", "nodal against ngspice, default chip", "at most", 1e-5, 1e-6, FULL_SCALE),
    Claim("nodal-error-x10", "nodal against ngspice, wires x10", "at most", 1e-5, 1e-6, FULL_SCALE),
    Claim(
        "nodal-cells", "nodal against VACASK, or ngspice cell by cell, linear-pair", "at most", 1e-5, 1e-6, FULL_SCALE
    ),
    Claim("macro-error", "macro against nodal, default chip", "at most", 1e-4, 1e-5, FULL_SCALE),
    Claim("macro-error-x10", "macro against nodal, wires x10", "at most", 1e-3, 1e-4, FULL_SCALE),
    Claim("nodal-speed", "speed of nodal over ngspice, per vector, 128x64 bit-serial", "at least", 1e3, 2e4, "x"),
    Claim("macro-cost-bit-serial", "time of macro over a float32 matmul, 256x128 bit-serial", "at most", 20, 8, "x"),
    Claim("macro-cost-linear-pair", "time of macro over a float32 matmul, 256x128 linear-pair", "at most", 20, 8, "x"),
    Claim("peer-speed", "speed of macro over badcrossbar, one vector per call, 256x128", "at least", 1e3, None, "x"),
    Claim("peer-speed-batch", "speed of macro over badcrossbar in a batch, 256x128", "at least", 1e3, None, "x"),
    Claim("peer-error", "macro against badcrossbar, 256x128 resistors", "at most", 1e-4, None, FULL_SCALE),
    Claim("peer-nodal", "nodal against badcrossbar, 256x128 resistors", "at most", 1e-9, None, FULL_SCALE),
    Claim("memory-bit-serial", "peak memory of a macro run, batch 4096, bit-serial", "at most", 2.0, None, "GiB"),
    Claim("memory-linear-pair", "peak memory of a macro run, batch 4096, linear-pair", "at most", 2.0, None, "GiB"),
    Claim("growth-bit-serial", "exponent of macro's time per vector over rows, bit-serial", "at most", 1.2),
    Claim("growth-linear-pair", "exponent of macro's time per vector over rows, linear-pair", "at most", 1.2),
    Claim("two-workers", "time with two workers over one, for a layer read by ngspice", "at most", 0.65, None, "x"),
    Claim("dry-run", "worst factor between the time predicted by --dry-run and the run", "at most", 2, None, "x"),
    Claim("dry-run-networks", "the same for networks of 50 to 300 tiles, cold", "at most", 2, None, "x"),
    Claim("setup-cold", "set-up of a network of 300 tiles, cold", "at most", 60, None, "s"),
    Claim("setup-warm", "set-up of a network of 300 tiles, warm", "at most", 10, None, "s"),
    Claim("transformer-start", "start of a vision transformer of 120 tiles, cold", "at most", 60, None, "s"),
    Claim("read-growth", "slowest over fastest read, by images, width and tiles", "at most", 1.2, None, "x"),
    Claim("memory-tiles", "peak memory of a network of 1,000 tiles, extrapolated", "at most", 4, None, "GiB"),
    Claim(
        "memory-dry-run", "worst factor between the memory predicted by --dry-run and the run", "at most", 2, None, "x"
    ),
)
