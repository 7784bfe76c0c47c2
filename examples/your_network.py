"""Your network in Python: train a small one, put it on four chips, and compare it with its float and integer forms.

python examples/your_network.py [FOLDER]      writes your_network.svg into FOLDER, by default into this one
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from pictures import parser, save
from torch import Tensor, nn

import norsim

Pair = tuple[Tensor, Tensor]
# Name of a bar, chip, and settings of its keys.
CHIPS: list[tuple[str, str, dict[str, Any]]] = [
    ("preset", "etox65", {}),
    ("preset, linear-pair", "etox65", {"encoding": "linear-pair"}),
    ("resistive source lines", "etox65", {"bit_serial.wires.source_line": "1 kohm"}),
    ("... programmed in place", "etox65", {"bit_serial.wires.source_line": "1 kohm", "silicon.in_situ": True}),
]


def digits(split: str) -> Pair:
    """Return images `[n, 1, 8, 8]` in 0 to 1 and labels `[n]` of the digits that come with scikit-learn."""
    data = norsim.load_data("digits", split)
    return torch.from_numpy(data.images).float() / data.full_scale, torch.from_numpy(data.labels)


def trained(train: Pair, steps: int = 300) -> nn.Module:
    """Return a network of two convolutions and a linear layer, after `steps` of Adam."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(steps):
        chosen = torch.randint(len(train[0]), (128,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(train[0][chosen]), train[1][chosen]).backward()
        optimizer.step()
    return network.eval()


def study(
    network: nn.Module, train: Pair, test: Pair, chips: list[tuple[str, str, dict[str, Any]]] = CHIPS
) -> dict[str, norsim.Evaluation]:
    """Return the evaluation of a float network on each chip, with its proof by ngspice."""
    found = {}
    for name, chip, settings in chips:
        net = norsim.deploy(network, chip, calibration=train, set=settings)
        found[name] = net.evaluate(test, spice_sample=4, proof_images=10, proof_seconds=20)
    return found


def draw(found: dict[str, norsim.Evaluation], path: Path) -> None:
    """Draw a bar with its 95 % interval for float, integers and each chip."""
    first = next(iter(found.values()))
    bars = [("float", first.accuracy_float, None), ("4 bit, in integers", first.accuracy_quantized, None)]
    bars += [(name, one.accuracy, one.accuracy_ci95) for name, one in found.items()]
    figure, panel = plt.subplots(figsize=(6, 3), layout="constrained")
    for place, (_, share, interval) in enumerate(reversed(bars)):
        panel.barh(place, 100 * share, color="#b4531f" if interval else "#2f6fae", height=0.6)
        if interval:
            panel.plot([100 * end for end in interval], [place, place], color="#1b2733")
    panel.set_yticks(range(len(bars)), [name for name, *_ in reversed(bars)])
    panel.set_xlabel("accuracy on digits, %")
    panel.set_xlim(left=max(0, 100 * min(share for _, share, _ in bars) - 10), right=100)
    save(figure, path)


def main() -> None:
    """Run the study and draw it."""
    folder = parser(__doc__).parse_args().folder
    train, test = digits("train"), digits("test")
    found = study(trained(train), train, test)
    for name, one in found.items():
        print(
            f"{name}: {100 * one.accuracy:.2f} %, largest error {one.verification.max_error_full_scale:.1e} of ngspice"
        )
    draw(found, folder / "your_network.svg")


if __name__ == "__main__":
    main()
