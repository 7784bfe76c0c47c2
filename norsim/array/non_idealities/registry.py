"""All cell non-idealities. A line here makes one known to chip files and to their page."""

from __future__ import annotations

from norsim.array.non_idealities.broken_cells import BrokenCells
from norsim.array.non_idealities.charge_loss import ChargeLoss
from norsim.array.non_idealities.current_spreads import CurrentSpreads
from norsim.array.non_idealities.non_ideality import NonIdeality
from norsim.array.non_idealities.pdk_mismatch import PdkMismatch
from norsim.array.non_idealities.programming_spread import ProgrammingSpread
from norsim.array.non_idealities.read_disturb import ReadDisturb
from norsim.array.non_idealities.telegraph_noise import TelegraphNoise
from norsim.array.non_idealities.threshold_drift import ThresholdDrift
from norsim.array.non_idealities.transistor_mismatch import TransistorMismatch

# In the order in which they act.
NON_IDEALITIES: tuple[type[NonIdeality], ...] = (
    TransistorMismatch,
    PdkMismatch,
    ProgrammingSpread,
    ThresholdDrift,
    ChargeLoss,
    ReadDisturb,
    TelegraphNoise,
    CurrentSpreads,
    BrokenCells,
)
