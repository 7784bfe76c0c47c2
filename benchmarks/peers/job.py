"""norsim's half: the folder that other packages read, and norsim's and ngspice's own results for the same things."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.peers.measures import current_error
from norsim.array.tile import Floats, Stimulus, Tile
from norsim.array.wires import Wires
from norsim.backends.characterised import read_macro, read_nodal
from norsim.backends.programming import program_levels
from norsim.backends.registry import read
from norsim.chip.load import choose_chip, load_chip
from norsim.chip.model import Chip
from norsim.data.inputs.choice import at_most
from norsim.data.tensors import tensors_of
from norsim.experiments.experiment import Experiment, open_experiment
from norsim.quantization.layer import QuantizedLayer
from norsim.tiling.modules import layer_codes, tiled_layers

NETWORK = "resnet20"
# Training images that show other packages the ranges of their converters.
RANGE_IMAGES = 16
NO_WIRES, NO_WIRES_NAME = Wires(), "no wires"


@dataclass(frozen=True)
class Plan:
    """What is compared: the number of images, those with CrossSim's wires, tiles as (wordlines, bitlines), and reads of
    each."""

    images: int
    wired_images: int
    tiles: tuple[tuple[int, int], ...]
    reads: int
    chips: tuple[str, ...]


FULL = Plan(300, 20, ((128, 64), (256, 16)), 32, ("etox65", "etox65-stress"))


def codes_and_drives(wordlines: int, bitlines: int, reads: int) -> tuple[Floats, Floats]:
    """Return random cell codes `[wordlines, bitlines]`, normal around 8, and random drives `[reads, wordlines]` of 0
    and 1, of a density of 5 to 90 % each."""
    random = np.random.default_rng(wordlines)
    codes = np.clip(np.rint(random.normal(8, 2.5, (wordlines, bitlines))), 0, 15)
    density = np.linspace(0.05, 0.9, reads)[:, None]
    return codes, (random.random((reads, wordlines)) < density).astype(np.float64)


def tile_of(chip: Chip, codes: Floats, wires: Wires) -> Tile:
    """Return a tile of the chip's cells with level codes `[wordlines, bitlines]`."""
    levels = program_levels(chip.cell, chip.encoding).thresholds
    return Tile(levels[codes.astype(np.int64)], chip.cell, wires)


def stimulus_of(chip: Chip, drives: Floats, bitlines: int) -> Stimulus:
    """Return the volts of drives `[reads, wordlines]` of 0 and 1."""
    gate, drain = chip.encoding.verify_volts
    return Stimulus(gate * drives, np.full((len(drives), bitlines), drain), driven="wordlines", full_volts=gate)


def tile_results(plan: Plan, say: Callable[[str], None]) -> dict[str, Any]:
    """Return, by tile and wires, ngspice's bitline currents `[reads, bitlines]` with their full scale, and the errors
    of norsim's solvers and of exact sums, by `norsim/model`."""
    found = {}
    for (rows, columns), (label, chip, wires) in ((size, one) for size in plan.tiles for one in circuits(plan.chips)):
        name = f"{rows}x{columns}, {label}"
        say(f"ngspice on {name}")
        codes, drives = codes_and_drives(rows, columns, plan.reads)
        tile, stimulus = tile_of(chip, codes, wires), stimulus_of(chip, drives, columns)
        started = time.perf_counter()
        exact = read(tile, stimulus, backend="ngspice").bitline
        seconds, top = time.perf_counter() - started, float(chip.encoding.level_amps[-1])
        full = rows * top
        models = {
            "exact sums": drives @ codes * top / 15, "nodal": read_nodal(tile, stimulus).bitline,
            "macro": read_macro(tile, stimulus).bitline,
        }  # fmt: skip
        found[name] = {
            "size": [rows, columns], "wires": label, "full_scale_amps": full, "seconds": seconds,
            "range": float((exact.max() - exact.min()) / full),
            # To 1e-9, which the file needs for errors of packages that are added to it.
            "amps": [[float(f"{value:.9e}") for value in row] for row in exact.tolist()],
            "errors": {f"norsim/{who}": current_error(amps, exact, full) for who, amps in models.items()},
        }  # fmt: skip
    return found


def add_package(tiles: Mapping[str, Any], package: str, currents: Mapping[str, Floats]) -> None:
    """Add the errors of a package's currents `[reads, bitlines]`, by `size/wires/model`, to tiles from `tile_results`.

    A model of no wires is compared on all wires, others on their own."""
    for result in tiles.values():
        for key, amps in currents.items():
            size, wires, model = key.split("/")
            if size == "x".join(map(str, result["size"])) and wires in (NO_WIRES_NAME, result["wires"]):
                exact, full = np.array(result["amps"]), result["full_scale_amps"]
                result["errors"][f"{package}/{model}"] = current_error(amps, exact, full)


def circuits(chips: tuple[str, ...]) -> list[tuple[str, Chip, Wires]]:
    """Return the wires of tiles: none, and those of each chip."""
    all_chips = [load_chip(name) for name in chips]
    return [(NO_WIRES_NAME, all_chips[0], NO_WIRES), *((chip.name, chip, chip.wires) for chip in all_chips)]


def opened(chip: str, data: Path | None, seed: int = 0) -> Experiment:
    """Return the trained network on a chip."""
    return open_experiment(NETWORK, choose_chip(chip, seed=seed), "cifar10", data, seed=seed)


def write_job(folder: Path, plan: Plan, data: Path | None) -> None:
    """Write the network, images, tiles and constants of a comparison into a folder, for other packages."""
    folder.mkdir(parents=True, exist_ok=True)
    one = opened(plan.chips[0], data)
    train = tensors_of(one.data("train", choose=at_most(RANGE_IMAGES)))[0]
    np.savez(folder / "network.npz", **network_arrays(one.net.parts.analog, train, load_chip(plan.chips[0])))
    images, labels = tensors_of(one.images(plan.images)[0])
    np.savez(folder / "images.npz", images=images.numpy(), labels=labels.numpy(), train=train.numpy())
    tiles = {}
    for rows, columns in plan.tiles:
        tiles[f"{rows}x{columns}/codes"], tiles[f"{rows}x{columns}/drives"] = codes_and_drives(
            rows, columns, plan.reads
        )
    np.savez(folder / "tiles.npz", **tiles)
    known = {"wired_images": plan.wired_images, "chips": [constants(load_chip(name)) for name in plan.chips]}
    (folder / "constants.json").write_text(json.dumps(known))


def network_arrays(analog: torch.nn.Module, train: torch.Tensor, chip: Chip) -> dict[str, Any]:
    """Return a network on tiles as arrays: its layers, with their ranges over training images, and the rest."""
    codes = layer_codes(analog, train)
    arrays: dict[str, Any] = {"names": np.array(list(codes))}
    for name, layer in tiled_layers(analog).items():
        arrays |= {f"{name}/{key}": value for key, value in of_layer(layer.grid.layer, codes[name], chip).items()}
    return arrays | {f"state/{key}": value.numpy() for key, value in _rest(analog).items()}


def of_layer(layer: QuantizedLayer, codes: Any, chip: Chip) -> dict[str, Any]:
    """Return a layer as arrays, with the largest partial sums over the `codes` `[vectors, inputs]` of training images,
    of inputs x / top and weights (q - z) / largest."""
    if layer.input_zero:
        raise ValueError(f"layer {layer.name!r} has signed activations, which the comparison leaves out")
    signed, top = layer.weights.astype(np.float64) - layer.weight_zero, 2**layer.input_bits - 1
    largest = np.abs(signed).max()
    spans = [slice(start, start + chip.wordlines) for start in range(0, layer.inputs, chip.wordlines)]
    sums = np.max([np.abs(codes[:, span] @ signed[:, span].T).max(axis=0) for span in spans], axis=0) / top
    bias = np.zeros(layer.outputs, np.float32) if layer.bias is None else layer.bias
    return {
        "weights": signed, "weight_scale": layer.weight_scale, "input_scale": layer.input_scale, "top": top,
        "bias": bias, "largest": sums.max() / largest,
        "largest_by_weight": (sums / np.maximum(np.abs(signed).max(axis=1), 1)).max(),
    }  # fmt: skip


def _rest(analog: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return what the network has beside its layers on tiles."""
    return {key: value for key, value in analog.state_dict().items() if not key.endswith("_extra_state")}


def constants(chip: Chip) -> dict[str, Any]:
    """Return the constants of a bit-serial chip that other packages can take over, in SI units."""
    wires, (_, drain) = chip.wires, chip.encoding.verify_volts
    return {
        "chip": chip.name, "wordlines": chip.wordlines, "bitlines": chip.bitlines, "adc_bits": chip.adc_bits,
        "read_volts": drain, "top_amps": float(chip.encoding.level_amps[-1]),
        **{key: value for key, value in asdict(wires).items() if isinstance(value, (int, float, str))},
    }  # fmt: skip


def network_results(plan: Plan, data: Path | None, say: Callable[[str], None]) -> dict[str, Any]:
    """Return norsim's classes of the images and its seconds of the processor, for the integers and for each chip."""
    found: dict[str, Any] = {}
    for chip in plan.chips:
        say(f"norsim on {chip}")
        one = opened(chip, data)
        started = time.process_time()
        one.net.calibrate()
        built = time.process_time() - started
        images = one.images(plan.images)[0]
        tensor, labels = tensors_of(images)
        for name, digital in (("integers", True), (chip, False)):
            if name not in found:
                found[name] = _timed(one, tensor, digital) | {"build_seconds": 0.0 if digital else built}
        found[chip]["labels"] = labels.tolist()
    return found


def _timed(one: Experiment, images: torch.Tensor, digital: bool) -> dict[str, Any]:
    call = one.net.quantized if digital else one.net
    with torch.no_grad():
        call(images[:2])
        started = time.process_time()
        logits = torch.cat([call(part) for part in images.split(50)])
        return {"classes": logits.argmax(dim=1).tolist(), "seconds": time.process_time() - started}
