"""A language model on the array: perplexity in float, in integers and on the array, at several widths of codes.

python examples/language_model.py [FOLDER]      writes language_model.svg into FOLDER, by default into this one

A small model of the characters of this project's own documents is trained first. With WEIGHTS, a state dict of `gpt` of
transformers.py, and TEXT, the model and the text are those:

python examples/language_model.py FOLDER WEIGHTS.safetensors TEXT.txt
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import torch
from pictures import parser, save
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import Subset
from transformers import LanguageModel, Windows, gpt, halves

import norsim

DOCUMENTS = Path(__file__).parents[1] / "docs"
CONTEXT, WIDTH, HEADS, DEPTH, STEPS = 32, 48, 4, 1, 800
# Bits of weights and of activations; windows that calibrate, that fit the converters, and that are evaluated.
BITS, TRAINING, FITTED, TESTED = ("8/8", "4/8", "4/4"), 256, 16, 64
# Smaller currents than the preset's drop fewer volts on the wires; codes of 8 bits see them.
CHIP = {"bit_serial.top_level": "0.4 uA"}


def documents() -> str:
    """Return this project's documents one after another, with printable ASCII characters and ends of lines only."""
    text = "\n".join(path.read_text() for path in sorted(DOCUMENTS.glob("*.md")))
    return "".join(character for character in text if character == "\n" or " " <= character <= "~")


def trained(train: Windows, model: nn.Module, steps: int = STEPS) -> nn.Module:
    """Return the model after `steps` of AdamW on random windows, at a rate that falls to zero."""
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, steps)
    for _ in range(steps):
        starts = torch.randint(len(train.codes) - train.context, (32, 1))
        windows = train.codes[starts + torch.arange(train.context + 1)]
        optimizer.zero_grad()
        scores = model(windows[:, :-1])
        nn.functional.cross_entropy(scores.flatten(0, 1), windows[:, 1:].flatten()).backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def study(
    model: nn.Module, train: Windows, test: Windows, bits: tuple[str, ...] = BITS, tested: int = TESTED
) -> dict[str, norsim.Evaluation]:
    """Return the evaluation with all linear layers on the array for each of `bits`; attention itself stays digital."""
    found = {}
    few, settings = Subset(train, range(min(TRAINING, len(train)))), {**CHIP, "calibration.images": FITTED}
    for each in bits:
        net = norsim.deploy(model, "etox65", calibration=few, set=settings, bits=each)
        found[each] = net.evaluate(
            Subset(test, range(tested)), "perplexity", spice_sample=4, proof_images=2, proof_seconds=30
        )
    return found


def draw(found: dict[str, norsim.Evaluation], path: Path) -> None:
    """Draw the perplexities with their 95 % intervals over windows, and what the array adds, paired by window."""
    figure, (panel, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained", width_ratios=[3, 2])
    first = next(iter(found.values()))
    rows = [("float", first.metric_float, first.metric_float_ci95, "#3a7d44")]
    for bits, one in found.items():
        rows.append((f"{bits} bits, in integers", one.metric_quantized, one.metric_quantized_ci95, "#2f6fae"))
        rows.append((f"{bits} bits, on the array", one.metric_value, one.metric_ci95, "#b4531f"))
    for place, (_, value, ends, colour) in enumerate(reversed(rows)):
        panel.plot([value], [place], "o", color=colour)
        panel.plot(ends, [place, place], color=colour)
    panel.set_yticks(range(len(rows)), [name for name, *_ in reversed(rows)])
    panel.set_xlabel("perplexity of the next character")
    for place, one in enumerate(reversed(found.values())):
        right.plot([one.metric_change_quantized], [place], "o", color="#b4531f")
        right.plot(one.metric_change_quantized_ci95, [place, place], color="#b4531f")
    right.axvline(0, color="#1b2733", linewidth=0.8)
    right.set_yticks(range(len(found)), list(reversed(found)))
    right.set_ylim(-0.5, len(found) - 0.5)
    right.set_xlabel("perplexity that the array adds")
    for each in (panel, right):
        each.grid(axis="x", alpha=0.3)
    save(figure, path)


def main() -> None:
    """Run the study and draw it."""
    options = parser(__doc__)
    options.add_argument("given", type=Path, nargs="*", metavar="WEIGHTS TEXT")
    chosen = options.parse_args()
    if chosen.given:
        weights, text = chosen.given
        model, (train, test) = gpt(), halves(text.read_text())
        model.load_state_dict({name: part.float() for name, part in load_file(weights).items()})
    else:
        characters = documents()
        train, test = halves(characters, CONTEXT)
        torch.manual_seed(0)
        model = trained(train, LanguageModel(len(set(characters)), CONTEXT, WIDTH, HEADS, DEPTH))
    found = study(model.eval(), train, test)
    for bits, one in found.items():
        change, (low, high) = one.metric_change_quantized, one.metric_change_quantized_ci95
        print(
            f"{bits} bits: perplexity {one.metric_float:.3f} in float, {one.metric_quantized:.3f} in integers, "
            f"{one.metric_value:.3f} on the array, which adds {change:+.3f} ({low:+.3f} to {high:+.3f}); largest error "
            f"{one.verification.max_error_full_scale:.1e} of ngspice"
        )
    draw(found, chosen.folder / "language_model.svg")


if __name__ == "__main__":
    main()
