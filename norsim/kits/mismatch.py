"""Transistors of a kit, drawn by ngspice from the kit's own statistics, and what differs between them.

ngspice draws the random numbers inside a subcircuit separately for each instance; those outside are one number for the
whole deck, the same for all cells of a die, and stay at their mean. The draws are seeded. The currents of each
transistor over gate volts are swept at two drain volts, and described by three numbers against the mean transistor I_0:

    I(V_G, V_D) = g I_0(V_v + (V_G - V_v)(1 + s) - dV, V_D)

with the gate volts V_v of the read. Program-verify removes dV, and any error of g and s at its own volts. What stays
is how far a cell differs after that at other volts: `away_share` is that of the sampled transistors at a lower drain
voltage, where wires have dropped, and `form_share` what remains of it when g and s are known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.optimize import least_squares

from norsim.array.cell import Cell
from norsim.array.tile import Floats
from norsim.errors import ConfigurationError, SolveError
from norsim.random_streams import Stream, generator
from norsim.spice.deck import RAW_FILE, cell_text, control, options
from norsim.spice.elements import number
from norsim.spice.rawfile import read_raw
from norsim.spice.simulators.ngspice import SWEEP_SECONDS, run_deck
from norsim.spice.simulators.running import own_folder
from norsim.spice.single_cells import CARDS_AT_ONCE, CELLS_AT_ONCE, CLOSE, cards_of
from norsim.spice.wrapper import PINS

# Gate volts of the sweep: how many, and up to which multiple of those of the read.
GATES, BEYOND = 61, 1.25
# Drain volts, as shares of those of the read: the second ones are where wires have dropped a fifth.
DRAINS = (1.0, 0.8)
# The mean transistor's current down to this share of that at the read is compared.
LEAST_SHARE = 0.02
LEVELS = 8


@dataclass(frozen=True, eq=False)
class Mismatch:
    """What differs between sampled transistors: `shift_volts`, `gains` and `slopes`, each `[samples]`.

    `removed_volts`  standard deviation of the threshold at a level in the middle, which program-verify removes
    `away_share`     standard deviation of the currents of verified transistors at the lower drain volts, as a share of
                     the mean one's
    `form_share`     the same deviation from the form with each transistor's gain and slope, root mean square
    """

    shift_volts: Floats
    gains: Floats
    slopes: Floats
    removed_volts: float
    away_share: float
    form_share: float

    def summary(self) -> dict[str, float]:
        """Return the numbers of the sample, for JSON."""
        return {
            "samples": len(self.gains), "removed_volts": self.removed_volts, "threshold_sigma_volts":
            float(np.std(self.shift_volts)), "gain_sigma": float(np.std(self.gains)), "slope_sigma":
            float(np.std(self.slopes)), "away_share": self.away_share, "form_share": self.form_share,
        }  # fmt: skip

    def in_words(self) -> str:
        """Return what program-verify removes and what stays, as a sentence."""
        return (
            f"Mismatch of {len(self.gains)} transistors: program-verify removes {1e3 * self.removed_volts:.3g} mV of "
            f"threshold (standard deviation); what stays is {np.std(self.gains):.2%} of gain and "
            f"{np.std(self.slopes):.2%} of slope. At {DRAINS[1]:g} of the drain volts verified transistors of the kit "
            f"differ by {self.away_share:.2e} of their current from the mean one, and by {self.form_share:.2e} from "
            "what norsim computes"
        )

    def table(self) -> str:
        """Return the transistors as CSV."""
        rows = np.stack([self.shift_volts, self.gains, self.slopes], axis=1)
        return "threshold_v,gain,slope\n" + "".join(f"{v:.6g},{g:.8g},{s:.6g}\n" for v, g, s in rows)


def sample(cell: Cell, mean: Cell, call: str, read_volts: tuple[float, float], count: int, seed: int) -> Mismatch:
    """Draw `count` transistors of the element `call` on the nodes of norsim.spice.wrapper, and describe them.

    `cell` has the kit's files with random functions inside subcircuits, `mean` the same at their mean; `read_volts`
    are gate and drain volts. Raises ConfigurationError if all transistors are equal, SolveError as ngspice's `read`.
    """
    gate, _ = read_volts
    volts = np.linspace(0.0, BEYOND * gate, GATES)
    nominal = _curves(mean, call, read_volts, 1, 1)[0]
    at_once = max(min(CELLS_AT_ONCE, CARDS_AT_ONCE // max(cards_of(cell), 1)), 1)
    parts = [
        _curves(cell, call, read_volts, min(at_once, count - first), _seed(seed, first))
        for first in range(0, count, at_once)
    ]
    amps = np.concatenate(parts)
    if np.abs(amps / nominal - 1)[:, :, -1].max() < 1e-9:
        raise ConfigurationError(
            "the mismatch section draws no random numbers in the transistor's subcircuit: all transistors are equal. "
            "Name the section of the kit that switches its mismatch on"
        )
    if (nominal[:, 1:] <= 0).any() or (amps[:, :, 1:] <= 0).any():
        raise SolveError("a transistor of the kit conducts no current; raise the read volts")
    log_nominal = [PchipInterpolator(volts, np.log(np.maximum(one, 1e-30))) for one in nominal]
    at_read = float(np.exp(log_nominal[0](gate)))
    used = (nominal[0] >= LEAST_SHARE * at_read) & (volts <= gate)
    found = np.array([_described(log_nominal, np.log(one[:, used]), volts[used], gate) for one in amps])
    shifts, gains, slopes = found.T
    removed, away, form = _checked(log_nominal, amps, volts, gate, at_read, gains, slopes)
    return Mismatch(shifts, gains, slopes, removed, away, form)


def _seed(seed: int, first: int) -> int:
    """Return ngspice's seed for the deck whose first transistor is number `first`: above 0, and far from each other."""
    return int(generator(seed, Stream.KIT_TRANSISTORS, first).integers(1, 2**31 - 1))


def _curves(cell: Cell, call: str, read_volts: tuple[float, float], count: int, seed: int) -> Floats:
    """Return currents `[count, drains, gates]`, amperes, of so many instances of one element."""
    gate, drain = read_volts
    name, *nodes = call.split()
    lines = ["* transistors of a kit, drawn by its own statistics", *cell_text(cell), f".option seed={seed}"]
    lines += [f"V{pin} {node} 0 0" for pin, node in PINS.items()]
    for k in range(count):
        own = " ".join(f"own{k}" if node == PINS["drain"] else node for node in nodes)
        lines += [f"Vm{k} {PINS['drain']} own{k} 0", f"{name}{k} {own}"]
    names = [f"i(vm{k})" for k in range(count)]
    low, high = min(DRAINS), max(DRAINS)
    sweep = f".dc Vgate 0 {number(BEYOND * gate)} {number(BEYOND * gate / (GATES - 1))}"
    sweep += f" Vdrain {number(low * drain)} {number(high * drain)} {number((high - low) * drain)}"
    lines += [options(cell, CLOSE), ".save", *(f"+ {one}" for one in names), sweep]
    with own_folder() as folder:
        text = "\n".join([*lines, *control(cell, "set filetype=binary", "run", f"write {RAW_FILE}")])
        (folder / "tile.cir").write_text(text)
        run_deck(cell, folder, SWEEP_SECONDS)
        swept = read_raw(folder / RAW_FILE, names, GATES * len(DRAINS)).reshape(len(DRAINS), GATES, count)
    ordered: Floats = swept[::-1].transpose(2, 0, 1)
    return ordered


def _described(nominal: list[PchipInterpolator], log_amps: Floats, volts: Floats, gate: float) -> Floats:
    """Return dV, g and s of one transistor with `log_amps` `[drains, gates]` at gate `volts`, by least squares."""

    def off(parameters: Floats) -> Floats:
        shift, log_gain, slope = parameters
        at = gate + (volts - gate) * (1 + slope) - shift
        return np.concatenate([curve(at) + log_gain - own for curve, own in zip(nominal, log_amps, strict=True)])

    shift, log_gain, slope = least_squares(off, np.zeros(3), x_scale=(0.01, 0.05, 0.05)).x
    return np.array([shift, np.exp(log_gain), slope])


def _checked(
    nominal: list[PchipInterpolator], amps: Floats, volts: Floats, gate: float, at_read: float, gains: Floats,
    slopes: Floats,
) -> tuple[float, float, float]:  # fmt: skip
    """Return `removed_volts`, `away_share` and `form_share`, from the currents of the transistors themselves."""
    fine = np.linspace(0.0, volts[-1], 20 * len(volts))
    log_fine = nominal[0](fine)
    targets = at_read * np.linspace(0.1, 0.9, LEVELS)
    removed, away, form = [], [], []
    for own, gain in zip(amps, gains, strict=True):
        curves = [PchipInterpolator(volts, np.log(np.maximum(one, 1e-30))) for one in own]
        rising = curves[0](fine)
        # The gate volts at which the transistor, and the mean one, conduct the target: program-verify finds both.
        verified = np.interp(np.log(targets), rising, fine)
        usual = np.interp(np.log(targets), log_fine, fine)
        as_formed = np.interp(np.log(targets / gain), log_fine, fine)
        removed.append((verified - usual)[LEVELS // 2])
        truth, plain = np.exp(curves[1](verified)), np.exp(nominal[1](usual))
        away.append(truth / plain - 1)
        form.append(gain * np.exp(nominal[1](as_formed)) / plain - truth / plain)
    return float(np.std(removed)), float(np.sqrt(np.square(away).mean())), float(np.sqrt(np.square(form).mean()))
