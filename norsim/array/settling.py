"""Lag of the gates along a wordline behind its driver."""

from __future__ import annotations

import numpy as np

from norsim.array.tile import Floats
from norsim.array.wires import Wires


def gate_shares(wires: Wires, bitlines: int, seconds: float) -> Floats:
    """Return gate volts `[bitlines]` along a wordline as a share of the driver's, `seconds` after its step from 0.

    The wordline is a ladder of equal resistors with a capacitor C at each cell, behind the driver's resistance. With
    the symmetric conductance matrix G, C dv/dt = G (1 - v), so v = 1 - exp(-G t / C) 1, computed from the eigenvectors
    of G. A line without resistance or without capacitance does not lag.
    """
    ohms, farads = wires.wordline_ohms, wires.wordline_farads
    if not farads or not (ohms or wires.wordline_end_ohms):
        return np.ones(bitlines)
    if not ohms:
        share = -np.expm1(-seconds / (wires.wordline_end_ohms * farads * bitlines))
        return np.full(bitlines, float(share))
    along = np.zeros((bitlines, bitlines))
    step = np.arange(bitlines - 1)
    along[step, step] += 1
    along[step + 1, step + 1] += 1
    along[step, step + 1] = along[step + 1, step] = -1
    # A driver without resistance is modelled as a millionth of a segment's resistance.
    along[0, 0] += ohms / max(wires.wordline_end_ohms, 1e-6 * ohms)
    rates, modes = np.linalg.eigh(along)
    left: Floats = modes @ (np.exp(-rates * seconds / (ohms * farads)) * modes.sum(axis=0))
    return 1 - left
