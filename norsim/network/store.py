"""Trained quantized networks on disk: `weights.safetensors` and a `card.json` that says how they came.

Tensors of a quantized layer NAME: `NAME.codes` (uint8 `[bytes]`, the weight codes output by output, two
4-bit codes a byte with the earlier one in the low half; other widths one code a byte), `NAME.scale`
(float32 `[outputs]`), `NAME.zero` (uint8 `[1]`), `NAME.input_scale`, `NAME.input_zero`, and `NAME.bias`.
All other parameters and buffers, batch norm that is, keep their names and are float32.
"""

from __future__ import annotations

import base64
import difflib
import json
import math
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from norsim.errors import ConfigurationError, DataError
from norsim.network.quantize import SMALLEST_SCALE, QuantizedOperands, positive, replace_layers
from norsim.network.quantized import MAX_BITS
from norsim.network.train import TrainResult
from norsim.network.zoo import build
from norsim.paths import models_folder

FORMAT_VERSION = 1
WEIGHTS, CARD = "weights.safetensors", "card.json"
LARGEST_CARD = 16 * 2**20
REMEDY = "restore the file from where it came, or train the network again"


def save_network(result: TrainResult, folder: Path, command: str) -> None:
    """Write `result` to `folder`; `command` is the line that repeats the training.

    The float weights are not written: the card has the float network's class of each test image, in the
    order of the test set, so that its accuracy can be stated on any part of it.
    """
    header = _header(result)
    payload = save(_tensors(result.network), {"norsim": json.dumps(header)})
    codes = sum(layer["codes"] for layer in header["layers"].values())
    classes = result.float_predictions.astype(np.uint8).tobytes()
    card = header | {
        "command": command,
        "float_predictions": base64.b64encode(classes).decode(),
        "weights": codes,
        "file_bytes": len(payload),
        "float32_file_bytes": len(save(_contiguous(result.float_network.state_dict()))),
    }
    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder / WEIGHTS, payload)
    _replace(folder / CARD, (json.dumps(card, indent=1) + "\n").encode())


def load_network(folder_or_name: Path | str) -> tuple[nn.Module, dict[str, Any]]:
    """A saved network in eval mode, and its card.

    A string without a path separator is the name of a network that comes with norsim; anything else is a
    folder. Raises DataError saying which file is wrong, how, and what to do; nothing from the files is
    executed, and the caller's random state is left alone.
    """
    folder = _folder_of(folder_or_name)
    path = folder / WEIGHTS
    tensors, header = _read_weights(path)
    card = _read_card(folder / CARD, header)
    try:
        # Building draws weights, which must not move the caller's random numbers.
        with torch.random.fork_rng(devices=[]):
            network = replace_layers(build(header["network"])).eval()
    except ConfigurationError as problem:
        raise DataError(f"{path}: {problem}; {REMEDY}") from problem
    layers = {name: part for name, part in network.named_modules() if isinstance(part, QuantizedOperands)}
    if list(header["layers"]) != list(layers):
        _fail(path, f"it lists the layers {list(header['layers'])}; expected {list(layers)}")
    state = network.state_dict()
    for name, layer in layers.items():
        layer.weight_bits, layer.input_bits = _widths(path, name, header["layers"][name])
        state |= _layer_state(path, tensors, name, layer)
    for key, value in state.items():
        if key.rpartition(".")[0] not in layers and not key.endswith("num_batches_tracked"):
            state[key] = _take(path, tensors, key, value.shape, torch.float32)
    if tensors:
        _fail(path, f"it holds tensors that {header['network']} does not have: {sorted(tensors)[:5]}")
    network.load_state_dict(state)
    return network, card


def float_predictions(card: dict[str, Any]) -> NDArray[np.int64]:
    """The class, int64 `[test images]`, that the float network gave each test image, from a loaded card."""
    return np.frombuffer(base64.b64decode(card["float_predictions"]), dtype=np.uint8).astype(np.int64)


def pack(codes: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Codes `[n]` as bytes: two a byte for 4 bits, the earlier one in the low half; else one a byte."""
    if bits != 4:
        return codes.copy()
    pairs = np.pad(codes, (0, len(codes) % 2)).reshape(-1, 2)
    return (pairs[:, 0] | pairs[:, 1] << 4).astype(np.uint8)


def unpack(packed: NDArray[np.uint8], count: int, bits: int) -> NDArray[np.uint8]:
    """The inverse of `pack`: `count` codes, uint8."""
    if bits != 4:
        return packed[:count].copy()
    codes: NDArray[np.uint8] = np.stack([packed & 15, packed >> 4], axis=1).astype(np.uint8).reshape(-1)
    return codes[:count]


def _header(result: TrainResult) -> dict[str, Any]:
    layers = {
        name: {
            "codes": part.weight.numel(),
            "shape": list(part.weight.shape),
            "weight_bits": part.weight_bits,
            "input_bits": part.input_bits,
        }
        for name, part in result.network.named_modules()
        if isinstance(part, QuantizedOperands)
    }
    labels = result.test_set.labels
    return {
        "format_version": FORMAT_VERSION,
        "network": result.spec.name,
        "dataset": result.test_set.name,
        "data_source": result.test_set.source,
        "test_images": len(labels),
        "float_correct": int((result.float_predictions == labels).sum()),
        "quantized_correct": int((result.quantized_predictions == labels).sum()),
        "float_accuracy": result.float_accuracy,
        "quantized_accuracy": result.quantized_accuracy,
        "recipe": asdict(result.recipe),
        "seed": result.recipe.seed,
        "torch_version": torch.__version__,
        "torch_threads": torch.get_num_threads(),
        "layers": layers,
    }


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    quantized: set[str] = set()
    for name, layer in network.named_modules():
        if not isinstance(layer, QuantizedOperands):
            continue
        quantized.add(name)
        codes = layer.weight_codes().flatten().cpu().numpy()
        tensors[f"{name}.codes"] = torch.from_numpy(pack(codes, layer.weight_bits))
        tensors[f"{name}.scale"] = positive(layer.weight_scale)
        tensors[f"{name}.zero"] = torch.tensor([layer.rounded_weight_zero()], dtype=torch.uint8)
        tensors[f"{name}.input_scale"] = positive(layer.input_scale)
        tensors[f"{name}.input_zero"] = layer.input_zero.to(torch.uint8)
        if layer._parameters["bias"] is not None:
            tensors[f"{name}.bias"] = layer._parameters["bias"]
    for key, value in network.state_dict().items():
        if key.rpartition(".")[0] not in quantized and not key.endswith("num_batches_tracked"):
            tensors[key] = value.to(torch.float32)
    return _contiguous(tensors)


def _contiguous(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)


def _folder_of(folder_or_name: Path | str) -> Path:
    if isinstance(folder_or_name, Path) or Path(folder_or_name).name != folder_or_name:
        return Path(folder_or_name)
    home = models_folder() / "networks"
    names = sorted(path.parent.name for path in home.glob(f"*/{WEIGHTS}"))
    if folder_or_name not in names:
        near = difflib.get_close_matches(folder_or_name, names, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise DataError(
            f"no network {folder_or_name!r} comes with norsim; {hint}known: {', '.join(names) or 'none'}; "
            f"for a folder of your own write ./{folder_or_name}"
        )
    return home / folder_or_name


def _fail(path: Path, problem: str) -> NoReturn:
    raise DataError(f"{path}: {problem}; {REMEDY}")


def _read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    if not path.is_file():
        raise DataError(f"{path} is missing; expected a folder that norsim wrote, with {WEIGHTS} and {CARD}")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}
        header = json.loads(metadata["norsim"])
    except KeyError:
        _fail(path, "it has no norsim metadata")
    except (OSError, SafetensorError, ValueError, RecursionError, TypeError) as problem:
        _fail(path, f"it cannot be read ({problem})")
    _check_header(path, header)
    return tensors, header


def _check_header(path: Path, header: object) -> None:
    if not isinstance(header, dict) or header.get("format_version") != FORMAT_VERSION:
        version = header.get("format_version") if isinstance(header, dict) else None
        _fail(path, f"format version {version!r}; this norsim reads version {FORMAT_VERSION}")
    if not isinstance(header.get("network"), str) or not isinstance(header.get("layers"), dict):
        _fail(path, "its metadata lacks the network's name or its layers")
    images = header.get("test_images")
    for kind in ("float", "quantized"):
        right, share = header.get(f"{kind}_correct"), header.get(f"{kind}_accuracy")
        if not (isinstance(right, int) and isinstance(images, int) and 0 <= right <= images > 0):
            _fail(path, f"it records {right!r} of {images!r} test images as right ({kind})")
        if share != right / images:
            _fail(path, f"its {kind}_accuracy {share!r} is not {right} / {images}")


def _read_card(path: Path, header: dict[str, Any]) -> dict[str, Any]:
    try:
        if path.stat().st_size > LARGEST_CARD:
            _fail(path, f"it is larger than {LARGEST_CARD} bytes")
        card = json.loads(path.read_bytes())
        classes = base64.b64decode(card["float_predictions"], validate=True)
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as problem:
        _fail(path, f"it cannot be read ({type(problem).__name__}: {problem})")
    for key, value in header.items():
        if card.get(key) != value:
            _fail(path, f"its {key} is not the one in {WEIGHTS}")
    if len(classes) != header["test_images"]:
        _fail(path, f"{len(classes)} float predictions for {header['test_images']} test images")
    return dict(card)


def _widths(path: Path, name: str, entry: object) -> tuple[int, int]:
    fields = entry if isinstance(entry, dict) else {}
    weight_bits, input_bits = fields.get("weight_bits"), fields.get("input_bits")
    widths = range(1, MAX_BITS + 1)
    if isinstance(weight_bits, int) and isinstance(input_bits, int) and {weight_bits, input_bits} <= set(widths):
        return weight_bits, input_bits
    _fail(path, f"layer {name!r} has codes of {weight_bits} and {input_bits} bits; expected 1 to {MAX_BITS}")


def _take(path: Path, tensors: dict[str, Tensor], key: str, shape: Any, dtype: torch.dtype) -> Tensor:
    if key not in tensors:
        _fail(path, f"tensor {key!r} is missing")
    tensor = tensors.pop(key)
    if tensor.shape != shape or tensor.dtype != dtype:
        found = f"{tensor.dtype} {list(tensor.shape)}"
        _fail(path, f"tensor {key!r} is {found}; expected {dtype} {list(shape)}")
    lowest = 0.0 if key.endswith("running_var") else -math.inf
    if not bool(torch.isfinite(tensor).all()) or bool((tensor < lowest).any()):
        _fail(path, f"tensor {key!r} holds a value that is not finite, or a negative variance")
    return tensor


def _layer_state(path: Path, tensors: dict[str, Tensor], name: str, layer: QuantizedOperands) -> dict[str, Tensor]:
    shape, count = layer.weight.shape, layer.weight.numel()
    size = (count + 1) // 2 if layer.weight_bits == 4 else count
    packed = _take(path, tensors, f"{name}.codes", (size,), torch.uint8)
    codes = torch.from_numpy(unpack(packed.numpy(), count, layer.weight_bits)).reshape(shape)
    scale = _take(path, tensors, f"{name}.scale", shape[:1], torch.float32)
    zero = _take(path, tensors, f"{name}.zero", (1,), torch.uint8)
    input_scale = _take(path, tensors, f"{name}.input_scale", (1,), torch.float32)
    input_zero = _take(path, tensors, f"{name}.input_zero", (1,), torch.uint8)
    for bits, values in (
        (layer.weight_bits, codes),
        (layer.weight_bits, zero),
        (layer.input_bits, input_zero),
    ):
        if int(values.max()) >= 2**bits:
            _fail(path, f"layer {name!r} has a code of {int(values.max())}, which {bits} bits cannot hold")
    if not torch.equal(positive(scale), scale) or not torch.equal(positive(input_scale), input_scale):
        _fail(path, f"layer {name!r} has a scale below {SMALLEST_SCALE}")
    steps = codes.to(torch.float32) - zero.to(torch.float32)
    weight = steps * scale.reshape(-1, *[1] * (len(shape) - 1))
    if not bool(torch.isfinite(weight).all()):
        _fail(path, f"layer {name!r} has a scale so large that weights overflow")
    state = {
        "weight": weight,
        "weight_scale": scale,
        "weight_zero": zero.to(torch.float32),
        "input_scale": input_scale,
        "input_zero": input_zero.to(torch.int64),
    }
    if layer._parameters["bias"] is not None:
        state["bias"] = _take(path, tensors, f"{name}.bias", shape[:1], torch.float32)
    return {f"{name}.{key}": value for key, value in state.items()}
