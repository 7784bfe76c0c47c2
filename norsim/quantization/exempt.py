"""Modules that stay as they are: neither quantized nor placed, by patterns of their names."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from fnmatch import fnmatchcase

from torch import nn

from norsim.errors import ConfigurationError, PlacementError, suggestion


def is_exempt(name: str, patterns: Collection[str]) -> bool:
    """Return whether the module `name`, or one that contains it, matches one of `patterns`, such as `fc`."""
    return any(fnmatchcase(part, pattern) for part in _with_parents(name) for pattern in patterns)


def _with_parents(name: str) -> Iterator[str]:
    """Yield `a.b.c`, `a.b` and `a` for `a.b.c`."""
    while name:
        yield name
        name = name.rpartition(".")[0]


def check_patterns(network: nn.Module, patterns: Collection[str], more: Collection[str] = ()) -> None:
    """Raise ConfigurationError for a pattern that matches no module of `network` with weights and none of the names
    `more`; the message has all names."""
    names = [
        name for name, part in network.named_modules() if name and any(value.ndim > 1 for value in part.parameters())
    ]
    names += [name for name in more if name not in names]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ConfigurationError(f"{pattern!r} matches no module with weights; {suggestion(pattern, names)}")


def refused(name: str, problem: str) -> PlacementError:
    """Return the error about a module `name` that no array can hold; it ends in how to leave the module out."""
    return PlacementError(f"{problem}{instead(name)}")


def instead(name: str) -> str:
    """Return the end of a refusal of module `name`; an empty text for a whole network, which cannot be left out."""
    return f'; or leave it digital: digital=["{name}"]' if name else ""
