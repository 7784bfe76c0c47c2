"""Small networks of the tests of the Python API, in a module, so that a new process can load them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Small(nn.Module):
    """A convolution, a norm that stays digital, and two linear layers, for digits of 8 x 8 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, stride=2, padding=1)
        self.body = nn.Sequential(nn.ReLU(), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 16), nn.ReLU())
        self.fc = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Any:
        return self.fc(self.body(self.conv(x)))


class InDict(Small):
    """The same with its scores in a dict."""

    def forward(self, x: Tensor) -> Any:
        return {"logits": super().forward(x), "mean": x.mean(dim=(1, 2, 3))}


class InTuple(Small):
    """The same with its scores in a tuple."""

    def forward(self, x: Tensor) -> Any:
        return super().forward(x), None


def trained(network: nn.Module, x: Tensor, y: Tensor, loss: Callable[..., Any] = functional.cross_entropy,
            steps: int = 150, batch: int = 128) -> nn.Module:  # fmt: skip
    """`network` after some steps of Adam on inputs `[n, ...]` and targets `[n, ...]`, in eval mode."""
    random = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(steps):
        chosen = torch.randint(len(x), (batch,), generator=random)
        optimizer.zero_grad()
        loss(network(x[chosen]), y[chosen]).backward()
        optimizer.step()
    return network.eval()
