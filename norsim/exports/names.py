"""Layers in files that other programs read, and their names."""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch import nn

from norsim.errors import ConfigurationError
from norsim.tiling.modules import TiledLayer, tiled_layers


def layers_on_array(model: nn.Module, what: str) -> dict[str, TiledLayer]:
    """Return the layers whose cells are exported, by name. Raises ConfigurationError, which says that there is no
    `what`, for a network without any."""
    layers = {name: layer for name, layer in tiled_layers(model).items() if not layer.stays_digital}
    if not layers:
        raise ConfigurationError(f"no layer of the network is on the array; there are no {what}")
    return layers


def plain_names(names: Sequence[str]) -> dict[str, str]:
    """Return a name of letters, digits and underscores for each name.

    In Accelergy's files a dot separates levels and brackets are ranges; elsewhere the names are parts of file names.
    Raises ConfigurationError for two names that differ only in other characters.
    """
    found = {name: re.sub(r"\W", "_", name, flags=re.ASCII) for name in names}
    for name, plain in found.items():
        alike = [other for other in names if found[other] == plain]
        if len(alike) > 1:
            raise ConfigurationError(
                f"the layers {' and '.join(alike)} would both be named {plain!r}, since names in exported files "
                f"have no dots; rename {name!r} in the network"
            )
    return found
