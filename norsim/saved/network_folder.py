"""Network folders: `weights.safetensors`, `float.safetensors`, and `card.json`, which records their origin.

`norsim.saved.packed_weights` describes the first. The second is the float network's state dict, from which training
can continue; nothing else reads it. The card is for people and for `eval-network`: accuracies of the float network and
of the stored network, the float network's predictions, recipe, data, command line, versions, sizes, and the SHA-256 of
the weights.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import nn

from norsim.data import Dataset, Samples
from norsim.data.arrays import same_source
from norsim.data.tensors import images_tensor, tensors_of
from norsim.errors import ConfigurationError, DataError
from norsim.files import make_folder, unique_json, write_bytes, write_text
from norsim.jobs.phases import Report, silent
from norsim.quantization.by_layer.bits import Bits, label
from norsim.quantization.forward import device_name, device_of
from norsim.quantization.modules import quantized_operands
from norsim.saved.float_weights import FloatSource
from norsim.saved.packed_weights import ONNX, decode, encode, fail
from norsim.saved.probe import check_probe, form_of, probe
from norsim.saved.shipped import WEIGHTS, network_place
from norsim.training.train import TrainResult, labels_in, predict
from norsim.user_code import is_code
from norsim.zoo.normalise import from_header
from norsim.zoo.onnx.file import is_onnx, read_content
from norsim.zoo.registry import NetworkSpec, spec_of

FLOAT, CARD = "float.safetensors", "card.json"
LARGEST_CARD = 16 * 2**20


def save_network(
    result: TrainResult, folder: Path, command: str, report: Report = silent, transform: str | None = None
) -> dict[str, Any]:
    """Write `result` to `folder` and return the card; `command` is the line that repeats the training, and `transform`
    that of its photos.

    The card's quantized accuracy is that of the network read back from the file. The card also has the float network's
    class of each test image, in the order of the test set, which yields its accuracy on any part of the set.
    """
    payload = _write(result.network, result.spec, folder)
    write_bytes(folder / FLOAT, float_file(result.float_network))
    network, header = decode(folder / WEIGHTS, trusted=True)
    card: dict[str, Any] = dict(header)
    if is_code(header["network"]):
        card["probe"] = probe(network, form_of(tensors_of(result.test_set.take(min(100, len(result.test_set))))[0]))
    card |= _accuracies(result, network.to(device_of(result.network)), report)
    if transform is not None:
        card["transform"] = transform
    card |= _origin(result, command) | _sizes(result, network, header["layers"], payload)
    write_text(folder / CARD, json.dumps(card, indent=1) + "\n")
    return card


def save_tuned(
    network: nn.Module, card: dict[str, Any], test_set: Dataset, folder: Path, command: str, tuning: dict[str, Any],
    origin: Path | str, report: Report = silent,
) -> dict[str, Any]:  # fmt: skip
    """Write a fine-tuned `network` to `folder` and return its card; `card` and `origin` are those before tuning.

    The new card keeps the float network of `card` for comparison and records `tuning`.
    """
    name = str(network_place(origin) / ONNX) if is_onnx(card["network"]) else card["network"]
    normalise, digital = from_header(card.get("normalise")), tuple(card.get("digital", ()))
    spec = replace(spec_of(name, card["width"]), normalise=normalise, digital=digital)
    payload = _write(network, spec, folder)
    read_back, header = decode(folder / WEIGHTS, trusted=True)
    read_back.to(device_of(network))
    right = int((predict(read_back, test_set, partial(report, "classify quantized")) == test_set.labels).sum())
    tuned = card | header | {
        "quantized_correct": right, "quantized_accuracy": right / len(test_set), "command": command, "tuning": tuning,
        "torch_version": torch.__version__, "torch_threads": torch.get_num_threads(),
        "device": device_name(device_of(network)), "weights_sha256": hashlib.sha256(payload).hexdigest(),
        "file_bytes": len(payload), "size_ratio": round(card["float32_file_bytes"] / len(payload), 3),
    }  # fmt: skip
    if "probe" in card:
        tuned["probe"] = probe(read_back.cpu(), form_of(images_tensor(test_set.take(1))))
    write_text(folder / CARD, json.dumps(tuned, indent=1) + "\n")
    return tuned


def load_network(folder_or_name: Path | str, trusted: bool = False) -> tuple[nn.Module, dict[str, Any]]:
    """Return a saved network in eval mode, and its card.

    A string without a path separator names a network that comes with norsim; anything else is a folder. The Python
    file of a user-supplied network is executed only if `trusted`; no other code is. The caller's random state does not
    change. Raises DataError naming the invalid file, the problem and a remedy, and for a file that makes another
    network than the one that was saved.
    """
    folder = network_place(folder_or_name)
    path = folder / WEIGHTS
    network, header = decode(path, trusted)
    card = _read_card(folder / CARD, header, path)
    if "probe" in card:
        check_probe(network, card)
    return network, card


def kept_float(folder_or_name: Path | str, trusted: bool = False) -> tuple[FloatSource, dict[str, Any]]:
    """Return the float network of the folder that `load_network` reads, and its card. Raises DataError if it has
    none."""
    folder = network_place(folder_or_name)
    if not (folder / FLOAT).is_file():
        raise DataError(
            f"{folder} has no float weights ({FLOAT}), so its network cannot be quantized again; give float weights"
        )
    card = load_network(folder, trusted)[1]
    return _float_source(folder, card), card


def load_float_network(folder_or_name: Path | str, card: dict[str, Any], trusted: bool = False) -> nn.Module | None:
    """Return the float network that a saved one was made from, in eval mode; None if its folder has no float weights.

    `card` and `trusted` are those of `load_network`.
    """
    folder = network_place(folder_or_name)
    if not (folder / FLOAT).is_file() or (is_code(card["network"]) and not trusted):
        return None
    source = _float_source(folder, card)
    with torch.random.fork_rng(devices=[]):
        network = source.spec().build()
    network.load_state_dict(source.state(network))
    return network.eval()


def _float_source(folder: Path, card: dict[str, Any]) -> FloatSource:
    name = str(folder / ONNX) if is_onnx(card["network"]) else str(card["network"])
    return FloatSource(name, folder / FLOAT, float(card["width"]), from_header(card.get("normalise")))


def label_of_card(card: dict[str, Any]) -> str:
    """Return what the stored network is called by its widths, such as 4-bit."""
    return label(Bits(layer["weight_bits"], layer["input_bits"]) for layer in card["layers"].values())


def float_predictions(card: dict[str, Any]) -> NDArray[np.int64]:
    """Return the float network's class of each test image, int64 `[test images]`, from a loaded card; none if its data
    have no classes."""
    content = base64.b64decode(card["float_predictions"])
    wide = len(content) != card["test_images"]
    return np.frombuffer(content, dtype="<u2" if wide else np.uint8).astype(np.int64)


def float_file(network: nn.Module) -> bytes:
    """Return the state dict of a float network as the content of a safetensors file."""
    return save({key: value.cpu().contiguous().clone() for key, value in network.state_dict().items()})


def _write(network: nn.Module, spec: NetworkSpec, folder: Path) -> bytes:
    """Write the weights and, for an ONNX network, a copy of its file; return the content of the weights file."""
    payload = encode(network, spec)
    make_folder(folder)
    if is_onnx(spec.name):
        write_bytes(folder / ONNX, read_content(Path(spec.name)))
    write_bytes(folder / WEIGHTS, payload)
    return payload


def known_images(card: dict[str, Any], data: Dataset | Samples, skipped: int = 0) -> bool:
    """Return whether `data` are test images that a card is about: the first ones after those `skipped`, with the same
    content."""
    if skipped + len(data) > card["test_images"]:
        return False
    if "image_digests" not in card:
        return same_source(card["data_source"], data.source)
    kept = np.frombuffer(base64.b64decode(card["image_digests"]), "<u4")
    return bool(np.array_equal(kept[skipped : skipped + len(data)], data.digests()))


def _accuracies(result: TrainResult, network: nn.Module, report: Report) -> dict[str, Any]:
    """Return what a card says about the test data; accuracies are None where they have no classes."""
    about: dict[str, Any] = {
        "dataset": result.test_set.name,
        "data_source": result.test_set.source,
        "test_images": len(result.test_set),
        "image_digests": base64.b64encode(result.test_set.digests().astype("<u4").tobytes()).decode(),
    }
    if result.float_predictions is None:
        right: dict[str, int | None] = dict.fromkeys(("float", "quantized"))
        packed = b""
    else:
        labels = labels_in(result.test_set)
        stored = predict(network, result.test_set, partial(report, "classify quantized"))
        right = {
            "float": int((result.float_predictions == labels).sum()), "quantized": int((stored == labels).sum()),
        }  # fmt: skip
        packed = _compact(result.float_predictions)
    shares = {kind: None if count is None else count / about["test_images"] for kind, count in right.items()}
    return {
        **about,
        **{f"{kind}_correct": count for kind, count in right.items()},
        **{f"{kind}_accuracy": one for kind, one in shares.items()},
        "float_predictions": base64.b64encode(packed).decode(),
    }


def _compact(classes: NDArray[np.int64]) -> bytes:
    """Return the classes `[images]` as one byte each, or two if one is above 255."""
    largest = int(classes.max())
    if largest >= 2**16:
        raise ConfigurationError(f"the network has a class {largest}; expected at most {2**16} classes")
    return classes.astype("<u2" if largest > 255 else np.uint8).tobytes()


def _origin(result: TrainResult, command: str) -> dict[str, Any]:
    return {
        "command": command,
        "recipe": asdict(result.recipe),
        "seed": result.recipe.seed,
        "torch_version": torch.__version__,
        "torch_threads": torch.get_num_threads(),
        "device": device_name(device_of(result.network)),
    }


def _sizes(result: TrainResult, network: nn.Module, norms: dict[str, str | None], payload: bytes) -> dict[str, Any]:
    layers = {
        name: {
            "codes": layer.weight.numel(),
            "shape": list(layer.weight.shape),
            "weight_bits": layer.weight_bits,
            "input_bits": layer.input_bits,
            "norm": norms[name],
        }
        for name, layer in quantized_operands(network).items()
    }
    float_bytes = len(float_file(result.float_network))
    return {
        "layers": layers,
        "weights": sum(layer["codes"] for layer in layers.values()),
        "weights_sha256": hashlib.sha256(payload).hexdigest(),
        "file_bytes": len(payload),
        "float32_file_bytes": float_bytes,
        "size_ratio": round(float_bytes / len(payload), 3),
    }


def _read_card(path: Path, header: dict[str, Any], weights: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > LARGEST_CARD:
            fail(path, f"it is larger than {LARGEST_CARD} bytes")
        card = unique_json(path.read_bytes())
        classes = base64.b64decode(card["float_predictions"], validate=True)
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as problem:
        fail(path, f"it cannot be read ({type(problem).__name__}: {problem})")
    for key in ("format_version", "network", "width", "normalise", "onnx_sha256", "digital"):
        if card.get(key) != header.get(key):
            fail(path, f"its {key} is not the one in {WEIGHTS}")
    if card.get("weights_sha256") != hashlib.sha256(weights.read_bytes()).hexdigest():
        fail(path, f"its weights_sha256 is not that of {WEIGHTS}, so it belongs to other weights")
    for key in ("dataset", "data_source"):
        if not isinstance(card.get(key), str):
            fail(path, f"its {key} is {card.get(key)!r}; expected a string")
    images = card.get("test_images")
    for kind in ("float", "quantized"):
        right, share = card.get(f"{kind}_correct"), card.get(f"{kind}_accuracy")
        if right is share is None and not classes and isinstance(images, int) and images > 0:
            continue
        if not (isinstance(right, int) and isinstance(images, int) and 0 <= right <= images > 0):
            fail(path, f"it records {right!r} of {images!r} test images as right ({kind})")
        if share != right / images:
            fail(path, f"its {kind}_accuracy {share!r} is not {right} / {images}")
    if len(classes) not in (images, 2 * images) and (classes or card["float_correct"] is not None):
        fail(path, f"{len(classes)} bytes of float predictions for {images} test images")
    return dict(card)
