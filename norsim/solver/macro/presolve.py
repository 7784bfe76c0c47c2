"""Groups of cells solved in advance, with `nodal`'s own equations, in every state of their drive.

A tile has two kinds of line. Along the *driven* lines the state of each group of cells is known before
anything is solved: the bits of the rows that share a source line (bit-serial), or the drain volts of a
bitline (linear-pair). The currents of a group's cells, with the line that they share, are solved here,
non-linearly, for every state, at a nominal profile of the *summing* lines' volts (bitlines, or source
lines), together with their derivatives with respect to the summing lines' volts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from norsim.array.tile import Floats
from norsim.errors import ConfigurationError
from norsim.solver import nodal
from norsim.solver.input_lines import Driven
from norsim.solver.nodal import Prepared
from norsim.solver.strap_metal import StrapMetal, unloaded_straps

NOMINAL_VECTORS = 32
CODE_NODES = np.array([0.0, 0.5, 1.0])
# The nominal profile is only the point that currents are expanded about, to second order.
NOMINAL_TOLERANCE = 1e-3
# Shift of the lines for taking slopes, in units of the largest nominal drop: large enough for second differences.
SHIFT = 0.1


@dataclass(frozen=True, eq=False)
class Presolved:
    """Currents of groups of cells into summing lines, and their derivatives with respect to the lines' volts.

    `level`, `common`, `local`, `bend`  `[groups, features, lines]`, in A, A/V, A/V, A/V^2. The first feature
                is 1, for the current without drive. `level` is the current at the nominal profile. `common` is the
                slope when all lines move together, in proportion to `shape`, and the group's own line responds;
                `bend` is its derivative. `local` is the slope when one line moves and the group's line is held.
    `profile`   `[groups, lines]`, volts: the nominal deviation of the summing line at each group
    `shape`     `[lines]`, about 1: the mean of a line's profile over the groups, relative to the mean of all lines
    """

    level: Floats
    common: Floats
    local: Floats
    bend: Floats
    profile: Floats
    shape: Floats
    lifted: Lifted | None = None

    def spread(self, shares: Floats) -> Presolved:
        """Return these currents and derivatives for sums of lines, of which `shares` `[groups, lines, sums]` are the
        shares of each line."""
        level, common, local, bend = (one @ shares for one in (self.level, self.common, self.local, self.bend))
        lifted = self.lifted
        if lifted is not None:
            slope, bent, cross = (one @ shares for one in (lifted.slope, lifted.bend, lifted.cross))
            lifted = replace(lifted, slope=slope, bend=bent, cross=cross)
        return replace(self, level=level, common=common, local=local, bend=bend, lifted=lifted)


@dataclass(frozen=True, eq=False)
class Lifted:
    """What the rise of metal straps does to groups of cells: see norsim.solver.strap_metal.

    Straps of a tile rise nearly alike, because source lines in parallel connect them. So the rise at a group is one
    number m over its nominal value, times the share of each strap; what is left is small.

    `slope`, `bend`, `cross`   `[groups, features, lines]`, in A/V, A/V^2, A/V^2: derivatives of the current in m, twice
                in m, and in m and the common motion of the summing lines
    `nominal`   `[groups, straps]`, volts: the nominal rise of each strap; `share` `[straps]`: its share of m
    `shared`    `[groups, groups]`, ohms: the rise at the second group for a mean current of all lines in the first
    `straps`    the straps with source lines whose cells have no conductance
    """

    slope: Floats
    bend: Floats
    cross: Floats
    nominal: Floats
    share: Floats
    shared: Floats
    straps: StrapMetal

    @property
    def profile(self) -> Floats:
        """`[groups]`, volts: the nominal m."""
        found: Floats = self.nominal @ mean_over_straps(self.share)
        return found


def presolve(prepared: Prepared, drive: Driven, random: np.random.Generator) -> Presolved:
    """Solve every group of cells in every state of its drive, at the nominal profile."""
    solve = _wordline_groups if drive.direction == "wordlines" else _bitline_groups
    return solve(prepared, drive, random)


def subsets(size: int) -> list[tuple[int, ...]]:
    """Return all subsets of `range(size)`, small ones first: the conducting states of a group of rows."""
    return [chosen for count in range(size + 1) for chosen in combinations(range(size), count)]


def _nominal(prepared: Prepared, drive: Driven, random: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Return drops `[wordlines, bitlines]`, rises `[source lines, bitlines]`, and rises of straps `[source lines,
    straps]`, the mean over random drives."""
    tile = prepared.tile
    size = (NOMINAL_VECTORS, drive.inputs(tile))
    x = (random.random(size) < random.uniform(0.1, 0.7, (NOMINAL_VECTORS, 1))).astype(np.float64)
    stimulus = drive.stimulus(x, tile)
    gates = np.searchsorted(prepared.table.gates, stimulus.wordline_volts).T
    return nodal.mean_volts(prepared, gates, stimulus.bitline_volts.T, NOMINAL_TOLERANCE)


def _wordline_groups(prepared: Prepared, drive: Driven, random: np.random.Generator) -> Presolved:
    """Solve groups that are the rows of one source line; features are products of their bits; lines are bitlines."""
    tile = prepared.tile
    per_line = tile.wires.rows_per_source_line
    states = subsets(per_line)
    drop, _, metal = _nominal(prepared, drive, random)
    step = SHIFT * float(drop.max()) + 1e-6
    share = _shape(metal.mean(axis=0)) if metal.size else np.empty(0)
    lift = SHIFT * float(metal.max(initial=0.0)) + 1e-6
    # Shifts of all lines and of all straps: those of the lines alone first.
    of_lines, of_straps = np.array([-1, 0, 1, 0, 0, -1, 1]), np.array([0, 0, 0, -1, 1, -1, 1])
    if not metal.size:
        of_lines, of_straps = of_lines[:3], of_straps[:3]
    on = np.array([[row % per_line in state for row in range(tile.wordlines)] for state in states])
    up = int(np.searchsorted(prepared.table.gates, drive.top_volts))
    gates = np.where(np.repeat(on, len(of_lines), axis=0), up, 0).T.astype(np.int64)
    shifts, lifts = (np.tile(one, len(states)) for one in (step * of_lines, lift * of_straps))
    volts = np.full((tile.bitlines, len(shifts)), drive.rest_volts)
    shape = _shape(drop.mean(axis=0))
    moved = drop[:, :, None] + shape[:, None] * shifts
    straps = metal[:, :, None] + share[:, None] * lifts
    together, _, rise = nodal.relax(prepared, gates, volts, moved, None, "source lines", straps=straps)
    # Held source lines are those of no shift, and only the first shifts are of lines.
    held = np.repeat(rise[:, :, 1 :: len(of_lines)], 3, axis=2)
    first = np.arange(len(shifts)) % len(of_lines) < 3
    dropped = drop[:, :, None] + shifts[first]
    alone, _, _ = nodal.relax(prepared, gates[:, first], volts[:, first], dropped, held, "none")
    both = [
        _grouped(amps, per_line).reshape(tile.source_lines, tile.bitlines, len(states), -1)
        for amps in (together, alone)
    ]
    profile = _grouped(drop[:, :, None], per_line)[:, :, 0] / _grouped(np.ones((*drop.shape, 1)), per_line)[:, :, 0]

    def by_feature(values: Floats) -> Floats:
        found: Floats = np.einsum("fs,gls->gfl", _inclusion(states), values)
        return found

    # u has the sign of the drop: a larger drop means lower volts.
    level, common, local, bend = map(by_feature, _slopes(both[0], both[1], step))
    if not metal.size:
        return Presolved(level, common, local, bend, profile, shape)
    amps = both[0]
    by_straps = amps[..., [3, 1, 4]]
    _, slope, _, bent = _slopes(by_straps, by_straps, lift)
    corners, edges = amps[..., 5:7].sum(axis=-1), amps[..., [0, 2, 3, 4]].sum(axis=-1)
    cross = (corners - edges + 2 * amps[..., 1]) / (2 * step * lift)
    unloaded = unloaded_straps(tile.wires, tile.source_lines, tile.bitlines)
    ohms = _metal_ohms(unloaded, level, local, shape, mean_over_straps(share))
    lifted = Lifted(by_feature(slope), by_feature(bent), by_feature(cross), metal, share, ohms, unloaded)
    return Presolved(level, common, local, bend, profile, shape, lifted)


def mean_over_straps(share: Floats) -> Floats:
    """Return the weights `[straps]` that give m of rises m `share`."""
    return share / (share @ share)


def mean_weights(local: Floats, shape: Floats) -> Floats:
    """Return the weights `[lines]` of the mean over lines.

    A group's own line responds to the summing lines in proportion to their conductances, so these weight the mean.
    """
    weight = np.abs(local).sum(axis=(0, 1))
    found: Floats = weight / (weight @ shape)
    return found


def _metal_ohms(straps: StrapMetal, level: Floats, local: Floats, shape: Floats, along: Floats) -> Floats:
    """Return `Lifted.shared`: lines draw currents in proportion to their mean levels."""
    drawn = level[:, 1:].sum(axis=(0, 1))
    drawn = drawn / (drawn @ mean_weights(local, shape))
    ports = straps.at_ports() @ drawn
    lines, count = ports.shape
    each = np.zeros((lines, count, lines))
    each[np.arange(lines), :, np.arange(lines)] = ports
    found: Floats = np.einsum("s,gsk->kg", along, straps.volts(each))
    return found


def _bitline_groups(prepared: Prepared, drive: Driven, random: np.random.Generator) -> Presolved:
    """Solve groups that are bitlines; features are powers of their drive; lines are source lines, one per row."""
    tile = prepared.tile
    if tile.wires.rows_per_source_line != 1 or tile.wires.strap_every is not None:
        raise ConfigurationError(
            "macro sums along source lines only if each row has its own line, sensed at its end; set "
            "rows_per_source_line to 1 and strap_every to None, or use the nodal backend"
        )
    _, profile, _ = _nominal(prepared, drive, random)
    step = SHIFT * float(profile.max()) + 1e-6
    count = len(CODE_NODES)
    shifts = np.tile([-step, 0.0, step], count)
    volts = np.broadcast_to(np.repeat(CODE_NODES * drive.top_volts, 3), (tile.bitlines, 3 * count))
    gates = np.full((tile.wordlines, 3 * count), np.searchsorted(prepared.table.gates, drive.rest_volts))
    shape = _shape(profile.mean(axis=1))
    moved = profile[:, :, None] + shape[:, None, None] * shifts
    together, drop, _ = nodal.relax(prepared, gates, volts, None, moved, "bitlines")
    held = np.repeat(drop[:, :, 1::3], 3, axis=2)
    alone, _, _ = nodal.relax(prepared, gates, volts, held, profile[:, :, None] + shifts, "none")
    sizes = (tile.wordlines, tile.bitlines, count, 3)
    powers = np.linalg.inv(np.vander(CODE_NODES, increasing=True))
    slopes = _slopes(together.reshape(sizes), alone.reshape(sizes), step)
    level, common, local, bend = (np.einsum("fs,lgs->gfl", powers, values) for values in slopes)
    return Presolved(level, common, local, bend, profile.T.copy(), shape)


def _shape(profile: Floats) -> Floats:
    """Return the profile `[lines]` relative to its mean; all 1 for lossless wires."""
    mean = float(profile.mean())
    return profile / mean if mean else np.ones_like(profile)


def _inclusion(states: list[tuple[int, ...]]) -> Floats:
    """Return the matrix `[features, states]` of inclusion and exclusion.

    A feature, the product of a subset's bits, adds what its smaller subsets do not.
    """
    return np.array(
        [
            [(-1.0) ** (len(feature) - len(state)) if set(state) <= set(feature) else 0.0 for state in states]
            for feature in states
        ]
    )


def _grouped(amps: Floats, per_line: int) -> Floats:
    """Sum `[wordlines, bitlines, lanes]` over the rows of each source line to `[source lines, bitlines, lanes]`."""
    padded = np.pad(amps, ((0, -len(amps) % per_line), (0, 0), (0, 0)))
    result: Floats = padded.reshape(-1, per_line, *amps.shape[1:]).sum(axis=1)
    return result


def _slopes(together: Floats, alone: Floats, step: float) -> tuple[Floats, Floats, Floats, Floats]:
    """Return level, common and local slope, and bend, of currents `[..., 3]` at shifts of -step, 0 and step."""
    return (
        together[..., 1],
        (together[..., 2] - together[..., 0]) / (2 * step),
        (alone[..., 2] - alone[..., 0]) / (2 * step),
        (together[..., 2] - 2 * together[..., 1] + together[..., 0]) / step**2,
    )
