"""How a script of another package runs and what it writes; NumPy and torch only."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.peers.network import Convert, classes, load

# Arrays of amperes by tile, for cell codes [wordlines, bitlines] and drives [reads, wordlines] of 0 and 1.
TileModel = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Results:
    """A comparison's folder, and the results of a package, which are written as `OUT.json` and `OUT.npz`."""

    def __init__(self, version: str) -> None:
        parser = argparse.ArgumentParser()
        parser.add_argument("job", type=Path)
        parser.add_argument("out", type=Path)
        given = parser.parse_args()
        self.job, self.out = given.job, given.out
        known = json.loads((self.job / "constants.json").read_text())
        self.chips: list[dict[str, Any]] = known["chips"]
        self.wired_images: int = known["wired_images"]
        self.networks: dict[str, Any] = {}
        self.tiles: dict[str, np.ndarray] = {}
        self.versions = {
            "package": version, "python": sys.version.split()[0], "torch": torch.__version__, "numpy": np.__version__,
        }  # fmt: skip
        images = np.load(self.job / "images.npz")
        self.images, self.train = torch.from_numpy(images["images"]), torch.from_numpy(images["train"])
        torch.set_num_threads(2)

    def network(self, name: str, convert: Convert | None, count: int | None = None, batch: int = 50) -> None:
        """Classify the first `count` images by a converted network; seconds are those of the processor."""
        images = self.images[:count]
        started = time.process_time()
        network = load(self.job, convert)
        built = time.process_time() - started
        classes(network, images[:1], 1)
        started = time.process_time()
        found = classes(network, images, batch)
        seconds = time.process_time() - started
        self.networks[name] = {"classes": found, "seconds": seconds, "build_seconds": built}
        print(f"{name}: {len(images)} images in {seconds:.3g} s", file=sys.stderr, flush=True)

    def each_tile(self) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """Yield the name, codes and drives of each tile."""
        tiles = np.load(self.job / "tiles.npz")
        for name in dict.fromkeys(key.split("/")[0] for key in tiles.files):
            yield name, tiles[f"{name}/codes"], tiles[f"{name}/drives"]

    def tile(self, wires: str, name: str, model: TileModel) -> None:
        """Read each tile by a model of its wires, which are those of a chip or `no wires`."""
        for size, codes, drives in self.each_tile():
            started = time.perf_counter()
            self.tiles[f"{size}/{wires}/{name}"] = model(codes, drives)
            print(f"{name}, {size}, {wires}: {time.perf_counter() - started:.3g} s", file=sys.stderr, flush=True)

    def write(self) -> None:
        """Write what was found."""
        np.savez(self.out.with_suffix(".npz"), **self.tiles)
        content = {"versions": self.versions, "networks": self.networks}
        self.out.with_suffix(".json").write_text(json.dumps(content) + "\n")
