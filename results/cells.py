"""What stands in the cells of the pages' tables: rows of parts, shares and paired losses with their intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import binomtest

from norsim.evaluation.attribution import paired_loss
from norsim.evaluation.intervals import wilson
from results.part import Part
from results.plan import PARTS
from results.run import unpacked

# For who opens the file of a page; the page does not show it.
WRITTEN_BY = "<!-- Written by `make results`; do not edit. -->"
# The content of parts' files by name.
Found = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Row:
    """The parts of a row of a network that are there, in the order of their images, and the names of the others."""

    network: str
    name: str
    results: list[dict[str, Any]]
    missing: list[str]

    @property
    def images(self) -> np.ndarray:
        """Return the numbers `[images]` of its images."""
        return np.concatenate([np.arange(one["first"], one["first"] + one["images"]) for one in self.results])

    def correct(self, network: str) -> np.ndarray | None:
        """Return whether `float`, `quantized` or `array` classified each image correctly, `[images]`; None if that is
        not known of all."""
        each = [one["correct"].get(network) for one in self.results]
        if any(text is None for text in each):
            return None
        return np.concatenate([unpacked(text, one["images"]) for text, one in zip(each, self.results, strict=True)])

    def worst(self, unit: str) -> float | None:
        """Return the largest error of its reads against ngspice and nodal, in `steps` or of `full_scale`."""
        proofs = [one["verification"] for one in self.results if one["verification"]]
        each = [part for one in proofs for part in (one, one["tiles"], one["passes"]) if part]
        found = [part[f"max_error_{unit}"] for part in each if part[f"max_error_{unit}"] is not None]
        return max(found, default=None)


def row(found: Found, network: str, name: str, parts: Sequence[Part] = PARTS) -> Row:
    """Return a row from the files of its parts."""
    own = [part for part in parts if (part.network, part.row) == (network, name)]
    there = [part for part in own if part.name in found]
    results = sorted((found[part.name]["result"] for part in there), key=lambda one: one.get("first", 0))
    return Row(network, name, results, [part.name for part in own if part.name not in found])


def section(title: str, text: str) -> Iterator[str]:
    """Yield the title of a section, and its text."""
    yield from (f"## {title}", "", text, "")


def table(head: str, lines: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield a table in Markdown with the columns of `head`, and an empty line."""
    width = head.count("|") + 1
    yield f"| {head} |"
    yield "|" + "---|" * width
    for line in lines:
        yield "| " + " | ".join([*line, *[""] * (width - len(line))]) + " |"
    yield ""


def lines(some: Iterable[Row], cells: Callable[[Row], Sequence[str]], *, named: bool = True) -> Iterator[Sequence[str]]:
    """Yield a line per row, of which some parts may be missing: it says so with their names."""
    for one in some:
        first = [one.network, one.name] if named else [one.network]
        if one.results:
            yield [*first, *cells(one)]
        else:
            yield [*first, not_yet(one.missing)]


def not_yet(names: Sequence[str]) -> str:
    """Return what stands for numbers of parts that are missing."""
    return f"not measured yet: {', '.join(f'`{name}`' for name in names)}"


def counted(one: Row) -> str:
    """Return the number of images, with the parts that are missing."""
    return f"{len(one.images)}" + (f" ({not_yet(one.missing)})" if one.missing else "")


def percent(right: np.ndarray | None) -> str:
    """Return the share of `right` `[images]` with its interval."""
    if right is None:
        return "not known"
    low, high = wilson(int(right.sum()), len(right))
    return f"{100 * right.mean():.2f} % ({100 * low:.2f} to {100 * high:.2f})"


def lost(before: np.ndarray | None, after: np.ndarray | None) -> tuple[str, str]:
    """Return the points lost between two classifications of the same images, whether right `[images]`, and p of the
    exact McNemar test."""
    if before is None or after is None:
        return "not known", ""
    found = paired_loss(before.astype(int), after.astype(int), np.ones(len(before), dtype=np.int64))
    worse, better = int((before & ~after).sum()), int((~before & after).sum())
    p = binomtest(worse, worse + better).pvalue if worse + better else 1.0
    text = f"{found.points:.2f} ({found.ci95[0]:.2f} to {found.ci95[1]:.2f})"
    return text, f"{p:.2g}" if p else "< 1e-300"


def common(one: Row, other: Row, network: str = "array") -> tuple[np.ndarray, np.ndarray]:
    """Return what both rows say of the images that both have, `[images]` each."""
    both, mine, theirs = np.intersect1d(one.images, other.images, return_indices=True)
    right, rights = one.correct(network), other.correct(network)
    assert right is not None and rights is not None and len(both)
    return right[mine], rights[theirs]


def error(one: Row) -> str:
    """Return the largest error of a row in steps of converters."""
    worst = one.worst("steps")
    return "" if worst is None else f"{worst:.2g}"


def points(loss: dict[str, Any]) -> str:
    """Return a loss of an attribution."""
    return f"{loss['points']:.2f} ({loss['ci95'][0]:.2f} to {loss['ci95'][1]:.2f})"


def nats(rise: dict[str, Any]) -> str:
    """Return a rise of the cross-entropy."""
    return f"{rise['nats']:.4f} ({rise['ci95'][0]:.4f} to {rise['ci95'][1]:.4f})"


def shared(part: dict[str, Any]) -> list[str]:
    """Return the losses to one part of an attribution: alone, added last, its Shapley value, and in nats."""
    return [*(points(part[kind]) for kind in ("alone", "without", "shapley")), nats(part["cross_entropy"])]


def together(result: dict[str, Any]) -> list[str]:
    """Return the losses to all parts of an attribution, in the columns of `shared`."""
    return ["all together", points(result["array"]), "", "", nats(result["array_cross_entropy"])]
