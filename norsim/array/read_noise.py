"""Noise of the cells that is drawn again for each read, and how it adds up on a line.

Under the verify read, the current of cell i deviates by sigma_i xi_i from one read to the next, xi_i standard normal
and independent. In a read that drives it with a share x_i of full drive, it deviates by

    z_i = sigma_i x_i xi_i.

A bit drives a cell fully or not at all. A drain voltage drives it in proportion: in the linear region I = beta (V_GS -
V_T - V_DS/2) V_DS (Ding & Huang 2021, DOI 10.19358/j.issn.2096-5133.2021.06.012), so dI/dV_T = -beta V_DS. A line adds
the deviations of its cells, and independent normal numbers add up to a normal number, so one number per line is enough:

    Z = sqrt(sum_i sigma_i^2 x_i^2) xi.

This is the first order in two ways. The wires are left out: the deviation of a cell reaches the sense amplifier whole,
although a resistive line takes a part of it. And deviations are normal in the current, also those of telegraph noise,
whose amplitudes are exponential. The verification measures the first: it solves each read with cells that have the
deviations z_i of one Z (`deviations_given_lines`).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from norsim.array.tile import Floats, Tile

# Corrections of cells whose currents would become negative; each leaves less to correct.
MOST_CORRECTIONS = 50
# The number of the input, and of the summing line, that each cell `[wordlines, bitlines]` is on.
Places = tuple[NDArray[np.int64], NDArray[np.int64]]


def places(tile: Tile, driven: Literal["wordlines", "bitlines"], summed: str) -> Places:
    """Return the input and the summing line that each cell is on, both `[wordlines, bitlines]`.

    Inputs are `driven` lines, and lines of the kind `summed`, `bitline` or `source`, add currents.
    """
    wordline, bitline = np.indices((tile.wordlines, tile.bitlines))
    wires = tile.wires
    # Straps join all source lines.
    source = np.zeros_like(wordline) if wires.strap_every else wordline // wires.rows_per_source_line
    return wordline if driven == "wordlines" else bitline, bitline if summed == "bitline" else source


def line_variance(sigma_amps: Floats, at: Places) -> Floats:
    """Return what each input adds to the variance of each line at full drive, `[inputs, lines]`, amperes squared.

    `sigma_amps` `[wordlines, bitlines]` are the cells' deviations sigma_i, `at` their inputs and lines, same shape.
    """
    inputs, lines = at
    found = np.zeros((inputs.max() + 1, lines.max() + 1))
    np.add.at(found, at, sigma_amps**2)
    return found


def deviations_given_lines(
    sigma_amps: Floats, at: Places, shares: Floats, line_amps: Floats, amps: Floats, random: np.random.Generator
) -> Floats:
    """Draw the cells' deviations in one read, given their sums on the lines, `[wordlines, bitlines]`, amperes.

    `sigma_amps` and `at` are as in `line_variance`, `shares` `[inputs]` are the x_i, `line_amps` `[lines]` the sums Z,
    `amps` `[wordlines, bitlines]` the cells' currents under the verify read. The result is z_i / x_i, the deviations of
    these currents: normal numbers z_i, each corrected by its share of the variance of the line times what their sum
    lacks, which are the normal numbers conditional on their sum. No current becomes negative: the other cells of the
    line make up for what a cell cannot lose.
    """
    inputs, lines = at
    share = shares[inputs]
    found = sigma_amps * random.standard_normal(sigma_amps.shape)
    able = np.ones(sigma_amps.shape, dtype=np.bool_)
    for _ in range(MOST_CORRECTIONS):
        total, variance = np.zeros((2, len(line_amps)))
        np.add.at(total, lines, found * share)
        np.add.at(variance, lines, np.square(sigma_amps * share) * able)
        lacking = np.where(variance > 0, (line_amps - total) / np.where(variance > 0, variance, 1.0), 0.0)
        found = found + sigma_amps**2 * share * able * lacking[lines]
        able = found > -amps
        if able.all():
            break
        found = np.maximum(found, -amps)
    return found
