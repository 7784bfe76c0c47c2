"""Checkpoints of random layout: norsim reads the right weights, or raises an error; it never reads others."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from fuzz.choices import Choices
from norsim.errors import NorsimError
from norsim.saved.float_weights import load_float

torch.manual_seed(0)
NETWORK = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(3, 4))
STATE = {name: value + (0.25 if value.is_floating_point() else 0) for name, value in NETWORK.state_dict().items()}
KEYS = ("state_dict", "model", "model_state_dict", "net", "ema", "optimizer", "epoch", "0", "")
PREFIXES = ("", "module.", "model.", "_orig_mod.", "module.model.", "0.", "x")
TYPES = (torch.float32, torch.float64, torch.int8, torch.float16, torch.bool, torch.complex64, torch.float8_e5m2)
FLOATS = (torch.float32, torch.float64, torch.float16)


def checkpoint(content: bytes, path: Path) -> None:
    """Write the checkpoint that the bytes choose to `path`, and read it."""
    choices = Choices(content)
    state: dict[str, Tensor] = dict(STATE)
    prefix = choices.one(PREFIXES)
    changed = [_change(choices, state) for _ in range(choices.below(3))]
    changed += [f"{name} is {value.dtype}" for name, value in state.items() if not _is_taken(name, value)]
    expected = {
        name: value.to(STATE[name].dtype) for name, value in state.items() if name in STATE and not any(changed)
    }
    state = {prefix + name: value for name, value in state.items()}
    whole: Any = state
    for _ in range(choices.below(4)):
        whole = {choices.one(KEYS): whole, **({choices.one(KEYS): choices.one((3, 0.5, "x", [1], None, {}))}
                                              if choices.below(2) else {})}  # fmt: skip
    kind = choices.below(4)
    if kind == 3 and whole is state:
        written = save({name: value.contiguous() for name, value in state.items()})
    else:
        file = io.BytesIO()
        torch.save(whole, file, _use_new_zipfile_serialization=kind != 1)
        written = file.getvalue()
    cut = choices.below(8)
    path.write_bytes(written if cut < 6 else written[: len(written) * choices.below(100) // 100])
    try:
        found = load_float(path, NETWORK)
    except NorsimError:
        return
    assert found.keys() == NETWORK.state_dict().keys()
    assert not any(changed), f"taken although changed: {changed}"
    for name, value in found.items():
        assert torch.equal(value, expected[name]), f"{name} is another value"


def _is_taken(name: str, value: Tensor) -> bool:
    return "tracked" in name or value.dtype in FLOATS


def _change(choices: Choices, state: dict[str, Tensor]) -> str:
    """Change one entry so that it must be refused; return how, '' if it must not."""
    name = choices.one([name for name in STATE if "tracked" not in name])
    how = choices.below(5)
    if how == 0 and name in state:
        state[name] = state[name].real.to(choices.one(TYPES))
        return ""
    if how == 1:
        state.pop(name, None)
        return f"{name} is missing"
    if how == 2:
        state["extra.weight"] = torch.ones(2)
        return "an extra entry"
    if how == 3 and name in state:
        state[name] = state[name][None]
        return f"{name} has another shape"
    return ""


def checkpoint_seeds() -> list[bytes]:
    """Return inputs of several layouts."""
    return [bytes([prefix, 0, deep, 1, 0, 0, kind, 0]) for prefix in range(4) for deep in range(3) for kind in (0, 1)]
