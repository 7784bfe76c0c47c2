"""Float definitions of norsim's networks.

All take inputs in [0, 1] without normalisation, so that the first layer's inputs are unsigned codes like those of the
other layers. All take a `width`, a factor on their numbers of channels; 1.0 is the full size. No convolution before a
batch norm has a bias.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

CLASSES = 10


def channels(count: int, width: float) -> int:
    """Return `count` times `width`, rounded to a multiple of 4 (halves up), at least 4."""
    return max(4 * int(count * width / 4 + 0.5), 4)


def digits_cnn(width: float = 1.0) -> nn.Module:
    """Build a network of two convolutions for 8 × 8 grey images: `[n, 1, 8, 8]` in [0, 1] to `[n, 10]` logits."""
    first, second = channels(8, width), channels(20, width)
    layers: list[tuple[str, nn.Module]] = [
        ("conv1", nn.Conv2d(1, first, 3, padding=1, bias=False)),
        ("bn1", nn.BatchNorm2d(first)),
        ("relu1", nn.ReLU()),
        ("pool", nn.MaxPool2d(2)),
        ("conv2", nn.Conv2d(first, second, 3, padding=1, bias=False)),
        ("bn2", nn.BatchNorm2d(second)),
        ("relu2", nn.ReLU()),
        ("flatten", nn.Flatten()),
        ("fc", nn.Linear(second * 16, CLASSES)),
    ]
    return nn.Sequential(OrderedDict(layers))


class PlainNetwork(nn.Module):
    """A chain of 3 × 3 convolutions, then linear layers: `[n, 3, 32, 32]` in [0, 1] to `[n, 10]` logits.

    `plan` lists the channels of each convolution, with a 0 for each 2 × 2 max-pool; a batch norm and a ReLU
    follow each convolution. `hidden` lists the outputs of the linear layers before the last.
    """

    def __init__(self, plan: Sequence[int], hidden: Sequence[int] = ()) -> None:
        super().__init__()
        features: list[nn.Module] = []
        inputs, side = 3, 32
        for outputs in plan:
            if outputs:
                convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
                features += [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
                inputs = outputs
            else:
                features.append(nn.MaxPool2d(2))
                side //= 2
        classifier: list[nn.Module] = []
        inputs *= side**2
        for outputs in hidden:
            classifier += [nn.Linear(inputs, outputs), nn.ReLU()]
            inputs = outputs
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(*classifier, nn.Linear(inputs, CLASSES))
        initialise_convolutions(self)

    def forward(self, images: Tensor) -> Tensor:
        """Map `[n, channels, height, width]` images to `[n, classes]` logits."""
        logits: Tensor = self.classifier(torch.flatten(self.features(images), 1))
        return logits


def _plain(plan: Sequence[int], hidden: Sequence[int], width: float) -> nn.Module:
    sizes = [count and channels(count, width) for count in plan]
    return PlainNetwork(sizes, [channels(count, width) for count in hidden])


def alexnet(width: float = 1.0) -> nn.Module:
    """Build the five convolutions and three linear layers of Krizhevsky et al. (2012) for images of 32 × 32.

    The first convolution has stride 1, kernels are 3 × 3, batch norms replace the local response
    normalisation, and the linear layers have 1024, 512 and 10 outputs, without dropout.
    """
    return _plain((64, 0, 192, 0, 384, 256, 256, 0), (1024, 512), width)


def vgg16(width: float = 1.0) -> nn.Module:
    """Build configuration D of Simonyan & Zisserman (2015), table 1, with batch norm and one linear layer."""
    plan = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)
    return _plain(plan, (), width)


class PaddedShortcut(nn.Module):
    """A shortcut without parameters: option A of He et al. (2016), section 3.3.

    `[n, inputs, h, w]` to `[n, outputs, h / stride, w / stride]`: every `stride`-th pixel, and zero channels
    on both sides.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.before = (outputs - inputs) // 2
        self.behind = outputs - inputs - self.before

    def forward(self, images: Tensor) -> Tensor:
        """Map `[n, channels, height, width]` to `[n, outputs, height / stride, width / stride]`."""
        return functional.pad(images[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.before, self.behind))


def projected_shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    """Build a 1 × 1 convolution with batch norm: option B of He et al. (2016), equation 2. Shapes as above."""
    convolution = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


Shortcut = Callable[[int, int, int], nn.Module]


class BasicBlock(nn.Module):
    """Two 3 × 3 convolutions and a shortcut, the identity if the shape stays (He et al. 2016, figure 2).

    `[n, inputs, h, w]` to `[n, outputs, h / stride, w / stride]`.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, shortcut: Shortcut) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        changes = stride != 1 or inputs != outputs
        self.shortcut = shortcut(inputs, outputs, stride) if changes else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """Map `[n, channels, height, width]` to `[n, outputs, height / stride, width / stride]`."""
        main = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(images)))))
        return functional.relu(main + self.shortcut(images))


class ResNet(nn.Module):
    """A residual network for CIFAR: `[n, 3, 32, 32]` in [0, 1] to `[n, 10]` logits.

    A 3 × 3 convolution, then stages `layer1`, `layer2`, … of `blocks` blocks with `sizes` channels, each
    stage after the first at half the resolution of the previous one, then an average and a linear layer.
    """

    def __init__(self, shortcut: Shortcut, sizes: Sequence[int], blocks: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, sizes[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(sizes[0])
        self.stages = [f"layer{number}" for number in range(1, len(sizes) + 1)]
        inputs = sizes[0]
        for name, outputs in zip(self.stages, sizes, strict=True):
            rest = [BasicBlock(outputs, outputs, 1, shortcut) for _ in range(blocks - 1)]
            first = BasicBlock(inputs, outputs, 1 if name == "layer1" else 2, shortcut)
            self.add_module(name, nn.Sequential(first, *rest))
            inputs = outputs
        self.linear = nn.Linear(inputs, CLASSES)
        initialise_convolutions(self)

    def forward(self, images: Tensor) -> Tensor:
        """Map `[n, channels, height, width]` images to `[n, classes]` logits."""
        features = functional.relu(self.bn1(self.conv1(images)))
        for name in self.stages:
            features = self.get_submodule(name)(features)
        logits: Tensor = self.linear(torch.flatten(functional.adaptive_avg_pool2d(features, 1), 1))
        return logits


def resnet20(width: float = 1.0) -> nn.Module:
    """Build the network of He et al. (2016), section 4.2, with n = 3: 20 layers, 0.27 million parameters."""
    return ResNet(PaddedShortcut, [channels(count, width) for count in (16, 32, 64)], 3)


def resnet18(width: float = 1.0) -> nn.Module:
    """Build the 18-layer network of He et al. (2016), table 1, with a 3 × 3 stem of stride 1 and no first pool."""
    return ResNet(projected_shortcut, [channels(count, width) for count in (64, 128, 256, 512)], 2)


def initialise_convolutions(network: nn.Module) -> None:
    """Draw the weights of all convolutions as in He et al., "Delving Deep into Rectifiers" (2015), by outputs."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
