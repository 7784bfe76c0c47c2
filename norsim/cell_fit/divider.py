"""The capacitive divider between a cell's terminals and its floating gate."""

from __future__ import annotations

from dataclasses import dataclass

from norsim.array.tile import Floats
from norsim.errors import ConfigurationError


@dataclass(frozen=True)
class Divider:
    """Shares of the control gate's, the drain's and the source's volts in those of the floating gate, over the bulk.

    The rest, to 1, is the bulk's share. Raises ConfigurationError for shares that no capacitors have.
    """

    gate: float = 0.60
    drain: float = 0.08
    source: float = 0.12

    def __post_init__(self) -> None:
        shares = (self.gate, self.drain, self.source)
        if not (self.gate > 0 and min(shares) >= 0 and sum(shares) <= 1 + 1e-9):
            raise ConfigurationError(
                f"the coupling {', '.join(f'{one:g}' for one in shares)} is not that of capacitors: expected shares of "
                "gate, drain and source of at least 0, that of the gate above 0, with a sum of at most 1"
            )

    def gate_volts(self, gate: Floats, drain: Floats, source: Floats) -> Floats:
        """Return the floating gate's volts over the bulk without stored charge; any shape."""
        found: Floats = self.gate * gate + self.drain * drain + self.source * source
        return found


# The measured gate is that of the channel: a transistor, or the floating gate itself.
NO_DIVIDER = Divider(1.0, 0.0, 0.0)
