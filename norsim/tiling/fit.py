"""Fit the converter range and the column correction of a tile to reads of the array on training activations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from norsim.array.compiled import njit
from norsim.array.tile import Currents, Floats, Stimulus
from norsim.chip.model import Chip
from norsim.errors import ConfigurationError
from norsim.periphery.adc import Adc, fit_range
from norsim.periphery.circuits.energy import (
    ReadEnergy,
    cell_watts,
    line_joules,
    read_energy,
    rise_joules,
    swing_squared,
)
from norsim.periphery.encoding import Codes, sense_matrix
from norsim.tiling.program import ProgrammedTile
from norsim.tiling.tile import PlacedTile

# Vectors whose line energies are computed at a time: at least those of a calibration, in one slot.
AT_ONCE = 2048
# Reads of a pass with up to this place value weigh alike in a fit.
ALIKE = 8.0
# Count of numbers in a tile's fit besides those of its converters: the energies of a read.
ENERGIES = 3


def fitted(
    part: PlacedTile, layer_codes: Codes, reads: NDArray[np.int64], amps: Floats, noise: NDArray[np.floating] | None,
    stimulus: Stimulus, currents: Currents, line_energy: float,
) -> PlacedTile:  # fmt: skip
    """Return `part` with fitted converter ranges, gain and offset, and with the energy of a read.

    `layer_codes` `[vectors, inputs]` are activations of training images, and `line_energy` is the mean of all their
    drives, joules per read; the others belong to the tile's `reads` `[n]` among these drives. `amps` `[n, conversions]`
    are measured: the `currents` under `stimulus`, with noise of the cells; `noise`, of the same shape, is that of the
    converters in steps, None without. For each slice of each output, a line in the exact values is fitted to the
    measured amperes; the range of a slice is that of its lines over all of `layer_codes`,
    unless the chip sets another one. Errors of a pass count in the sum by its place value, so reads weigh by it; passes
    up to the fourth bit weigh alike, since a few reads that weigh most would make the fit noisier than they help.
    """
    exact = part.pass_values(layer_codes).reshape(-1, part.conversions)
    lsb, chip, slices = part.encoding.lsb_amps, part.chip, len(part.adcs)
    places = part.encoding.place_values(part.encoding.passes(part.layer.input_bits))
    weights = np.maximum(places / ALIKE, 1.0)[reads % len(places)]
    slope, intercept = fit_lines(exact[reads], amps, weights, flat_slope=lsb)
    adcs = (chip.unfitted_adc(part.full_scale_amps),) * slices
    if chip.adc_range == "fitted":
        of_slices = (slice(one, None, slices) for one in range(slices))
        adcs = tuple(
            _range_of(np.ascontiguousarray(exact[:, own]), slope[own], intercept[own], chip.adc_bits, lsb)
            for own in of_slices
        )
    part = replace(part, adcs=adcs)
    watts = cell_watts(stimulus, currents)
    energy = read_energy(
        chip.costs, watts, line_energy, part.conversions, chip.outputs_per_converter, chip.adc_bits,
        part.slots,
    )  # fmt: skip
    gain, offset = part.gain, part.offset
    if chip.calibration.column_fit:
        noisy = amps if noise is None else amps + part.ranges.step_amps * noise
        seen = part.ranges.amps(part.convert(noisy))
        gain, offset = fit_lines(seen / lsb, exact[reads], weights, flat_slope=1.0)
    return replace(part, gain=gain, offset=offset, energy=energy)


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


def line_energy(
    array: ProgrammedTile, chip: Chip, codes: Codes, passes: int, slots: int, some: Stimulus
) -> float:  # fmt: skip
    """Return the mean energy per read, of that many slots, of the lines that carry the tile's `[vectors, inputs]`
    codes; `some` are the volts of a few of these reads."""
    count = passes * slots
    if some.full_volts is None or some.levels:
        return slots * line_joules(chip.costs, chip.wires, array.drive(codes), count)
    by_wordline = some.driven == "wordlines"
    across = array.tile.bitlines if by_wordline else array.tile.wordlines
    # Fewer vectors at a time if each has many slots.
    parts = [codes[start : start + AT_ONCE // slots] for start in range(0, len(codes), AT_ONCE // slots)]
    joules = [
        rise_joules(
            chip.costs, chip.wires, array.encoding.shares(array.encoding.drives(part), count), across, count,
            by_wordline,
        )
        for part in parts
    ]  # fmt: skip
    return (
        slots
        * swing_squared(some.full_volts, some.off_volts)
        * float(np.average(joules, weights=[len(part) / len(parts[0]) for part in parts]))
    )


def on_chip(part: PlacedTile, chip: Chip) -> PlacedTile:
    """Return `part` on a chip that differs from its own in its state alone, with the offsets that its amplifiers have
    there."""
    volts = chip.amplifier_offsets(part.draw, chip.bitlines)
    if volts is None:
        return replace(part, chip=chip)
    sense = sense_matrix(part.encoding.sense(len(part.outputs)), "bitline", chip.bitlines)
    amps = part.slots * (chip.sensing.output_amps(volts) @ sense)
    return replace(part, chip=chip, flaws=replace(part.flaws, amps=amps))


def at_reference(part: PlacedTile, ratio: float) -> PlacedTile:
    """Return `part` with the reference of its converters `ratio` times that of its calibration.

    The range scales with the reference. A code still stands for the current of its calibration, so the gain falls.
    """
    adcs = tuple(replace(adc, low_amps=ratio * adc.low_amps, high_amps=ratio * adc.high_amps) for adc in part.adcs)
    return replace(part, adcs=adcs, gain=part.gain / ratio)


def fit_lines(x: Floats, y: Floats, weights: Floats, flat_slope: float) -> tuple[Floats, Floats]:
    """Return slope and intercept `[columns]` of the least-squares lines of y `[n, columns]` over x `[n, columns]`, with
    `weights` `[n]` of the squares.

    A column with constant x does not determine its slope and gets `flat_slope`.
    """
    share = (weights / weights.sum())[:, None]
    middle, level = (share * x).sum(axis=0), (share * y).sum(axis=0)
    centred = x - middle
    spread = (share * np.square(centred)).sum(axis=0)
    flat = spread <= 1e-12 * (share * np.square(x)).sum(axis=0)
    along = (share * centred * (y - level)).sum(axis=0)
    slope = np.where(flat, flat_slope, along / np.where(flat, 1.0, spread))
    return slope, level - slope * middle


def fit_as_vector(tiles: Sequence[PlacedTile]) -> Floats:
    """Return the fit of the tiles as one vector `[n]`, tile after tile: lowest and highest current of the converter of
    each slice, the three energies of a read, then gains and offsets `[conversions]`."""
    parts: list[Floats] = []
    for part in tiles:
        energy = part.energy
        ends = [end for adc in part.adcs for end in (adc.low_amps, adc.high_amps)]
        parts += [np.array([*ends, energy.cells, energy.lines, energy.converters]), part.gain, part.offset]
    return np.concatenate(parts)


def with_fit(tiles: Sequence[PlacedTile], state: Floats) -> tuple[PlacedTile, ...]:
    """Return the tiles with the fit `state` `[n]` from `fit_as_vector`. Raises ConfigurationError for a fit of other
    tiles."""
    if state.shape != (sum(2 * len(part.adcs) + ENERGIES + 2 * part.conversions for part in tiles),):
        raise ConfigurationError(
            f"a fit of {state.size} numbers does not match the {len(tiles)} tiles of layer {tiles[0].layer.name!r}: "
            "the state_dict belongs to a network on another chip"
        )
    found, place = [], 0
    for part in tiles:
        size, ends = part.conversions, 2 * len(part.adcs)
        own = state[place : place + ends + ENERGIES + 2 * size]
        place += len(own)
        adcs = tuple(
            replace(adc, low_amps=low, high_amps=high)
            for adc, (low, high) in zip(part.adcs, own[:ends].reshape(-1, 2).tolist(), strict=True)
        )
        energy, (gain, offset) = own[ends : ends + ENERGIES], own[ends + ENERGIES :].reshape(2, size).copy()
        found.append(replace(part, adcs=adcs, gain=gain, offset=offset, energy=ReadEnergy(*energy.tolist())))
    return tuple(found)
