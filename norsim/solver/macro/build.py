"""Build `macro`'s model of a tile from its presolved groups, and measure its deviation from nodal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from norsim.array.tile import Floats, Tile
from norsim.errors import SolveError
from norsim.solver import nodal
from norsim.solver.characterize import CellTable
from norsim.solver.input_lines import Driven
from norsim.solver.macro.kernels import BALANCE, SLOPE_TERMS
from norsim.solver.macro.mean_field import (
    MOST_ROUNDS,
    Line,
    change_of_straps,
    fit_field,
    group_features,
    line_of,
    nodes_of,
)
from norsim.solver.macro.model import Field, Macro, changed_features, corrections, features
from norsim.solver.macro.presolve import Presolved, presolve, subsets
from norsim.solver.macro.strap_response import StrapResponse, no_response, strap_response

TOLERANCE = 4e-5
# With metal straps, full drives are farthest from the point of expansion, and more blocks do not help there.
TOLERANCE_OF_METAL = 1e-4
REFUSED = 1e-2
# More blocks must reduce the error at least to this share, or they only cost time.
WORTHWHILE = 0.85
BLOCKS = (1, 2, 4, 8, 16, 32, 64)
CHECK_VECTORS = 48
# Convergence of the currents that a model is compared with: far below what it is allowed to deviate.
EXACT = 5e-7
FIT_VECTORS = 96


@torch.inference_mode(False)
def build(tile: Tile, drive: Driven, table: CellTable, dtype: torch.dtype = torch.float32) -> Macro:
    """Build the reduced model of `tile`, refined until it agrees with nodal to 4e-5 of full scale, or 1e-4 with metal.

    The model is corrected by its deviation from nodal on random, full and single drives. What is left of each of these
    without its own part in the correction becomes the model's `error`; the number of blocks grows until it is small
    enough or hardly falls any more. The model can be trained through, also if it is built in torch's
    inference mode. Raises SolveError if even the best model deviates by more than 1e-2 of full scale.
    """
    random = np.random.default_rng(0)
    prepared = nodal.prepare(tile, table)
    solved = presolve(prepared, drive, random)
    x = random_drives(tile, drive, CHECK_VECTORS, random)
    exact = _exact(prepared, drive, x)
    full_scale = table.top_amps * x.shape[1]
    fit = torch.from_numpy(random_drives(tile, drive, FIT_VECTORS, random))
    straps: tuple[StrapResponse, Floats] | None = None
    if solved.lifted is not None:
        groups = group_features(fit, drive, line_of(tile, drive, len(solved.level), 1))
        straps = strap_response(solved, solved.lifted, groups, nodes_of(solved)[1])
    tolerance = TOLERANCE if straps is None else TOLERANCE_OF_METAL
    best: Macro | None = None
    for blocks in BLOCKS:
        model = _settled(assemble(tile, drive, solved, straps, fit, blocks, full_scale, dtype), torch.from_numpy(x))
        added, left = corrections(model, x, exact - model.lines(torch.from_numpy(x)).double().numpy())
        fixed = model.tables[-1] + torch.from_numpy(added).to(dtype)
        model, error = replace(model, tables=(*model.tables[:-1], fixed)), float(np.abs(left).max()) / full_scale
        if best is not None and error > WORTHWHILE * best.error:
            break
        best = replace(model, error=error)
        if best.error <= tolerance or blocks >= len(solved.level):
            break
    if best is None or not best.error <= REFUSED:
        worst = "no model" if best is None else f"{best.error:.1e} of full scale"
        raise SolveError(
            f"macro does not fit {tile.name}: it deviates by {worst} from nodal, and the limit is {REFUSED:g}. The "
            "tile's wires couple cells too strongly for a reduced model; use the nodal backend"
        )
    return best


def _exact(prepared: nodal.Prepared, drive: Driven, x: Floats) -> Floats:
    """Return the currents `[vectors, lines]` of the summing lines under drives `x` `[vectors, inputs]`, by nodal.

    Raises SolveError if it does not converge. It takes this thread only, so that several models are built at a time.
    """
    found = nodal.solve(prepared, drive.stimulus(x, prepared.tile), threads=1, tolerance=EXACT)
    if not found.converged.all():
        raise SolveError(
            f"the lines of {prepared.tile.name} do not converge: Kirchhoff's current law is violated by "
            f"{found.residual.max():.1e} of the total current; use the ngspice backend"
        )
    return found.bitline if drive.direction == "wordlines" else found.source


def random_drives(tile: Tile, drive: Driven, count: int, random: np.random.Generator) -> Floats:
    """Draw drives `[count, inputs]`: random ones of all densities, the full drive, and one line alone."""
    size = (count, drive.inputs(tile))
    x = (random.random(size) < random.uniform(0.05, 0.95, (count, 1))).astype(np.float64)
    if drive.direction == "bitlines":
        x *= random.integers(0, 16, size) / 15
    x[0] = 1.0
    x[1] = 0.0
    x[1, -1] = 1.0
    return x


def assemble(
    tile: Tile,
    drive: Driven,
    solved: Presolved,
    metal: tuple[StrapResponse, Floats] | None,
    fit: Tensor,
    blocks: int,
    full_scale_amps: float,
    dtype: torch.dtype,
) -> Macro:
    """Return the model with `blocks` blocks and the largest number of rounds of its fixed points.

    Tables are fitted on the drives `fit` `[vectors, inputs]`, to sums over the presolved groups. `metal` is what
    `strap_response` returns for tiles with metal straps.
    """
    line = line_of(tile, drive, len(solved.level), blocks)
    field, of_lines, of_straps = fit_field(drive, solved, line, fit)
    shared = line.mean.T @ line.shared @ line.mean
    # Lossless wires share no resistance; then no line moves and there is no balance current.
    inverse = np.linalg.pinv(shared, rcond=1e-10, hermitian=True)
    nominal = inverse @ line.mean.T @ solved.profile

    weighted, current, local = field.solve(fit)
    terms = field.terms(weighted, current, torch.from_numpy(inverse))[0].numpy()
    level, still = _parted(solved, line)
    moved, layout = field.effective(fit, current, 0 * local), (drive, line.rows, line.blocks, line.groups_per_block)
    given = features(fit, *layout)
    of_moved = features(moved, *layout) if still is None else changed_features(fit, moved, *layout)
    volts = of_lines.volts(current.numpy())
    lifts = None if of_straps is None else of_straps.volts(current.numpy())
    x = group_features(fit, drive, line)

    def in_field(solved: Presolved, level: Floats, still: Floats | None) -> tuple[Floats, Floats, Floats]:
        """Return currents of lines from features, what the field adds to them, and local slopes."""
        after = _levels(of_moved, line, level) + (0 if still is None else _levels(given, line, still))
        rest, slope = _in_field(solved, line, x, volts, lifts)
        return after, rest - (after - _levels(given, line, solved.level)), slope

    after, rest, slope = in_field(solved, level, still)
    at_rest, (slopes, own) = _fit_rest(terms, rest), _fit_slopes(terms, after, slope)

    offset = line.summed(solved.level[:, 0]) - nominal
    fixed = at_rest.copy()
    fixed[:, 0] += offset
    fixed[:, BALANCE] -= solved.shape
    mean_slope = slope.mean(axis=(1, 2))
    slopes[:, 0] -= mean_slope[:, None]
    answer = np.linalg.inv(np.eye(line.blocks) - mean_slope[:, None] * shared)
    alone = nominal.sum(axis=0)
    together = np.array([tile.with_leaks(alone) if drive.direction == "wordlines" else alone, solved.shape])
    straps = no_response()
    if metal is not None:
        straps, spread = metal
        # A block's current reaches the end of a line times this; a part's is its sum over blocks.
        reached = answer.sum(axis=0)[np.arange(len(spread)) // line.groups_per_block]
        by_block = spread / reached[:, None, None]
        of_parts, *both = solved.spread(by_block), level @ by_block, None if still is None else still @ by_block
        of_field = _fit_rest(terms, in_field(of_parts, *both)[1])
        of_field[:, 0] += line.summed(of_parts.level[:, 0])
        fixed, level = np.concatenate([fixed, of_field], axis=2), np.concatenate([level, both[0]], axis=2)
        still = None if still is None else np.concatenate([still, both[1]], axis=2)
        slopes, own, together = (
            np.pad(one, (*[(0, 0)] * (one.ndim - 1), (0, spread.shape[2]))) for one in (slopes, own, together)
        )

    def kept(values: np.ndarray | Tensor) -> Tensor:
        return torch.asarray(values).contiguous().to(dtype)

    return Macro(
        drive, line.rows, line.groups_per_block,
        Field(**{name: kept(part) for name, part in vars(field).items() if name != "rounds"}, rounds=MOST_ROUNDS),
        tuple(kept(table) for table in (*line.tables(level), fixed)),
        () if still is None else tuple(kept(table) for table in line.tables(still)), kept(slopes),
        kept(own), kept(shared @ answer), kept(answer.sum(axis=0)[None]), kept(inverse), kept(together),
        StrapResponse(*(kept(one) for one in vars(straps).values())), MOST_ROUNDS, full_scale_amps, np.inf,
    )  # fmt: skip


def _parted(solved: Presolved, line: Line) -> tuple[Floats, Floats | None]:
    """Return levels `[groups, features, lines]` under drives that the field changes, and, with metal straps, under
    drives as they are.

    A rise of the straps changes a drive by one factor for all lines, but cells of different levels lose different
    shares of their current. So each line's level is parted: the factor acts on the part that makes it the line's own
    slope.
    """
    if solved.lifted is None:
        return solved.level, None
    change = np.pad(
        change_of_straps(solved.level, solved.lifted, line), (0, len(solved.level) * line.rows - len(line.of_input))
    )
    by_row, moving = change.reshape(-1, line.rows), solved.level.copy()
    for place, rows in enumerate(subsets(line.rows)[1:], 1):
        factor = by_row[:, rows].sum(axis=1)
        changed = np.abs(factor) > 1e-9 * np.abs(change).max()
        moving[changed, place] = solved.lifted.slope[changed, place] / factor[changed, None]
    return moving, solved.level - moving


def _levels(parts: list[Tensor], line: Line, values: Floats) -> Floats:
    """Return currents `[blocks, vectors, lines]` with all lines at their nominal profile, from features of drives and
    the currents of groups, `[groups, features, lines]`."""
    both = zip(parts, line.tables(values), strict=True)
    total: Floats = np.sum([part.numpy() @ table for part, table in both], axis=0)
    return total


def _in_field(solved: Presolved, line: Line, x: Floats, volts: Floats, lifts: Floats | None) -> tuple[Floats, Floats]:
    """Return the currents that `volts` `[groups, vectors]` common to all lines and `lifts`, of the same shape, of all
    straps add, and the local slopes there.

    Both are `[blocks, vectors, lines]`; `x` are features `[groups, vectors, features]`.
    """
    rest, slope = np.zeros((2, line.blocks, x.shape[1], solved.level.shape[2]))
    for block in range(line.blocks):
        part = slice(block * line.groups_per_block, (block + 1) * line.groups_per_block)
        v = volts[part, :, None]
        of_rest = [(solved.common, x[part] * v), (solved.bend, x[part] * v**2 / 2)]
        of_slope = [(solved.local, x[part]), (solved.bend, x[part] * v)]
        if lifts is not None and solved.lifted is not None:
            m, lifted = lifts[part, :, None], solved.lifted
            of_rest += [(lifted.slope, x[part] * m), (lifted.bend, x[part] * m**2 / 2), (lifted.cross, x[part] * v * m)]
            of_slope += [(lifted.cross, x[part] * m)]
        for values, weights in ((rest, of_rest), (slope, of_slope)):
            for table, weight in weights:
                values[block] += np.tensordot(weight, table[part], axes=([0, 2], [0, 1]))
    return rest, slope


def _fit_rest(terms: Floats, rest: Floats) -> Floats:
    """Fit tables `[blocks, terms, lines]` of `rest` `[blocks, vectors, lines]` by least squares; `terms` is `[blocks,
    vectors, terms]`."""
    found = np.zeros((len(terms), terms.shape[2], rest.shape[2]))
    fitted = [k for k in range(2, terms.shape[2]) if k != BALANCE]
    for b, field in enumerate(terms[:, :, fitted]):
        scale = np.maximum(np.abs(field).max(axis=0), 1e-30)
        found[b, fitted] = np.linalg.lstsq(field / scale, rest[b], rcond=1e-8)[0] / scale[:, None]
    return found


def _fit_slopes(terms: Floats, current: Floats, slope: Floats) -> tuple[Floats, Floats]:
    """Fit tables `[blocks, SLOPE_TERMS, lines]` of `slope`, and `[blocks, 1, lines]` of the slope over a block's own
    `current`, by least squares. The data are `[blocks, vectors, lines]`, `terms` `[blocks, vectors, terms]`."""
    blocks, lines = len(terms), slope.shape[2]
    of_slope, own = np.zeros((blocks, SLOPE_TERMS, lines)), np.zeros((blocks, 1, lines))
    for b in range(blocks):
        scale = np.maximum(np.abs(terms[b][:, :SLOPE_TERMS]).max(axis=0), 1e-30)
        drive = terms[b][:, :SLOPE_TERMS] / scale
        basis = np.linalg.qr(drive)[0]
        beyond = current[b] - basis @ (basis.T @ current[b])
        weight = np.square(beyond).sum(axis=0)
        flat = weight <= 1e-12 * np.square(current[b]).sum(axis=0)
        own[b, 0] = np.where(flat, 0.0, (beyond * slope[b]).sum(axis=0) / np.where(flat, 1.0, weight))
        left = slope[b] - own[b] * current[b]
        of_slope[b] = np.linalg.lstsq(drive, left, rcond=1e-8)[0] / scale[:, None]
    return of_slope, own


def _settled(model: Macro, x: Tensor) -> Macro:
    """Return the model with the fewest rounds that agree with many, to a tenth of the tolerance, on drives `x`."""
    final, near = model.lines(x), 0.1 * TOLERANCE * model.full_scale_amps
    for rounds in range(MOST_ROUNDS):
        fewer = replace(model, field=replace(model.field, rounds=rounds))
        if float((fewer.lines(x) - final).abs().max()) <= near:
            model = fewer
            break
    for rounds in range(MOST_ROUNDS):
        fewer = replace(model, rounds=rounds)
        if float((fewer.lines(x) - final).abs().max()) <= 2 * near:
            return fewer
    return model
