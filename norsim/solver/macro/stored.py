"""Models of tiles kept on disk, named by the content that determines them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from norsim.array.tile import Tile
from norsim.caches.arrays import MODELS, key_of
from norsim.paths import sources_digest
from norsim.solver.input_lines import Driven
from norsim.solver.macro.model import Field, Macro
from norsim.solver.macro.strap_response import StrapResponse
from norsim.solver.macro.tables import Tabulated

# Part of every key: whatever makes a model, as imported. After a change, models are built again.
LIBRARIES = ("numpy", "scipy", "numba", "llvmlite", "torch")
MADE_BY = (sources_digest("array", "backends", "solver", "spice"), *map(version, LIBRARIES))
# The numbers of a model that are no arrays, as JSON.
NUMBERS = "numbers"


def model_key(tile: Tile, drive: Driven, simulator: str) -> str:
    """Return the key of the model of `tile` under `drive`: a hash of the thresholds and gains `[wordlines, bitlines]`,
    the cell, the wires, the drive, and the code; `simulator` is the name and version of the one that characterises the
    cell."""
    cell = tile.cell
    return key_of(
        cell.digest, cell.erased_volts, cell.programmed_volts, tile.thresholds.shape, tile.gains is None, tile.digest,
        tile.wires, drive, simulator, MADE_BY,
    )  # fmt: skip


def stored_model(key: str) -> Tabulated | None:
    """Return the model that is kept under `key`; None if there is none, or a damaged one."""
    arrays = MODELS.get(key)
    return None if arrays is None else model_of(arrays)


def store_model(key: str, model: Tabulated) -> None:
    """Keep `model` under `key`."""
    MODELS.put(key, arrays_of(model))


def arrays_of(model: Tabulated) -> dict[str, NDArray[Any]]:
    """Return a model's arrays by name, such as `model.field.weights` `[inputs, nodes]`, and its numbers as JSON."""
    arrays: dict[str, NDArray[Any]] = {}
    numbers: dict[str, Any] = {}

    def add(prefix: str, part: Any) -> None:
        for field in fields(part):
            name, value = f"{prefix}{field.name}", getattr(part, field.name)
            if isinstance(value, (Macro, Field, Driven, StrapResponse)):
                add(f"{name}.", value)
            elif isinstance(value, tuple):
                arrays.update({f"{name}.{place}": table.numpy() for place, table in enumerate(value)})
            elif isinstance(value, (np.ndarray, torch.Tensor)):
                arrays[name] = np.asarray(value)
            else:
                numbers[name] = value

    add("", model)
    return {**arrays, NUMBERS: np.array(json.dumps(numbers))}


@torch.inference_mode(False)
def model_of(arrays: Mapping[str, NDArray[Any]]) -> Tabulated:
    """Return the model of which these are the arrays, of any shape, as `arrays_of` returns them, to the last bit.

    It can be trained through, also if it is first needed in torch's inference mode.
    """
    numbers = json.loads(str(arrays[NUMBERS]))

    def own(prefix: str, as_tensor: bool) -> dict[str, Any]:
        """Return the entries directly below a prefix."""
        found = {name.removeprefix(prefix): value for name, value in numbers.items() if name.startswith(prefix)}
        for name, value in arrays.items():
            if name.startswith(prefix) and name != NUMBERS:
                found[name.removeprefix(prefix)] = torch.from_numpy(value) if as_tensor else value
        return {name: value for name, value in found.items() if "." not in name}

    def listed(prefix: str) -> tuple[Any, ...]:
        found = own(prefix, True)
        return tuple(found[str(place)] for place in range(len(found)))

    macro = Macro(
        **own("model.", True), drive=Driven(**own("model.drive.", False)), field=Field(**own("model.field.", True)),
        straps=StrapResponse(**own("model.straps.", True)), tables=listed("model.tables."),
        still=listed("model.still."),
    )  # fmt: skip
    return Tabulated(model=macro, **own("", False))
