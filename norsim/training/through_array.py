"""Training through the arrays: a quantized network whose forward pass is the circuit's, and so is its gradient.

With trained weights W and tiles programmed with weights W0, the output of a layer is

    y = L(W) x + [A(x) - L(W0) x],        L(W) = W - W0 + W_eff,

where A(x) is the output of the tiles, their converters and their fits, treated as a constant, and W_eff is its
derivative with respect to x, from the gradient of the `macro` model of each tile. So y equals A(x) while W is W0, and
follows W to first order from there; the gradient with respect to x is the circuit's, that with respect to W is x.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from norsim.backends.macro import Macro
from norsim.periphery.encoding import sense_matrix, to_outputs
from norsim.quantization.layer import weight_span
from norsim.quantization.modules import QuantizedOperands, positive, quantized_operands
from norsim.quantization.replace import forwards
from norsim.tiling.grid import TileGrid
from norsim.tiling.modules import TiledLayer, tiled_layers
from norsim.tiling.program import ProgrammedTile
from norsim.tiling.read_noise import ReadNoise
from norsim.tiling.reader import Reader
from norsim.tiling.tile import PlacedTile

# Share of full drive around which most activations lie.
USUAL_DRIVE = 0.25


def effective_weights(grid: TileGrid) -> Tensor:
    """Return the change of each output's sum on the array per step of an input code, `[outputs, inputs]`, float32.

    Inputs are those of one group, as in the layer's weights.
    """
    found = torch.zeros(grid.layer.outputs, grid.layer.inputs)
    for part, array in zip(grid.tiles, grid.arrays, strict=True):
        blocks, columns = part.blocks, torch.tensor(weight_span(grid.layer, part.inputs, part.outputs))
        steps = _of_tile(part, array).view(blocks, -1, blocks, len(part.inputs) // blocks)
        # Between blocks there is only the leakage of cells that are off.
        own = torch.cat([steps[block, :, block] for block in range(blocks)])
        found[part.outputs.start : part.outputs.stop, columns[: own.shape[1]]] += own
    return found


def _of_tile(part: PlacedTile, array: ProgrammedTile) -> Tensor:
    """`[outputs, inputs]` of a tile, its inputs in the layer's order."""
    encoding, inputs = part.encoding, len(part.inputs)
    model = Macro().model(array.tile, array.drive(np.zeros((1, inputs), np.uint8))).model
    at = torch.full((inputs,), USUAL_DRIVE)
    jacobian: Any = torch.autograd.functional.jacobian
    slopes: Tensor = jacobian(lambda x: model.lines(x[None])[0], at, vectorize=True)
    kind = "bitline" if model.drive.direction == "wordlines" else "source"
    sense = torch.from_numpy(sense_matrix(encoding.sense(len(part.outputs)), kind, slopes.shape[0])).float()
    steps: Tensor = sense.T @ slopes.float() / (encoding.lsb_amps * encoding.top_drive)
    steps *= torch.from_numpy(part.gain).float()[:, None]
    values = torch.from_numpy(encoding.slice_values).float()
    steps = (steps.view(-1, encoding.slices, inputs) * values[:, None]).sum(dim=1)
    if part.order is not None:
        steps = steps[:, torch.from_numpy(np.argsort(part.order))]
    digital = encoding.digital_part(np.eye(inputs, dtype=np.uint8), part.layer.weight_zero)
    return steps if digital is None else steps + torch.from_numpy(to_outputs(digital, len(steps))).float().T


@contextmanager
def through_circuit(network: nn.Module, analog: nn.Module, noise: ReadNoise) -> Iterator[None]:
    """Give the quantized layers of `network` the outputs of those of `analog` within the block, and gradients as above.

    `analog` is the same network, converted and calibrated; layers that stay digital in it are left as they are.
    `noise` is that of cells and converters; it is drawn again in each call.
    """
    tiled = tiled_layers(analog)
    layers = {name: layer for name, layer in quantized_operands(network).items() if not tiled[name].stays_digital}
    with forwards((layer, _Circuit(layer, tiled[name], noise)) for name, layer in layers.items()):
        yield


class _Circuit:
    """A forward of a quantized layer that returns the circuit's output."""

    def __init__(self, layer: QuantizedOperands, tiled: TiledLayer, noise: ReadNoise) -> None:
        self.layer, self.tiled = layer, tiled
        tiled.use(Reader(Macro(), noise=noise))
        scale = positive(layer.weight_scale).detach()[:, None]
        self.effective = (effective_weights(tiled.grid).to(scale) * scale).view_as(layer.weight)
        self.programmed = layer.quantized_weight().detach()
        bias: Any = layer.bias
        self.bias = None if bias is None else bias.detach().clone()

    def __call__(self, input: Tensor) -> Tensor:
        layer = self.layer
        bias: Any = layer.bias
        x = layer.quantized_input(input)
        with torch.no_grad():
            # Without hooks, because the quantized layer has the same ones.
            beyond = self.tiled.forward(input) - _linear(layer, x, self.effective, self.bias)
        weight = layer.quantized_weight() - self.programmed + self.effective
        found: Tensor = _linear(layer, x, weight, bias) + beyond
        return found


def _linear(layer: QuantizedOperands, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    multiply: Any = functional.linear if isinstance(layer, nn.Linear) else layer._conv_forward
    found: Tensor = multiply(x, weight, bias)
    return found
