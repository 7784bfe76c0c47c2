"""A tile as the kernels for reads with few wordlines up take it: cells about the middle of their volts, and wires
without the conductances of cells."""

from __future__ import annotations

from functools import lru_cache
from math import comb
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from norsim.array.tile import Floats, Stimulus
from norsim.array.wires import Wires
from norsim.solver import factored_line
from norsim.solver.nodal.rows_up_kernels import LANES
from norsim.solver.nodal.tile import Prepared
from norsim.solver.strap_metal import StrapModes, strap_modes

# Powers of the polynomials count that can add this share of the largest current, in float64 and in float32.
NEGLIGIBLE, ROUGH = 1e-9, 1e-7


class TileRows(NamedTuple):
    """A tile as the kernels take it; floats are all float32 or all float64. The bitlines of a segment, between two
    straps, are padded to `width` with cells that carry nothing, so `places` is segments times width.

    `coefficients`      `[states + 1, terms]`, flat: amperes, of scaled volts, the highest power of across volts first
    `fours`, `terms`    `[powers]`: fours of powers of source volts for each power of across volts; terms of both
    `middle`            `[wordlines, places]`, flat: amperes in the middle of the volts
    `states`            `[wordlines, places]`, indices of thresholds
    `per_line`          rows per source line
    `width`, `cells`    places of a segment, and `[segments]`, the bitlines in it
    `volts`, `source_volts`   `[places]`, of bitlines, and of grounded straps
    `across_middle`, `across_scale`, `source_middle`, `source_scale`   of volts; a scale is 1 over half the width
    `ohms`, `end_ohms`  `[wordlines + 1]`, of bitlines over so many rows, and of their ends
    `along`             `[segments, width, width]`, flat: volts at cells of a source line for currents into others, ohms
    `metal`             whether straps have a resistance; otherwise all that follows is 0
    `before`, `after`   `[places]`: shares of a cell's current that flow into the straps before and after it
    `modes`, `between`, `loads`   eigenvectors `[straps, straps]` and eigenvalues `[straps]` of StrapModes, and
                        `[wordlines, straps]`, what a row's cells add to these, siemens
    `metal_ohms`, `ground_ohms`, `far`   straps from source line to source line, and to ground, at both ends if `far`
    `one`               1
    """

    coefficients: NDArray[np.floating]
    fours: NDArray[np.int64]
    terms: int
    middle: NDArray[np.floating]
    states: NDArray[np.int64]
    per_line: int
    width: int
    cells: NDArray[np.int64]
    volts: NDArray[np.floating]
    source_volts: np.floating
    across_middle: np.floating
    across_scale: np.floating
    source_middle: np.floating
    source_scale: np.floating
    ohms: NDArray[np.floating]
    end_ohms: np.floating
    along: NDArray[np.floating]
    metal: bool
    before: NDArray[np.floating]
    after: NDArray[np.floating]
    modes: NDArray[np.floating]
    between: NDArray[np.floating]
    loads: NDArray[np.floating]
    metal_ohms: np.floating
    ground_ohms: np.floating
    far: bool
    one: np.floating


def padded(prepared: Prepared) -> int:
    """Return the number of bitlines with those that pad segments."""
    every, width = _segment(prepared)
    return -(-prepared.tile.bitlines // every) * width


def _segment(prepared: Prepared) -> tuple[int, int]:
    """Return the bitlines between two straps, and their places."""
    every = min(prepared.tile.wires.strap_every or 1, prepared.tile.bitlines)
    return every, -(-every // LANES) * LANES


@lru_cache(maxsize=64)
def ohms_along(wires: Wires, bitlines: int) -> Floats:
    """Return `[bitlines, bitlines]`, ohms: volts at cells of a source line for currents into others, with grounded
    straps."""
    found: Floats = factored_line.per_ampere(factored_line.source_lines(wires, np.zeros((1, bitlines))))[0]
    return found


def tile_rows(
    prepared: Prepared, stimulus: Stimulus, across: Floats, source: Floats
) -> tuple[TileRows, TileRows, NDArray[np.int64]]:
    """Return the tile in both precisions for volts in these ranges, and the place `[bitlines]` of each bitline."""
    tile, table, wires = prepared.tile, prepared.table, prepared.tile.wires
    (every, width), bitlines = _segment(prepared), np.arange(tile.bitlines)
    segment = bitlines // every
    cells, place = np.bincount(segment), segment * width + bitlines % every
    places, straps = len(cells) * width, len(cells) + 1

    polynomials = _about(prepared, across, source)
    states = np.full((tile.wordlines, places), len(polynomials))
    states[:, place] = prepared.double.states
    applied = tile.applied(stimulus.bitline_volts[0])
    volts = np.full(places, applied[0])
    volts[place] = applied
    along, ohms = np.zeros((len(cells), width, width)), ohms_along(wires, tile.bitlines)
    for s, count in enumerate(cells):
        here = slice(s * every, s * every + count)
        along[s, :count, :count] = ohms[here, here]
    before, after = np.zeros((2, places))
    modes = StrapModes(before, after, np.zeros((straps, straps)), np.zeros(straps))
    loads = np.zeros((tile.wordlines, straps))
    if wires.has_strap_metal:
        modes = strap_modes(wires, tile.bitlines)
        before[place], after[place] = modes.before, modes.after
        # The rise of a mode's straps, at cells.
        rise = modes.before[:, None] * modes.modes[segment] + modes.after[:, None] * modes.modes[segment + 1]
        loads = _slopes(polynomials, across, source)[prepared.double.states] @ rise**2
    middle = np.append(polynomials[:, 0, 0], 0.0)[states]

    def arrays(kind: Any, negligible: float) -> TileRows:
        def of_kind(values: NDArray[Any]) -> NDArray[Any]:
            return np.ascontiguousarray(values, kind)

        fours = _fours(polynomials, negligible * table.top_amps)
        padded = np.pad(polynomials, ((0, 1), (0, 0), (0, -polynomials.shape[2] % 4)))
        terms = np.concatenate([padded[:, p, : 4 * fours[p]] for p in reversed(range(len(fours)))], axis=1)
        return TileRows(
            of_kind(terms.ravel()), fours, terms.shape[1], of_kind(middle.ravel()), states, wires.rows_per_source_line,
            width, cells, of_kind(volts), kind(stimulus.source_volts), kind(across.mean()), kind(2 / np.ptp(across)),
            kind(source.mean()), kind(2 / np.ptp(source)), of_kind(wires.bitline_ohms * np.arange(tile.wordlines + 1)),
            kind(wires.bitline_end_ohms), of_kind(along.ravel()), wires.has_strap_metal, of_kind(before),
            of_kind(after), of_kind(modes.modes), of_kind(modes.conductances), of_kind(loads),
            kind(wires.strap_ohms * wires.rows_per_source_line), kind(wires.ground_ohms), wires.strap_ends == "both",
            kind(1.0),
        )  # fmt: skip

    return arrays(np.float32, ROUGH), arrays(np.float64, NEGLIGIBLE), place


def _about(prepared: Prepared, across: Floats, source: Floats) -> Floats:
    """Return the polynomials of cells that are up, `[states, powers, source powers]`, amperes, of volts scaled to
    [-1, 1] in these ranges."""
    up = int(np.flatnonzero(prepared.conducting)[0])
    found: Floats = prepared.table.monomials()[0, 0, up]
    pieces = prepared.double.across_pieces[0], prepared.double.source_pieces[0]
    for axis, ((*_, middle, scale), ends) in enumerate(zip(pieces, (across, source), strict=True), 1):
        found = _substituted(found, (ends.mean() - middle) * scale, np.ptp(ends) / 2 * scale, axis)
    return found


def _substituted(polynomials: Floats, middle: float, half: float, axis: int) -> Floats:
    """Return the coefficients in y of sum_p c_p x^p along an axis, where x = middle + half y."""
    count = polynomials.shape[axis]
    matrix = [[comb(p, q) * middle ** (p - q) * half**q if p >= q else 0.0 for p in range(count)] for q in range(count)]
    return np.moveaxis(np.tensordot(np.array(matrix), polynomials, (1, axis)), 0, axis)


def _slopes(polynomials: Floats, across: Floats, source: Floats) -> Floats:
    """Return by how many siemens cells `[states]` answer a rise of their source, in the middle of the volts."""
    slopes = polynomials[:, 1, 0] if polynomials.shape[1] > 1 else np.zeros(len(polynomials))
    of_source = polynomials[:, 0, 1] if polynomials.shape[2] > 1 else np.zeros(len(polynomials))
    found: Floats = np.maximum(2 * slopes / np.ptp(across) - 2 * of_source / np.ptp(source), 0.0)
    return found


def _fours(polynomials: Floats, negligible: float) -> NDArray[np.int64]:
    """Return how many fours of powers of source volts can add more than `negligible` amperes, for each power of across
    volts, at least one four of the first."""
    # Scaled volts are at most 1 in magnitude, so a coefficient bounds the contribution of its power.
    size = np.abs(polynomials).max(axis=0)
    beyond = np.cumsum(size[:, ::-1], axis=1)[:, ::-1]
    fours = -(-(beyond > negligible).sum(axis=1) // 4)
    last = int(np.flatnonzero(fours).max(initial=0))
    found: NDArray[np.int64] = np.maximum(fours[: last + 1], 1).astype(np.int64)
    return found
