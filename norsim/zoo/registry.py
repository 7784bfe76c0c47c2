"""Networks by name, and user-supplied ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from norsim.errors import ConfigurationError, suggestion
from norsim.quantization.plain import in_single
from norsim.user_code import absolute, is_code
from norsim.zoo import architectures
from norsim.zoo.normalise import Normalise
from norsim.zoo.onnx.file import build_for_any_batch, is_onnx
from norsim.zoo.python_file import build_user_network
from norsim.zoo.widths import WIDEST


@dataclass(frozen=True)
class NetworkSpec:
    """A network definition: `builder(width)` returns it untrained; `dataset` is the data set it is designed for.

    `width` multiplies its numbers of channels, above 0 and at most 64; ConfigurationError otherwise. `normalise` is
    applied to its images first. `channels_last`: whether colour images can be in that memory format, which trains
    faster; a user's forward may need contiguous ones. Modules that match the patterns `digital` stay float when it is
    quantized.
    """

    name: str
    dataset: str
    builder: Callable[[float], nn.Module]
    description: str
    width: float = 1.0
    normalise: Normalise | None = None
    channels_last: bool = True
    digital: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.width <= WIDEST:
            raise ConfigurationError(f"width is {self.width}; expected above 0, at most {WIDEST:g}")

    def build(self) -> nn.Module:
        """Build the untrained network (float32, weights from torch's global random state)."""
        network = in_single(self.builder(self.width))
        return network if self.normalise is None else self.normalise.on(network)


NETWORKS = {
    spec.name: spec
    for spec in (
        NetworkSpec(
            "digits-cnn", "digits", architectures.digits_cnn, "two convolutions and a linear layer, 8 x 8 digits"
        ),
        NetworkSpec("alexnet", "cifar10", architectures.alexnet, "AlexNet for CIFAR-10, with batch norm"),
        NetworkSpec("vgg16", "cifar10", architectures.vgg16, "VGG configuration D for CIFAR-10, with batch norm"),
        NetworkSpec("resnet18", "cifar10", architectures.resnet18, "18-layer residual network, in its CIFAR-10 form"),
        NetworkSpec(
            "resnet20", "cifar10", architectures.resnet20, "20-layer residual network of He et al. for CIFAR-10"
        ),
    )
}


def spec_of(name: str, width: float = 1.0) -> NetworkSpec:
    """Return the definition of a network by name; ConfigurationError with the closest name if there is none.

    FILE.py:FUNCTION is a user-supplied network, whose file is executed when it is built; FILE.onnx is a network with
    its weights. These have no data set and a fixed width.
    """
    if is_code(name) or is_onnx(name):
        if width != 1:
            raise ConfigurationError(f"{name} has a fixed width: leave the width at 1")
        if is_onnx(name):
            path = Path(name).resolve()
            about = "a network from an ONNX file"
            return NetworkSpec(str(path), "", lambda _: build_for_any_batch(path), about, channels_last=False)
        reference = absolute(name)
        about = "a user-supplied network"
        return NetworkSpec(reference, "", lambda _: build_user_network(reference), about, channels_last=False)
    if name in NETWORKS:
        return replace(NETWORKS[name], width=width)
    raise ConfigurationError(f"no network is called {name!r}; {suggestion(name, NETWORKS)}")


def build(name: str, width: float = 1.0, normalise: Normalise | None = None) -> nn.Module:
    """Build an untrained network by name: see `spec_of` and `NetworkSpec`."""
    return replace(spec_of(name, width), normalise=normalise).build()
