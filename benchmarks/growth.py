"""How time and memory grow: seconds per read; set-up, memory and the predictions of `--dry-run` for whole networks.

`python -m benchmarks.growth` prints these measurements.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import networks
from benchmarks.cases import CHIP, INPUT_BITS, WEIGHT_BITS, ZERO
from benchmarks.measure import Measured, worst
from norsim.backends.macro import Macro
from norsim.chip.load import load_chip
from norsim.quantization.layer import QuantizedLayer
from norsim.tiling.calibrate import fit_layer
from norsim.tiling.grid import TileGrid, place
from norsim.tiling.reader import Reader

# Tiles at which the peak memory is stated: more than the largest network measured, so it is extrapolated.
MANY_TILES = 1000
# Seconds of CPU for which the calls of a layer are repeated.
LEAST_SECONDS = 0.5
# Networks of benchmarks.networks, in the order of their claims.
NETWORKS = ("small", "large", "transformer")


@dataclass(frozen=True)
class Command:
    """One run of `norsim eval-network`: seconds until its first read and to its end, and the peak memory in bytes; and
    its predictions, with the same cold caches."""

    tiles: int
    first_read: float
    seconds: float
    peak_bytes: int
    predicted_seconds: float
    predicted_bytes: int
    warm_first_read: float


def reads(side: int, widths: Sequence[float], vectors: Sequence[int], size: tuple[int, int], repeats: int) -> Measured:
    """Measure the largest time of a read over the smallest, for a layer of `side` x `side` tiles of a `size`, whose
    vectors are as many as `vectors`, and for one of that times each of `widths` with the first of `vectors`.

    The layer fills its tiles at any width, so that all reads are of the same size. CPU seconds per read are compared,
    with all that a layer does for its reads at run time: drive, sums, conversion, addition, and what each tile takes
    once a call. Building models, and the first call, which loads kernels, belong to set-up.
    """
    times = {}
    for width in sorted({*widths, 1.0}):
        grid = _layer(max(round(side * width), 1), size)
        for count in vectors if width == 1 else vectors[:1]:
            times[f"{len(grid.tiles)} tiles, {count} vectors"] = _seconds_per_read(grid, count, repeats)
    each = list(times.values())
    note = "; ".join(f"{name}: {1e6 * seconds:.3f} us" for name, seconds in times.items())
    return Measured(max(each) / min(each), 1.0, max(each) / min(each), note)


def _layer(side: int, size: tuple[int, int]) -> TileGrid:
    chip = load_chip(CHIP, (f"tile.wordlines={size[0]}", f"tile.bitlines={size[1]}"))
    inputs, outputs = (side * length for length in chip.encoding.capacity(*size))
    normal = np.random.default_rng(0).normal(ZERO, 2.5, (outputs, inputs))
    weights = np.clip(np.rint(normal), 0, 2**WEIGHT_BITS - 1).astype(np.uint8)
    layer = QuantizedLayer("fc", weights, ZERO, np.ones(outputs), WEIGHT_BITS, 1.0, 0, INPUT_BITS)
    return fit_layer(place(layer, chip), _codes(64, inputs), Reader(Macro()), 0)


def _codes(vectors: int, inputs: int) -> Any:
    return np.random.default_rng(vectors).integers(0, 2**INPUT_BITS, (vectors, inputs)).astype(np.uint8)


def _seconds_per_read(grid: TileGrid, vectors: int, repeats: int) -> float:
    """Return the least of several times, of CPU, because other work only adds to it: at least `repeats` times, and for
    LEAST_SECONDS, because the threads of earlier work wait busily for some milliseconds, as long as a small call."""
    codes, reader, times = _codes(vectors, grid.layer.inputs), Reader(Macro()), list[float]()
    while len(times) < repeats + 1 or sum(times) < LEAST_SECONDS:
        started = time.process_time()
        grid.multiply(codes, reader)
        times.append(time.process_time() - started)
    return min(times[1:]) / (vectors * len(grid.tiles) * grid.chip.encoding.passes(INPUT_BITS))


def command(network: str, images: int) -> Command:
    """Measure a command with a network of benchmarks.networks on random images, first with cold caches."""
    with tempfile.TemporaryDirectory() as folder:
        networks.write_images(Path(folder) / "images.npz")
        words = ["eval-network", "--model", f"{networks.__file__}:{network}", "--dataset", f"{folder}/images.npz",
                 "--images", str(images), "--proof-images", "0", "--spice-sample", "0", "--no-cache"]  # fmt: skip
        dry, _, _ = _run(Path(folder), "dry", [*words, "--dry-run"])
        cold, first_read, peak = _run(Path(folder), "cold", words)
        _, warm, _ = _run(Path(folder), "cold", words)
    return Command(
        dry["tiles"], first_read, cold["seconds"], peak, dry["seconds"], dry["memory_bytes"], warm
    )  # fmt: skip


def _run(folder: Path, caches: str, words: list[str]) -> tuple[dict[str, Any], float, int]:
    """Run a command with a folder of `caches`; return its JSON output, the seconds from its start until the first read,
    and its peak memory in bytes."""
    program = "from norsim.commands import main; main()"
    common = ["--overwrite", "--quiet", "--json", "--out", str(folder / "run")]
    started = time.time()
    with subprocess.Popen(
        [sys.executable, "-c", program, *words, *common], stdout=subprocess.PIPE,
        env=os.environ | {"XDG_CACHE_HOME": str(folder / caches)},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        text = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, words)
    # Linux reports kibibytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return json.loads(text), _first_read(folder / "run" / "events.jsonl") - started, unit * used.ru_maxrss


def _first_read(events: Path) -> float:
    """Return when the array was first read, in seconds; nan for a dry run, which has no folder."""
    if not events.is_file():
        return float("nan")
    for line in events.read_text().splitlines():
        event = json.loads(line)
        if event["event"] == "phase" and event["phase"] == "read":
            return datetime.fromisoformat(event["time"]).timestamp()
    return float("nan")


def commands(wanted: Sequence[str], images: int) -> dict[str, Measured]:
    """Measure commands with networks: a small one, a large one of the same kind, and a transformer."""
    found = {name: command(name, images) for name in wanted}
    small, large, last = (found[name] for name in (wanted[0], wanted[1], wanted[-1]))
    each = (large.peak_bytes - small.peak_bytes) / (large.tiles - small.tiles)
    peak = (large.peak_bytes + each * (MANY_TILES - large.tiles)) / 2**30
    seconds = {name: (one.predicted_seconds, one.seconds) for name, one in found.items()}
    memory = {name: (one.predicted_bytes / 2**30, one.peak_bytes / 2**30) for name, one in found.items()}
    until = "from the start of the command until its first read, random images, no model kept on disk"
    return {
        "setup-cold": _one(large.first_read, f"{large.tiles} tiles, {until}"),
        "setup-warm": _one(large.warm_first_read, f"the same command again: {large.tiles} tiles, models kept on disk"),
        "transformer-start": _one(last.first_read, f"{last.tiles} tiles, {until}"),
        "memory-tiles": _one(peak, f"{large.peak_bytes / 2**30:.2f} GiB of {large.tiles} tiles, and "
                             f"{each / 2**20:.2f} MiB for each further tile, from a run of {small.tiles} tiles"),
        "memory-dry-run": _predicted(memory, "GiB"),
        "dry-run-networks": _predicted(seconds, "s"),
    }  # fmt: skip


def _one(value: float, note: str) -> Measured:
    return Measured(value, value, value, note)


def _predicted(pairs: dict[str, tuple[float, float]], unit: str) -> Measured:
    """Return the worst factor between what was predicted and what was measured, by network."""
    factors = [max(before / after, after / before) for before, after in pairs.values()]
    notes = [
        f"{name} {before:.3g} {unit} predicted, {after:.3g} {unit} taken" for name, (before, after) in pairs.items()
    ]
    return worst(factors, "; ".join(notes))


def main() -> None:
    """Print the measurements of the full plan."""
    from benchmarks.plan import FULL

    found = {"read-growth": reads(*FULL.grown)} | commands(NETWORKS, FULL.grown_images)
    for key, measured in found.items():
        print(f"{key}: {measured.value:.3g} ({measured.note})", flush=True)


if __name__ == "__main__":
    main()
