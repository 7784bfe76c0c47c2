"""Fit the converter range and the column correction of a tile to reads of the array on training activations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from norsim.array.compiled import njit
from norsim.array.tile import Currents, Floats, Stimulus
from norsim.errors import ConfigurationError
from norsim.periphery.adc import Adc, fit_range
from norsim.periphery.encoding import Codes
from norsim.periphery.energy import ReadEnergy, cell_watts, read_energy
from norsim.tiling.tile import PlacedTile

# Count of numbers in a tile's fit besides those of its outputs.
SCALARS = 5


def fitted(
    part: PlacedTile, layer_codes: Codes, reads: NDArray[np.int64], amps: Floats, noise: NDArray[np.floating] | None,
    stimulus: Stimulus, currents: Currents, line_energy: float,
) -> PlacedTile:  # fmt: skip
    """Return `part` with fitted converter range, gain and offset, and with the energy of a read.

    `layer_codes` `[vectors, inputs]` are activations of training images, and `line_energy` is the mean of all their
    drives, joules per read; the others belong to the tile's `reads` `[n]` among these drives. `amps` `[n, outputs]` are
    measured: the `currents` under `stimulus`, with noise of the cells; `noise`, of the same shape, is that of the
    converters in steps, None without. Per output, a line in the exact values is fitted to the measured amperes; the
    range is that of the line over all of `layer_codes`.
    """
    exact = part.pass_values(layer_codes).reshape(-1, len(part.outputs))
    lsb, chip = part.chip.encoding.lsb_amps, part.chip
    slope, intercept = fit_lines(exact[reads], amps, flat_slope=lsb)
    adc = _range_of(exact, slope, intercept, chip.adc_bits, lsb)
    watts = cell_watts(stimulus, currents)
    energy = read_energy(
        chip.costs, watts, line_energy, len(part.outputs), chip.outputs_per_converter, chip.adc_bits
    )  # fmt: skip
    gain, offset = part.gain, part.offset
    if chip.calibration.column_fit:
        noisy = amps if noise is None else amps + adc.step_amps * noise
        seen = adc.amps(adc.convert(noisy, part.flaws))
        gain, offset = fit_lines(seen / lsb, exact[reads], flat_slope=1.0)
    return replace(part, adc=adc, gain=gain, offset=offset, energy=energy)


def _range_of(exact: Floats, slope: Floats, intercept: Floats, bits: int, lsb_amps: float) -> Adc:
    """Return the range for the amperes exact x slope + intercept of integers `exact` `[n, outputs]`.

    Each output takes few different integers, so they are counted, if that is shorter than all of them.
    """
    least, most = int(exact.min()), int(exact.max())
    if most - least >= len(exact):
        return fit_range(exact * slope + intercept, bits, lsb_amps)
    counts = np.zeros((most - least + 1, exact.shape[1]), np.int64)
    _count(exact, least, counts)
    amps = np.arange(least, most + 1)[:, None] * slope + intercept
    return fit_range(amps[counts > 0], bits, lsb_amps, counts[counts > 0])


@njit(nogil=True)
def _count(values, least, counts):  # type: ignore[no-untyped-def]
    """Add to counts[k, j] how many of the integers values[i, j] are `least` + k."""
    for i in range(len(values)):
        for j in range(values.shape[1]):
            counts[np.int64(values[i, j]) - least, j] += 1


def at_reference(part: PlacedTile, ratio: float) -> PlacedTile:
    """Return `part` with the reference of its converters `ratio` times that of its calibration.

    The range scales with the reference. A code still stands for the current of its calibration, so the gain falls.
    """
    adc = replace(part.adc, low_amps=ratio * part.adc.low_amps, high_amps=ratio * part.adc.high_amps)
    return replace(part, adc=adc, gain=part.gain / ratio)


def fit_lines(x: Floats, y: Floats, flat_slope: float) -> tuple[Floats, Floats]:
    """Return slope and intercept `[columns]` of the least-squares lines of y `[n, columns]` over x `[n, columns]`.

    A column with constant x does not determine its slope and gets `flat_slope`.
    """
    centred = x - x.mean(axis=0)
    spread = np.square(centred).sum(axis=0)
    flat = spread <= 1e-12 * np.square(x).sum(axis=0)
    along = (centred * (y - y.mean(axis=0))).sum(axis=0)
    slope = np.where(flat, flat_slope, along / np.where(flat, 1.0, spread))
    return slope, y.mean(axis=0) - slope * x.mean(axis=0)


def fit_as_vector(tiles: Sequence[PlacedTile]) -> Floats:
    """Return the fit of the tiles as one vector `[n]`, tile after tile: lowest and highest current of the converter,
    the three energies of a read, then gains and offsets `[outputs]`."""
    parts: list[Floats] = []
    for part in tiles:
        energy = part.energy
        scalars = (part.adc.low_amps, part.adc.high_amps, energy.cells, energy.lines, energy.converters)
        parts += [np.array(scalars), part.gain, part.offset]
    return np.concatenate(parts)


def with_fit(tiles: Sequence[PlacedTile], state: Floats) -> tuple[PlacedTile, ...]:
    """Return the tiles with the fit `state` `[n]` from `fit_as_vector`. Raises ConfigurationError for a fit of other
    tiles."""
    sizes = [len(part.outputs) for part in tiles]
    if state.shape != (sum(SCALARS + 2 * size for size in sizes),):
        raise ConfigurationError(
            f"a fit of {state.size} numbers does not match the {len(tiles)} tiles of layer {tiles[0].layer.name!r}: "
            "the state_dict belongs to a network on another chip"
        )
    found, place = [], 0
    for part, size in zip(tiles, sizes, strict=True):
        low, high, *energy = state[place : place + SCALARS].tolist()
        place += SCALARS
        gain, offset = state[place : place + size].copy(), state[place + size : place + 2 * size].copy()
        place += 2 * size
        adc = replace(part.adc, low_amps=low, high_amps=high)
        found.append(replace(part, adc=adc, gain=gain, offset=offset, energy=ReadEnergy(*energy)))
    return tuple(found)
