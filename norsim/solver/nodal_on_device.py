"""`nodal` in torch, float64, on any device: the equations and the sweeps of norsim.solver.nodal, batched over reads.

Once factored, a line's solution is a product of its cells' currents with a fixed matrix, so a sweep is the evaluation
of polynomials and two batched products of matrices. Arrays are `[bitlines, wordlines, reads]`, or `[source lines,
bitlines, reads]`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from norsim.array.tile import Currents, Stimulus
from norsim.solver import factored_line, nodal
from norsim.solver.characterize import Box
from norsim.solver.nodal_tile import Prepared

# Numbers in an array of one piece of work; about 16 such arrays exist at a time.
NUMBERS_ON_CPU, NUMBERS_ON_CARD = 2**22, 2**27


@dataclass(frozen=True, eq=False)
class OnDevice:
    """A prepared tile on a device; floats are float64.

    `coefficients`          `[pieces, gates, powers, source powers, bitlines, wordlines]`, amperes
    `orders`                of each gate, the powers of across and of source volts that count
    `across_pieces`, `source_pieces`   of each piece: its ends, its middle, and 1 over half its width
    `gates`, `box`          the table's gate levels and box, volts
    `per_line`, `strapped`  rows per source line; whether source lines end in straps
    `floor_amps`            the least current that residuals are relative to
    `up`                    `[gates]`: 1 at levels at which a wordline is up
    `conductances`          `[bitlines, wordlines]`, siemens, which lines were factored for
    `source_conductances`   `[source lines, bitlines]`
    `cell_slopes`           `[bitlines, wordlines]`: of cells in their source volts
    `bitlines`              `[bitlines, wordlines, wordlines]`, ohms: drops for currents
    `source_lines`          `[source lines, bitlines, bitlines]`, ohms: rises for currents
    """

    coefficients: Tensor
    orders: tuple[tuple[int, int], ...]
    across_pieces: tuple[tuple[float, ...], ...]
    source_pieces: tuple[tuple[float, ...], ...]
    gates: tuple[float, ...]
    box: Box
    per_line: int
    strapped: bool
    floor_amps: float
    up: Tensor
    conductances: Tensor
    source_conductances: Tensor
    cell_slopes: Tensor
    bitlines: Tensor
    source_lines: Tensor

    @property
    def at_once(self) -> int:
        """The number of reads in one piece of work."""
        numbers = NUMBERS_ON_CPU if self.up.device.type == "cpu" else NUMBERS_ON_CARD
        return max(numbers // self.conductances.numel(), 1)


def on_device(prepared: Prepared, device: torch.device) -> OnDevice:
    """Put a prepared tile on a device."""
    arrays = prepared.double
    source_powers = arrays.sizes[3]
    by_state = arrays.coefficients.reshape(-1, *arrays.sizes[:4])[:, :, arrays.states.T]
    orders = tuple((int(p), min(4 * int(fours) or 1, source_powers)) for p, fours in arrays.orders)

    def moved(values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, np.float64)).to(device)

    across_pieces, source_pieces = (
        tuple(map(tuple, pieces.tolist())) for pieces in (arrays.across_pieces, arrays.source_pieces)
    )
    return OnDevice(
        moved(by_state.transpose(0, 1, 4, 5, 2, 3)), orders, across_pieces, source_pieces,
        tuple(prepared.table.gates.tolist()), prepared.table.box, arrays.per_line,
        prepared.tile.wires.strap_every is not None, prepared.floor_amps,
        moved(prepared.conducting), moved(arrays.conductances.T), moved(arrays.source_conductances),
        moved(arrays.cell_slopes.T),
        moved(factored_line.per_ampere(prepared.bitlines)), moved(factored_line.per_ampere(prepared.source_lines)),
    )  # fmt: skip


def solve(tile: OnDevice, stimulus: Stimulus) -> Currents:
    """Return the currents of every read, as norsim.solver.nodal.solve does, computed on the tile's device.

    They agree with those of the kernels within the tolerance. Raises OutsideBox as it does.
    """
    device = tile.up.device
    gates = torch.from_numpy(np.searchsorted(tile.gates, stimulus.wordline_volts)).to(device)
    volts = torch.tensor(stimulus.bitline_volts, device=device)
    parts = [
        read(tile, some, here, float(stimulus.source_volts))
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
    tile: OnDevice, gates: Tensor, bitline_volts: Tensor, source_volts: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Solve reads at gate levels `[reads, wordlines]`, indices, and bitline volts `[reads, bitlines]`.

    Return amperes `[reads, bitlines]` and `[reads, source lines]`, residuals `[reads]`, and the lowest and highest
    volts across cells and at their sources, `[4]`.
    """
    per_line = tile.per_line
    (bitlines, wordlines), lines, reads = tile.conductances.shape, len(tile.source_lines), len(gates)
    level, up = gates.T.contiguous(), tile.up[gates.T]
    volts = bitline_volts.T[:, None] - source_volts
    slopes, source_slopes = tile.conductances[:, :, None], tile.source_conductances[:, :, None]
    drop = volts.new_zeros(bitlines, wordlines, reads)
    rise = volts.new_zeros(lines, bitlines, reads)
    for _ in range(nodal.MOST_SWEEPS):
        source = rise.transpose(0, 1).repeat_interleave(per_line, dim=1)[:, :wordlines]
        across = volts - drop - source
        amps = cell_amps(tile, level, across, source + source_volts)
        flowing = amps.abs().sum(dim=(0, 1)).clamp_min(tile.floor_amps)
        new_drop = tile.bitlines @ (amps + slopes * drop)
        fallen = slopes * (new_drop - drop)
        amps = amps - up * fallen
        new_rise = tile.source_lines @ (_by_line(amps, per_line) + source_slopes * rise)
        lifted = source_slopes * (new_rise - rise)
        residual = (fallen.abs().sum(dim=(0, 1)) + lifted.abs().sum(dim=(0, 1))) / flowing
        source_change = (new_rise - rise).transpose(0, 1).repeat_interleave(per_line, dim=1)[:, :wordlines]
        amps = amps - up * tile.cell_slopes[:, :, None] * source_change
        drop, rise = new_drop, new_rise
        if not bool((residual > nodal.TOLERANCE).any()):
            break
    extremes = torch.stack([across.min(), across.max(), source.min() + source_volts, source.max() + source_volts])
    return amps.sum(dim=1).T, _by_line(amps, per_line).sum(dim=1).T, residual, extremes


def _by_line(amps: Tensor, per_line: int) -> Tensor:
    """Sum `[bitlines, wordlines, reads]` over the rows of each source line to `[source lines, bitlines, reads]`."""
    padded = torch.nn.functional.pad(amps, (0, 0, 0, -amps.shape[1] % per_line))
    return padded.view(len(amps), -1, per_line, amps.shape[2]).sum(dim=2).transpose(0, 1)


def cell_amps(tile: OnDevice, level: Tensor, across: Tensor, source: Tensor) -> Tensor:
    """Return the currents `[bitlines, wordlines, reads]` of all cells at their volts, of the same shape, and at gate
    levels `[wordlines, reads]`."""
    total, alone = torch.zeros_like(across), len(tile.across_pieces) * len(tile.source_pieces) == 1
    for a, (low, high, middle, factor) in enumerate(tile.across_pieces):
        in_a = (across >= low) & (across < high)
        d = (across - middle) * factor
        for b, (bottom, top, centre, scale) in enumerate(tile.source_pieces):
            here = in_a & (source >= bottom) & (source < top)
            if not alone and not bool(here.any()):
                continue
            s, piece = (source - centre) * scale, a * len(tile.source_pieces) + b
            for gate, (powers, source_powers) in enumerate(tile.orders):
                value = torch.zeros_like(across)
                for p in range(powers - 1, -1, -1):
                    row = tile.coefficients[piece, gate, p, source_powers - 1, :, :, None]
                    for q in range(source_powers - 2, -1, -1):
                        row = row * s + tile.coefficients[piece, gate, p, q, :, :, None]
                    value = value * d + row
                if powers:
                    total += torch.where(here & (level == gate), value, 0.0)
    return total
