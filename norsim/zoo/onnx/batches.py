"""Whether an ONNX network answers each image of a batch by itself."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from norsim.zoo.onnx.graph import GraphError, OnnxNetwork, Source

# The longest side of images on which a network is tried when it is read.
LARGEST_SIDE = 512


@torch.no_grad()
def check_batches(network: OnnxNetwork) -> None:
    """Raise GraphError if a network answers for batches of one and of three images otherwise than image by image.

    Nothing is checked if the file does not state the size of an image, of every input.
    """
    sizes = [source.shape[1:] for source in network.sources.values()]
    if not all(size and all(0 < length <= LARGEST_SIDE for length in size) for size in sizes):
        return
    random = torch.Generator().manual_seed(0)
    inputs = [_drawn(source, random) for source in network.sources.values()]
    each = [_answers(network, [part[place : place + 1] for part in inputs]) for place in range(3)]
    for alone, together in zip(zip(*each, strict=True), _answers(network, inputs), strict=True):
        _check_answers(alone, together)


def _drawn(source: Source, random: torch.Generator) -> Tensor:
    """Return three random images."""
    if source.dtype.is_floating_point:
        return torch.rand(3, *source.shape[1:], generator=random)
    return torch.randint(2, (3, *source.shape[1:]), generator=random).to(source.dtype)


def _answers(network: OnnxNetwork, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    found = network(*inputs)
    return found if isinstance(found, tuple) else (found,)


def _check_answers(each: Sequence[Tensor], together: Tensor) -> None:
    """Raise GraphError if an output for three images, `[3, ...]`, is not that of each of them."""
    advice = "a constant of its graph is for one batch size; export it with a dynamic first axis"
    rows = [len(answer) if answer.ndim else 0 for answer in (*each, together)]
    if rows != [1, 1, 1, 3]:
        raise GraphError(f"it gives {rows[0]} answers for one image and {rows[3]} for three: {advice}")
    if not together.numel():
        raise GraphError(f"its output has shape {list(together.shape)}, so no values")
    if not torch.isfinite(together).all():
        raise GraphError("its output for random images has values that are not finite")
    scale = float(together.abs().max()) or 1.0
    if together.is_floating_point() and not (torch.cat(list(each)) - together).abs().max() <= 1e-3 * scale:
        raise GraphError("it answers otherwise for an image among others than for the image alone")
