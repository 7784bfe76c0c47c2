"""`python -m results.speed eval-network --network NAME [--data DIR] --out DIR ...`: how long an evaluation takes.

The plain network of the same shape classifies the same images in float32 before, in the same process. DIR gets a
summary.json with the seconds of both, their ratio and the most memory the process had.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path

import torch

from norsim.commands import main
from norsim.data import Dataset, load_images
from norsim.data.tensors import BATCH, images_tensor
from norsim.evaluation.batches import classes
from norsim.files import write_text
from norsim.zoo.registry import spec_of
from results.part import card


def float_seconds(network: str, data: Dataset) -> float:
    """What the untrained network, which computes as much as a trained one, takes for all images."""
    about = card(network)
    model = spec_of(about["network"], about.get("width", 1)).build().eval()
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    batches = torch.split(images_tensor(data), BATCH)
    classes(model, batches[0])
    started = time.monotonic()
    for images in batches:
        classes(model, images.contiguous(memory_format=torch.channels_last))
    return time.monotonic() - started


def run(words: list[str]) -> None:
    """Time both; the evaluation's own folder is DIR/run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--network", required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    chosen, _ = parser.parse_known_args(words)
    plain = float_seconds(chosen.network, load_images(card(chosen.network)["dataset"], "test", chosen.data))
    # Work of another run must not be taken for this one's.
    sys.argv = ["norsim", *words, "--no-cache", "--overwrite", "--out", str(chosen.out / "run")]
    main()
    summary, timing = (json.loads((chosen.out / "run" / f"{name}.json").read_text()) for name in ("summary", "timing"))
    # Linux counts kibibytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    found = {
        "network": chosen.network, "images": summary["images"], "seconds": timing["seconds"], "float_seconds": plain,
        "ratio": timing["seconds"] / plain, "peak_gib": peak,
    }  # fmt: skip
    write_text(chosen.out / "summary.json", json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    run(sys.argv[1:])
