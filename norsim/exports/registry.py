"""The formats of `norsim export`, by name: one file of this folder each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from norsim.data.inputs.structure import Structure
from norsim.exports import accelergy

# Takes a calibrated network and one image `[1, ...]`, and returns the text of each file by its name.
Exporter = Callable[[nn.Module, Structure], Mapping[str, str]]

EXPORTERS: dict[str, Exporter] = {"accelergy": accelergy.files}
