"""A deployed network in a folder: `network.pt`, and `network.json` which describes it.

`network.pt` is written by torch.save. It holds the float and the quantized network as Python objects, whose classes
must be importable when it is loaded, the chip, the calibration inputs and the calibration. Loading it can run arbitrary
code, like torch.load of a whole module: load only folders that you trust.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from pickle import PicklingError
from typing import Any

import torch
from torch import Tensor

from norsim.chip.renamed import of_stored_run
from norsim.errors import ConfigurationError, DataError
from norsim.experiments.deployment import Deployment
from norsim.files import unique_json, write_atomically, write_text
from norsim.folders.output import OutputFolder
from norsim.quantization.modules import bits_of, quantized_operands
from norsim.quantization.placeable import PLACEABLE

NETWORK, ABOUT = "network.pt", "network.json"
FORMAT = 1


def save_folder(
    folder: Path, deployment: Deployment, state: Mapping[str, Tensor], backend: str, overwrite: bool = False
) -> Path:
    """Write a deployed network to `folder`; `state`, tensors of any shape, is its state_dict, with the calibration.

    The folder is new or empty, or holds an earlier one and `overwrite` is set. Raises ConfigurationError for any other
    folder and for a network that cannot be pickled, WriteError if the folder cannot be written.
    """
    content = io.BytesIO()
    try:
        torch.save({"deployment": deployment, "state": dict(state), "backend": backend}, content)
    except (AttributeError, TypeError, PicklingError) as problem:
        raise ConfigurationError(
            f"the network cannot be saved: {problem}. Its classes must be defined in a module, not in a function"
        ) from problem
    chip = deployment.choice.chip
    layers = quantized_operands(deployment.quantized)
    floats = () if deployment.original is None else deployment.original.named_modules()
    exempt = [name for name, module in floats if isinstance(module, PLACEABLE) and name not in layers]
    about = {
        "format": FORMAT, "norsim": version("norsim"), "torch": torch.__version__, "network": deployment.name,
        "chip": chip.name, "encoding": chip.encoding.name, "backend": backend,
        "layers": list(layers), "digital": [*deployment.digital, *exempt],
        "bits": {name: str(bits) for name, bits in bits_of(deployment.quantized).items()},
        "seed": deployment.seed,
    }  # fmt: skip
    with OutputFolder(folder, "net.save", overwrite) as output:
        output.clear()
        write_atomically(folder / NETWORK, lambda file: file.write(content.getbuffer()))
        write_text(folder / ABOUT, json.dumps(about, indent=1) + "\n")
    return folder


def load_folder(folder: Path) -> tuple[Deployment, dict[str, Tensor], str]:
    """Return what `save_folder` wrote, on the CPU: deployment, state_dict with tensors of any shape, backend.

    Loading it can run arbitrary code.

    Raises DataError for any other folder, and for a network whose classes cannot be imported.
    """
    about = _about(folder)
    try:
        content: dict[str, Any] = torch.load(folder / NETWORK, map_location="cpu", weights_only=False)
        deployment: Deployment = content["deployment"]
        choice = replace(deployment.choice, content=of_stored_run(deployment.choice.content))
        return replace(deployment, choice=choice), content["state"], content["backend"]
    except Exception as problem:  # whatever pickled objects raise
        raise DataError(
            f"{folder / NETWORK} cannot be read ({type(problem).__name__}: {problem}). It was saved by norsim "
            f"{about['norsim']} and torch {about['torch']}; the network's classes must be importable"
        ) from problem


def _about(folder: Path) -> dict[str, Any]:
    try:
        about: dict[str, Any] = unique_json((folder / ABOUT).read_text())
        found = about["format"], about["norsim"], about["torch"]
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{folder} is not the folder of a deployed network; net.save(folder) writes one") from None
    if found[0] != FORMAT:
        raise DataError(
            f"{folder} has format {found[0]}, written by norsim {found[1]}; this version reads format {FORMAT}"
        )
    return about
