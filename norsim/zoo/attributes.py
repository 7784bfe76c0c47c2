"""What a network's modules do beyond their weights: plain attributes, functions and hooks."""

from __future__ import annotations

from types import BuiltinFunctionType, FunctionType
from typing import Any

import torch
from torch import nn

from norsim.data.tensors import digest_of
from norsim.quantization.forward import device_name, device_of
from norsim.user_code import code_of
from norsim.zoo.normalise import normalisation

PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device)
OF_EVERY_MODULE = frozenset(vars(nn.Module()))


def has_own_code(model: nn.Module) -> bool:
    """Return whether outputs may depend on code or values that `attributes` cannot describe.

    True for classes other than torch's and norsim's, hooks, a replaced `forward`, and attributes that are neither
    plain values nor torch's functions.
    """
    return any(_is_undescribed(part) for part in model.modules())


def described(model: nn.Module) -> list[str]:
    """Return what determines the outputs of a network as texts: its modules and their attributes, hooks and values, and
    the device that computes it. With user-supplied code, they may depend on more."""
    kinds = {type(part) for part in model.modules()}
    # Also the buffers that a state dict lacks.
    values = dict(model.named_buffers()) | model.state_dict()
    return [
        str(model), repr(normalisation(model)), *sorted(f"{kind.__module__}.{kind.__qualname__}" for kind in kinds),
        *code_of(kind.__module__ for kind in kinds), *attributes(model), *values, digest_of(values.values()),
        device_name(device_of(model)),
    ]  # fmt: skip


def is_ours(value: Any) -> bool:
    """Return whether `value`, such as a backend or a chip, consists of norsim's classes and plain values alone, so that
    its `repr` and norsim's code determine what it does."""
    if isinstance(value, PLAIN):
        return True
    if isinstance(value, list | tuple) and _library(type(value)) == "builtins":
        return all(map(is_ours, value))
    return _library(type(value)) == "norsim" and all(map(is_ours, vars(value).values()))


def attributes(model: nn.Module) -> list[str]:
    """Return the attributes of torch's modules, such as `norm_first`, that neither weights nor `str(model)` show."""
    return [
        f"{name}.{key}={text}"
        for name, part in model.named_modules() if _library(type(part)) == "torch"
        for key, text in _described(part).items() if text is not None
    ]  # fmt: skip


def _is_undescribed(part: nn.Module) -> bool:
    hooks = [hook for key, value in vars(part).items() if key.endswith("_hooks") and value for hook in value.values()]
    foreign = [hook for hook in hooks if _library(hook if isinstance(hook, FunctionType) else type(hook)) != "norsim"]
    if foreign or "forward" in vars(part):
        return True
    library = _library(type(part))
    return library not in ("torch", "norsim") or (library == "torch" and None in _described(part).values())


def _described(part: nn.Module) -> dict[str, str | None]:
    """Return each attribute as text, None where that is impossible."""
    return {key: _text(value) for key, value in sorted(vars(part).items()) if key not in OF_EVERY_MODULE} | {
        "training": _text(part.training)
    }


def _text(value: Any) -> str | None:
    if isinstance(value, PLAIN):
        return repr(value)
    if isinstance(value, list | tuple):
        texts = [_text(item) for item in value]
        return None if None in texts else f"{type(value).__name__}{texts}"
    if isinstance(value, dict):
        return _text([item for pair in value.items() for item in pair])
    if isinstance(value, BuiltinFunctionType | FunctionType) and _library(value) == "torch":
        return None if getattr(value, "__closure__", None) else f"{value.__module__}.{value.__qualname__}"
    return None


def _library(defined: Any) -> str:
    """Return the top-level package that defines a class or function; torch for torch's functions in C."""
    return str(defined.__module__ or type(getattr(defined, "__self__", None)).__module__).partition(".")[0]
