"""Recurrent layers as linear layers and the functions between them, so that an array can hold the weights of gates.

torch multiplies by these weights in one function for the whole sequence. Here the weights of inputs and those of states
are linear layers: that of inputs gets all tokens at once, that of states one after the other. Gates and states stay
digital. Equations: those of torch's documentation of LSTM (Hochreiter & Schmidhuber 1997; Sak et al. 2014 with
projections), GRU (Cho et al. 2014) and RNN.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from norsim.errors import ConfigurationError
from norsim.quantization.replace import linear_of

# Gates of a layer, in the order of its weights.
GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}
CELLS = {nn.LSTMCell: "LSTM", nn.GRUCell: "GRU"}


def step(mode: str, of_input: Tensor, of_state: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return the next state, (h,) or (h, c), each `[images, hidden]`.

    `of_input` and `of_state` are products with their biases, `[images, gates x hidden]`, and `state` is that before.
    """
    if mode == "LSTM":
        i, f, g, o = (of_input + of_state).chunk(4, dim=-1)
        cell = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(cell), cell
    if mode == "GRU":
        (reset, update, new), (r, z, n) = of_input.chunk(3, dim=-1), of_state.chunk(3, dim=-1)
        update = torch.sigmoid(update + z)
        new = torch.tanh(new + torch.sigmoid(reset + r) * n)
        return ((1 - update) * new + update * state[0],)
    return (torch.tanh(of_input + of_state) if mode == "RNN_TANH" else torch.relu(of_input + of_state),)


class SplitRecurrent(nn.Module):
    """An equivalent of nn.LSTM, nn.GRU and nn.RNN: `[tokens, images, width]`, with images first if it is `batch_first`,
    or without images; an initial state can be given.

    The linear layers are `ih_l0`, `hh_l0` and so on, with `_reverse` for the direction from the last token, and `hr_l0`
    for projections.
    """

    def __init__(self, layer: nn.RNNBase) -> None:
        """Take the weights of `layer`."""
        super().__init__()
        self.mode, self.input_size, self.hidden_size = layer.mode, layer.input_size, layer.hidden_size
        self.num_layers, self.bidirectional = layer.num_layers, layer.bidirectional
        self.batch_first, self.dropout, self.proj_size = layer.batch_first, layer.dropout, layer.proj_size
        for name, weight in list(layer.named_parameters()):
            if name.startswith("weight_"):
                bias = getattr(layer, name.replace("weight", "bias"), None) if layer.bias else None
                self.add_module(name.removeprefix("weight_"), linear_of(weight, bias))
        self.train(layer.training)

    def flatten_parameters(self) -> None:
        """Do nothing: the weights are those of linear layers."""

    def forward(self, input: Tensor, hx: Any = None) -> tuple[Tensor, Any]:
        """Return the outputs of all tokens, and the last state: h, or (h, c) of an LSTM, `[layers, images, hidden]`.

        Raises ConfigurationError for a packed sequence.
        """
        if not isinstance(input, Tensor):
            raise ConfigurationError(
                f"a recurrent layer on the array is given a {type(input).__name__}; give a padded tensor, or leave the "
                "layer digital"
            )
        single = input.ndim == 2
        tokens = input.unsqueeze(1) if single else input.transpose(0, 1) if self.batch_first else input
        given: Any = hx if hx is None or isinstance(hx, tuple) else (hx,)
        initial = None if given is None else tuple(one.unsqueeze(1) if single else one for one in given)
        last: list[tuple[Tensor, ...]] = []
        for number in range(self.num_layers):
            ways = []
            for back in range(1 + self.bidirectional):
                place = len(last)
                start = None if initial is None else tuple(one[place] for one in initial)
                found, state = self._along(tokens, f"l{number}{'_reverse' if back else ''}", bool(back), start)
                ways.append(found)
                last.append(state)
            tokens = torch.cat(ways, dim=-1)
        states = tuple(torch.stack(one) for one in zip(*last, strict=True))
        if single:
            states = tuple(one.squeeze(1) for one in states)
        output = tokens.squeeze(1) if single else tokens.transpose(0, 1) if self.batch_first else tokens
        return output, states if self.mode == "LSTM" else states[0]

    def _along(
        self, tokens: Tensor, name: str, back: bool, start: tuple[Tensor, ...] | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the outputs `[tokens, images, hidden]` of one layer in one direction, and its last state."""
        of_state, project = self.get_submodule(f"hh_{name}"), self._modules.get(f"hr_{name}")
        # Images in the first axis, as for every other layer.
        of_inputs = self.get_submodule(f"ih_{name}")(tokens.transpose(0, 1)).transpose(0, 1)
        widths = (self.proj_size or self.hidden_size, self.hidden_size)[: 2 if self.mode == "LSTM" else 1]
        state = start or tuple(tokens.new_zeros(tokens.shape[1], width) for width in widths)
        outputs: list[Tensor] = []
        for place in range(len(tokens))[:: -1 if back else 1]:
            state = step(self.mode, of_inputs[place], of_state(state[0]), state)
            if project is not None:
                state = (project(state[0]), *state[1:])
            outputs.append(state[0])
        return torch.stack(outputs[:: -1 if back else 1]), state


class SplitCell(nn.Module):
    """An equivalent of nn.LSTMCell, nn.GRUCell and nn.RNNCell: `[images, width]`, or without images."""

    def __init__(self, cell: nn.RNNCellBase) -> None:
        """Take the weights of `cell`, as the linear layers `ih` and `hh`."""
        super().__init__()
        self.input_size, self.hidden_size = cell.input_size, cell.hidden_size
        known = next((mode for kind, mode in CELLS.items() if isinstance(cell, kind)), None)
        self.mode = known or f"RNN_{str(cell.nonlinearity).upper()}"
        has_bias: Any = cell.bias
        biases: Any = (cell.bias_ih, cell.bias_hh) if has_bias else (None, None)
        weights: Any = (cell.weight_ih, cell.weight_hh)
        self.ih, self.hh = (linear_of(*pair) for pair in zip(weights, biases, strict=True))
        self.train(cell.training)

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        """Return the next state: h, or (h, c) of an LSTM, each `[images, hidden]`."""
        count = 2 if self.mode == "LSTM" else 1
        nothing = input.new_zeros(*input.shape[:-1], self.hidden_size)
        given = (nothing,) * count if hx is None else hx if isinstance(hx, tuple) else (hx,)
        found = step(self.mode, self.ih(input), self.hh(given[0]), given)
        return found if count == 2 else found[0]
