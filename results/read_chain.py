"""docs/read-chain.md as text, from the files of parts: which effect of the read chain decides an accuracy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from results.cells import WRITTEN_BY, Found, not_yet, row, shared, table, together
from results.plan import CHAIN, DIGITS, FEW, SMALL

RANKED = (DIGITS, SMALL)


def page(found: Found) -> str:
    """Return the page of the parts' files by name."""
    return "\n".join([*_head(found), *_ranking(found)])


def _head(found: Found) -> Iterator[str]:
    yield from ("# The read chain: which effect decides an accuracy", "", WRITTEN_BY, "")
    yield (
        f"The first {FEW} test images with `macro`, 4-bit weights and activations, on one chip with every effect of "
        "the read chain. Losses are in points against the 4-bit integers on the same images, with 95 % intervals. "
        "[Sensing](theory/sensing.md) and [the array](theory/array.md#source-lines) have the models, and "
        "[Results](results.md#ground-metal) what the metal of straps costs on all images."
    )
    yield ""
    if any(row(found, network, "read-chain").results for network in RANKED):
        yield from ("![Points lost to each cause of the read chain](pictures/read-chain.svg)", "")
    yield from table(
        "setting of the chip `etox65` | what it is", ([f"`{setting}`", what] for setting, what in CHAIN.items())
    )


def _ranking(found: Found) -> Iterator[str]:
    yield (
        "Shapley values are means over orders of adding the causes; they add up to the whole. The largest rise of the "
        "mean cross-entropy comes first: it also shows effects that change no class."
    )
    yield ""

    def ranks() -> Iterator[Sequence[str]]:
        for network in RANKED:
            one = row(found, network, "read-chain")
            if one.missing:
                yield [network, not_yet(one.missing)]
            for result in one.results:
                for part in by_share(result):
                    yield [network, part["name"], *shared(part)]
                yield [network, *together(result)]

    yield from table("network | cause | alone | added last | Shapley value | cross-entropy, nats", ranks())


def by_share(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the causes of an attribution, the largest rise of the cross-entropy first."""
    found: list[dict[str, Any]] = result["shares"]
    return sorted(found, key=lambda part: -part["cross_entropy"]["nats"])
