"""Whether user-supplied code still makes the network that was saved: its answers for random inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from norsim.data.inputs.structure import Structure, tensors_in
from norsim.errors import DataError
from norsim.quantization.forward import forward

# Numbers that are kept of the answers for an input.
KEPT = 64


def probe(network: nn.Module, form: Any) -> dict[str, Any]:
    """Return the answers of a network of user-supplied code for two random inputs of a `form`: see `form_of`."""
    random = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        answers = forward(network, _drawn(form, random))
    parts = list(tensors_in(answers))
    # Outputs may be the same for any number of inputs, or count these along another axis.
    of_each = [part for part in parts if part.ndim and len(part) == 2]
    numbers = torch.cat([part.double().reshape(2 if of_each else 1, -1) for part in of_each or parts], 1)
    places = np.linspace(0, numbers.shape[1] - 1, min(KEPT, numbers.shape[1])).astype(int)
    rows = numbers[:, places].tolist()
    return {"inputs": form, "scores": [[float(f"{score:.6g}") for score in row] for row in rows]}


def form_of(inputs: Structure) -> Any:
    """Return the form of inputs `[samples, ...]` as JSON: for a tensor its shape without samples and, if it holds
    integers, the largest; lists and dicts of these for several."""
    if isinstance(inputs, Mapping):
        return {key: form_of(part) for key, part in inputs.items()}
    if isinstance(inputs, tuple):
        return list(map(form_of, inputs))
    found: dict[str, Any] = {"shape": list(inputs.shape[1:])}
    if not inputs.is_floating_point():
        found |= {"largest": int(inputs.max()), "type": str(inputs.dtype).removeprefix("torch.")}
    return found


def _drawn(form: Any, random: torch.Generator) -> Structure:
    """Return two random inputs."""
    if isinstance(form, list):
        return tuple(_drawn(part, random) for part in form)
    if not isinstance(form.get("shape"), list):
        return {key: _drawn(part, random) for key, part in form.items()}
    shape = [2, *form["shape"]]
    if "largest" not in form:
        return torch.rand(shape, generator=random)
    kind = getattr(torch, form["type"])
    return torch.randint(form["largest"] + 1, shape, generator=random).to(kind)


def check_probe(network: nn.Module, card: Mapping[str, Any]) -> None:
    """Raise DataError if the network answers otherwise than when it was saved."""
    kept = np.asarray(card["probe"]["scores"])
    # Cards of earlier versions are of images, and have their shape with their number, which was two.
    form = card["probe"].get("inputs", {"shape": card["probe"].get("images", [])[1:]})
    found = np.asarray(probe(network, form)["scores"])
    # Other machines round sums otherwise, which moves some codes by one.
    if found.shape != kept.shape or not np.allclose(found, kept, rtol=0, atol=0.25 * kept.std(), equal_nan=True):
        raise DataError(
            f"{card['network']} makes another network than the one that was saved: it answers otherwise for the same "
            "weights. Either its code has changed since, or it draws random values that are neither parameters nor "
            "buffers of its state dict; seed them, or quantize it again"
        )
