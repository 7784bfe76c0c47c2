"""A sweep on a cluster: converters and tiles of several sizes, evaluated by the workers of Dask on this machine.

    python examples/sweep_on_cluster.py [FOLDER]      writes sweep_on_cluster.svg into FOLDER, by default into this one

For another cluster, give `cluster` the address of its scheduler. The results do not depend on the workers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from distributed import LocalCluster
from pictures import parser, save
from torch import nn
from your_network import Pair, digits, trained

import norsim
from norsim.jobs.dask_cluster import cluster

VARY: dict[str, list[Any]] = {"adc.bits": [3, 4, 5, 6, 8], "tile.wordlines": [32, 128]}


def study(network: nn.Module, train: Pair, test: Pair, vary: dict[str, list[Any]] = VARY) -> norsim.Sweep:
    """Return the accuracy at all combinations of values; two processes read the batches of images."""
    net = norsim.deploy(network, "etox65", calibration=train)
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as local,
        cluster(local.scheduler_address, {}) as workers,
    ):
        return net.sweep(test, vary, workers=workers)


def draw(found: norsim.Sweep, path: Path) -> None:
    """Draw a curve for each size of tiles over the bits of the converter, with 95 % intervals."""
    figure, panel = plt.subplots(figsize=(6, 3), layout="constrained")
    sizes = sorted({point.values["tile.wordlines"] for point in found.points})
    for size, colour in zip(sizes, ("#2f6fae", "#b4531f"), strict=False):
        points = [point for point in found.points if point.values["tile.wordlines"] == size]
        bits = [point.values["adc.bits"] for point in points]
        panel.plot(
            bits, [100 * point.accuracy for point in points], "o-", ms=4, color=colour, label=f"{size} wordlines"
        )
        panel.fill_between(
            bits, *zip(*([100 * end for end in point.ci95] for point in points), strict=True), color=colour, alpha=0.15
        )
    panel.set_xlabel("bits of the converter")
    panel.set_ylabel("accuracy on digits, %")
    panel.legend()
    save(figure, path)


def main() -> None:
    """Run the study and draw it."""
    folder = parser(__doc__).parse_args().folder
    train, test = digits("train"), digits("test")
    found = study(trained(train), train, test)
    for row in found.rows():
        print(row)
    draw(found, folder / "sweep_on_cluster.svg")


if __name__ == "__main__":
    main()
