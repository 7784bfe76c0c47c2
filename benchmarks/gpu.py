"""`python -m benchmarks.gpu`: what a CUDA card makes of norsim's reads. Two steps, on two machines if need be:

    python -m benchmarks.gpu prepare FILE [--network resnet20 --data DIR --images N]
    python -m benchmarks.gpu measure FILE --out RESULT.json [--device cuda]

`prepare` needs norsim, and `measure` only torch, NumPy, numba, Pillow, pyarrow, cloudpickle and this checkout.
`prepare` builds the tables of a tile of the preset, and reads some vectors by numba on the CPU. `measure` reads many
vectors on the card, compares those with the CPU's, and times the read against one float32 product of matrices for each
pass. With a network, `prepare` also puts its layers in the file, with test images and the classes that the CPU gives
the first of them, and `measure` counts images per second, beside those of the same network in plain float32. It also
times an epoch of a training of ResNet-18 on random images.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.gpu_nodal import measure_nodal, prepare_nodal
from benchmarks.gpu_training import measure_training
from norsim.quantization.layer import ConvGeometry
from norsim.solver.macro.float16_parts import full_precision
from norsim.solver.macro.on_device import moved
from norsim.tiling.on_device.layer import DeviceLayer, bytes_at_once
from norsim.tiling.on_device.tile import DeviceTile
from norsim.tiling.on_device.vectors import padded, patches

PREPARED = "norsim gpu benchmark 3"
PASSES = 4
CPU = torch.device("cpu")


class OnArray(nn.Module):
    """A layer that reads its tiles on the device of its input, without anything else of norsim.

    `geometry` is that of a convolution, or None.
    """

    def __init__(self, layer: DeviceLayer, geometry: ConvGeometry | None) -> None:
        super().__init__()
        self.layer, self.geometry = layer, geometry

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> OnArray:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        device = fn(torch.zeros(1)).device
        self.layer = replace(moved(self.layer, device), most_bytes=bytes_at_once(device))
        return self

    def forward(self, input: Tensor) -> Tensor:
        """Return `[images, outputs, height', width']`, or `[images, outputs]` for a linear layer."""
        codes = self.layer.side.encode(input)
        shape: tuple[int, ...] = input.shape[:-1]
        if self.geometry is not None:
            framed = padded(codes, self.geometry, self.layer.side.zero)
            codes = patches(framed, self.geometry)
            shape = (len(framed), *self.geometry.positions(framed.shape[2:]))
        codes = codes.reshape(-1, codes.shape[-1])
        with full_precision():
            sums = self.layer.sums(codes, [None] * len(self.layer.tiles), lambda *read: None)
        found = self.layer.side.real(sums).view(*shape, -1)
        return found if self.geometry is None else found.permute(0, 3, 1, 2)


def prepare_tile(wordlines: int, bitlines: int, vectors: int) -> dict[str, Any]:
    """Return a tile of the preset, fitted to random codes, with the read of `vectors` vectors by numba."""
    from norsim.backends.macro import Macro
    from norsim.chip.load import load_chip
    from norsim.quantization.layer import QuantizedLayer
    from norsim.tiling.calibrate import fit_layer
    from norsim.tiling.grid import place
    from norsim.tiling.on_device.build import device_tile
    from norsim.tiling.reader import Reader

    chip = load_chip("etox65", (f"tile.wordlines={wordlines}", f"tile.bitlines={bitlines}"))
    inputs, outputs = chip.encoding.capacity(wordlines, bitlines)
    weights = np.clip(np.rint(np.random.default_rng(0).normal(8, 2.5, (outputs, inputs))), 0, 15).astype(np.uint8)
    layer = QuantizedLayer("fc", weights, 8, np.ones(outputs), 4, 1.0, 0, PASSES)
    codes = codes_of(vectors, inputs).numpy()
    grid = fit_layer(place(layer, chip), codes[: min(vectors, 512)], Reader(Macro()), 0)
    part, array = grid.tiles[0], grid.arrays[0]
    read = grid.read_whole(codes, Reader(Macro()))[0]
    nodal = part.amps(Macro.rung_above.read(array.tile, array.drive(codes[:16]))) / part.full_scale_amps
    found = {"codes": codes, "amps": read.amps, "adc": read.adc, "nodal": nodal}
    return {
        "name": f"{wordlines}x{bitlines}", "inputs": inputs, "device_tile": device_tile(part, array, Macro(), CPU),
        "full_scale_amps": part.full_scale_amps, "step_amps": part.adcs[0].step_amps,
        **{key: torch.from_numpy(values) for key, values in found.items()},
    }  # fmt: skip


def prepare_network(name: str, data: Path | None, images: int, checked: int, settings: tuple[str, ...]) -> Any:
    """Return a network on the preset, its float form, test images, and the classes of the `checked` first by numba."""
    from norsim.backends.macro import Macro
    from norsim.chip.load import choose_chip
    from norsim.data.tensors import images_tensor
    from norsim.experiments.experiment import open_experiment
    from norsim.tiling.modules import tiled_layers
    from norsim.tiling.on_device.reading import TensorPath

    one = open_experiment(name, choose_chip("etox65", settings), data_folder=data)
    one.net.calibrate()
    shown = one.images(images)[0]
    pixels = images_tensor(shown)
    first = pixels[:checked]
    network, plain = one.net.parts.analog, one.net.parts.deployment.converted()
    classes = one.net(first).argmax(1)
    for layer_name, tiled in tiled_layers(network).items():
        path = TensorPath.of(tiled.grid, CPU)
        path.place(Macro())
        network.set_submodule(layer_name, OnArray(path.layer, tiled.grid.layer.geometry))
        plain.set_submodule(layer_name, _plain(tiled))
    return {
        "name": name, "network": network, "plain": plain, "images": torch.from_numpy(shown.images),
        "full_scale": shown.full_scale, "classes": classes, "labels": torch.from_numpy(shown.labels),
    }  # fmt: skip


def _plain(tiled: Any) -> nn.Module:
    """Return torch's layer with the weights that a tiled one holds."""
    has_bias = tiled.bias is not None
    if tiled.grid.layer.geometry is None:
        layer: nn.Module = nn.Linear(tiled.in_features, tiled.out_features, has_bias)
    else:
        layer = nn.Conv2d(
            tiled.in_channels, tiled.out_channels, tiled.kernel_size, tiled.stride, tiled.padding, tiled.dilation,
            tiled.groups, has_bias,
        )  # fmt: skip
    parameters = {"weight": tiled.weight, "bias": tiled.bias}
    layer.load_state_dict({name: value for name, value in parameters.items() if value is not None})
    return layer


def codes_of(vectors: int, inputs: int) -> Tensor:
    """Draw activation codes `[vectors, inputs]`, uint8, of all densities."""
    random = torch.Generator().manual_seed(1)
    codes = torch.randint(1, 2**PASSES, (vectors, inputs), generator=random)
    density = torch.rand(vectors, 1, generator=random)
    return (codes * (torch.rand(vectors, inputs, generator=random) < density)).to(torch.uint8)


def seconds_of(call: Callable[[], Any], device: torch.device, repeats: int) -> float:
    """Return the median seconds of a call on a device, after two calls to warm up."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    found = []
    for _ in range(repeats + 2):
        wait()
        start = time.perf_counter()
        call()
        wait()
        found.append(time.perf_counter() - start)
    return float(np.median(found[2:]))


def measure_tile(kept: dict[str, Any], device: torch.device, vectors: int, repeats: int) -> dict[str, Any]:
    """Return times of the read of `vectors` vectors, and its differences from the CPU's and from nodal's."""
    tile: DeviceTile = moved(kept["device_tile"], device)
    few, many = kept["codes"].to(device), codes_of(vectors, kept["inputs"]).to(device)
    read, again = tile.read_some(few, None), tile.read_some(few, None)
    unit = kept["full_scale_amps"]
    amps = read.amps.cpu()
    error = float((amps - kept["amps"]).abs().max()) / unit
    nodal = kept["nodal"]
    of_nodal = float((amps.flatten(0, 1)[: len(nodal)] / unit - nodal).abs().max())
    left = torch.rand(vectors, kept["inputs"], device=device)
    right = torch.rand(kept["inputs"], tile.tables.circuit.own.shape[1], device=device)
    one_hot = torch.zeros(vectors * PASSES, sum(len(block.high) for block in tile.tables.blocks), device=device).half()
    block = tile.tables.blocks[0]

    def lines(codes: Tensor) -> Tensor:
        return tile.tables.lines(codes, tile.passes, tile.top)

    def sums(codes: Tensor) -> Tensor:
        return tile.read_some(codes, None).sums

    def timed(call: Callable[[Tensor], Any]) -> float:
        return seconds_of(lambda: call(many), device, repeats)

    with full_precision():
        found = {"lines": timed(lines), "read": timed(sums)}
        matmul = seconds_of(lambda: [left @ right for _ in range(PASSES)], device, repeats)
        products = seconds_of(lambda: block.product(one_hot[:, : len(block.high)]), device, repeats)
        problem = "no GPU" if device.type != "cuda" else None
        compiled: dict[str, float] = {}
        if problem is None:
            compiled, problem = compiled_seconds({"lines": lines, "read": sums}, timed)
    times: dict[str, Any] = {}
    for what in found:
        for kind, taken in ((what, found[what]), (f"compiled_{what}", compiled.get(what))):
            known = taken is not None
            times[f"{kind}_us_vector"] = 1e6 * taken / vectors if known else None
            times[f"{kind}_over_matmul"] = taken / matmul if known else None
    return {
        "tile": kept["name"], "vectors": vectors, "passes": PASSES, "matmul_seconds": matmul,
        "products_seconds": products, **times, "compiled_problem": problem,
        "max_error_full_scale": error, "max_error_of_nodal_full_scale": of_nodal,
        "codes_that_differ": int((read.adc.cpu() != kept["adc"]).sum()), "codes": kept["adc"].numel(),
        "repeats_bit_for_bit": bool(torch.equal(read.amps, again.amps) and torch.equal(read.sums, again.sums)),
    }  # fmt: skip


def compiled_seconds(
    calls: dict[str, Callable[[Tensor], Any]], timed: Callable[[Callable[[Tensor], Any]], float]
) -> tuple[dict[str, float], str | None]:
    """Return the seconds of calls compiled by torch.compile, as far as they compile, and why one does not."""
    found: dict[str, float] = {}
    try:
        for name, call in calls.items():
            found[name] = timed(torch.compile(call))
    except Exception as problem:  # the compiler needs more than torch: a C compiler and Triton
        return found, f"{type(problem).__name__}: {str(problem).splitlines()[0]}"
    return found, None


def measure_network(kept: dict[str, Any], device: torch.device, batch: int, repeats: int) -> dict[str, Any]:
    """Return images per second of a network on the array and in plain float32, and how many classes differ."""
    images, few = kept["images"], len(kept["classes"])
    networks = {name: kept[name].to(device).eval() for name in ("network", "plain")}

    def run(name: str) -> Tensor:
        found = []
        for some in images.split(batch):
            pixels = some.to(device).float() / kept["full_scale"]
            found.append(networks[name](pixels).argmax(1))
        return torch.cat(found).cpu()

    with torch.inference_mode(), full_precision():
        array, plain = (seconds_of(lambda name=name: run(name), device, repeats) for name in networks)
        classes, again = run("network"), run("network")
    return {
        "network": kept["name"], "images": len(images), "batch": batch, "seconds": array, "plain_seconds": plain,
        "images_per_second": len(images) / array, "over_plain": array / plain,
        "classes_that_differ": int((classes[:few] != kept["classes"]).sum()), "classes": few,
        "accuracy": float((classes == kept["labels"]).float().mean()),
        "repeats_bit_for_bit": torch.equal(classes, again),
    }  # fmt: skip


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Return what the card makes of a prepared file."""
    device = torch.device(given.device)
    # A file of one's own, which holds classes.
    kept = torch.load(given.file, weights_only=False)
    if not isinstance(kept, dict) or kept.get("kind") != PREPARED:
        raise SystemExit(f"{given.file} was not written by `prepare` of this version; prepare it again")
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else "no GPU"
    found = {"device": str(device), "card": card, "date": time.strftime("%Y-%m-%d"), "torch": torch.__version__}
    found |= {"tile": measure_tile(kept["tile"], device, given.vectors, given.repeats), "network": None}
    found["nodal"] = measure_nodal(kept["nodal"], device, given.vectors, given.repeats, seconds_of)
    if kept["network"] is not None:
        found["network"] = measure_network(kept["network"], device, given.batch, max(given.repeats // 3, 1))
    return found | {"training": measure_training(given.train_width, device, given.train_images)}


def main(arguments: list[str] | None = None) -> int:
    """Prepare or measure; print where the result is."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=str(__doc__).partition("\n")[0])
    steps = parser.add_subparsers(dest="step", required=True)
    first, second = (steps.add_parser(name) for name in ("prepare", "measure"))
    for step in (first, second):
        step.add_argument("file", type=Path)
    first.add_argument("--tile", type=int, nargs=2, default=(256, 128), metavar=("WORDLINES", "BITLINES"))
    first.add_argument("--vectors", type=int, default=2048, help="vectors that numba reads for comparison")
    first.add_argument("--network", help="a network that norsim ships, such as resnet20")
    first.add_argument("--data", type=Path, help="folder of its data set")
    first.add_argument("--images", type=int, default=10_000)
    first.add_argument("--checked", type=int, default=100, help="images that numba classifies for comparison")
    first.add_argument("--set", action="append", default=[], help="a chip key for the network, such as adc.bits=9")
    second.add_argument("--train-width", type=float, default=1.0, help="width of the ResNet-18 that is trained")
    second.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    second.add_argument("--device", default="cuda")
    second.add_argument("--vectors", type=int, default=65_536)
    second.add_argument("--batch", type=int, default=1000, help="images of the network at a time")
    second.add_argument("--repeats", type=int, default=9)
    second.add_argument("--train-images", type=int, default=50_000, help="images of an epoch")
    given = parser.parse_args(arguments)
    if given.step == "prepare":
        tile = prepare_tile(*given.tile, given.vectors)
        nodal = prepare_nodal(*given.tile, given.vectors, seconds_of)
        network, wanted = None, given.network
        if wanted is not None:
            network = prepare_network(wanted, given.data, given.images, given.checked, tuple(given.set))
        torch.save({"kind": PREPARED, "tile": tile, "nodal": nodal, "network": network}, given.file)
    else:
        found = measure(given)
        given.out.write_text(json.dumps(found, indent=1) + "\n")
    print(given.file if given.step == "prepare" else given.out)
    return 0


if __name__ == "__main__":
    # The classes in a prepared file belong to this module by its name, not to `__main__`.
    from benchmarks.gpu import main as named_main

    sys.exit(named_main())
