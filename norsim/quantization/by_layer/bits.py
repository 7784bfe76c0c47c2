"""Widths of weight and activation codes, for all layers or by patterns of their names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from norsim.errors import ConfigurationError
from norsim.quantization.by_layer.patterns import first_matches

MAX_BITS = 8
PAIR = re.compile(r"\s*([0-9]{1,9})\s*(?:/\s*([0-9]{1,9})\s*)?")
EXPECTED = "expected WEIGHTS/ACTIVATIONS, such as '4/8', or one number for both"


@dataclass(frozen=True)
class Bits:
    """Widths of the codes of a layer's weights and activations, each 1 to 8 bits; ConfigurationError for others."""

    weights: int
    activations: int

    def __post_init__(self) -> None:
        for bits in (self.weights, self.activations):
            if type(bits) is not int or not 1 <= bits <= MAX_BITS:
                raise ConfigurationError(f"code width is {bits!r} bits; expected an integer from 1 to {MAX_BITS}")

    def __str__(self) -> str:
        return f"{self.weights}/{self.activations}"


@dataclass(frozen=True)
class LayerBits:
    """Widths by patterns of layer names; a layer has those of the first pattern that matches its name."""

    rules: tuple[tuple[str, Bits], ...]

    def of(self, names: Sequence[str]) -> dict[str, Bits]:
        """Return the widths of each layer. Raises ConfigurationError, with its name, for a layer that no pattern
        matches, and for a pattern without effect."""
        rules = dict(self.rules)
        try:
            found = first_matches(list(rules), names)
        except ConfigurationError as problem:
            raise ConfigurationError(f"bits {self}: {problem}") from None
        left = [name for name, pattern in found.items() if pattern is None]
        if left:
            raise ConfigurationError(
                f"the bits of layer {left[0]!r}{f' and {len(left) - 1} more' if len(left) > 1 else ''} are not given; "
                "add a pattern for the other layers, such as *=4/4"
            )
        return {name: rules[pattern] for name, pattern in found.items() if pattern is not None}

    def __str__(self) -> str:
        """Return the text that `read_bits` reads: `8/8`, or `conv1=8/8,*=4/4`."""
        if [pattern for pattern, _ in self.rules] == ["*"]:
            return str(self.rules[0][1])
        return ",".join(f"{pattern}={bits}" for pattern, bits in self.rules)


BitsLike: TypeAlias = "int | str | Mapping[str, Any] | LayerBits"


def read_bits(given: BitsLike) -> LayerBits:
    """Return the widths that a number, a text or a mapping states.

    `8` and `"4/8"` (weights/activations) are for all layers; `"conv1=8/8,*.fc=4/8,*=4/4"` and
    `{"conv1": "8/8", "*": 4}` are by patterns, of which the first one counts that matches.

    Raises ConfigurationError for anything else.
    """
    if isinstance(given, LayerBits):
        return given
    if isinstance(given, Mapping):
        pairs = list(given.items())
    elif isinstance(given, str) and "=" in given:
        pairs = [_parted(part, given) for part in given.split(",")]
    else:
        pairs = [("*", given)]
    rules: list[tuple[str, Bits]] = []
    for pattern, bits in pairs:
        if not isinstance(pattern, str) or not pattern:
            raise ConfigurationError(f"bits are given for {pattern!r}; expected the name of a layer, or a pattern")
        if pattern in dict(rules):
            raise ConfigurationError(f"the bits of {pattern!r} are given twice; give them once")
        rules.append((pattern, _read(bits, "" if pattern == "*" and len(pairs) == 1 else f" of {pattern!r}")))
    if not rules:
        raise ConfigurationError("bits are given for no layer; give a number, or at least one pattern")
    return LayerBits(tuple(rules))


def chosen_bits(weight_bits: int | None, activation_bits: int | None, bits: BitsLike | None) -> LayerBits:
    """Return the widths of `weight_bits` and `activation_bits`, 4 by default, or of `bits`, which excludes these."""
    if bits is None:
        return LayerBits((("*", Bits(4 if weight_bits is None else weight_bits,
                                     4 if activation_bits is None else activation_bits)),))  # fmt: skip
    if weight_bits is not None or activation_bits is not None:
        raise ConfigurationError("bits says what weight_bits and activation_bits say; give either bits or these")
    return read_bits(bits)


def label(widths: Iterable[Bits]) -> str:
    """Return what a network with these widths is called: 4-bit, 4/8-bit (weights/activations), or mixed-precision."""
    different = set(widths)
    if len(different) != 1:
        return "mixed-precision" if different else "quantized"
    (only,) = different
    return f"{only.weights}-bit" if only.weights == only.activations else f"{only}-bit"


def label_of_rows(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return `label` of the rows of a table of layers; "quantized" if they do not state their widths."""
    rows = list(rows)
    if not all("weight_bits" in row and "activation_bits" in row for row in rows):
        return "quantized"
    return label(Bits(row["weight_bits"], row["activation_bits"]) for row in rows)


def _parted(part: str, given: str) -> tuple[str, str]:
    pattern, equals, bits = part.partition("=")
    if not equals or not pattern.strip():
        raise ConfigurationError(
            f"bits {given!r}: {part!r} has no pattern; expected PATTERN=WEIGHTS/ACTIVATIONS between commas, with *=... "
            "for all other layers"
        )
    return pattern.strip(), bits


def _read(bits: Any, whose: str) -> Bits:
    """Return one pair of widths; `whose` says which in errors."""
    if isinstance(bits, Bits):
        return bits
    match = PAIR.fullmatch(bits) if isinstance(bits, str) else None
    if match is not None:
        pair = [int(match[1]), int(match[2] or match[1])]
    elif isinstance(bits, int) and not isinstance(bits, bool):
        pair = [bits, bits]
    elif isinstance(bits, tuple | list) and len(bits) == 2:
        pair = list(bits)
    else:
        raise ConfigurationError(f"bits{whose} are {bits!r}; {EXPECTED}")
    try:
        return Bits(*pair)
    except ConfigurationError as problem:
        raise ConfigurationError(f"bits{whose}: {problem}" if whose else str(problem)) from None
