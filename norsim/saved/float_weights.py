"""Float weights for a network from checkpoints of all common layouts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from norsim.errors import DataError
from norsim.saved.packed_weights import free_buffers
from norsim.saved.weight_files import read_weights
from norsim.zoo.normalise import Normalise
from norsim.zoo.registry import NetworkSpec, spec_of

# How deep state dicts are looked for in the dicts of a checkpoint.
DEPTH = 3
FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
SHOWN = 3


@dataclass(frozen=True)
class Found:
    """A dict of tensors in a checkpoint.

    `place`     the keys that lead to it, such as `model_state_dict`
    `entries`   the tensors by name, of any shape such as `[outputs, inputs]`
    """

    place: tuple[str, ...]
    entries: Mapping[str, Tensor]

    def __str__(self) -> str:
        return ".".join(self.place) or "the file itself"


@dataclass(frozen=True)
class FloatSource:
    """A float network: its definition by name, and the file of its weights; None for weights that it contains."""

    network: str
    weights: Path | None = None
    width: float = 1.0
    normalise: Normalise | None = None

    def spec(self) -> NetworkSpec:
        """Return its definition."""
        return replace(spec_of(self.network, self.width), normalise=self.normalise)

    def state(self, network: nn.Module) -> dict[str, Tensor]:
        """Return its state dict, with entries of any shape such as `[outputs, inputs]`, for the built `network`."""
        return load_float(self.weights, network) if self.weights else network.state_dict()


def load_float(path: Path, network: nn.Module) -> dict[str, Tensor]:
    """Read a state dict for the untrained `network` from a safetensors or `torch.save` file, whatever its name.

    No code in the file is executed. The state dict may be nested in other dicts, and its names may have a prefix, such
    as `module.` or `model.`; entries beside that prefix are ignored. Batch counters, which norsim does not use, may be
    missing. Entries must have the network's shapes, such as `[outputs, inputs]`, and be real numbers in memory, which
    take the network's types. Raises DataError, with what was found, if none or several state dicts in the file fit, or
    if an entry is of an unsuitable type or not finite.
    """
    content = read_weights(path)
    candidates = list(_state_dicts(content, ()))
    if not candidates:
        holds = sorted(map(str, content)) if isinstance(content, Mapping) else []
        about = f", with {_some(holds)}" if holds else ""
        raise DataError(f"{path} holds a {type(content).__name__}{about}; expected a state dict of names and tensors")
    state = network.state_dict()
    needed = {name: value.shape for name, value in state.items() if not _is_counter(name)}
    fitting = [(found, prefix) for found in candidates for prefix in _prefixes(found.entries, needed)]
    if not fitting or (len(fitting) == 1 and _unknown(fitting[0][0].entries, fitting[0][1], needed)):
        raise DataError(f"{path} does not fit the network: {_misfit(candidates, needed)}")
    if len(fitting) > 1:
        names = [f"{found}{f' with the prefix {prefix!r}' if prefix else ''}" for found, prefix in fitting]
        raise DataError(f"{path} holds {len(fitting)} state dicts that fit: {_some(names)}; save only one of them")
    (found, prefix), *_ = fitting
    taken = {name: found.entries.get(prefix + name, state[name]) for name in state}
    return {name: _checked(path, name, value, state[name], network) for name, value in taken.items()}


def _is_counter(name: str) -> bool:
    return name.endswith("num_batches_tracked")


def _state_dicts(content: Any, place: tuple[str, ...]) -> Iterator[Found]:
    """Yield the dicts of names and tensors in a checkpoint, which are nested in dicts."""
    if not isinstance(content, Mapping) or len(place) > DEPTH:
        return
    tensors = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if tensors:
        yield Found(place, tensors)
    for key, value in content.items():
        yield from _state_dicts(value, (*place, str(key)))


def _prefixes(entries: Mapping[str, Tensor], needed: Mapping[str, torch.Size]) -> list[str]:
    """Return the prefixes with which `entries` have all that is `needed`, in its shapes."""
    if not needed:
        return [""]
    first = next(iter(needed))
    possible = [name.removesuffix(first) for name in entries if name == first or name.endswith(f".{first}")]
    return [
        prefix
        for prefix in possible
        if all(prefix + name in entries and _has(entries[prefix + name], shape) for name, shape in needed.items())
    ]


def _has(value: Tensor, shape: torch.Size) -> bool:
    """Return whether an entry has a shape. A nested tensor, which has none, passes: its kind is refused later."""
    return value.is_nested or value.shape == shape


def _unknown(entries: Mapping[str, Tensor], prefix: str, needed: Mapping[str, torch.Size]) -> list[str]:
    """Return the names under a prefix that the network does not have."""
    names = [name.removeprefix(prefix) for name in entries if name.startswith(prefix) and not _is_counter(name)]
    return [name for name in names if name not in needed]


def _misfit(candidates: list[Found], needed: Mapping[str, torch.Size]) -> str:
    """Describe how the best of several dicts of tensors differs from what is needed."""

    def common(entries: Mapping[str, Tensor], prefix: str) -> int:
        return sum(prefix + name in entries for name in needed)

    def prefix_of(entries: Mapping[str, Tensor]) -> str:
        ends = {name.removesuffix(own) for name in entries for own in needed if name.endswith(f".{own}")}
        return max(sorted(ends | {""}), key=lambda prefix: (common(entries, prefix), -len(prefix)))

    best = max(candidates, key=lambda found: common(found.entries, prefix_of(found.entries)))
    prefix = prefix_of(best.entries)
    kept = {name.removeprefix(prefix): value for name, value in best.entries.items() if name.startswith(prefix)}
    missing = [name for name in needed if name not in kept]
    unknown = _unknown(best.entries, prefix, needed)
    shapes = [
        f"{name} is {list(kept[name].shape)} for {list(shape)}"
        for name, shape in needed.items() if name in kept and not _has(kept[name], shape)
    ]  # fmt: skip
    where = f"of {len(needed)} entries, {best} has {len(needed) - len(missing)}"
    where += f" under the prefix {prefix!r}" if prefix else ""
    parts = [
        f"{len(part)} {what}: {_some(part)}"
        for what, part in (("missing", missing), ("not in the network", unknown), ("of another shape", shapes))
        if part
    ]
    return "; ".join([where, *parts])


def _some(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _checked(path: Path, name: str, value: Tensor, own: Tensor, network: nn.Module) -> Tensor:
    """Return an entry in the type of the network's `own`. Raises DataError if it cannot be converted."""
    if own.is_complex():
        raise DataError(f"{name!r} of the network is {_named(own.dtype)}; expected real numbers")
    kind = _kind(value)
    real = value.dtype in FLOATS if own.is_floating_point() else not (value.is_floating_point() or value.is_complex())
    if kind or not real:
        expected = "float32, float64, float16 or bfloat16" if own.is_floating_point() else "integers"
        raise DataError(
            f"{path}: {name!r} is {kind or _named(value.dtype)}; expected a dense tensor of "
            f"{expected}. Save the float network's state dict, before any conversion to integers"
        )
    found = value.detach().to(own.dtype)
    if not own.is_floating_point() and not torch.equal(found.to(torch.int64), value.detach().to(torch.int64)):
        raise DataError(f"{path}: {name!r} holds values that {_named(own.dtype)}, the network's type, cannot hold")
    if name.rpartition(".")[2] == "running_var" and (found < 0).any():
        raise DataError(f"{path}: {name!r} holds negative variances")
    free = name in free_buffers(network)
    if torch.isnan(found).any() if free else not torch.isfinite(found).all():
        raise DataError(f"{path}: {name!r} holds values that are not finite")
    return found


def _kind(value: Tensor) -> str:
    """Return what an unusual tensor is; '' for numbers in memory."""
    if value.is_quantized:
        return f"quantized ({_named(value.dtype)})"
    if value.is_nested:
        return f"a nested tensor ({_named(value.dtype)})"
    if value.layout != torch.strided:
        return f"sparse ({_named(value.layout)}, {_named(value.dtype)})"
    return "without values (meta)" if value.is_meta else ""


def _named(kind: torch.dtype | torch.layout) -> str:
    """Return a type or layout without torch's name."""
    return str(kind).removeprefix("torch.")
