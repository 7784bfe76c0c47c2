"""`macro`: a reduced-order model of a tile, built from `nodal`'s own equations, evaluated by matrix products.

Two kinds of line meet in a tile. Along the *driven* ones the state of each group of cells is known before
anything is solved: the bits of the rows that share a source line (bit-serial), or the drain volts of a
bitline (linear-pair). What the cells of a group draw, with the line they share, is solved beforehand,
non-linearly, for every state. The *summing* lines (bitlines, or source lines) then couple the groups
through their resistance, weakly. With u the deviation of a summing line's volts from a nominal profile,
the current of a group g into summing line l is

    i_gl = sum_f x_gf [ a_gfl + c_gfl v + d_gfl (u_l - v) ],      v = mean of u over the lines of the group,

where x are features of the drive (products of bits; powers of the code), c is the slope when all lines
move together, the group's own line answering, and d the slope when one line moves and the group's line
holds. Along a summing line u is kept as one number a block of groups; the sum over a block's groups is
one matrix product for each of a, c, d, and what is left is a small fixed point between blocks,

    u_bl = sum_b' z_bb' i_b'l - n_bl,

with z the mean resistance that blocks share and n the nominal profile. The docs' theory page derives it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from itertools import combinations
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from norsim.array.tile import Floats, Stimulus, Tile
from norsim.errors import ConfigurationError, SolveError
from norsim.solver import nodal
from norsim.solver.characterize import CellTable
from norsim.solver.nodal import Prepared

TOLERANCE = 7e-5
REFUSED = 1e-2
BLOCKS = (4, 8, 16, 32, 64)
NOMINAL_VECTORS = 32
CHECK_VECTORS = 24
CODE_NODES = np.array([0.0, 0.5, 1.0])
# Vectors go through in parts small enough for a core's cache, because what is not a product is bound by memory.
VALUES_AT_ONCE = 2**18
MOST_ROUNDS = 40

Direction = Literal["wordlines", "bitlines"]


@dataclass(frozen=True)
class Driven:
    """How a tile is driven: by bits on `wordlines` under constant bitline volts, or by volts on `bitlines`.

    `top_volts` is what x = 1 means; `rest_volts` what the other kind of line is held at.
    """

    direction: Direction
    top_volts: float
    rest_volts: float

    def stimulus(self, x: Floats, tile: Tile) -> Stimulus:
        """Volts of drives `[vectors, inputs]` between 0 and 1."""
        if self.direction == "wordlines":
            return Stimulus(x * self.top_volts, np.full((len(x), tile.bitlines), self.rest_volts))
        return Stimulus(np.full((len(x), tile.wordlines), self.rest_volts), x * self.top_volts)

    def drives(self, stimulus: Stimulus) -> Floats:
        """`[vectors, inputs]` drives of volts, the inverse of `stimulus`."""
        volts = stimulus.wordline_volts if self.direction == "wordlines" else stimulus.bitline_volts
        return volts / self.top_volts


def driven(stimulus: Stimulus) -> Driven:
    """What kind of drive `stimulus` is: as it says itself, or as its volts show.

    Raises ConfigurationError for a drive that macro has no model of.
    """
    wordlines, bitlines = stimulus.wordline_volts, stimulus.bitline_volts
    top, one_bitline, one_wordline = float(wordlines.max()), np.ptp(bitlines) == 0, np.ptp(wordlines) == 0
    said, grounded = stimulus.driven, stimulus.source_volts == 0
    up = (said == "wordlines" and stimulus.full_volts) or top
    if said != "bitlines" and one_bitline and np.isin(wordlines, (0.0, up)).all() and grounded and up > 0:
        return Driven("wordlines", up, float(bitlines[0, 0]))
    full = stimulus.full_volts or float(bitlines.max())
    if said != "wordlines" and one_wordline and bitlines.min() >= 0 and grounded and full > 0:
        return Driven("bitlines", full, top)
    raise ConfigurationError(
        "macro models bits on wordlines under one bitline voltage, or volts on bitlines under one wordline "
        "voltage, with source lines at 0 V; use nodal for other drives"
    )


@dataclass(frozen=True, eq=False)
class Presolved:
    """Currents of groups of cells into summing lines, and their slopes.

    `level`, `common`, `local`  `[groups, features, lines]`, amperes and siemens
    `profile`   `[groups, lines]`, volts: the nominal deviation of the summing line at each group
    `spread`    `[lines]`: index of the set of lines over which a group's mean v is taken
    """

    level: Floats
    common: Floats
    local: Floats
    profile: Floats
    spread: NDArray[np.int64]


def presolve(prepared: Prepared, drive: Driven, random: np.random.Generator) -> Presolved:
    """Solve every group of cells in every state of its drive, about the nominal profile."""
    return (
        _wordline_groups(prepared, drive, random)
        if drive.direction == "wordlines"
        else _bitline_groups(prepared, drive, random)
    )


def _nominal(prepared: Prepared, drive: Driven, random: np.random.Generator) -> tuple[Floats, Floats]:
    """Drops `[wordlines, bitlines]` and rises `[source lines, bitlines]`, the mean over random drives."""
    tile = prepared.tile
    inputs = tile.wordlines if drive.direction == "wordlines" else tile.bitlines
    x = (random.random((NOMINAL_VECTORS, inputs)) < random.uniform(0.1, 0.7, (NOMINAL_VECTORS, 1))).astype(np.float64)
    stimulus = drive.stimulus(x, tile)
    gates = np.searchsorted(prepared.table.gates, stimulus.wordline_volts).T
    shape = (tile.wordlines, tile.bitlines, NOMINAL_VECTORS)
    rise = np.zeros((tile.source_lines, *shape[1:]))
    _, drop, rise = nodal.relax(prepared, gates, stimulus.bitline_volts.T, np.zeros(shape), rise, "both")
    return drop.mean(axis=2), rise.mean(axis=2)


def _wordline_groups(prepared: Prepared, drive: Driven, random: np.random.Generator) -> Presolved:
    """Groups are the rows of one source line; features are products of their bits; lines are bitlines."""
    tile = prepared.tile
    per_line = tile.wires.rows_per_source_line
    states = subsets(per_line)
    drop, _ = _nominal(prepared, drive, random)
    step = 0.02 * float(drop.max()) + 1e-6
    on = np.array([[row % per_line in state for row in range(tile.wordlines)] for state in states])
    up = int(np.searchsorted(prepared.table.gates, drive.top_volts))
    gates = np.where(np.repeat(on, 3, axis=0), up, 0).T.astype(np.int64)
    shifts = np.tile([-step, 0.0, step], len(states))
    volts = np.full((tile.bitlines, len(shifts)), drive.rest_volts)
    flat = np.zeros((tile.source_lines, tile.bitlines, len(shifts)))
    moved = drop[:, :, None] + shifts
    together, _, rise = nodal.relax(prepared, gates, volts, moved, flat, "source lines")
    held = np.repeat(rise[:, :, 1::3], 3, axis=2)
    alone, _, _ = nodal.relax(prepared, gates, volts, moved, held, "none")
    both = [
        _grouped(amps, per_line).reshape(tile.source_lines, tile.bitlines, len(states), 3) for amps in (together, alone)
    ]
    profile = _grouped(drop[:, :, None], per_line)[:, :, 0] / _grouped(np.ones((*drop.shape, 1)), per_line)[:, :, 0]
    every = tile.wires.strap_every or tile.bitlines
    # A larger drop means fewer volts: the sign of u is that of the drop.
    parts = [np.moveaxis(values, 1, 2) for values in _slopes(both[0], both[1], step)]
    level, common, local = (np.einsum("fs,gsl->gfl", _inclusion(states), part) for part in parts)
    return Presolved(level, common, local, profile, np.arange(tile.bitlines) // every)


def _bitline_groups(prepared: Prepared, drive: Driven, random: np.random.Generator) -> Presolved:
    """Groups are bitlines; features are powers of their drive; lines are source lines, one a row."""
    tile = prepared.tile
    if tile.wires.rows_per_source_line != 1 or tile.wires.strap_every is not None:
        raise ConfigurationError("macro sums along source lines only where each row has one, sensed at its end")
    _, profile = _nominal(prepared, drive, random)
    step = 0.02 * float(profile.max()) + 1e-6
    count = len(CODE_NODES)
    shifts = np.tile([-step, 0.0, step], count)
    volts = np.broadcast_to(np.repeat(CODE_NODES * drive.top_volts, 3), (tile.bitlines, 3 * count))
    gates = np.full((tile.wordlines, 3 * count), np.searchsorted(prepared.table.gates, drive.rest_volts))
    moved = profile[:, :, None] + shifts
    flat = np.zeros((tile.wordlines, tile.bitlines, 3 * count))
    together, drop, _ = nodal.relax(prepared, gates, volts, flat, moved, "bitlines")
    held = np.repeat(drop[:, :, 1::3], 3, axis=2)
    alone, _, _ = nodal.relax(prepared, gates, volts, held, moved, "none")
    shape = (tile.wordlines, tile.bitlines, count, 3)
    both = together.reshape(shape), alone.reshape(shape)
    powers = np.linalg.inv(np.vander(CODE_NODES, increasing=True))
    level, common, local = (np.einsum("fs,lgs->gfl", powers, values) for values in _slopes(both[0], both[1], step))
    return Presolved(level, common, local, profile.T.copy(), np.zeros(tile.wordlines, dtype=np.int64))


def subsets(size: int) -> list[tuple[int, ...]]:
    """All non-empty subsets of `range(size)`, small ones first: the conducting states of a group of rows."""
    return [chosen for count in range(1, size + 1) for chosen in combinations(range(size), count)]


def _inclusion(states: list[tuple[int, ...]]) -> Floats:
    """`[features, states]`: a feature, the product of a subset's bits, adds what its smaller subsets do not."""
    return np.array(
        [
            [(-1.0) ** (len(feature) - len(state)) if set(state) <= set(feature) else 0.0 for state in states]
            for feature in states
        ]
    )


def _grouped(amps: Floats, per_line: int) -> Floats:
    """Sums over the rows of each source line: `[wordlines, bitlines, lanes]` -> `[source lines, bitlines, lanes]`."""
    padded = np.pad(amps, ((0, -len(amps) % per_line), (0, 0), (0, 0)))
    result: Floats = padded.reshape(-1, per_line, *amps.shape[1:]).sum(axis=1)
    return result


def _slopes(together: Floats, alone: Floats, step: float) -> tuple[Floats, Floats, Floats]:
    """Level, and slopes with the shift, of `[..., 3]` currents at shifts of -step, 0 and step."""
    return (
        together[..., 1],
        (together[..., 2] - together[..., 0]) / (2 * step),
        (alone[..., 2] - alone[..., 0]) / (2 * step),
    )


@dataclass(frozen=True, eq=False)
class Macro:
    """A tile's reduced model. `lines(x)` is the whole of it: torch in, torch out, differentiable.

    `tables`    three of `[blocks, features a block, lines]`: level, common less local, local
    `shared`    `[blocks, blocks]`, ohms
    `nominal`   `[blocks, 1, lines]`, volts
    `sets`      `[lines]`: which set of lines, joined by the groups' own lines, a summing line belongs to
    `averages`  `[lines, sets]`: takes the mean over each set
    `full_scale_amps`  the top cell current times the inputs, the unit of `error`
    `error`     the largest deviation from nodal on the vectors it was checked with
    """

    drive: Driven
    rows_per_group: int
    features_per_group: int
    tables: tuple[Tensor, Tensor, Tensor]
    shared: Tensor
    nominal: Tensor
    sets: Tensor
    averages: Tensor
    rounds: int
    full_scale_amps: float
    error: float

    def lines(self, x: Tensor) -> Tensor:
        """Drives `[vectors, inputs]` in [0, 1] -> currents `[vectors, lines]`, amperes."""
        parts = [
            self._lines(part)
            for part in torch.split(x.to(self.shared.dtype), max(VALUES_AT_ONCE // self.nominal.numel(), 32))
        ]
        return torch.cat(parts)

    def features(self, x: Tensor) -> Tensor:
        """`[vectors, inputs]` -> `[blocks, vectors, features]`."""
        blocks = len(self.shared)
        rows = self.tables[0].shape[1] // self.features_per_group * self.rows_per_group
        x = torch.nn.functional.pad(x, (0, blocks * rows - x.shape[1])).reshape(len(x), blocks, rows)
        if self.drive.direction == "bitlines":
            return torch.cat([torch.ones_like(x), x, x * x], dim=2).transpose(0, 1)
        bits = [x[:, :, row :: self.rows_per_group] for row in range(self.rows_per_group)]
        products = [reduce(torch.mul, [bits[row] for row in state]) for state in subsets(self.rows_per_group)]
        return torch.cat(products, dim=2).transpose(0, 1)

    def _lines(self, x: Tensor) -> Tensor:
        features = self.features(x)
        level, excess, local = (torch.bmm(features, table) for table in self.tables)
        current = level
        for _ in range(self.rounds):
            u = (self.shared @ current.reshape(len(level), -1)).reshape(level.shape) - self.nominal
            mean = u @ self.averages
            if mean.shape[2] > 1:
                mean = mean[:, :, self.sets]
            current = torch.addcmul(torch.addcmul(level, excess, mean), local, u)
        return current.sum(dim=0)


def build(tile: Tile, drive: Driven, table: CellTable, dtype: torch.dtype = torch.float32) -> Macro:
    """The reduced model of `tile`, refined until it agrees with nodal to 7e-5 of full scale.

    The number of blocks grows until the deviation on random, full and single drives, measured here and kept
    in `error`, is small enough or does not fall any more. Raises SolveError when even the best is off by
    more than 1e-2 of full scale.
    """
    random = np.random.default_rng(0)
    prepared = nodal.prepare(tile, table)
    solved = presolve(prepared, drive, random)
    x = _check_drives(tile, drive, random)
    currents = nodal.solve(prepared, drive.stimulus(x, tile))
    exact = currents.bitline if drive.direction == "wordlines" else currents.source
    full_scale = table.top_amps * x.shape[1]
    best: Macro | None = None
    for blocks in BLOCKS:
        model = assemble(tile, drive, solved, min(blocks, len(solved.level)), full_scale, dtype)
        model = _settled(model, torch.from_numpy(x))
        error = float(np.abs(model.lines(torch.from_numpy(x)).numpy() - exact).max()) / model.full_scale_amps
        if best is None or error < 0.7 * best.error:
            best = replace(model, error=error)
        if best.error <= TOLERANCE or blocks >= len(solved.level):
            break
    if best is None or best.error > REFUSED:
        worst = "no model" if best is None else f"{best.error:.1e} of full scale"
        raise SolveError(
            f"macro does not fit {tile.name}: off by {worst} from nodal, {REFUSED:g} is the most. Its wires couple "
            "cells too strongly for a reduced model; use --backend nodal"
        )
    return best


def _check_drives(tile: Tile, drive: Driven, random: np.random.Generator) -> Floats:
    """`[vectors, inputs]`: random drives of all densities, the full one, and one line alone."""
    inputs = tile.wordlines if drive.direction == "wordlines" else tile.bitlines
    x = (random.random((CHECK_VECTORS, inputs)) < random.uniform(0.05, 0.95, (CHECK_VECTORS, 1))).astype(np.float64)
    if drive.direction == "bitlines":
        x *= random.integers(0, 16, x.shape) / 15
    x[0] = 1.0
    x[1] = 0.0
    x[1, -1] = 1.0
    return x


def assemble(
    tile: Tile, drive: Driven, solved: Presolved, blocks: int, full_scale_amps: float, dtype: torch.dtype
) -> Macro:
    """The model with that many blocks, its fixed point not yet cut short."""
    groups, features, lines = solved.level.shape
    size = -(-groups // blocks)
    blocks = -(-groups // size)
    padding = ((0, blocks * size - groups), (0, 0), (0, 0))
    tables = [
        np.pad(part, padding).reshape(blocks, size, features, lines).swapaxes(1, 2).reshape(blocks, -1, lines)
        for part in (solved.level, solved.common - solved.local, solved.local)
    ]
    members = [np.arange(b * size, min((b + 1) * size, groups)) for b in range(blocks)]
    wires = tile.wires
    along = drive.direction == "wordlines"
    ohms, end = (wires.bitline_ohms, wires.bitline_end_ohms) if along else (wires.source_ohms, wires.source_end_ohms)
    rows_per_group = wires.rows_per_source_line if along else 1
    place = np.arange(groups) * rows_per_group + (rows_per_group - 1) / 2
    shared = np.array([[end + ohms * np.minimum.outer(place[b], place[c]).mean() for c in members] for b in members])
    nominal = np.array([solved.profile[b].mean(axis=0) for b in members])[:, None, :]
    of_set = solved.spread[:, None] == np.unique(solved.spread)
    level, excess, local, z, profile, averages = (
        torch.from_numpy(np.ascontiguousarray(values)).to(dtype)
        for values in (*tables, shared, nominal, of_set / of_set.sum(axis=0))
    )
    return Macro(
        drive, rows_per_group, features, (level, excess, local), z, profile,
        torch.from_numpy(solved.spread), averages, MOST_ROUNDS, full_scale_amps, np.inf,
    )  # fmt: skip


def _settled(model: Macro, x: Tensor) -> Macro:
    """The model with the fewest rounds that give what many give, to a tenth of the tolerance, on drives `x`."""
    final = model.lines(x)
    for rounds in range(1, MOST_ROUNDS):
        fewer = replace(model, rounds=rounds)
        if float((fewer.lines(x) - final).abs().max()) <= 0.1 * TOLERANCE * model.full_scale_amps:
            return fewer
    return model
