"""The gradients of a batch: taken operation by operation, or replayed on a CUDA card from a recording.

A card computes the kernels of a small network faster than the host starts them. A CUDA graph starts all of them at
once. The recording follows torch's notes on CUDA semantics, "CUDA Graphs": the first batches are computed on a stream
of their own, the gradients are None before the recording, so that its memory holds them, and each replay overwrites
them. The optimiser's step is not in it, so the learning rate stays a number of the host.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

# Returns the loss `[]` of images `[batch, channels, h, w]` with labels `[batch]`.
LossOf = Callable[[Tensor, Tensor], Tensor]
# Batches before the recording, in which libraries set up what a recording cannot hold.
WARM_UP = 3


def gradients_of(network: nn.Module, loss_of: LossOf, device: torch.device) -> LossOf:
    """Return a function that sets the gradients of `network`, on `device`, for a batch, and returns its loss `[]`.

    All batches have the same shapes.
    """
    return Recorded(network, loss_of) if device.type == "cuda" else partial(take_gradients, network, loss_of)


def take_gradients(network: nn.Module, loss_of: LossOf, images: Tensor, labels: Tensor) -> Tensor:
    """Set the gradients of `network` for images `[batch, channels, h, w]` with labels `[batch]`; return the loss."""
    network.zero_grad()
    loss = loss_of(images, labels)
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach()


class Recorded:
    """Gradients for images `[batch, channels, h, w]` with labels `[batch]` by a CUDA graph, recorded after a few
    batches. Neither network nor loss may wait for the card."""

    def __init__(self, network: nn.Module, loss_of: LossOf) -> None:
        self.network, self.loss_of = network, loss_of
        self.warm_up = WARM_UP
        self.stream: torch.cuda.Stream | None = None
        self.graph: torch.cuda.CUDAGraph | None = None
        self.images, self.labels, self.loss = torch.empty(0), torch.empty(0), torch.empty(0)

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        """Do as `take_gradients`. The loss is that of this batch until the next one."""
        if self.stream is None:
            self.stream = torch.cuda.Stream(images.device)  # type: ignore[no-untyped-call]
        if self.warm_up:
            self.warm_up -= 1
            return self._beside(images, labels, self.stream)
        if self.graph is None:
            self.graph = self._record(images, labels, self.stream)
        self.images.copy_(images)
        self.labels.copy_(labels)
        self.graph.replay()
        return self.loss

    def _beside(self, images: Tensor, labels: Tensor, own: torch.cuda.Stream) -> Tensor:
        """Take the gradients on a stream of their own."""
        usual = torch.cuda.current_stream(images.device)
        own.wait_stream(usual)
        with torch.cuda.stream(own):
            loss = take_gradients(self.network, self.loss_of, images, labels)
        usual.wait_stream(own)
        return loss

    def _record(self, images: Tensor, labels: Tensor, own: torch.cuda.Stream) -> torch.cuda.CUDAGraph:
        """Record the kernels, which computes nothing, with the memory that they read and write."""
        self.images, self.labels = images.clone(), labels.clone()
        self.network.zero_grad()
        torch.cuda.synchronize(images.device)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=own):
            self.loss = take_gradients(self.network, self.loss_of, self.images, self.labels)
        return graph
