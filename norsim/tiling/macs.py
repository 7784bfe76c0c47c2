"""Where the multiply-accumulates of a network are: on the array, layer by layer, or in digital modules.

One image is observed on its way through the network. A layer on tiles counts its weights times its vectors. Everything
else, functions included, is counted where torch dispatches products of matrices, convolutions and attention, by the
formulas of torch.utils.flop_counter (two operations a multiply-accumulate) and those below. Masks do not lower the
count: attention counts all pairs of tokens.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

from norsim.data.inputs.structure import Structure, taken
from norsim.quantization.forward import forward
from norsim.tiling.modules import TiledLayer, digital, tiled_layers

ATEN = torch.ops.aten
# Below this share on the array, a result says little about the network.
LEAST_SHARE = 0.9


@dataclass(frozen=True)
class Macs:
    """Multiply-accumulates of one image, by name.

    `layers`   those of each layer that has tiles; `digital_layers` of them compute their integers without an array
    `modules`  those of the other modules that do any; a function counts for the module that calls it
    """

    layers: Mapping[str, int]
    modules: Mapping[str, int]
    digital_layers: frozenset[str] = frozenset()

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.layers.values()) + sum(self.modules.values())

    def share(self, count: int) -> float:
        """Return a count as a share of all; 0 for a network without products."""
        return count / self.total if self.total else 0.0

    @property
    def on_array(self) -> float:
        """The share of those in layers on the array."""
        return self.share(sum(count for name, count in self.layers.items() if name not in self.digital_layers))

    @property
    def elsewhere(self) -> dict[str, float]:
        """The share of each module that computes its own digitally, the largest first."""
        kept = {name: count for name, count in self.layers.items() if name in self.digital_layers and count}
        shares = {name: self.share(count) for name, count in (kept | dict(self.modules)).items()}
        return dict(sorted(shares.items(), key=lambda one: -one[1]))


def count_macs(model: nn.Module, images: Structure) -> Macs:
    """Count those of the first of `images` `[images, ...]` in a converted network, which computes integers for it."""
    layers, counter = tiled_layers(model), _Counter()
    names = {id(part): name for name, part in model.named_modules()}
    with (
        torch.random.fork_rng(devices=[]),
        torch.no_grad(),
        digital(model),
        _watched(model, counter, names),
        _unfused(),
        counter,
    ):
        forward(model, taken(images, slice(1)))
    found = {name: counter.of_layers[name] for name in layers}
    stay = frozenset(name for name, layer in layers.items() if layer.stays_digital)
    return Macs(found, {name: count for name, count in counter.of_modules.items() if count}, stay)


def below_share(share: float, elsewhere: Mapping[str, float], most: int = 4) -> str | None:
    """Return a warning if too few multiply-accumulates are on the array, with the modules that have most others."""
    if share >= LEAST_SHARE:
        return None
    parts = [f"{name or 'the network itself'} ({100 * part:.1f} %)" for name, part in list(elsewhere.items())[:most]]
    others = f"; most of the others are in {', '.join(parts)}" if parts else ""
    return (
        f"only {100 * share:.1f} % of the network's multiply-accumulates are on the array, so its accuracy says little "
        f"about the rest{others}"
    )


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A count of products, by module. `inside` are the modules being executed, outermost first; a layer on tiles counts
    for itself, so what it dispatches does not."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.inside: list[str] = [""]
        self.in_layer = 0
        self.of_modules: Counter[str] = Counter()
        self.of_layers: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        packet = func._overloadpacket
        if packet not in flop_registry and packet not in FORMULAS:
            # What consists of other operations is counted by them.
            with self:
                parts = func.decompose(*args, **named)
            if parts is not NotImplemented:
                return parts
        found = func(*args, **named)
        if not self.in_layer:
            if packet in FORMULAS:
                self.of_modules[self.inside[-1]] += int(FORMULAS[packet](*args, **named))
            elif packet in flop_registry:
                self.of_modules[self.inside[-1]] += flop_registry[packet](*args, **named, out_val=found) // 2
        return found


@contextmanager
def _watched(model: nn.Module, counter: _Counter, names: Mapping[int, str]) -> Iterator[None]:
    """Tell `counter`, within the block, which module is executed, and what layers on tiles are given."""

    def enter(part: nn.Module, inputs: Any) -> None:
        counter.inside.append(names[id(part)])
        if isinstance(part, TiledLayer):
            counter.in_layer += 1
            part.record = []

    def leave(part: nn.Module, *_: Any) -> None:
        counter.inside.pop()
        if isinstance(part, TiledLayer):
            counter.in_layer -= 1
            layer = part.grid.layer
            vectors = sum(len(codes) for codes in part.record or ())
            counter.of_layers[names[id(part)]] += vectors * layer.inputs * layer.outputs
            part.record = None

    # Scripted modules take no hooks; what they do counts for the module that calls them.
    parts = [part for part in model.modules() if not isinstance(part, torch.jit.ScriptModule)]
    handles = [part.register_forward_pre_hook(enter) for part in parts]
    handles += [part.register_forward_hook(leave, always_call=True) for part in parts]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _unfused() -> Iterator[None]:
    """Let torch compute encoder layers operation by operation within the block."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **named: Any) -> int:
    flops: Any = sdpa_flop_count
    return int(flops(query.shape, key.shape, value.shape)) // 2


def _matrix_times_vector(matrix: Tensor, vector: Tensor, *_: Any, **named: Any) -> int:
    return matrix.numel()


def _added_matrix_times_vector(start: Tensor, matrix: Tensor, vector: Tensor, *_: Any, **named: Any) -> int:
    return matrix.numel()


def _bilinear(one: Tensor, two: Tensor, three: Tensor, *axes: Any, **named: Any) -> int:
    """The sizes of all axes, of which each operand has some and `axes` says which it lacks."""
    expanded = []
    for operand, lacks in zip((one, two, three), axes[:3], strict=True):
        for axis in lacks:
            operand = operand.unsqueeze(axis)
        expanded.append(operand.shape)
    joined: Any = torch.broadcast_shapes
    return math.prod(joined(*expanded))


def _recurrent(input: Tensor, first: Tensor, second: Tensor, *_: Any, **named: Any) -> int:
    """One layer in one direction: both weight matrices, for every token."""
    return input.shape[0] * input.shape[1] * (first.numel() + second.numel())


def _recurrent_on_card(input: Tensor, weights: list[Tensor], *_: Any, **named: Any) -> int:
    return input.shape[0] * input.shape[1] * sum(one.numel() for one in weights if one.ndim > 1)


FORMULAS: dict[Any, Callable[..., int]] = {
    ATEN._scaled_dot_product_flash_attention_for_cpu: _attention,
    ATEN.mv: _matrix_times_vector,
    ATEN.dot: _matrix_times_vector,
    ATEN.addmv: _added_matrix_times_vector,
    ATEN._trilinear: _bilinear,
    ATEN.mkldnn_rnn_layer: _recurrent,
    ATEN._cudnn_rnn: _recurrent_on_card,
}
