"""Retention over temperature: charge that is lost faster when hot, by the law of Arrhenius.

In the time t at the temperature T a cell loses as much as in

    t exp(E_a / k (1 / T_ref - 1 / T))

at the reference temperature T_ref.

Source of the usual activation energy, 1.1 eV: JEDEC JESD218 counts a year at 30 degC as 500 h at 52 degC and as 96 h at
66 degC, for the data retention of flash memories. For the cells of norsim's presets, and for the SONOS cells whose
spreads and drift are known, it is an estimate, as is T_ref: neither source states its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.constants import Boltzmann, eV

from norsim.errors import ConfigurationError

# Beyond every published value; it keeps the exponential finite.
MOST_EV = 5
# Far beyond every acceleration that is measured; it keeps the exponential and the time finite.
MOST_EXPONENT = 600


@dataclass(frozen=True)
class Retention:
    """The law of Arrhenius for the laws of ageing.

    `activation_joules`   E_a; 0 for a loss that does not depend on temperature
    `reference_kelvin`    T_ref, at which the laws of ageing hold for the time itself
    `stored_kelvin`       T since programming; None for the temperature of reads

    Raises ConfigurationError for an energy that is negative or above 5 eV, or a temperature that is not above 0.
    """

    activation_joules: float = 1.1 * eV
    reference_kelvin: float = 300.15
    stored_kelvin: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.activation_joules <= MOST_EV * eV:
            raise ConfigurationError(
                f"silicon: the activation energy must be from 0 to {MOST_EV} eV, not {self.activation_joules / eV:g} eV"
            )
        for kelvin in (self.reference_kelvin, self.stored_kelvin):
            if kelvin is not None and not 0 < kelvin < math.inf:
                raise ConfigurationError(f"silicon: a temperature of retention must be above 0 K, not {kelvin:g} K")

    def seconds(self, seconds: float, read_kelvin: float) -> float:
        """Return the time at T_ref in which as much is lost as in `seconds`; reads are at `read_kelvin`."""
        kelvin = read_kelvin if self.stored_kelvin is None else self.stored_kelvin
        exponent = self.activation_joules / Boltzmann * (1 / self.reference_kelvin - 1 / kelvin)
        if exponent > MOST_EXPONENT:
            raise ConfigurationError(
                f"silicon: at an activation energy of {self.activation_joules / eV:g} eV, charge loss at {kelvin:g} K "
                f"is exp({exponent:.3g}) times as fast as at the reference of {self.reference_kelvin:g} K; expected at "
                f"most exp({MOST_EXPONENT}). Use a reference nearer to the temperature of storage, or a lower energy"
            )
        return seconds * math.exp(exponent)


USUAL_RETENTION = Retention()
