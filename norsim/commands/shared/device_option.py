"""The option that chooses the device of a command."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from norsim.commands.shared.options import SCHEDULER, Decorated, is_set
from norsim.errors import ConfigurationError
from norsim.experiments.devices import AUTO, FORM

if TYPE_CHECKING:
    import torch

    from norsim.backends.backend import Backend

DEVICE = "norsim.device"


def device_option(function: Decorated) -> Decorated:
    """Add `--device`, which `device_of_options` reads."""
    return click.option(
        "--device", default="auto", show_default=True, metavar="auto|cpu|cuda|cuda:N", expose_value=False,
        callback=_check_device,
        help="Where the network and its tiles are computed. auto: the first CUDA card, if there is one and the backend "
             "computes on it, else the CPU.",
    )(function)  # fmt: skip


def cpu_option(reason: str) -> Callable[[Decorated], Decorated]:
    """Return a decorator that adds `--device` to a command that computes on the CPU alone, for a `reason`."""

    def check(context: click.Context, option: click.Parameter, value: str) -> None:
        _check_device(context, option, value)
        if value.startswith("cuda"):
            raise ConfigurationError(f"--device {value}: {reason}; use --device cpu")

    return click.option("--device", default="auto", show_default=True, metavar="auto|cpu", expose_value=False,
                        callback=check, help=f"Where to compute; always the CPU: {reason}.")  # fmt: skip


def _check_device(context: click.Context, option: click.Parameter, value: str) -> None:
    """Check the form of `--device`, before torch is imported, and store it in the context."""
    if not FORM.fullmatch(value):
        raise ConfigurationError(f"--device {value}: expected auto, cpu, cuda or cuda:N, such as cuda:1")
    context.meta[DEVICE] = value


def device_of_options(backend: Backend | None) -> torch.device:
    """Return the device that `--device` chooses for `backend`, None for a training without an array, with the settings
    of torch that make runs repeatable.

    Raises ConfigurationError for a device that is not there, and for a card beside `--scheduler`.
    """
    from norsim.experiments.devices import choose_device, repeatable

    wanted = str(click.get_current_context().meta[DEVICE])
    if is_set(SCHEDULER):
        if wanted.startswith("cuda"):
            raise ConfigurationError(
                f"--device {wanted} computes in this process, but --scheduler gives whole batches to others; use only "
                "one of them"
            )
        wanted = "cpu" if wanted == AUTO else wanted
    device = choose_device(wanted, backend)
    repeatable(device)
    return device


def device_of_reads(backend: Backend) -> torch.device:
    """Return the device that `--device` chooses for a command that only reads an array by `backend`.

    Raises ConfigurationError for a card that would have nothing to do, and as `device_of_options`.
    """
    wanted = str(click.get_current_context().meta[DEVICE])
    if wanted.startswith("cuda") and (backend.gives_integers or not backend.on_cards):
        raise ConfigurationError(
            f"--device {wanted}: the backend {backend.name} computes on the CPU; use --device cpu, or --backend macro"
        )
    return device_of_options(backend)
