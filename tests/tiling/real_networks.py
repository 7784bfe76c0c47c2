"""Small networks with the layers of real ones, as their authors write them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class InvertedResidual(nn.Module):
    """A block of MobileNetV2 (Sandler et al. 2018): expansion, depthwise convolution, projection."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.conv = nn.Sequential(
            nn.Conv2d(inputs, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6(),
            nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6(),
            nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs),
        )  # fmt: skip
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.conv(x)
        return x + found if self.adds else found


def mobilenet() -> nn.Module:
    """MobileNetV2 of a small width and few blocks."""
    stem = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU6())
    blocks = InvertedResidual(4, 6, 1, 3), InvertedResidual(6, 6, 1, 3), InvertedResidual(6, 8, 2, 3)
    return nn.Sequential(stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(8, 5))


class UNet(nn.Module):
    """Two scales, a transposed convolution upwards, and a skip connection (Ronneberger et al. 2015)."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU())
        self.bottom = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(4, 8, 3, padding=1), nn.ReLU())
        self.up = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.merge = nn.Conv2d(8, 4, 3, padding=1)
        self.classes = nn.Conv2d(4, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        skip = self.down(x)
        x = torch.cat([skip, self.up(self.bottom(skip))], dim=1)
        found: Tensor = self.classes(torch.relu(self.merge(x)))
        return found


class KeywordSpotter(nn.Module):
    """A convolution over time and frequency, a GRU in both directions, and a head on its last state."""

    def __init__(self) -> None:
        super().__init__()
        self.front = nn.Sequential(nn.Conv1d(6, 8, 3, padding=1), nn.ReLU())
        self.gru = nn.GRU(8, 6, batch_first=True, bidirectional=True)
        self.head = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        _, state = self.gru(self.front(x).transpose(1, 2))
        found: Tensor = self.head(torch.cat([state[0], state[1]], dim=1))
        return found


def window_attention(
    x: Tensor, qkv: Tensor, project: Tensor, heads: int, window: int, shift: int, qkv_bias: Tensor, bias: Tensor
) -> Tensor:
    """Attention in shifted windows (Liu et al. 2021), in functions, with the weights of layers as arguments."""
    images, height, width, channels = x.shape
    x = torch.roll(x, (-shift, -shift), (1, 2))
    rows, columns = height // window, width // window
    x = x.view(images, rows, window, columns, window, channels).permute(0, 1, 3, 2, 4, 5)
    x = x.reshape(images * rows * columns, window * window, channels)
    parts = functional.linear(x, qkv, qkv_bias).reshape(*x.shape[:2], 3, heads, -1).permute(2, 0, 3, 1, 4)
    x = functional.scaled_dot_product_attention(*parts).transpose(1, 2).reshape(x.shape)
    x = functional.linear(x, project, bias)
    x = x.view(images, rows, columns, window, window, channels).permute(0, 1, 3, 2, 4, 5)
    return torch.roll(x.reshape(images, height, width, channels), (shift, shift), (1, 2))


class WindowAttention(nn.Module):
    """Its layers are never called: their weights are multiplied in a function."""

    def __init__(self, width: int, shift: int) -> None:
        super().__init__()
        self.shift, self.qkv, self.proj = shift, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.qkv.weight, self.proj.weight
        return window_attention(x, *weights, 2, 2, self.shift, self.qkv.bias, self.proj.bias)


class Swin(nn.Module):
    """Patches, two blocks with windows of 2 x 2, the second one shifted, and a head."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 2, 2)
        self.attention = nn.ModuleList(WindowAttention(width, shift) for shift in (0, 1))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(4))
        self.mlps = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)) for _ in range(2)
        )
        self.head = nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).permute(0, 2, 3, 1)
        for block in range(2):
            x = x + self.attention[block](self.norms[2 * block](x))
            x = x + self.mlps[block](self.norms[2 * block + 1](x))
        found: Tensor = self.head(x.mean((1, 2)))
        return found


class DeiTBlock(nn.Module):
    """Pre-norm attention, with torch's fused function, and an MLP."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.qkv(self.norm1(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)
        x = x + self.proj(attended)
        found: Tensor = x + self.fc2(functional.gelu(self.fc1(self.norm2(x))))
        return found


class DeiT(nn.Module):
    """A data-efficient image transformer (Touvron et al. 2021): class and distillation tokens, a head for each."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, width, 4, 4)
        self.tokens = nn.Parameter(torch.randn(1, 2, width))
        self.places = nn.Parameter(torch.randn(1, 6, width))
        self.blocks = nn.Sequential(DeiTBlock(width, 2), DeiTBlock(width, 2))
        self.norm, self.head, self.distilled = nn.LayerNorm(width), nn.Linear(width, 5), nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.tokens.expand(len(x), -1, -1), x], 1) + self.places
        x = self.norm(self.blocks(x))
        found: Tensor = (self.head(x[:, 0]) + self.distilled(x[:, 1])) / 2
        return found


class SamePadding(nn.Conv2d):
    """The padding of TensorFlow: as much as the output needs, more of it at the end."""

    def forward(self, input: Tensor) -> Tensor:
        around = []
        for size, kernel, stride in zip(input.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            whole = max((-(-size // stride) - 1) * int(stride) + int(kernel) - size, 0)
            around += [whole // 2, whole - whole // 2]
        padded = functional.pad(input, around)
        return functional.conv2d(padded, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class Conv1D(nn.Module):
    """The linear layer of GPT-2, whose weight is `[inputs, outputs]`."""

    def __init__(self, outputs: int, inputs: int) -> None:
        super().__init__()
        self.nf = outputs
        self.weight, self.bias = nn.Parameter(0.3 * torch.randn(inputs, outputs)), nn.Parameter(torch.rand(outputs))

    def forward(self, x: Tensor) -> Tensor:
        found = torch.addmm(self.bias, x.reshape(-1, x.size(-1)), self.weight)
        return found.view(*x.shape[:-1], self.nf)


class Functional(nn.Module):
    """Every form in which a forward multiplies by weights in functions, and an embedding whose weight is tied."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SamePadding(3, 6, 3, stride=2)
        self.mix, self.kernel = Conv1D(8, 6), nn.Parameter(torch.randn(4, 2, 3))
        self.matrix, self.rows = nn.Parameter(torch.randn(8, 6)), nn.Parameter(torch.randn(5, 6))
        self.embedding = nn.Embedding(7, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mix(self.stem(x).flatten(2).transpose(1, 2))
        x = torch.relu(x @ self.matrix) @ self.rows.t()
        x = functional.linear(x, self.embedding.weight) + self.embedding.weight.mean()
        found: Tensor = functional.conv1d(x[..., :4].transpose(1, 2), self.kernel, stride=2, groups=2)
        return found.mean(2)


class Deep(nn.Module):
    """A convolution in three dimensions, an LSTM over its planes, and cells step by step."""

    def __init__(self) -> None:
        super().__init__()
        self.volume = nn.Conv3d(2, 3, (3, 2, 2), padding=(1, 0, 0))
        self.lstm, self.cell, self.head = nn.LSTM(12, 5, num_layers=2), nn.GRUCell(5, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        planes = torch.relu(self.volume(x)).permute(2, 0, 1, 3, 4).flatten(2)
        tokens, _ = self.lstm(planes)
        state = None
        for one in tokens:
            state = self.cell(one, state)
        found: Tensor = self.head(state)
        return found
