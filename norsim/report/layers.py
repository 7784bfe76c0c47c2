"""Each layer of a run: what it holds, what it loses and costs, and its worst read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from norsim.backends.registry import gives_integers
from norsim.data import Dataset
from norsim.evaluation.proof.sampling import Sample
from norsim.experiments.run_record import Missing, RunRecord
from norsim.report.array import Deviation, SolvedTile, solve_worst
from norsim.report.connections import Connections, connections
from norsim.report.converters import CodeUse

# Layers of a page whose worst reads are solved again, which bounds its size and the time to write it.
MOST_SOLVED = 24


@dataclass(frozen=True)
class Lost:
    """Points of accuracy that a layer loses, with their 95 % interval."""

    points: float
    ci95: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer.

    `row`        its row in summary.json
    `digital`    whether it computed integers
    `lost`       from a run of attribute by layers
    `deviation`, `use`   from the reads that the run kept, None if it kept none of this layer
    `solved`     the worst of these, node by node
    """

    number: int
    row: Mapping[str, Any]
    digital: bool
    lost: Lost | None
    deviation: Deviation | None
    use: CodeUse | None
    solved: SolvedTile | Missing | None

    @property
    def name(self) -> str:
        """Return the layer's name in the network."""
        return str(self.row["name"])

    @property
    def joules(self) -> float | None:
        """Return the energy per image, joules; None if the run has no energy model."""
        parts = [self.row.get(f"{kind}_joules_image") for kind in ("cells", "lines", "converters")]
        return None if self.digital or None in parts else float(sum(map(float, filter(None, parts))))


@dataclass(frozen=True, eq=False)
class Network:
    """The layers in the order in which they compute, what connects them, and how `Layer.lost` was measured."""

    layers: tuple[Layer, ...]
    connections: Connections | Missing
    measure: str | None


def network_of(
    record: RunRecord, deviations: Sequence[Deviation], uses: Sequence[CodeUse],
    solved: Mapping[str, SolvedTile | Missing],
) -> Network:  # fmt: skip
    """Collect the layers of a run; none of a run of attribute, whose summary does not list them."""
    rows = {str(row["name"]): row for row in record.summary.get("layers", ())}
    found = _connections(record) if rows else Missing("The run does not list its layers.")
    measure, lost = _lost(record)
    order = () if isinstance(found, Missing) else found.order
    names = dict.fromkeys([*(name for name in order if name in rows), *rows])
    by_layer = {part.layer: part for part in deviations}
    used = {part.layer: part for part in uses}
    layers = tuple(
        Layer(number, rows[name], gives_integers(str(rows[name].get("backend", record.summary["backend"]))),
              lost.get(name), by_layer.get(name), used.get(name), solved.get(name))
        for number, name in enumerate(names, 1)
    )  # fmt: skip
    return Network(layers, found, measure)


def solve_layers(
    by_layer: Mapping[str, Sequence[Sample]], deviations: Sequence[Deviation], most: int
) -> dict[str, SolvedTile | Missing]:
    """Solve the worst read of each layer again, of at most `most` layers: those that deviate most."""
    chosen = sorted(deviations, key=lambda part: -part.worst)[:most]
    return {part.layer: solve_worst(by_layer[part.layer]) for part in chosen}


def _connections(record: RunRecord) -> Connections | Missing:
    if isinstance(record.model, Missing):
        return record.model
    if not isinstance(record.data, Dataset):
        return record.data
    return connections(record.model, record.data)


def _lost(record: RunRecord) -> tuple[str | None, dict[str, Lost]]:
    """Return how points were measured, and those of each layer, from the run's attribution by layers, if any."""
    for found in record.attributions:
        if found.by == "layers":
            shares = found.summary["shares"]
            key = "shapley" if all("shapley" in share for share in shares) else "alone"
            lost = {
                str(share["name"]): Lost(float(share[key]["points"]), (share[key]["ci95"][0], share[key]["ci95"][1]))
                for share in shares
            }
            return ("Shapley value" if key == "shapley" else "layer alone"), lost
    return None, {}
