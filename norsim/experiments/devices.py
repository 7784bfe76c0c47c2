"""The device that a network is computed on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from norsim.errors import ConfigurationError

if TYPE_CHECKING:
    import torch

    from norsim.backends.backend import Backend

AUTO = "auto"
# Importing torch takes a second, so the form of a device is checked before.
FORM = re.compile(r"auto|cpu|cuda(:(?P<number>0|[1-9][0-9]{0,2}))?")


def cards() -> list[str]:
    """Return the names of the CUDA cards that torch finds."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [torch.cuda.get_device_name(number) for number in range(count)]


def choose_device(wanted: str, backend: Backend | None) -> torch.device:
    """Return the device `wanted`: `cpu`, `cuda`, `cuda:N`, or `auto`: the first CUDA card, if there is one and
    `backend`, None for a training without an array, computes on it, else the CPU.

    Simulators compute on the CPU, wherever the network is. Raises ConfigurationError for any other text,
    and for a card that torch does not find.
    """
    import torch

    form = FORM.fullmatch(wanted)
    if form is None:
        raise ConfigurationError(f"the device is {wanted!r}; expected auto, cpu, cuda or cuda:N, such as cuda:1")
    count = len(cards())
    if wanted == AUTO:
        able = backend is None or backend.on_cards
        return torch.device("cuda:0" if count and able else "cpu")
    if wanted == "cpu":
        return torch.device(wanted)
    # torch wraps a number above 127 around.
    number = int(form["number"] or 0)
    if number >= count:
        found = f"finds {count} CUDA card{'s' if count > 1 else ''}, counted from 0" if count else "finds no CUDA card"
        raise ConfigurationError(
            f"the device is {wanted}, but torch {torch.__version__} {found}; use the device cpu, or a torch that was "
            "built for CUDA on a machine with that card"
        )
    return torch.device("cuda", number)


def repeatable(device: torch.device) -> None:
    """Let digital layers give the same bits in each run of this process on `device`, and compute in full float32."""
    import torch

    if device.type == "cuda":
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
        torch.backends.cudnn.allow_tf32 = False
