"""Mismatch that program-verify cannot cancel: of the gain of a cell's transistor, and of its subthreshold slope.

Mismatch of transistors is a spread of threshold and of gain (M. J. M. Pelgrom, A. C. J. Duinmaijer and A. P. G.
Welbers, "Matching properties of MOS transistors", IEEE J. Solid-State Circuits 24 (1989), DOI
10.1109/JSSC.1989.572629). A cell is programmed until it conducts its target under the verify read, so it does there
whatever its transistor is. Elsewhere

  * gain     it conducts g I(V_T), with the threshold at which g I(V_T) is the target under the verify read
  * slope    its gate counts as V_T + (V_G - V_T)(1 + s). With V_T such that nothing changes at the gate volts V_v of
             the verify read, this is the cell with threshold V_T0 - s (V_G - V_v), if its current depends on V_G - V_T

g has a lognormal distribution with mean 1, so that it is positive, and s a normal one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from norsim.array.draw import Draw
from norsim.array.non_idealities.key import key
from norsim.array.non_idealities.non_ideality import NonIdeality
from norsim.array.tile import Floats


@dataclass(frozen=True)
class TransistorMismatch(NonIdeality):
    """Relative standard deviations between cells of the gain, `gain_sigma`, and of the slope, `slope_sigma`."""

    gain_sigma: float = field(
        default=0.0,
        metadata=key("gain_mismatch", "Relative standard deviation of the gain between cells.", least=0, most=1),
    )
    slope_sigma: float = field(
        default=0.0,
        metadata=key(
            "slope_mismatch", "Relative standard deviation of the subthreshold slope between cells.", least=0, most=1
        ),
    )  # fmt: skip

    def gains(self, shape: tuple[int, int], draw: Draw) -> Floats | None:
        """Return g for each cell, `[wordlines, bitlines]`; None without mismatch of gain."""
        if not self.gain_sigma:
            return None
        variance = np.log1p(self.gain_sigma**2)
        found: Floats = np.exp(np.sqrt(variance) * draw.normal("gain", shape) - variance / 2)
        return found

    def slopes(self, shape: tuple[int, int], draw: Draw) -> Floats | None:
        """Return s for each cell, `[wordlines, bitlines]`; None without mismatch of slope."""
        return self.slope_sigma * draw.normal("slope", shape) if self.slope_sigma else None
