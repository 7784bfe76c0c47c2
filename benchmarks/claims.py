"""What is claimed of the solvers and of runs: each claim with its bound, and whether a measurement meets it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from benchmarks.measure import Measured


@dataclass(frozen=True)
class Claim:
    """`key` ties it to its measurement; `bound` must be met, `aim` is what is hoped for."""

    key: str
    text: str
    sense: Literal["at most", "at least"]
    bound: float
    aim: float | None = None
    unit: str = ""

    def met(self, measured: Measured) -> bool:
        """Whether the measured value, the median or the worst case, keeps the bound. Not a number never does."""
        return measured.value <= self.bound if self.sense == "at most" else measured.value >= self.bound


FULL_SCALE = "of full scale"
CLAIMS = (
    Claim("nodal-error", "nodal against ngspice, default chip", "at most", 1e-5, 1e-6, FULL_SCALE),
    Claim("nodal-error-x10", "nodal against ngspice, wires x10", "at most", 1e-5, 1e-6, FULL_SCALE),
    Claim("nodal-cells", "nodal against ngspice's cells one by one, linear-pair", "at most", 1e-5, 1e-6, FULL_SCALE),
    Claim("macro-error", "macro against nodal, default chip", "at most", 1e-4, 1e-5, FULL_SCALE),
    Claim("macro-error-x10", "macro against nodal, wires x10", "at most", 1e-3, 1e-4, FULL_SCALE),
    Claim("nodal-speed", "nodal faster than an ngspice sweep, a vector, 128x64 bit-serial", "at least", 1e3, 2e4, "x"),
    Claim("macro-cost-bit-serial", "macro over a float32 matmul, 256x128 bit-serial", "at most", 20, 8, "x"),
    Claim("macro-cost-linear-pair", "macro over a float32 matmul, 256x128 linear-pair", "at most", 20, 8, "x"),
    Claim("peer-speed", "macro faster than badcrossbar, one vector a call, 256x128", "at least", 1e3, None, "x"),
    Claim("peer-speed-batch", "macro faster than badcrossbar in a batch, 256x128", "at least", 1e3, None, "x"),
    Claim("peer-error", "macro against badcrossbar, 256x128 resistors", "at most", 1e-4, None, FULL_SCALE),
    Claim("peer-nodal", "nodal against badcrossbar, 256x128 resistors", "at most", 1e-9, None, FULL_SCALE),
    Claim("memory-bit-serial", "peak memory of a macro run, batch 4096, bit-serial", "at most", 2.0, None, "GiB"),
    Claim("memory-linear-pair", "peak memory of a macro run, batch 4096, linear-pair", "at most", 2.0, None, "GiB"),
    Claim("growth-bit-serial", "macro's time a vector grows as rows to the power, bit-serial", "at most", 1.2),
    Claim("growth-linear-pair", "macro's time a vector grows as rows to the power, linear-pair", "at most", 1.2),
    Claim("two-workers", "two workers over one, time of a layer read by ngspice", "at most", 0.65, None, "x"),
    Claim("dry-run", "worst factor between the seconds that --dry-run says and those taken", "at most", 2, None, "x"),
)
