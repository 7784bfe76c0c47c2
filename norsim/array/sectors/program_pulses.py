"""Programming by pulses: a staircase of gate volts with a verify after each pulse (ISPP).

A sector is erased as a whole, by tunnelling; then channel hot electrons raise the threshold of one cell after the
other. No pulse lowers a threshold, so what a cell gets too much stays until the sector is erased again. The injected
current depends on the floating gate's volts exponentially, so with u the gate volts of a pulse above the cell's
threshold, less the volts at which a pulse just begins to act, and s the volts of one factor e,

    dV_T/dt = (s / t_p) exp(u / s)    and, over a pulse of length t_p,    dV_T = s ln(1 + exp(u / s)).

If the gate rises by one step a pulse, u converges to the value at which dV_T is that step: thresholds follow the
staircase with slope 1, whatever s is, and a slow cell only needs more pulses than a fast one. That is the law of K.-D.
Suh et al., IEEE J. Solid-State Circuits 30 (1995) 1149, for tunnelling. For hot electrons in NOR cells C. Y.-S. Cho and
M.-J. Chen, "Forward Bias Enhanced Channel Hot Electron Injection for Low-Level Programming Improvement in Multilevel
Flash Memory", IEICE Trans. Electron. E87-C (2004), measured the slope of 1, and below it the marginal deviation of low
levels from it, which is the start of u.

A pulse injects a whole number of electrons. If they are independent, this number has the distribution of Poisson, so a
shift by dV_T spreads with the variance dV_T times the shift by one electron (C. Monzio Compagnoni et al., IEEE Trans.
Electron Devices 55 (2008) 2695). Hot electrons in NOR cells spread by less (by the same authors, IRPS 2009, DOI
10.1109/IRPS.2009.5173263), because each one makes it harder for the next: within a pulse this is left out, between
pulses u has it.

A cell gets pulses until a verify finds it at the target less a margin. A verify has noise.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from norsim.array.non_idealities.key import check_values, key
from norsim.array.tile import Floats

PULSES = 256


@dataclass(frozen=True)
class ProgramPulses:
    """The pulses of a chip, and what they take. With `at_once` cells of a wordline at a time, the slowest decides.

    Raises ConfigurationError for a number that is not finite or below the bound of its key.
    """

    step_volts: float = field(
        metadata=key("step", "Step of the staircase of gate volts, by which thresholds rise with each pulse.", "volt",
                     above=0),
    )  # fmt: skip
    start_volts: float | None = field(
        default=None,
        metadata=key("start", "Gate volts of the first pulse, given as the threshold to which they lift a typical cell "
                     "in the limit of an abrupt injection; null: the erased threshold.", "volt"),
    )  # fmt: skip
    most: int = field(
        default=PULSES, metadata=key("most", "Most pulses of a cell; it is the end of the staircase.", least=1,
                                     most=100_000, whole=True),
    )  # fmt: skip
    fold_volts: float = field(
        default=0.1,
        metadata=key("fold", "Gate volts that change the injected current by a factor e. The default is assumed.",
                     "volt", above=0),
    )  # fmt: skip
    cell_volts: float = field(
        default=0.0,
        metadata=key("cell_spread", "Standard deviation between cells of the gate volts at which they program: fast "
                     "and slow cells.", "volt", least=0),
    )  # fmt: skip
    erased_volts: float = field(
        default=0.0, metadata=key("erased_spread", "Standard deviation of thresholds after the erase.", "volt", least=0)
    )
    electron_volts: float = field(
        default=0.0,
        metadata=key("electron", "Shift of a threshold by one electron, which gives a pulse its spread; 0 for none.",
                     "volt", least=0),
    )  # fmt: skip
    noise_volts: float = field(
        default=0.0, metadata=key("verify_noise", "Standard deviation of the threshold that a verify sees.", "volt",
                                  least=0),
    )  # fmt: skip
    margin_volts: float | None = field(
        default=None,
        metadata=key("verify_margin", "By how much a verify level lies below its target; null: half a step, so that "
                     "cells land around the target.", "volt"),
    )  # fmt: skip
    window_volts: float | None = field(
        default=None,
        metadata=key("window", "Largest difference of a threshold from its target at which a cell counts as "
                     "programmed; null: a step.", "volt", least=0),
    )  # fmt: skip
    at_once: int = field(
        default=16, metadata=key("at_once", "Cells of a wordline that are programmed at a time. The default is "
                                 "assumed.", least=1, most=8192, whole=True),
    )  # fmt: skip
    pulse_seconds: float = field(
        default=1e-6, metadata=key("pulse", "Time of a pulse. The default is assumed.", "second", least=0)
    )
    verify_seconds: float = field(
        default=1e-7, metadata=key("verify", "Time of a verify. The default is assumed.", "second", least=0)
    )
    pulse_joules: float = field(
        default=5e-10,
        metadata=key("pulse_energy", "Energy of a pulse for a cell. The default is assumed: 100 uA at 5 V for 1 us.",
                     "joule", least=0),
    )  # fmt: skip
    verify_joules: float = field(
        default=1e-12,
        metadata=key("verify_energy", "Energy of a verify of a cell. The default is assumed.", "joule", least=0),
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_values(self)

    @property
    def margin(self) -> float:
        """By how much a verify level lies below its target, volts."""
        return self.step_volts / 2 if self.margin_volts is None else self.margin_volts

    @property
    def window(self) -> float:
        """The largest difference from the target of a programmed cell, volts."""
        return self.step_volts if self.window_volts is None else self.window_volts

    def shift(self, above: Floats) -> Floats:
        """Return the mean shifts `[n]` of thresholds by a pulse whose gate volts are `above` `[n]`, the u of the law;
        volts."""
        return np.asarray(self.fold_volts * np.logaddexp(0.0, above / self.fold_volts), dtype=np.float64)

    def program(
        self, targets: Floats, off: NDArray[np.bool_], erased_volts: float, random: np.random.Generator
    ) -> Programmed:
        """Program erased cells to `targets`, volts; `off` are those that only must not conduct.

        Both are `[wordlines, bitlines]`. All numbers are drawn from `random`.
        """
        wanted = targets.ravel() - self.margin
        volts = erased_volts + self.erased_volts * random.standard_normal(wanted.size)
        slow = self.cell_volts * random.standard_normal(wanted.size)
        start = erased_volts if self.start_volts is None else self.start_volts
        pulses = np.zeros(wanted.size, np.int64)
        left = np.flatnonzero(self._seen(volts, random) < wanted)
        for pulse in range(self.most):
            if not left.size:
                break
            shift = self.shift(start + pulse * self.step_volts - slow[left] - volts[left])
            electron = self.electron_volts
            volts[left] += electron * random.poisson(shift / electron) if electron else shift
            pulses[left] += 1
            left = left[self._seen(volts[left], random) < wanted[left]]
        away = volts - targets.ravel()
        high, low = (away > self.window) & ~off.ravel(), away < -self.window
        return Programmed(
            volts.reshape(targets.shape), pulses.reshape(targets.shape), int(low.sum()), int(high.sum()), left.size,
            self._seconds(pulses.reshape(targets.shape)), self._joules(pulses),
        )  # fmt: skip

    def _seen(self, volts: Floats, random: np.random.Generator) -> Floats:
        """Return the thresholds that a verify sees."""
        return volts + self.noise_volts * random.standard_normal(volts.size) if self.noise_volts else volts

    def _seconds(self, pulses: NDArray[np.int64]) -> float:
        """Return the time of `pulses` `[wordlines, bitlines]`, and of a verify before the first and after each."""
        groups = np.maximum.reduceat(pulses, np.arange(0, pulses.shape[1], self.at_once), axis=1)
        return float(groups.sum() * (self.pulse_seconds + self.verify_seconds) + groups.size * self.verify_seconds)

    def _joules(self, pulses: NDArray[np.int64]) -> float:
        """Return the energy of `pulses`, and of a verify before the first and after each."""
        return float(pulses.sum() * (self.pulse_joules + self.verify_joules) + pulses.size * self.verify_joules)


@dataclass(frozen=True, eq=False)
class Programmed:
    """The result of programming a tile.

    `thresholds`, `pulses`   `[wordlines, bitlines]`: volts, and the pulses that each cell took
    `low`, `high`  numbers of cells below and above their window; pulses cannot lower those above
    `unverified`   number of cells that no verify found at their level
    `seconds`, `joules`   of all pulses and verifies
    """

    thresholds: Floats
    pulses: NDArray[np.int64]
    low: int
    high: int
    unverified: int
    seconds: float
    joules: float
