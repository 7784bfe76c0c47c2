"""Replace quantized layers by tiled layers, program them, and name a converted network by all that it computes with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields

import numpy as np
from torch import nn

from norsim.array.cell import Cell
from norsim.backends.backend import Backend, Progress
from norsim.backends.programming import program_levels
from norsim.backends.registry import backend_named
from norsim.chip.model import Chip
from norsim.errors import ConfigurationError
from norsim.jobs.phases import Report, silent, step
from norsim.jobs.unit_store import arithmetic, unit_key
from norsim.quantization.copies import independent_copy
from norsim.quantization.forward import check_network
from norsim.quantization.layer import QuantizedLayer
from norsim.quantization.modules import OWN, QuantizedOperands
from norsim.quantization.replace import replace_modules
from norsim.tiling.convolutions.im2col import memory_format
from norsim.tiling.convolutions.modules import TiledConv1d, TiledConv2d
from norsim.tiling.grid import place
from norsim.tiling.modules import TiledLayer, TiledLinear, tiled_layers
from norsim.tiling.read_noise import ReadNoise
from norsim.tiling.reader import Reader
from norsim.zoo.attributes import described

TILED = {nn.Conv1d: TiledConv1d, nn.Conv2d: TiledConv2d, nn.Linear: TiledLinear}


def convert(model: nn.Module, chip: Chip, overrides: Mapping[str, Mapping[str, str]] | None = None) -> nn.Module:
    """Return a copy of a quantized network with every quantized layer on `chip`'s tiles; names are kept.

    Each layer has the chip's keys for it (`Chip.for_layers`). `overrides` fixes the backend of single layers:
    `{"conv1": {"backend": "ideal"}}` keeps conv1 digital. The copy cannot be called before `norsim.calibrate`: its
    tiles are not programmed and its converters have no range. All other modules stay digital: `norsim.digital_modules`
    lists them. Raises PlacementError for a layer that does not fit, ConfigurationError for a network without quantized
    layers, for an override of an unknown layer, and for a pattern of the chip's section `layers` without effect.
    """
    check_network(model)
    if not isinstance(chip, Chip):
        raise ConfigurationError(f"chip is {chip!r}; expected a Chip, for example norsim.load_chip('etox65')")
    analog = independent_copy(model)
    found = {name: part for name, part in analog.named_modules() if isinstance(part, QuantizedOperands)}
    if not found:
        raise ConfigurationError(
            "the network has no quantized layers: call norsim.quantize(network, training_data) first, or use "
            "norsim.deploy, which does all steps"
        )
    fixed, chips = _fixed(overrides or {}, found), chip.for_layers(list(found))
    new: dict[int, TiledLayer] = {}
    for name, part in found.items():
        kind = next(kind for plain, kind in TILED.items() if isinstance(part, plain))
        tiled = kind(place(part.quantized_layer(name), chips[name]), fixed.get(name))
        new[id(part)] = tiled.to(part.weight.device).eval()
        if isinstance(tiled, TiledConv2d):
            tiled.to(memory_format=memory_format(part.weight))  # type: ignore[call-overload]
    return replace_modules(analog, new, OWN)


def _fixed(overrides: Mapping[str, Mapping[str, str]], layers: Mapping[str, nn.Module]) -> dict[str, Backend]:
    """Return the fixed backends of layers, by name."""
    found = {}
    for name, override in overrides.items():
        if name not in layers:
            raise ConfigurationError(f"no layer {name!r} to override; the layers are {', '.join(layers)}")
        if set(override) != {"backend"}:
            raise ConfigurationError(
                f"the override of layer {name!r} has keys {sorted(override)}; the only key is 'backend'"
            )
        found[name] = backend_named(override["backend"])
    return found


def program(
    model: nn.Module, backend: str = "macro", *, progress: Progress | None = None, report: Report = silent
) -> None:
    """Program the tiles of a converted network in place; from then on `backend` reads them.

    The simulator finds the levels, cells are programmed in place if the chip says so, and `macro` builds its models.
    `progress(done, total)` counts programmed tiles, and `report(what, done, total)` those of each phase: "program",
    "characterise" and "build", each with the name of a layer. `norsim.calibrate` programs tiles itself; call this
    function after loading a `state_dict`. Raises ConfigurationError for a network that was not converted.
    """
    wanted, all_layers = backend_named(backend), converted_layers(model)
    layers = [layer for layer in all_layers.values() if not layer.stays_digital]
    for layer in layers:
        layer.backend_with(wanted).check_encoding(layer.grid.chip.encoding)
    with step(report, "characterise levels"):
        for chip in {layer.grid.chip for layer in layers}:
            program_levels(chip.verify_cell, chip.encoding)
    for layer, tell in _counted(layers, "program", report, progress):
        layer.grid = layer.grid.program(progress=tell)
    for layer, tell in _counted(layers, "characterise", report):
        layer.grid.characterise(layer.backend_with(wanted), tell)
    for layer, tell in _counted(layers, "build", report):
        layer.grid.prepare(layer.backend_with(wanted), tell)
    for layer in all_layers.values():
        layer.use(Reader(wanted, noise=ReadNoise(layer.grid.chip.draw.seed)))


def _counted(
    layers: Sequence[TiledLayer], phase: str, report: Report, progress: Progress | None = None
) -> Iterator[tuple[TiledLayer, Progress]]:
    """Yield each layer with a function that counts its tiles, and reports those of all layers together."""
    total, before = sum(len(layer.grid.tiles) for layer in layers), 0
    for layer in layers:

        def tell(tiles: int, _: int, name: str = layer.grid.layer.name, before: int = before) -> None:
            report(f"{phase} {name}", before + tiles, total)
            if progress and tiles:
                progress(before + tiles, total)

        tell(0, 0)
        yield layer, tell
        before += len(layer.grid.tiles)


def converted_layers(model: nn.Module) -> dict[str, TiledLayer]:
    """Return the converted layers by name. Raises ConfigurationError if there are none."""
    check_network(model)
    layers = tiled_layers(model)
    if not layers:
        raise ConfigurationError(
            "the network has no layers on the array: norsim.deploy(network, chip, calibration=data) returns a network "
            "on the array, and so does norsim.convert for a quantized network"
        )
    return layers


def cells_of(layers: Mapping[str, TiledLayer]) -> list[Cell]:
    """Return the cells of converted layers, each once."""
    return list(dict.fromkeys(layer.grid.chip.cell for layer in layers.values()))


def fingerprint(model: nn.Module, backend: Backend) -> str:
    """Return a hash of everything that determines the outputs of a converted network, including its calibration.

    Processors differ in the last bits of their sums, so it includes the name of this one.
    """
    cells = cells_of(tiled_layers(model))
    rests_on: list[str | None] = [*backend.versions(cells).values()] or [None]
    parts: list[object] = [*arithmetic(), *rests_on, backend.name, *described(model)]
    for name, layer in tiled_layers(model).items():
        parts += [name, layer.fixed and layer.fixed.name, repr(layer.grid.chip), *_of_layer(layer.grid.layer)]
        for tile in layer.grid.tiles:
            parts += [tile.name, *map(repr, tile.adcs), tile.gain.tobytes().hex(), tile.offset.tobytes().hex()]
    return unit_key(*parts)


def _of_layer(layer: QuantizedLayer) -> list[str]:
    values = [getattr(layer, field.name) for field in fields(layer)]
    return [value.tobytes().hex() if isinstance(value, np.ndarray) else repr(value) for value in values]
