"""The formats of `norsim export`, by name: one file of this folder each."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import nn

from norsim.data.inputs.structure import Structure
from norsim.exports import accelergy, aihwkit, neurosim, tester

# Takes a calibrated network and a few images `[n, ...]`, and returns the name and the text of each file.
Exporter = Callable[[nn.Module, Structure], Iterable[tuple[str, str]]]

EXPORTERS: dict[str, Exporter] = {
    "accelergy": accelergy.files,
    "aihwkit": aihwkit.files,
    "neurosim": neurosim.files,
    "tester": tester.files,
}
