"""`nodal` in torch on any device: the equations and the sweeps of norsim.solver.nodal, batched over reads.

Once factored, a line's solution is a product of its cells' currents with a fixed matrix, so a sweep is the evaluation
of polynomials and two batched products of matrices. As in the kernels, the first sweeps are in float32. For many reads
on a CUDA card, torch compiles a sweep if it can, so that cells' volts and currents go to memory once. Arrays are
`[bitlines, wordlines, reads]`, or `[source lines, bitlines, reads]`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from norsim.array.tile import Currents, Stimulus
from norsim.errors import ConfigurationError, first_line
from norsim.solver import factored_line, nodal
from norsim.solver.characterize import Box
from norsim.solver.nodal.kernels import FAR, ROUGH, STALLED
from norsim.solver.nodal.tile import Prepared

# Numbers in an array of one piece of work; about 16 such arrays exist at a time.
NUMBERS_ON_CPU, NUMBERS_ON_CARD = 2**22, 2**27
# torch compiles a sweep in about half a minute, so it does only for reads of more cells than this, added up, in a call.
WORTH_COMPILING = 2**34
# On a small card they are this share of the bytes of its memory.
SHARE_OF_BYTES = 1 / 256


@dataclass(frozen=True, eq=False)
class OnDevice:
    """A prepared tile on a device; floats are all float64 or all float32.

    `coefficients`          `[pieces, gates, powers, source powers, bitlines, wordlines]`, amperes
    `orders`                of each gate, the powers of across and of source volts that count
    `across_pieces`, `source_pieces`   `[pieces, 4]`: the ends of each piece, its middle, and 1 over half its width
    `gates`, `box`          the table's gate levels and box, volts
    `per_line`, `strapped`  rows per source line; whether source lines end in straps
    `floor_amps`            `[]`: the least current that residuals are relative to
    `up`                    `[gates]`: 1 at levels at which a wordline is up
    `conductances`          `[bitlines, wordlines]`, siemens, which lines were factored for
    `source_conductances`   `[source lines, bitlines]`
    `cell_slopes`           `[bitlines, wordlines]`: of cells in their source volts
    `bitlines`              `[bitlines, wordlines, wordlines]`, ohms: drops for currents
    `source_lines`          `[source lines, bitlines, bitlines]`, ohms: rises for currents, with grounded straps
    `ports`                 `[source lines, straps, bitlines]`: shares of cells' currents that flow into straps
    `metal`                 `[source lines x straps, source lines x straps]`, ohms: volts of strap nodes for the
                            currents that flow into grounded straps; empty if these are ideal
    """

    coefficients: Tensor
    orders: tuple[tuple[int, int], ...]
    across_pieces: Tensor
    source_pieces: Tensor
    gates: tuple[float, ...]
    box: Box
    per_line: int
    strapped: bool
    floor_amps: Tensor
    up: Tensor
    conductances: Tensor
    source_conductances: Tensor
    cell_slopes: Tensor
    bitlines: Tensor
    source_lines: Tensor
    ports: Tensor
    metal: Tensor

    @property
    def at_once(self) -> int:
        """The number of reads in one piece of work."""
        device, numbers = self.up.device, NUMBERS_ON_CPU
        if device.type == "cuda":
            memory = torch.cuda.get_device_properties(device).total_memory
            numbers = min(NUMBERS_ON_CARD, int(SHARE_OF_BYTES * memory))
        return max(numbers // self.conductances.numel(), 1)

    def to(self, kind: torch.dtype) -> OnDevice:
        """Return the tile with floats of another `kind`."""
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        changed = {name: value.to(kind) for name, value in values.items() if isinstance(value, Tensor)}
        return OnDevice(**(values | changed))


def on_device(prepared: Prepared, device: torch.device) -> OnDevice:
    """Put a prepared tile on a device."""
    arrays = prepared.double
    source_powers = arrays.sizes[3]
    by_state = arrays.coefficients.reshape(-1, *arrays.sizes[:4])[:, :, arrays.states.T]
    orders = tuple((int(p), min(4 * int(fours) or 1, source_powers)) for p, fours in arrays.orders)

    def moved(values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, np.float64)).to(device)

    straps = prepared.straps
    return OnDevice(
        moved(by_state.transpose(0, 1, 4, 5, 2, 3)), orders, moved(arrays.across_pieces), moved(arrays.source_pieces),
        tuple(prepared.table.gates.tolist()), prepared.table.box, arrays.per_line,
        prepared.tile.wires.strap_every is not None, moved(np.asarray(prepared.floor_amps)),
        moved(prepared.conducting), moved(arrays.conductances.T), moved(arrays.source_conductances),
        moved(arrays.cell_slopes.T),
        moved(factored_line.per_ampere(prepared.bitlines)), moved(factored_line.per_ampere(prepared.source_lines)),
        moved(straps.at_ports()), moved(straps.per_ampere()),
    )  # fmt: skip


def solve_on(device: str, prepared: Prepared, stimulus: Stimulus) -> Currents:
    """Return what `solve` returns for a prepared tile on a torch device, such as `cuda:0`.

    Raises ConfigurationError if the memory of the device is full.
    """
    try:
        applied = replace(stimulus, bitline_volts=prepared.tile.applied(stimulus.bitline_volts))
        found = solve(on_device(prepared, torch.device(device)), applied)
        return replace(found, bitline=prepared.tile.with_leaks(found.bitline))
    except torch.cuda.OutOfMemoryError as problem:
        raise ConfigurationError(
            f"the memory of {device} is full while {prepared.tile.name} is solved: {first_line(problem)}. End other "
            "programs on the card, or use the CPU"
        ) from problem


def solve(tile: OnDevice, stimulus: Stimulus, compiled: bool | None = None) -> Currents:
    """Return the currents of every read, as norsim.solver.nodal.solve does, computed on the device of `tile`, in
    float64, with a `compiled` sweep; by default for many reads on a CUDA card.

    They agree with those of the kernels within the tolerance. Raises OutsideBox as it does.
    """
    device, single = tile.up.device, tile.to(torch.float32)
    gates = torch.from_numpy(np.searchsorted(tile.gates, stimulus.wordline_volts)).to(device)
    volts = torch.tensor(stimulus.bitline_volts - stimulus.source_volts, device=device)
    ground = torch.tensor(float(stimulus.source_volts), dtype=torch.float64, device=device)
    if compiled is None:
        compiled = device.type == "cuda" and stimulus.vectors * tile.conductances.numel() > WORTH_COMPILING
    of_sweep = compiled_sweep() if compiled else sweep
    parts = [
        read(tile, single, of_sweep, some, here, ground)
        for some, here in zip(torch.split(gates, tile.at_once), torch.split(volts, tile.at_once), strict=True)
    ]
    nodal.check_box(tile.box, torch.stack([part[3] for part in parts]).cpu().numpy())
    bitline, source, residual = (
        torch.cat(values).cpu().numpy() for values in list(zip(*parts, strict=True))[:3]
    )  # fmt: skip
    if tile.strapped:
        source = source.sum(axis=1, keepdims=True)
    return Currents(bitline, source, residual <= nodal.TOLERANCE, residual, "nodal")


def read(
    tile: OnDevice, single: OnDevice, of_sweep: Callable[..., Any], gates: Tensor, volts: Tensor, ground: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Solve reads at gate levels `[reads, wordlines]`, indices, and bitline volts `[reads, bitlines]` above `ground`
    `[]`; `single` is the tile in float32, and `of_sweep` is `sweep`, compiled or not.

    Return amperes `[reads, bitlines]` and `[reads, source lines]`, residuals `[reads]`, and the lowest and highest
    volts across cells and at their sources, `[4]`.
    """
    reads, (bitlines, wordlines), lines = len(gates), tile.conductances.shape, len(tile.source_lines)
    level, across = gates.T.to(torch.uint8).contiguous(), volts.T.contiguous()
    drop = torch.zeros(bitlines, wordlines, reads, dtype=torch.float32, device=level.device)
    rise = drop.new_zeros(lines, bitlines, reads)
    amps, residual = drop, drop.new_full((reads,), float("inf"))
    for of_kind, enough, stalled in ((single, ROUGH, STALLED), (tile, nodal.TOLERANCE, float("inf"))):
        kind, before = of_kind.up.dtype, float("inf")
        values = [across.to(kind), ground.to(kind)]
        near = float(residual.max()) < FAR
        drop, rise = (one.to(kind) if near else torch.zeros_like(one, dtype=kind) for one in (drop, rise))
        for _ in range(nodal.MOST_SWEEPS):
            drop, rise, amps, residual = of_sweep(of_kind, level, *values, drop, rise)
            worst = float(residual.max())
            if not (worst > enough and worst < stalled * before):
                break
            before = worst
    volts_across = across[:, None] - drop - _at_cells(tile, rise)
    extremes = torch.stack([volts_across.min(), volts_across.max(), rise.min() + ground, rise.max() + ground])
    return amps.sum(dim=1).T, _by_line(amps, tile.per_line).sum(dim=1).T, residual, extremes


def sweep(
    tile: OnDevice, level: Tensor, volts: Tensor, ground: Tensor, drop: Tensor, rise: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return drops, rises, cell currents and residuals `[reads]` after a sweep over all bitlines and source lines.

    `level` `[wordlines, reads]` are gate levels, `volts` `[bitlines, reads]` those of bitlines above `ground`.
    """
    slopes, source_slopes = tile.conductances[:, :, None], tile.source_conductances[:, :, None]
    up, source = tile.up[level.int()], _at_cells(tile, rise)
    amps = cell_amps(tile, level, volts[:, None] - drop - source, source + ground)
    flowing = torch.maximum(amps.abs().sum(dim=(0, 1)), tile.floor_amps)
    new_drop = tile.bitlines @ (amps + slopes * drop)
    fallen = slopes * (new_drop - drop)
    amps = amps - up * fallen
    into_lines = _by_line(amps, tile.per_line) + source_slopes * rise
    new_rise = tile.source_lines @ into_lines
    if tile.metal.numel():
        into_straps = tile.ports @ into_lines
        new_rise = new_rise + tile.ports.mT @ (tile.metal @ into_straps.flatten(0, 1)).view_as(into_straps)
    lifted = source_slopes * (new_rise - rise)
    residual = (fallen.abs().sum(dim=(0, 1)) + lifted.abs().sum(dim=(0, 1))) / flowing
    amps = amps - up * tile.cell_slopes[:, :, None] * _at_cells(tile, new_rise - rise)
    return new_drop, new_rise, amps, residual


@cache
def compiled_sweep() -> Callable[..., Any]:
    """Return `sweep`, compiled for any sizes if torch has what it needs to compile."""
    from torch.utils._triton import has_triton

    able = has_triton() and any(map(shutil.which, ("cc", "gcc", "clang")))
    compiled: Callable[..., Any] = torch.compile(sweep, dynamic=True) if able else sweep
    return compiled


def _at_cells(tile: OnDevice, rise: Tensor) -> Tensor:
    """Return values at source lines, `[source lines, bitlines, reads]`, for cells, `[bitlines, wordlines, reads]`."""
    wordlines = tile.conductances.shape[1]
    return rise.transpose(0, 1).repeat_interleave(tile.per_line, dim=1)[:, :wordlines]


def _by_line(amps: Tensor, per_line: int) -> Tensor:
    """Sum `[bitlines, wordlines, reads]` over the rows of each source line to `[source lines, bitlines, reads]`."""
    padded = torch.nn.functional.pad(amps, (0, 0, 0, -amps.shape[1] % per_line))
    return padded.view(len(amps), -1, per_line, amps.shape[2]).sum(dim=2).transpose(0, 1)


def cell_amps(tile: OnDevice, level: Tensor, across: Tensor, source: Tensor) -> Tensor:
    """Return the currents `[bitlines, wordlines, reads]` of all cells at their volts, of the same shape, and at gate
    levels `[wordlines, reads]`."""
    total = torch.zeros_like(across)
    for a, (low, high, middle, factor) in enumerate(tile.across_pieces):
        in_a = (across >= low) & (across < high)
        d = (across - middle) * factor
        for b, (bottom, top, centre, scale) in enumerate(tile.source_pieces):
            here = in_a & (source >= bottom) & (source < top)
            s, piece = (source - centre) * scale, a * len(tile.source_pieces) + b
            for gate, (powers, source_powers) in enumerate(tile.orders):
                value = torch.zeros_like(across)
                for p in range(powers - 1, -1, -1):
                    row = tile.coefficients[piece, gate, p, source_powers - 1, :, :, None]
                    for q in range(source_powers - 2, -1, -1):
                        row = row * s + tile.coefficients[piece, gate, p, q, :, :, None]
                    value = value * d + row
                if powers:
                    total = total + torch.where(here & (level == gate), value, 0.0)
    return total
