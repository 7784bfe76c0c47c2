"""Put tiled layers in the places of quantized ones, and program them."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from torch import nn

from norsim.backends.backend import Backend, Progress
from norsim.backends.registry import backend_named
from norsim.chip.model import Chip
from norsim.errors import ConfigurationError
from norsim.quantization.forward import check_network
from norsim.quantization.modules import QuantizedOperands
from norsim.quantization.replace import replace_modules
from norsim.tiling.grid import place
from norsim.tiling.modules import TiledConv1d, TiledConv2d, TiledLayer, TiledLinear, tiled_layers
from norsim.tiling.reader import Reader

TILED = {nn.Conv1d: TiledConv1d, nn.Conv2d: TiledConv2d, nn.Linear: TiledLinear}


def convert(model: nn.Module, chip: Chip, overrides: Mapping[str, Mapping[str, str]] | None = None) -> nn.Module:
    """Return a copy of a quantized network with every quantized layer on `chip`'s tiles; names are kept.

    `overrides` fixes the backend of single layers: `{"conv1": {"backend": "ideal"}}` keeps conv1 digital. The copy
    cannot be called before `norsim.calibrate`: its tiles are not programmed and its converters have no range. What else
    the network holds stays digital: `norsim.digital_modules` lists it. Raises PlacementError for a layer that does not
    fit, ConfigurationError for a network without quantized layers or an override of no layer.
    """
    check_network(model)
    if not isinstance(chip, Chip):
        raise ConfigurationError(f"chip is {chip!r}; expected a Chip, for example norsim.load_chip('etox65')")
    analog = copy.deepcopy(model).eval()
    found = {name: part for name, part in analog.named_modules() if isinstance(part, QuantizedOperands)}
    if not found:
        raise ConfigurationError(
            "the network has no quantized layer: norsim.quantize(network, training_data) makes them, and "
            "norsim.deploy does all steps"
        )
    fixed = _fixed(overrides or {}, found)
    new: dict[int, TiledLayer] = {}
    for name, part in found.items():
        kind = next(kind for plain, kind in TILED.items() if isinstance(part, plain))
        new[id(part)] = kind(place(part.quantized_layer(name), chip), fixed.get(name))
    return replace_modules(analog, new)


def _fixed(overrides: Mapping[str, Mapping[str, str]], layers: Mapping[str, nn.Module]) -> dict[str, Backend]:
    """The backend of each layer that has one of its own."""
    found = {}
    for name, override in overrides.items():
        if name not in layers:
            raise ConfigurationError(f"no layer {name!r} to override; there are {', '.join(layers)}")
        if set(override) != {"backend"}:
            raise ConfigurationError(
                f"the override of layer {name!r} has keys {sorted(override)}; the only key is 'backend'"
            )
        found[name] = backend_named(override["backend"])
    return found


def program(model: nn.Module, backend: str = "macro", *, progress: Progress | None = None) -> None:
    """Program the tiles of a converted network in place; from then on `backend` reads them.

    ngspice finds the levels, cells are programmed in place where the chip does so, and `macro` builds its models.
    `progress(done, total)` counts tiles. `norsim.calibrate` does this first where it is still to be done; call it after
    loading a `state_dict`. Raises ConfigurationError for a network that was not converted.
    """
    wanted, all_layers = backend_named(backend), converted_layers(model)
    layers = [layer for layer in all_layers.values() if not layer.stays_digital]
    total, done = sum(len(layer.grid.tiles) for layer in layers), 0
    for layer in layers:

        def report(tiles: int, _: int, before: int = done) -> None:
            if progress:
                progress(before + tiles, total)

        layer.grid = layer.grid.program(layer.backend_with(wanted), report)
        done += len(layer.grid.tiles)
    for layer in all_layers.values():
        layer.use(Reader(wanted))


def converted_layers(model: nn.Module) -> dict[str, TiledLayer]:
    """The converted layers by name. Raises ConfigurationError where there is none."""
    check_network(model)
    layers = tiled_layers(model)
    if not layers:
        raise ConfigurationError(
            "the network has no layer on the array: norsim.deploy(network, chip, calibration=data) returns one that "
            "has, as does norsim.convert for a quantized network"
        )
    return layers
