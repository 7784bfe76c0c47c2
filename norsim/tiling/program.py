"""Program a tile: turn its weight codes into thresholds of cells.

The simulator finds the thresholds of the levels, and cells are programmed in place if the chip says so.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace

import numpy as np

from norsim.array import in_time, settling
from norsim.array.clipped import Clipped, clipped
from norsim.array.sectors.program_pulses import Programmed
from norsim.array.tile import Floats, Stimulus, Tile
from norsim.array.wires import Wires
from norsim.backends.end_of_life import aged
from norsim.backends.programming import aimed, cell_amps, leakage, program_levels
from norsim.backends.reference_cells import curves, drivers
from norsim.chip.model import Chip
from norsim.errors import ConfigurationError
from norsim.periphery.encoding import Codes, Encoding, tile_notes
from norsim.periphery.programming import Levels
from norsim.quantization.layer import QuantizedLayer
from norsim.tiling.tile import PlacedTile

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ProgrammedTile:
    """The array of a placed tile.

    `tile`      the thresholds `[wordlines, bitlines]` of its cells, and its wires
    `levels`    the target thresholds of weight codes
    `encoding`  that of the placed tile, with the actual voltages of this chip's drivers
    `inputs`, `outputs`, `input_bits`   its number of inputs and of outputs, and the width of its activation codes
    `read_sigma`   `[wordlines, bitlines]`, amperes: standard deviation of each cell's current under the verify read,
                   from one read to the next; None without noise that is drawn for each read
    `clipped`      how many of its cells cannot reach their state
    `pulsed`    what pulses made of its cells; None if the chip has no pulses
    """

    tile: Tile = field(repr=False)
    levels: Levels = field(repr=False)
    encoding: Encoding
    inputs: int
    outputs: int
    input_bits: int
    read_sigma: Floats | None = field(default=None, repr=False)
    clipped: Clipped = field(default=Clipped(), repr=False)
    pulsed: Programmed | None = field(default=None, repr=False)

    def __str__(self) -> str:
        volts = self.tile.thresholds
        return (
            f"{self.tile.name}: {self.tile.wordlines} wordlines x {self.tile.bitlines} bitlines, thresholds "
            f"{volts.min():.3f} V to {volts.max():.3f} V"
        )

    def drive(self, codes: Codes) -> Stimulus:
        """Return the volts for this tile's `[vectors, inputs]` activation codes, in the order of its lines; passes
        innermost."""
        return self.encoding.drive(codes, self.outputs, self.input_bits)

    def request(self) -> tuple[Tile, Stimulus]:
        """Return the tile, and volts of the kind that it is read under."""
        return self.tile, self.drive(np.zeros((1, self.inputs), np.uint8))


def program_tile(part: PlacedTile) -> ProgrammedTile:
    """Program `part`.

    Raises SimulatorError without a simulator, and ConfigurationError for levels that the cell cannot reach.
    """
    chip, layer = part.chip, part.layer
    levels = program_levels(chip.verify_cell, chip.encoding)
    encoding = drivers(chip, levels).for_weights(layer.weight_bits).for_blocks(part.blocks)
    if encoding.input_amps is not None:
        _check_one_voltage(part)
    target = part.by_level(levels.target_amps, 0.0)
    verified, missing = _verified(_nominal(part, levels), part, target)
    tile, in_place = _in_place(verified, part, target)
    pulsed = _pulsed(tile, part, target)
    if pulsed is not None:
        tile = replace(tile, thresholds=np.clip(pulsed.thresholds, *chip.verify_cell.limits))
    cells = (tile.thresholds, target, chip.cell, curves(chip), part.draw, tile.gains)
    (thresholds, lost), read_sigma = chip.silicon.state(*cells), chip.silicon.read_sigma(*cells)
    thresholds = aged(chip, thresholds)
    gate_volts = np.full(tile.bitlines, encoding.wordline_volts)
    gains = tile.gains
    seen = _seen(chip, tile.wires, thresholds, encoding.wordline_volts - encoding.off_volts)
    if seen is not None:
        gains = seen if gains is None else gains * seen
    if chip.wordline_rise_seconds is not None:
        # A gate that lags behind its driver acts like a cell whose threshold is higher by the missing voltage.
        off = encoding.off_volts
        shares = settling.gate_shares(chip.wires, tile.bitlines, chip.wordline_rise_seconds)
        gate_volts = off + (gate_volts - off) * shares
        thresholds = thresholds + (encoding.wordline_volts - gate_volts)
    slopes = chip.silicon.slopes(thresholds.shape, part.draw)
    if slopes is not None:
        # See norsim.array.non_idealities.transistor_mismatch: nothing changes at the gate volts of program-verify.
        thresholds = thresholds - slopes * (gate_volts - chip.encoding.verify_volts[0])
    at_last = clipped(thresholds, chip.cell.limits, np.maximum(missing, in_place))
    thresholds = np.clip(thresholds, *chip.cell.limits)
    volts = chip.amplifier_offsets(part.draw, tile.bitlines)
    offsets = None if volts is None else chip.sensing.offset_share * volts
    leaks = chip.neighbours.leaks(
        _idle_rows(part), tile.bitlines, chip.cell.erased_volts,
        lambda states: leakage(chip.cell, chip.encoding)(states), part.draw.random("neighbours"),
    )  # fmt: skip
    return ProgrammedTile(
        replace(tile, thresholds=thresholds, cell=chip.cell, gains=gains, offsets=offsets, leaks=leaks), levels,
        encoding, len(part.inputs), len(part.outputs), layer.input_bits, read_sigma,
        max(lost, at_last, key=lambda one: one.low), pulsed,
    )  # fmt: skip


def aimed_at(part: PlacedTile) -> tuple[Tile, Floats]:
    """Return the tile with the thresholds of nominal cells as program-verify aims at them, in the array if the chip
    programs in place, and the currents of their levels, amperes `[wordlines, bitlines]`."""
    levels = program_levels(part.chip.verify_cell, part.chip.encoding)
    target = part.by_level(levels.target_amps, 0.0)
    return _in_place(_nominal(part, levels), part, target)[0], target


def _check_one_voltage(part: PlacedTile) -> None:
    """Raise ConfigurationError for keys whose laws need wordlines at one voltage, on an array with a level for each
    activation code."""
    chip = part.chip
    given = {
        "silicon.in_situ": chip.in_situ,
        "sense.read_time": chip.sensing.read_seconds is not None,
        "the mismatch of slopes": chip.silicon.slopes((1, 1), part.draw) is not None,
    }
    for key, is_given in given.items():
        if is_given:
            raise ConfigurationError(
                f"{key} needs wordlines at one voltage, but those of {chip.encoding.name} have a level for each "
                "activation code: leave it out"
            )


def _seen(chip: Chip, wires: Wires, thresholds: Floats, step_volts: float) -> Floats | None:
    """Return the share of each cell's current, `[wordlines, bitlines]` as `thresholds`, that a read sees, whose
    wordlines step by `step_volts`; None if reads settle."""
    seconds, window = chip.sensing.read_seconds, chip.sensing.window_seconds
    if seconds is None:
        return None
    if chip.encoding.inputs_on == "bitlines":
        wordlines, bitlines = thresholds.shape
        return in_time.through_source_lines(wires, (wordlines, bitlines), seconds, window)
    top, read = float(chip.encoding.level_amps.max()), curves(chip).read
    return in_time.through_bitlines(wires, thresholds, seconds, window, step_volts, top, read)


def warn_of_cells(name: str, found: Clipped) -> None:
    """Warn of cells of `name` that conduct less than they should, because no threshold is low enough."""
    if found.low:
        LOG.warning(
            "warning: %s: %s, so they conduct less than they should. Lower the currents of the levels or cell.erased "
            "(beyond program-verify: cell.lowest), or check what the section silicon does to them", name, found,
        )  # fmt: skip


def _nominal(part: PlacedTile, levels: Levels) -> Tile:
    """Return the tile with every cell at the threshold of its level."""
    chip, layer = part.chip, part.layer
    carried = np.asarray(part.inputs) if part.order is None else np.asarray(part.inputs)[part.order]
    inputs = [input_note(layer, int(k)) for k in carried]
    outputs = [f"layer {layer.name}, output channel {k}" for k in part.outputs]
    wordlines, bitlines = part.encoding.line_notes(inputs, outputs, layer.weight_zero)
    thresholds = part.by_level(levels.thresholds, chip.verify_cell.programmed_volts)
    wires = chip.neighbours.loaded(chip.wires, _idle_rows(part))
    return Tile(
        thresholds, chip.verify_cell, wires, tuple(wordlines), tuple(bitlines),
        f"layer {layer.name}, tile {part.row},{part.column}: inputs {part.inputs.start} to "
        f"{part.inputs.stop - 1}, outputs {part.outputs.start} to {part.outputs.stop - 1}",
        _notes(part, levels),
    )  # fmt: skip


def _verified(tile: Tile, part: PlacedTile, target: Floats) -> tuple[Tile, Floats]:
    """Return the tile with the gains of its cells, and with thresholds at which each conducts its `target`, amperes
    `[wordlines, bitlines]`, under the verify read as far as its window reaches; and what is missing, amperes."""
    chip = part.chip
    gains = chip.silicon.gains(tile.thresholds.shape, part.draw)
    if gains is None:
        return tile, np.zeros(target.shape)
    threshold_of, on, thresholds = curves(chip).verify, target > 0, tile.thresholds.copy()
    thresholds[on] += threshold_of(target[on] / gains[on]) - threshold_of(target[on])
    window = chip.verify_cell.erased_volts, chip.verify_cell.programmed_volts
    missing = np.zeros(target.shape)
    low = on & (thresholds < window[0])
    if low.any():
        reached = cell_amps(chip.verify_cell, np.array(window[:1]), *chip.encoding.verify_volts)[0]
        missing[low] = np.maximum(target[low] - reached * gains[low], 0.0)
    return replace(tile, thresholds=np.clip(thresholds, *window), gains=gains), missing


def _idle_rows(part: PlacedTile) -> int:
    """Return the wordlines of the chip's tile that hold no inputs of this one; arrays with inputs on bitlines have
    none."""
    return part.chip.wordlines - len(part.inputs) if part.encoding.inputs_on == "wordlines" else 0


def _pulsed(tile: Tile, part: PlacedTile, target: Floats) -> Programmed | None:
    """Return what the chip's pulses make of the cells of an erased tile, which should get the thresholds of `tile`;
    those whose `target` is 0 A only must not conduct. None if the chip has no pulses."""
    pulses = part.chip.pulses
    if pulses is None:
        return None
    return pulses.program(tile.thresholds, target <= 0, tile.cell.erased_volts, part.draw.random("pulses"))


def _in_place(tile: Tile, part: PlacedTile, target: Floats) -> tuple[Tile, Floats]:
    """Return the tile with cells that conduct `target` `[wordlines, bitlines]` in the array, if the chip programs in
    place; and what is missing, amperes."""
    chip = part.chip
    if not chip.in_situ:
        return tile, np.zeros(target.shape)
    nothing = np.zeros((1, len(part.inputs)), np.uint8)
    kind = part.encoding.drive(nothing, len(part.outputs), part.layer.input_bits)
    return aimed(tile, kind, target, np.random.default_rng(0))


def _notes(part: PlacedTile, levels: Levels) -> tuple[str, ...]:
    names = [f"output channel {k}" for k in part.outputs]
    return (
        *tile_notes(part.encoding, names, part.chip.cell.state, levels.thresholds),
        f"Weight code {part.layer.weight_zero} stands for 0. Beside a deck of norsim build-netlist, tile.npz has "
        "the activation codes and tile.json the weight codes.",
    )


def input_note(layer: QuantizedLayer, index: int) -> str:
    """Return a note on the layer's input that a line carries: for a convolution, its channel and kernel position."""
    if layer.geometry is None:
        return f"input {index}"
    height, width = layer.geometry.kernel
    channel, place_in_kernel = divmod(index, height * width)
    return f"input {index}: channel {channel}, kernel ({place_in_kernel // width}, {place_in_kernel % width})"
