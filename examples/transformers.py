"""Two small transformers, and text to predict: a network and data of one's own, for `norsim eval-network`.

`vit()` classifies images of 32 x 32 pixels; `gpt()` predicts the next character of a text, which
`shakespeare(split, folder)` cuts in windows. `language_model.py` puts such a network on an array.

    norsim eval-network --model examples/transformers.py:vit --weights vit.safetensors --dataset cifar10 --data DIR
    norsim eval-network --model examples/transformers.py:gpt --weights gpt.safetensors \
        --dataset examples/transformers.py:shakespeare --data DIR --metric cross-entropy
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTH, HEADS = 192, 6
# Characters that `gpt` sees at a time, and the share of a text that trains it.
CONTEXT, TRAINS = 256, 0.9


class SelfAttention(nn.Module):
    """Multi-head attention of `[n, tokens, width]` to itself; each token only to itself and earlier ones if `causal`.

    The four projections are linear layers, which an array can hold. The products of activations stay digital.
    """

    def __init__(self, causal: bool, width: int = WIDTH, heads: int = HEADS) -> None:
        super().__init__()
        self.causal, self.heads = causal, heads
        self.q = nn.Linear(width, width)
        self.k = nn.Linear(width, width)
        self.v = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = (
            layer(tokens).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.q, self.k, self.v)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        return self.out(mixed.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """Attention, then two linear layers with a hidden width of `ratio` widths, each added to its input."""

    def __init__(self, ratio: int, causal: bool, width: int = WIDTH, heads: int = HEADS) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = SelfAttention(causal, width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, ratio * width)
        self.down = nn.Linear(ratio * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attention(self.norm1(tokens))
        return tokens + self.down(functional.gelu(self.up(self.norm2(tokens))))


class VisionTransformer(nn.Module):
    """Images `[n, 3, 32, 32]` in 0 to 1 to scores `[n, 10]`, by way of 64 tokens from two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        stages = [
            [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
            for before, after in ((3, 64), (64, WIDTH))
        ]
        self.stem = nn.Sequential(*stages[0], *stages[1])
        self.position = nn.Parameter(torch.zeros(1, 64, WIDTH))
        self.blocks = nn.Sequential(*(Layer(2, causal=False) for _ in range(7)))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, images: Tensor) -> Tensor:
        patches = self.stem((images - 0.473) / 0.25)
        tokens = self.blocks(patches.flatten(2).mT + self.position)
        return self.head(self.norm(tokens).mean(1))


class LanguageModel(nn.Module):
    """Characters int64 `[n, t]`, t at most `context`, to scores `[n, t, characters]` of the character after each."""

    def __init__(
        self, characters: int = 65, context: int = CONTEXT, width: int = WIDTH, heads: int = HEADS, depth: int = 6
    ) -> None:
        super().__init__()
        self.token = nn.Embedding(characters, width)
        self.position = nn.Parameter(torch.zeros(1, context, width))
        self.blocks = nn.Sequential(*(Layer(4, True, width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, characters)

    def forward(self, characters: Tensor) -> Tensor:
        tokens = self.token(characters) + self.position[:, : characters.shape[1]]
        return self.head(self.norm(self.blocks(tokens)))


class Windows(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """Windows of `context` characters, without overlap, and the character after each, both int64 `[context]`."""

    def __init__(self, codes: Tensor, context: int = CONTEXT) -> None:
        self.codes, self.context = codes, context

    def __len__(self) -> int:
        return (len(self.codes) - 1) // self.context

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        first = index * self.context
        part = self.codes[first : first + self.context + 1]
        return part[:-1], part[1:]


def vit() -> nn.Module:
    """Return the classifier, with random weights."""
    return VisionTransformer()


def gpt() -> nn.Module:
    """Return the language model, with random weights."""
    return LanguageModel()


def halves(text: str, context: int = CONTEXT) -> tuple[Windows, Windows]:
    """Return windows of the first 90 % of a text, which train, and of the rest, which tests.

    A character's code is its place among all characters of the text, sorted.
    """
    places = {character: place for place, character in enumerate(sorted(set(text)))}
    codes = torch.tensor([places[character] for character in text])
    middle = int(TRAINS * len(codes))
    return Windows(codes[:middle], context), Windows(codes[middle:], context)


def shakespeare(split: str, folder: Path) -> Windows:
    """Return windows of `input.txt` in `folder`: of its first 90 % for `train`, of the rest for `test`."""
    return halves((folder / "input.txt").read_text())[split != "train"]
