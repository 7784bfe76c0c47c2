"""Traces, conductances and noise of a network as CSV files for DNN+NeuroSim.

DNN+NeuroSim (X. Peng et al., IEDM 2019, DOI 10.1109/IEDM19573.2019.8993491; https://github.com/neurosim) reads for each
layer the weights and the activation bits of an image as comma-separated matrices; its constants are in `Param.cpp`. The
files here have the layout that its PyTorch wrapper writes (`Inference_pytorch/utee/hook.py` of V1.4):

  * `weight_LAYER.csv`: `[inputs, outputs]`, weights in -1 to 1, here (q - z) / 2^(bits - 1) of code q and zero point z;
  * `input_LAYER.csv`: `[inputs, vectors x bits]`, bits of the unsigned activation codes of one image, highest first.

Its own conductances are two numbers of `Param.cpp` with uniform levels between them. So these files are added:

  * `parameters.csv`: values for `Param.cpp`, by the names there;
  * `levels.csv`: for each tile and level the number of cells, and mean and standard deviation of their conductance,
    with the standard deviation from one read to the next: the moments that a conductance noise should have;
  * `conductance_LAYER_tile_R_C.csv`: `[wordlines, bitlines]`, siemens, of the programmed cells, each read alone.

The conductance of a cell is its current over the volts of its bitline; its current is not in proportion to these."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch import nn

from norsim.array.tile import Floats
from norsim.backends.programming import amps_of
from norsim.data.inputs.structure import Structure, taken
from norsim.exports.names import layers_on_array, plain_names
from norsim.tiling.modules import TiledLayer, layer_codes
from norsim.tiling.program import ProgrammedTile
from norsim.tiling.tile import PlacedTile

LEVELS_HEAD = (
    "layer,tile_row,tile_column,level,cells,target_siemens,mean_siemens,standard_deviation_siemens,"
    "read_standard_deviation_siemens"
)


def files(model: nn.Module, images: Structure) -> Iterator[tuple[str, str]]:
    """Return name and text of the files of a calibrated network; the activations are those of the first of the `images`
    `[n, ...]`.

    Raises ConfigurationError for a network without a layer on the array.
    """
    layers = layers_on_array(model, "conductances to export")
    codes = layer_codes(model, taken(images, slice(1)), list(layers))
    return _files(layers, codes, plain_names(list(layers)))


def _files(
    layers: dict[str, TiledLayer], codes: dict[str, NDArray[np.uint8]], names: dict[str, str]
) -> Iterator[tuple[str, str]]:
    levels = [LEVELS_HEAD]
    for name, layer in layers.items():
        quantized, plain = layer.grid.layer, names[name]
        signed = (quantized.weights.T.astype(np.float64) - quantized.weight_zero) / 2 ** (quantized.weight_bits - 1)
        yield f"weight_{plain}.csv", _matrix(signed, "%10.5f")
        places = np.arange(quantized.input_bits)[::-1]
        bits = codes[name].T[:, :, None] >> places & 1
        yield f"input_{plain}.csv", _matrix(bits.reshape(len(bits), -1), "%d")
        for part, array in layer.grid.programmed():
            siemens = conductances(array)
            yield f"conductance_{plain}_tile_{part.row}_{part.column}.csv", _matrix(siemens, "%.6e")
            levels += _levels(name, part, array, siemens)
    yield "levels.csv", "\n".join(levels) + "\n"
    yield "parameters.csv", _parameters(next(iter(layers.values())))


def conductances(array: ProgrammedTile) -> Floats:
    """Return the siemens `[wordlines, bitlines]` of the cells of a programmed tile, each read alone."""
    gate, drain = array.encoding.wordline_volts, array.encoding.verify_volts[1]
    amps = amps_of(array.tile.cell, gate, drain)(array.tile.thresholds)
    found: Floats = (amps if array.tile.gains is None else amps * array.tile.gains) / drain
    return found


def _levels(name: str, part: PlacedTile, array: ProgrammedTile, siemens: Floats) -> Iterator[str]:
    """Yield a row for each level that cells of a tile have. Cells that are programmed off, between blocks, are none."""
    drain = array.encoding.verify_volts[1]
    of_cells = part.by_level(np.arange(len(array.levels.target_amps), dtype=np.float64), -1.0)
    read = np.zeros(siemens.shape) if array.read_sigma is None else array.read_sigma / drain
    for level, amps in enumerate(array.levels.target_amps.tolist()):
        own = of_cells == level
        if own.any():
            moments = (amps / drain, siemens[own].mean(), siemens[own].std(), np.sqrt(np.mean(read[own] ** 2)))
            values = ",".join(f"{value:.6e}" for value in moments)
            yield f"{name},{part.row},{part.column},{level},{np.count_nonzero(own)},{values}"


def _parameters(layer: TiledLayer) -> str:
    chip, quantized = layer.grid.chip, layer.grid.layer
    drain = chip.encoding.verify_volts[1]
    levels = layer.grid.arrays[0].levels
    ends = amps_of(chip.verify_cell, *chip.encoding.verify_volts)(levels.thresholds[[0, -1]])
    rows: list[tuple[str, float, str]] = [
        ("cellBit", np.log2(len(levels.thresholds)), "bits of a cell"),
        ("synapseBit", quantized.weight_bits, f"bits of a weight of {quantized.name}; argument 2 of main"),
        ("numBitInput", quantized.input_bits, f"bits of an activation of {quantized.name}; argument 3 of main"),
        ("numRowSubArray", chip.wordlines, "wordlines of a tile; argument 4 of main"),
        ("numColSubArray", chip.bitlines, "bitlines of a tile"),
        ("numColMuxed", chip.outputs_per_converter, "outputs that share a converter"),
        ("levelOutput", 2.0**chip.adc_bits, "codes of a converter"),
        ("resistanceOn", drain / ends[1], "ohm, of a cell at the highest level"),
        ("resistanceOff", drain / ends[0], "ohm, of a cell at the lowest level"),
        ("readVoltage", drain, "volt"),
        ("temp", chip.cell.temperature_kelvin, "kelvin"),
        ("wireResistanceCol", chip.wires.bitline_ohms, "ohm, a segment of a bitline"),
    ]
    return "\n".join(["parameter,value,meaning", *(f'{name},{value:.6g},"{why}"' for name, value, why in rows)]) + "\n"


def _matrix(values: NDArray[np.generic], form: str) -> str:
    """Return a matrix `[rows, columns]` as comma-separated lines."""
    return "".join(",".join(form % value for value in row) + "\n" for row in values.tolist())
