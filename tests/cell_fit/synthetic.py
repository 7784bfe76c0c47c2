"""Measured files of a channel whose parameters are known."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from norsim.array.tile import Floats
from norsim.cell_fit import channel

THRESHOLD = 0.62
KNOWN = {
    "beta": 4e-4, "n": 1.45, "theta": 0.5, "gamma": 0.45, "phi": 0.9, "sigmab": 0.01, "body": 0.04, "a": 1.15,
    "sigma": 0.03, "ec": 1.8, "knee": 3.2, "lambda": 0.07, "ve": 0.4, "tcv": -0.8e-3, "bex": -1.3, "tref": 300.15,
}  # fmt: skip
POINTS, BULKS = 19, (0.0, -0.9, -1.8)
VOLTS = np.linspace(0, 1.8, POINTS)


def amps(gate: Floats, drain: Floats, bulk: float, kelvin: float = 300.15, shift: float = 0.0) -> Floats:
    """Return the current at volts against the source `[n]`; `shift` is that of the threshold, volts."""
    volts = (gate - bulk, drain - bulk, np.full(np.broadcast(gate, drain).shape, -bulk))
    return channel.amps(KNOWN, np.asarray(THRESHOLD + shift), *volts, np.asarray(kelvin))


def sweeps(
    kelvin: float = 300.15, shift: float = 0.0, noise: float = 0.0
) -> Iterator[tuple[str, dict[str, float], Floats]]:
    """Yield the swept terminal, the constant volts, and the currents `[19]`."""
    random = np.random.default_rng(1)
    for bulk, drain in product(BULKS, (0.1, 1.8)):
        measured = amps(VOLTS, np.full(POINTS, drain), bulk, kelvin, shift) + noise * random.standard_normal(POINTS)
        yield "gate", {"VD": drain, "VB": bulk, "VS": 0.0}, measured
    for bulk, gate in product(BULKS, (0.9, 1.3, 1.8)):
        measured = amps(np.full(POINTS, gate), VOLTS, bulk, kelvin, shift) + noise * random.standard_normal(POINTS)
        yield "drain", {"VG": gate, "VB": bulk, "VS": 0.0}, measured


def mdm(noise: float = 0.0) -> str:
    """Return the text of an IC-CAP file of all sweeps."""
    lines = ["! VERSION = 6.00", "BEGIN_HEADER", " ICCAP_INPUTS", "  VS V E GROUND SMU2 0.1 CON 0", " ICCAP_OUTPUTS",
             "  ID I S GROUND SMU1 B", "END_HEADER"]  # fmt: skip
    for swept, constants, measured in sweeps(noise=noise):
        name = "VG" if swept == "gate" else "VD"
        lines += ["", "BEGIN_DB", *(f" ICCAP_VAR {key} {value:g}" for key, value in constants.items()), ""]
        lines.append(f" #{name} IG ID")
        lines += [f"  {volts:.4g} 1e-12 {one:.9e}" for volts, one in zip(VOLTS, measured, strict=True)]
        lines.append("END_DB")
    return "\n".join(lines) + "\n"


def table(kelvins: tuple[float, ...] = (300.15,), shifts: tuple[float, ...] = (0.0,)) -> str:
    """Return all sweeps as CSV, at several temperatures and of several states."""
    lines = ["VG,VD,VB,state,temperature_kelvin,ID"]
    for kelvin, (state, shift) in product(kelvins, enumerate(shifts)):
        for swept, constants, measured in sweeps(kelvin, shift):
            for volts, one in zip(VOLTS, measured, strict=True):
                gate, drain = (volts, constants["VD"]) if swept == "gate" else (constants["VG"], volts)
                lines.append(f"{gate:.4g},{drain:.4g},{constants['VB']},s{state},{kelvin},{one:.9e}")
    return "\n".join(lines) + "\n"
