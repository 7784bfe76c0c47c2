"""The ONNX operators LSTM, GRU and RNN with constant weights, as torch's layers of these names."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from norsim.zoo.onnx.axes import Attributes

# The activations that torch's layers have, by operator, for one direction.
ACTIVATIONS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}
RECURRENT = tuple(ACTIVATIONS)
# The order of torch's gates among those of ONNX: input, forget, cell and output gate; reset, update and new gate.
GATES = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}


class Recurrent(nn.Module):
    """A recurrent layer with the inputs and outputs of ONNX: `[steps, images, inputs]` to `[steps, directions, images,
    hidden]`, and the last states `[directions, images, hidden]`, one or, of an LSTM, two.

    `layer` is torch's, or computes the same. With `backwards`, the only direction is from the last step to the first.
    `images_first`: whether images are the first axis of all of these.
    """

    def __init__(self, layer: nn.LSTM | nn.GRU | nn.RNN, backwards: bool, images_first: bool) -> None:
        super().__init__()
        self.layer, self.backwards, self.images_first = layer, backwards, images_first
        # Its equivalent on an array is of another class.
        self.has_cells = isinstance(layer, nn.LSTM)

    def forward(self, x: Tensor, *states: Tensor | None) -> tuple[Tensor, ...]:
        """Return the outputs for `x`, from the initial `states`, zeros where they are None."""
        x = x.transpose(0, 1) if self.images_first else x
        x = x.flip(0) if self.backwards else x
        known = [one.transpose(0, 1) if self.images_first else one for one in states if one is not None]
        if self.has_cells and len(known) == 1:
            known.append(torch.zeros_like(known[0]))
        given = None if not known else tuple(known) if self.has_cells else known[0]
        found, last = self.layer(x, given)
        found = found.flip(0) if self.backwards else found
        steps, images, _ = found.shape
        found = found.view(steps, images, -1, self.layer.hidden_size).transpose(1, 2)
        ends = last if isinstance(last, tuple) else (last,)
        if self.images_first:
            return found.permute(2, 0, 1, 3), *(end.transpose(0, 1) for end in ends)
        return found, *ends


def recurrent(kind: str, attributes: Attributes, weights: list[Tensor]) -> Recurrent:
    """Return the layer of a node with weights `[directions, gates hidden, inputs]`, recurrent weights `[directions,
    gates hidden, hidden]` and, if there is a third, biases `[directions, 2 gates hidden]`.

    Raises ValueError for what torch's layers do not compute.
    """
    direction = attributes.get("direction", b"forward").decode()
    count = 2 if direction == "bidirectional" else 1
    usual = [name for _ in range(count) for name in ACTIVATIONS[kind]]
    stated = [name.decode().capitalize() for name in attributes.get("activations", [])] or usual
    rectified = kind == "RNN" and stated == ["Relu"] * count
    if stated != usual and not rectified:
        raise ValueError(f"activations {stated}; expected {usual}")
    for name, value in (("clip", 0.0), ("input_forget", 0)):
        if attributes.get(name, value) != value:
            raise ValueError(f"{name} {attributes[name]}, which torch's layer does not have")
    if kind == "GRU" and not attributes.get("linear_before_reset", 0):
        raise ValueError("linear_before_reset 0; torch's layer resets after the product")
    hidden = weights[1].shape[-1]
    if attributes.get("hidden_size", hidden) != hidden or len(weights[0]) != count:
        raise ValueError(f"weights {[list(part.shape) for part in weights]} for {count} directions")
    made: Any = getattr(nn, kind)
    options: dict[str, Any] = {"nonlinearity": "relu"} if rectified else {}
    layer = made(weights[0].shape[-1], hidden, bidirectional=count == 2, bias=len(weights) > 2, **options)
    for place in range(count):
        end = "_l0" + ("_reverse" if place else "")
        parts = {"weight_ih": weights[0][place], "weight_hh": weights[1][place]}
        if len(weights) > 2:
            parts["bias_ih"], parts["bias_hh"] = weights[2][place].chunk(2)
        for name, part in parts.items():
            if not torch.isfinite(part).all():
                raise ValueError("its weights are not all finite")
            gates = part.chunk(len(GATES[kind]))
            ordered = torch.cat([gates[gate] for gate in GATES[kind]])
            setattr(layer, name + end, nn.Parameter(ordered.contiguous()))
    return Recurrent(layer, direction == "reverse", bool(attributes.get("layout", 0)))
