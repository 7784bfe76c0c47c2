"""Float weights from safetensors files and torch.save files, read without executing code."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from norsim.errors import DataError
from norsim.saved.packed_weights import free_buffers

# Keys under which other programs nest a state dict, and the prefix that nn.DataParallel adds.
NESTED, PARALLEL = ("state_dict", "model"), "module."


def load_float(path: Path, network: nn.Module) -> dict[str, Tensor]:
    """Read a state dict for the untrained `network` from NAME.safetensors, or from a `torch.save` file of another name.

    No code in the file is executed. A dict nested under `state_dict` or `model` is unpacked, the prefix `module.` of
    all keys is removed, and batch counters, which norsim does not use, may be missing. Entries must have the network's
    shapes, such as `[outputs, inputs]`. Raises DataError if the file cannot be read or an entry does not fit.
    """
    found = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    if found and all(key.startswith(PARALLEL) for key in found):
        found = {key.removeprefix(PARALLEL): value for key, value in found.items()}
    state = network.state_dict()
    found |= {key: value for key, value in state.items() if key.endswith("num_batches_tracked") and key not in found}
    expected = {key: value.shape for key, value in state.items()}
    shapes = {key: value.shape for key, value in found.items()}
    wrong = sorted(key for key in expected.keys() | shapes.keys() if expected.get(key) != shapes.get(key))
    if wrong:
        raise DataError(
            f"{path} does not fit the network: {len(wrong)} entries are missing, unknown or of another shape, first "
            f"{wrong[0]!r}; expected the state dict of the float network, of the same width"
        )
    masks = free_buffers(network)
    unfit = [key for key, value in found.items() if not torch.isfinite(value).all()]
    unfit = [key for key in unfit if key not in masks or torch.isnan(found[key]).any()]
    if unfit:
        raise DataError(f"{path}: {unfit[0]!r} holds values that are not finite")
    return found


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load(path.read_bytes())
    except OSError as problem:
        raise DataError(f"{path} cannot be read: {problem.strerror}") from None
    except (SafetensorError, ValueError, KeyError) as problem:
        raise DataError(f"{path} is not a safetensors file: {problem}") from None


def _read_torch(path: Path) -> dict[str, Tensor]:
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as problem:
        raise DataError(f"{path} cannot be read: {problem.strerror}") from None
    except Exception as problem:  # torch raises anything on a damaged file
        # Without torch's message, which recommends a load that may execute the file.
        raise DataError(f"{path} holds no tensors that can be read safely ({type(problem).__name__})") from None
    for key in NESTED:
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in found.items()
    ):
        raise DataError(f"{path} holds a {type(found).__name__}; expected a state dict of names and tensors")
    return dict(found)
