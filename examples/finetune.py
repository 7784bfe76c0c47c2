"""Fine-tuning through the circuit: what an array with resistive source lines loses, a few steps of training regain.

python examples/finetune.py [FOLDER]      writes finetune.svg into FOLDER, by default into this one
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
from pictures import parser, save
from torch import nn
from your_network import Pair, digits, trained

import norsim

CHIP, STEPS, REFRESH = {"bit_serial.wires.source_line": "2 kohm"}, 120, 20


@dataclass(frozen=True)
class Study:
    """Evaluations before and after, on test images, and (steps done, mean loss on training images)."""

    before: norsim.Evaluation
    after: norsim.Evaluation
    losses: list[tuple[int, float]]


def study(network: nn.Module, train: Pair, test: Pair, steps: int = STEPS, refresh: int = REFRESH) -> Study:
    """Evaluate, train the quantized weights on the currents of the array, and evaluate again.

    The tiles are programmed again every `refresh` steps; between these, gradients pass through `macro`.
    """
    losses: list[tuple[int, float]] = []
    net = norsim.deploy(network, "etox65", calibration=train, set=CHIP)
    before = net.evaluate(test, spice_sample=4, proof_images=10, proof_seconds=20)
    net.finetune(
        train, steps=steps, refresh=refresh, progress=lambda done, count, loss: losses.append((done, float(loss)))
    )
    return Study(before, net.evaluate(test, spice_sample=4, proof_images=10, proof_seconds=20), losses)


def draw(found: Study, path: Path) -> None:
    """Draw the loss over the steps, and the accuracies before and after."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    left.plot(*zip(*found.losses, strict=True), "o-", ms=4, color="#2f6fae")
    left.set_xlabel("steps")
    left.set_ylabel("mean loss on training images")
    for place, (label, one) in enumerate((("before", found.before), ("after", found.after))):
        for shift, share, colour in ((-0.2, one.accuracy_quantized, "#2f6fae"), (0.2, one.accuracy, "#b4531f")):
            right.bar(place + shift, 100 * share, 0.38, color=colour)
        right.plot([place + 0.2] * 2, [100 * end for end in one.accuracy_ci95], color="#1b2733")
        right.text(place, 2, label, ha="center", color="white")
    right.set_xticks([-0.2, 0.2, 0.8, 1.2], ["integers", "array"] * 2)
    right.set_ylabel("accuracy on digits, %")
    save(figure, path)


def main() -> None:
    """Run the study and draw it."""
    folder = parser(__doc__).parse_args().folder
    train, test = digits("train"), digits("test")
    found = study(trained(train), train, test)
    for name, one in (("before", found.before), ("after", found.after)):
        print(f"{name}: {100 * one.accuracy:.2f} % on the array, {100 * one.accuracy_quantized:.2f} % in integers")
    draw(found, folder / "finetune.svg")


if __name__ == "__main__":
    main()
