"""How far the gates of a wordline have come, so long after its driver stepped."""

from __future__ import annotations

import numpy as np

from norsim.array.tile import Floats
from norsim.array.wires import Wires


def gate_shares(wires: Wires, bitlines: int, seconds: float) -> Floats:
    """`[bitlines]`: gate volts along a wordline as a share of its driver's, `seconds` after that steps from 0.

    The wordline is a ladder of equal resistors with a capacitor C at each cell, behind its driver's resistance: with
    the symmetric matrix G of its conductances C dv/dt = G (1 - v), so that v = 1 - exp(-G t / C) 1, by the eigenvectors
    of G. A line without resistance, or without capacitance, is there at once.
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
    # A driver without resistance is one of a millionth of a segment's.
    along[0, 0] += ohms / max(wires.wordline_end_ohms, 1e-6 * ohms)
    rates, modes = np.linalg.eigh(along)
    left: Floats = modes @ (np.exp(-rates * seconds / (ohms * farads)) * modes.sum(axis=0))
    return 1 - left
