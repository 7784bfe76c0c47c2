"""From a layer and its tiles to tensors on a device."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from norsim.array.read_noise import line_variance
from norsim.array.tile import Floats
from norsim.backends.backend import Backend
from norsim.errors import ConfigurationError
from norsim.periphery.encoding import Encoding
from norsim.quantization.layer import QuantizedLayer
from norsim.solver.macro.float16_parts import parts
from norsim.solver.macro.on_device import moved, on_device
from norsim.tiling.on_device.converter import Converter
from norsim.tiling.on_device.tile import DeviceTile
from norsim.tiling.on_device.vectors import DigitalSide
from norsim.tiling.program import ProgrammedTile
from norsim.tiling.read_noise import cell_places
from norsim.tiling.tile import PlacedTile


def digital_side(layer: QuantizedLayer, device: torch.device) -> DigitalSide:
    """Return the integers of a layer as tensors on a device."""
    signed = layer.weights.astype(np.int64) - layer.weight_zero
    # As norsim.tiling.grid.signed_weights: float32 represents all sums of the layer.
    single = layer.inputs * 2 ** (layer.weight_bits + layer.input_bits) < 2**24
    weights = signed.reshape(layer.groups, -1, layer.inputs).transpose(0, 2, 1)
    bias = np.zeros(layer.outputs) if layer.bias is None else layer.bias
    side = DigitalSide(
        torch.tensor(np.float32(1) / np.float32(layer.input_scale)), layer.input_zero, 2**layer.input_bits - 1,
        torch.tensor(weights, dtype=torch.float16 if single else torch.float64),
        torch.tensor(layer.weight_scale.astype(np.float64) * float(layer.input_scale)),
        torch.tensor(bias, dtype=torch.float64),
        torch.tensor(layer.input_zero * signed.sum(axis=1), dtype=torch.float64),
    )  # fmt: skip
    return moved(side, device)


def device_tile(part: PlacedTile, array: ProgrammedTile, backend: Backend, device: torch.device) -> DeviceTile:
    """Return a tile, read through the model of `backend`, as tensors on a device.

    Raises ConfigurationError for an encoding that drives lines in different ways.
    """
    layer, encoding = part.layer, part.encoding
    passes = encoding.passes(layer.input_bits)
    model = backend.model(array.tile, array.drive(np.zeros((1, array.inputs), np.uint8)))
    drives, squares = _by_code(array.encoding, array.inputs, layer.input_bits, passes)
    sensed, signs = _senses(encoding, array.outputs)
    variance = None
    if array.read_sigma is not None:
        variance = parts(line_variance(array.read_sigma, cell_places(array)))
    tile = DeviceTile(
        on_device(model), (part.inputs.start, part.inputs.stop), (part.outputs.start, part.outputs.stop),
        None if part.order is None else torch.from_numpy(part.order), drives, float(encoding.top_drive), sensed, signs,
        _converter(part, passes), squares, variance,
        None if part.digital_part(np.zeros((1, layer.vector_length), np.uint8)) is None else part.digital_part,
    )  # fmt: skip
    return moved(tile, device)


def _by_code(encoding: Encoding, inputs: int, bits: int, passes: int) -> tuple[Tensor | None, Tensor]:
    """Return the drive `[levels, slots]` of a line in each slot, None if it is the code itself, and the squares of its
    shares of full drive, summed over slots, `[levels, passes]`."""
    slots = encoding.slots(bits)
    codes = np.repeat(np.arange(2**bits, dtype=np.uint8)[:, None], inputs, axis=1)
    drives = np.asarray(encoding.drives(codes))
    if (drives != drives[:, :1]).any():
        raise ConfigurationError(
            f"the encoding {encoding.name} drives its lines in different ways, which is read only on a CPU; move the "
            'network there with net.to("cpu")'
        )
    shares = encoding.shares(drives, passes * slots).reshape(len(codes), passes, slots, inputs)[..., 0]
    squares = torch.tensor(np.square(shares.sum(axis=2)), dtype=torch.float32)
    if slots > 1:
        return torch.tensor(shares[:, 0], dtype=torch.uint8), squares
    same = drives.dtype == np.uint8 and (drives == codes).all()
    whole = drives.dtype == np.uint8
    table = torch.tensor(drives[:, :1], dtype=torch.uint8 if whole else torch.float32)
    return None if same else table, squares


def _senses(encoding: Encoding, outputs: int) -> tuple[Tensor, Tensor]:
    """Return the lines `[parts, conversions]` that conversions are summed from, and their signs."""
    sense = encoding.sense(outputs)
    shape = (max(len(terms) for terms in sense), len(sense))
    sensed, signs = np.zeros(shape, np.int64), np.zeros(shape, np.float32)
    for output, terms in enumerate(sense):
        for place, (_, line, sign) in enumerate(terms):
            sensed[place, output], signs[place, output] = line, sign
    return torch.from_numpy(sensed), torch.from_numpy(signs)


def _converter(part: PlacedTile, passes: int) -> Converter:
    """Return the converters of a tile: the arguments of norsim.periphery.readout.convert_and_add, in float32."""
    ranges, flaws, (scale, shift) = part.ranges, part.flaws, part.of_code

    def single(values: Floats | float) -> Tensor:
        return torch.tensor(values, dtype=torch.float32)

    return Converter(
        single(flaws.low_amps(ranges)), single(ranges.step_amps), float(ranges.top),
        single(1 + flaws.gain), single(flaws.offset), single(4 * flaws.bow), single(scale), single(shift),
        tuple(part.encoding.place_values(passes).tolist()), part.encoding.slices,
        None if flaws.thresholds is None else single(flaws.thresholds),
    )  # fmt: skip
