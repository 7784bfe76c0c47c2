"""`python -m benchmarks.network NETWORK --data DIR`: the time of an evaluation over that of the plain float network.

Both classify the same images on the same threads, alternately; the network's set-up and the proof are not included. The
time is that of the process's threads, so that other work on the machine matters little. The float network has random
weights, which do not change its time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch

from benchmarks.measure import Measured, spread
from norsim.chip.load import choose_chip
from norsim.data.tensors import BATCH, images_tensor
from norsim.evaluation.batches import classes
from norsim.evaluation.evaluate import evaluate
from norsim.experiments.experiment import open_experiment
from norsim.zoo.registry import build

CHIP = "etox65"


@dataclass(frozen=True)
class Times:
    """Milliseconds per image of the float network and of the evaluation, each `[repeats]`."""

    plain: list[float]
    array: list[float]

    def ratio(self) -> Measured:
        """Return the ratio of each pair."""
        ratios = [array / plain for plain, array in zip(self.plain, self.array, strict=True)]
        plain, array = np.median(self.plain), np.median(self.array)
        return spread(ratios, f"float {plain:.3g} ms per image, evaluation {array:.3g} ms")


def measured(network: str, data: Path | None, images: int, repeats: int) -> Times:
    """Measure `repeats` pairs on the first test images, after one run of both on the first batch."""
    one = open_experiment(network, choose_chip(CHIP), None, data)
    shown, known = one.images(images)
    one.net.calibrate()
    spec = one.card["network"]
    plain = build(spec, float(one.card.get("width", 1.0))).eval()
    batches = torch.split(images_tensor(shown), BATCH)

    def on_array(count: int) -> None:
        answers = None if known is None else known[:count]
        evaluate(
            one.net.parts.analog, shown.take(count), spice_sample=0, proof_images=0, verified=False,
            float_predictions=answers,
        )  # fmt: skip

    def in_float(some: Any) -> None:
        for batch in some:
            classes(plain, batch)

    on_array(min(BATCH, len(shown)))
    in_float(batches[:1])
    found = Times([], [])
    for _ in range(repeats):
        found.plain.append(1e3 * _seconds(lambda: in_float(batches)) / len(shown))
        found.array.append(1e3 * _seconds(lambda: on_array(len(shown))) / len(shown))
    return found


def _seconds(call: Callable[[], Any]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def main() -> None:
    """Print the ratio and its range."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.network", description=__doc__)
    parser.add_argument("network", help="a shipped network or a folder, for example resnet20")
    parser.add_argument("--data", type=Path, help="the folder of CIFAR-10")
    parser.add_argument("--images", type=int, default=200, help="number of test images")
    parser.add_argument("--repeats", type=int, default=5, help="number of pairs")
    parser.add_argument("--threads", type=int, default=1, help="threads of both sides")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    numba.set_num_threads(options.threads)
    ratio = measured(options.network, options.data, options.images, options.repeats).ratio()
    print(f"{options.network}: {ratio.value:.1f} x plain float ({ratio.low:.1f} to {ratio.high:.1f}); {ratio.note}")


if __name__ == "__main__":
    main()
