"""How far a fitted channel is from the measured curves, and where these end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from norsim.array.tile import Floats
from norsim.cell_fit.fit import NOISES, Fitted
from norsim.cell_fit.measured import Curve, Points

# The on-region: currents above this share of the largest one, and above NOISES times the noise.
ON_SHARE = 1e-3
FITTED, JUDGED = "fitted", "judged"


@dataclass(frozen=True)
class HalfErrors:
    """Relative errors of one half of the curves in the on-region, as shares: the number of curves and points, the
    median, the 90 % quantile and the largest; None without points."""

    curves: int
    points: int
    median: float | None
    quantile_90: float | None
    largest: float | None


@dataclass(frozen=True, eq=False)
class Judgement:
    """Measured against fitted.

    `points`, `fitted_amps` `[n]`   all points of the curves, and the fitted currents
    `is_fitted` `[curves]`          which curves were fitted
    `is_on` `[n]`                   which points are in the on-region
    `on_amps`, `noise_amps`         its least current, and the noise of the instrument, amperes
    `halves`                        the errors of the fitted and of the judged half
    `by_curve`                      the median error of each curve in the on-region; None for one without such points
    `overdrive_volts`, `drain_volts`  the largest of the on-region: the channel's gate over threshold and source, and
                                    the drain over the source
    """

    points: Points
    fitted_amps: Floats
    is_fitted: NDArray[np.bool_]
    is_on: NDArray[np.bool_]
    on_amps: float
    noise_amps: float
    halves: dict[str, HalfErrors]
    by_curve: list[float | None]
    overdrive_volts: float
    drain_volts: float

    @property
    def errors(self) -> Floats:
        """Signed relative errors `[n]`; not meaningful outside the on-region."""
        with np.errstate(divide="ignore", invalid="ignore"):
            found: Floats = self.fitted_amps / self.points.amps - 1
        return found


def judge(
    fitted: Fitted, curves: Sequence[Curve], points: Points, is_fitted: NDArray[np.bool_], noise: float
) -> Judgement:
    """Compare the fitted channel with all `points` of `curves`, of which `is_fitted` `[curves]` were fitted; `noise` in
    amperes."""
    amps = fitted.amps(points)
    least = max(ON_SHARE * float(points.amps.max()), NOISES * noise)
    on = (points.amps >= least) & (points.drain > points.source)
    off = np.abs(amps[on] / points.amps[on] - 1)
    own = points.curve[on]
    halves = {
        name: _half(off[chosen[own]], int(chosen.sum())) for name, chosen in ((FITTED, is_fitted), (JUDGED, ~is_fitted))
    }
    by_curve = [float(np.median(off[own == k])) if (own == k).any() else None for k in range(len(curves))]
    across = (points.drain - points.source)[on]
    return Judgement(
        points, amps, is_fitted, on, least, noise, halves, by_curve,
        float(fitted.overdrive(points)[on].max()), float(across.max()),
    )  # fmt: skip


def _half(off: Floats, curves: int) -> HalfErrors:
    if not len(off):
        return HalfErrors(curves, 0, None, None, None)
    return HalfErrors(curves, len(off), float(np.median(off)), float(np.quantile(off, 0.9)), float(off.max()))
