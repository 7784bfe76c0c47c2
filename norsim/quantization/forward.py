"""Call a user-supplied network on a batch, and check that it answers each image of one by itself."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from norsim.data.inputs.structure import Structure, count_of, mapped, shapes, taken, tensors_in
from norsim.errors import ConfigurationError, NorsimError, first_line

# Share of the largest output by which answers for different batch sizes may differ, and that of outputs near 0.
ROUNDING, TINY = 1e-3, 1e-6


def forward(network: nn.Module, inputs: Structure) -> Any:
    """Return what `network` returns for a copy of `inputs` `[images, ...]` on its device.

    A tuple of tensors gives its arguments in order, a dict those by name. A copy, because some networks normalise their
    input in place. Raises ConfigurationError, with the shape and type of the inputs, if it fails on them.
    """
    device = device_of(network)
    given = mapped(inputs, lambda part: part.to(device, copy=True))
    try:
        with uncompiled():
            if isinstance(given, Mapping):
                return network(**given)
            return network(*given) if isinstance(given, tuple) else network(given)
    except NorsimError:
        raise
    except Exception as problem:  # user code may raise anything
        raise ConfigurationError(
            f"{type(network).__name__} fails on inputs {shapes(inputs)}: "
            f"{type(problem).__name__}: {first_line(problem)}. Give inputs that the float network accepts"
        ) from problem


def device_of(network: nn.Module) -> torch.device:
    """Return the device of the parameters and buffers of `network`; the CPU if it has none."""
    kept = [*network.parameters(), *network.buffers()]
    return kept[0].device if kept else torch.device("cpu")


def device_name(device: torch.device) -> str:
    """Return what determines the bits that a device computes: `cpu`, or `cuda` with the name of the card."""
    return f"cuda {torch.cuda.get_device_name(device)}" if device.type == "cuda" else device.type


def check_network(network: object) -> None:
    """Raise ConfigurationError for anything that is not a torch.nn.Module."""
    if not isinstance(network, nn.Module):
        raise ConfigurationError(f"the network is a {type(network).__name__}; expected a torch.nn.Module")


def uncompiled() -> AbstractContextManager[Any]:
    """Return a context in which functions compiled by torch.compile run as they are written.

    The compiler cannot follow layers on an array, nor the hooks that observe a network.
    """
    # Only a network that uses the compiler has imported it, which takes seconds. torch has stances since 2.6.
    if "torch._dynamo" not in sys.modules or not hasattr(torch.compiler, "set_stance"):
        return nullcontext()
    eager: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return eager


@torch.no_grad()
def check_single_images(network: nn.Module, images: Structure, values: bool = False) -> None:
    """Check that `network` answers each image by itself: call it on one of `images` `[images, ...]` and on three.

    Batches of any size are used later. Raises ConfigurationError if a call fails, if the shapes of outputs do not
    follow the number of images, or, with `values`, if the answer for an image depends on the others of its batch. The
    random state does not change.
    """
    count = count_of(images)
    three = taken(images, torch.tensor([0, 1 % count, 2 % count]))
    with torch.random.fork_rng(devices=[]):
        alone, together = _tensors(forward(network, taken(three, slice(1)))), _tensors(forward(network, three))
        _check_shapes(network, alone, together)
        if values and _alike(together, _tensors(forward(network, three))):
            last = _tensors(forward(network, taken(three, slice(2, 3))))
            for place, single in ((slice(0, 1), alone), (slice(2, 3), last)):
                if not _alike([part[place] for part in together if len(part) == 3], _single(single, together)):
                    raise ConfigurationError(
                        f"the answer of {type(network).__name__} for an image depends on the other images of its "
                        "batch, so it would depend on how images are divided into batches; expected an answer for each "
                        "image by itself, as of batch norms with running statistics"
                    )


def _single(single: list[Tensor], together: list[Tensor]) -> list[Tensor]:
    """Return those of the outputs for one image that count images along their first axis, `[1, ...]`."""
    return [one for one, part in zip(single, together, strict=True) if len(part) == 3]


def _check_shapes(network: nn.Module, alone: list[Tensor], together: list[Tensor]) -> None:
    """Raise ConfigurationError unless one axis of each output, or none, is three times as long for three images."""
    fit = len(alone) == len(together)
    for one, three in zip(alone, together, strict=False):
        axes = [(a, b) for a, b in zip(one.shape, three.shape, strict=False) if a != b]
        fit = fit and one.ndim == three.ndim and (not axes or (len(axes) == 1 and axes[0][1] == 3 * axes[0][0]))
    if not fit:
        shapes = (", ".join(str(list(part.shape)) for part in parts) or "no tensor" for parts in (alone, together))
        raise ConfigurationError(
            "{} returns {} for one image and {} for three; expected outputs whose first axis counts images, for "
            "batches of any size".format(type(network).__name__, *shapes)
        )


def _alike(some: list[Tensor], others: list[Tensor]) -> bool:
    """Return whether real numbers agree to rounding; those that are not finite are left out."""
    for one, other in zip(some, others, strict=True):
        if one.is_floating_point():
            kept = torch.isfinite(one) & torch.isfinite(other)
            difference, largest = (one - other)[kept].abs(), one[kept].abs()
            if len(largest) and float(difference.max()) > ROUNDING * float(largest.max()) + TINY:
                return False
    return True


def _tensors(outputs: Any) -> list[Tensor]:
    """Return the tensors in outputs of any kind, each with at least one axis."""
    return [part if part.ndim else part.reshape(1) for part in tensors_in(outputs)]
