"""Monte Carlo with yield: the accuracies of chips whose cells differ, and the share of chips that reach a bound.

python examples/monte_carlo_yield.py [FOLDER]      writes monte_carlo_yield.svg into FOLDER, by default into this one
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from pictures import parser, save
from torch import Tensor, nn
from your_network import Pair, digits

import norsim
from norsim.evaluation.chips import Chips
from norsim.evaluation.trials import evaluate_chips

# Standard deviations of the shifts of thresholds after program-verify: of each cell, and of all cells of a chip.
SPREADS, SHARED = ("5 mV", "10 mV", "20 mV"), "3 mV"
CHIPS, BOUND = 12, 0.95


def study(
    network: nn.Module, train: Pair, test: Pair, spreads: tuple[str, ...] = SPREADS, chips: int = CHIPS
) -> dict[str, norsim.Evaluation]:
    """Return the evaluation of `chips` chips of a quantized network for each spread."""
    return {spread: evaluate_chips(fitted(network, train[0], spread), chips, test, spice_sample=4, proof_images=0)
            for spread in spreads}  # fmt: skip


def fitted(network: nn.Module, images: Tensor, spread: str) -> Callable[[int], nn.Module]:
    """Return what puts the network on chip k; its converters are fitted before the cells drift."""
    keys = (f"silicon.drift_cell={spread}", f"silicon.drift_die={SHARED}", "calibration.fresh=true")
    chip = norsim.load_chip("etox65", keys)

    def on_chip(k: int) -> nn.Module:
        analog = norsim.convert(network, chip.specimen(0, k))
        norsim.calibrate(analog, images[: chip.calibration.images])
        return analog

    return on_chip


def chips_of(result: norsim.Evaluation) -> Chips:
    """Return what is known about the chips of an evaluation with several."""
    assert result.chips is not None
    return result.chips


def draw(found: dict[str, norsim.Evaluation], path: Path, bound: float = BOUND) -> None:
    """Draw the accuracy of each chip, and the modelled yield over the bound with its interval."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    lowest = min(min(chips_of(one).accuracies) for one in found.values())
    bounds = np.linspace(max(0.0, lowest - 0.02), 1.0, 41)
    for place, ((spread, one), colour) in enumerate(
        zip(found.items(), ("#3a7d44", "#2f6fae", "#b4531f"), strict=False)
    ):
        chips = chips_of(one)
        shift = np.linspace(-0.25, 0.25, len(chips.accuracies))
        left.plot(place + shift, 100 * np.sort(chips.accuracies), "o", ms=4, color=colour)
        left.plot([place - 0.35, place + 0.35], [100 * one.accuracy] * 2, color=colour)
        left.fill_between([place - 0.35, place + 0.35], *(100 * end for end in chips.ci95), color=colour, alpha=0.15)
        yields = [chips.above(float(least)) for least in bounds]
        right.plot(100 * bounds, [100 * one["model_share"] for one in yields], color=colour, label=spread)
        right.fill_between(100 * bounds, *(100 * np.array([one["model_ci95"] for one in yields]).T), color=colour,
                           alpha=0.15, linewidth=0)  # fmt: skip
    left.axhline(100 * bound, color="#1b2733", linewidth=0.8, linestyle="--")
    right.axvline(100 * bound, color="#1b2733", linewidth=0.8, linestyle="--")
    left.set_xticks(range(len(found)), list(found))
    left.set_xlabel("spread of thresholds between cells")
    left.set_ylabel("accuracy of a chip on digits, %")
    right.set_xlabel("least accuracy, %")
    right.set_ylabel("chips that reach it, %")
    right.legend(fontsize=8)
    save(figure, path)


def main() -> None:
    """Run the study on the shipped network and draw it."""
    folder = parser(__doc__).parse_args().folder
    network, _ = norsim.load_network("digits-cnn")
    found = study(network, digits("train"), digits("test"))
    for spread, one in found.items():
        chips, reached = chips_of(one), chips_of(one).above(BOUND)
        low, high = (100 * end for end in chips.ci95)
        print(
            f"{spread}: {100 * one.accuracy:.2f} % ({low:.1f} to {high:.1f}) on the mean of {CHIPS} chips, "
            f"{100 * min(chips.accuracies):.2f} to {100 * max(chips.accuracies):.2f} %; {100 * reached['share']:.0f} % "
            f"of them ({100 * reached['ci95'][0]:.0f} to {100 * reached['ci95'][1]:.0f}) reach {100 * BOUND:g} %"
        )
    draw(found, folder / "monte_carlo_yield.svg")


if __name__ == "__main__":
    main()
