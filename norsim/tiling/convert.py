"""Put tiled layers in the places of quantized ones."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from torch import nn

from norsim.chip.model import Chip
from norsim.errors import ConfigurationError
from norsim.quantization.modules import QuantizedOperands
from norsim.quantization.replace import replace_modules
from norsim.tiling.grid import place
from norsim.tiling.modules import (
    TiledConv1d,
    TiledConv2d,
    TiledLayer,
    TiledLinear,
)
from norsim.tiling.reader import Reader


def convert(model: nn.Module, chip: Chip, overrides: Mapping[str, Mapping[str, str]] | None = None) -> nn.Module:
    """A copy of a quantized network with every quantized layer on `chip`'s tiles; names are kept.

    `overrides` fixes the backend of single layers: `{"conv1": {"backend": "ideal"}}`. The layers start
    with the `ideal` reader and full-scale converters: see `calibrate` and `evaluate`. What else the
    network holds stays digital: `norsim.tiling.digital` lists it. Raises PlacementError for a layer that does
    not fit, ConfigurationError for a network without quantized layers or an override of no layer.
    """
    analog = copy.deepcopy(model).eval()
    wanted = dict(overrides or {})
    found = {name: part for name, part in analog.named_modules() if isinstance(part, QuantizedOperands)}
    if not found:
        raise ConfigurationError("the network holds no quantized layer: call norsim.quantize on it first")
    unknown = sorted(set(wanted) - set(found))
    if unknown:
        raise ConfigurationError(f"no layer {unknown[0]!r} to override; there are {', '.join(found)}")
    for name, override in wanted.items():
        if set(override) != {"backend"}:
            raise ConfigurationError(
                f"the override of layer {name!r} has keys {sorted(override)}; 'backend' is the one"
            )
        Reader(override["backend"])
    new: dict[int, TiledLayer] = {}
    for name, part in found.items():
        kind = next(kind for plain, kind in TILED.items() if isinstance(part, plain))
        new[id(part)] = kind(place(part.quantized_layer(name), chip), wanted.get(name, {}).get("backend"))
    return replace_modules(analog, new)


TILED = {nn.Conv1d: TiledConv1d, nn.Conv2d: TiledConv2d, nn.Linear: TiledLinear}
