"""A quantized network as one safetensors file, with all trained values for its network and width.

The network is folded first (see `norsim.saved.fold`). The file has three tensors, because a header
entry for each tensor of the state dict would be larger than many of the tensors:

- `codes`: uint8 `[bytes]`, the weight codes of the quantized layers in the order of definition, each in the
  order of its weight tensor; two 4-bit codes per byte with the earlier one in the low half (each layer starts
  at a new byte), or one code of any other width per byte.
- `grids`: uint8 `[layers, 4]`: weight bits, weight zero point, input bits, input zero point.
- `vectors`: float32 `[values]`, the other entries of the folded network's state dict in its order: NAME.bias,
  NAME.weight_scale and NAME.input_scale of each quantized layer, and those of batch norms. Entries that
  folding made constant are left out (NAME.bias and NAME.weight_scale of a folded layer, running_mean and
  running_var of its batch norm), and so are the counters num_batches_tracked.

The metadata has one key, `norsim`, with JSON: `format_version`; `network` and `width`, from which the zoo
builds the modules (for an ONNX network, `network` is `network.onnx`, a copy of its file in the same folder, whose hash
is `onnx_sha256`); `layers`, for each quantized layer the batch norm folded with it, or null; if the network normalises
its images, `normalise`, with lists `mean` and `std`; if some modules are not quantized, `digital`, the patterns of
their names; and, if layers do products that the network computes in functions, `products`, which
norsim.quantization.equivalents.products describes.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from norsim.errors import ConfigurationError, DataError
from norsim.quantization.by_layer.bits import MAX_BITS
from norsim.quantization.equivalents.products import Product, as_json, products_of
from norsim.quantization.modules import SMALLEST_SCALE, QuantConv2d, QuantizedOperands, quantized_operands
from norsim.quantization.quantize import replace_layers
from norsim.saved.fold import fold, is_foldable, neutral
from norsim.user_code import is_code
from norsim.zoo.normalise import Normalise, from_header
from norsim.zoo.onnx.file import is_onnx, read_content
from norsim.zoo.registry import NetworkSpec, build

FORMAT_VERSION = 2
ONNX = "network.onnx"
REMEDY = "restore the file from its source, or train the network again"

Norms = dict[str, str | None]


def fail(path: Path, problem: str) -> NoReturn:
    """Raise a DataError about a file of a stored network."""
    raise DataError(f"{path}: {problem}; {REMEDY}")


def encode(network: nn.Module, spec: NetworkSpec) -> bytes:
    """Return the content of the file for a quantized `network` of `spec`."""
    folded, norms = fold(network)
    layers, state = quantized_operands(folded), folded.state_dict()
    codes = [pack(layer.weight_codes().flatten().cpu().numpy(), layer.weight_bits) for layer in layers.values()]
    grids = [
        [layer.weight_bits, layer.rounded_weight_zero(), layer.input_bits, int(layer.input_zero)]
        for layer in layers.values()
    ]
    tensors = {
        "codes": torch.from_numpy(np.concatenate(codes)),
        "grids": torch.tensor(grids, dtype=torch.uint8),
        "vectors": torch.cat([_single(key, state[key]) for key in vector_shapes(folded, norms)]),
    }
    header: dict[str, Any] = {
        "format_version": FORMAT_VERSION, "network": spec.name, "width": spec.width, "layers": norms,
    }  # fmt: skip
    if is_onnx(spec.name):
        header |= {"network": ONNX, "onnx_sha256": sha256(read_content(Path(spec.name))).hexdigest()}
    if spec.normalise is not None:
        header["normalise"] = asdict(spec.normalise)
    if spec.digital:
        header["digital"] = list(spec.digital)
    products = products_of(folded)
    if products:
        header["products"] = as_json(products)
    return save(tensors, {"norsim": json.dumps(header, separators=(",", ":"))})


def decode(path: Path, trusted: bool = False) -> tuple[nn.Module, dict[str, Any]]:
    """Return the folded network in the file at `path`, in eval mode, and the JSON of its metadata.

    The Python file of a user-supplied network is executed only if `trusted`; no other code is. Memory use is bounded
    by the file's size, and the caller's random state does not change. Raises DataError with the problem and a remedy.
    """
    tensors, header = _read(path)
    if is_code(header["network"]) and not trusted:
        code = header["network"]
        raise DataError(f"{path}: its network is the Python code {code}, which is not run unless it is trusted")
    name = str(_beside(path, header)) if is_onnx(header["network"]) else header["network"]
    try:
        normalise = from_header(header.get("normalise"))
        products = [Product.of(content) for content in header.get("products", [])]
        network = _untrained(name, header["width"], normalise, header.get("digital", []), products)
    except ConfigurationError as problem:
        fail(path, str(problem))
    layers = quantized_operands(network)
    norms = _check_norms(path, header["layers"], network, layers)
    state = {key: torch.zeros((), dtype=torch.int64) for key in network.state_dict() if _is_counter(key)}
    state |= _read_vectors(path, tensors, vector_shapes(network, norms), network)
    for name, norm in norms.items():
        if norm is not None:
            state |= neutral(name, layers[name], norm, network.get_submodule(norm))
    grids = _take(path, tensors, "grids", (len(layers), 4))
    for layer, grid in zip(layers.items(), grids.tolist(), strict=True):
        state |= _read_grid(path, *layer, grid)
    state |= _read_weights(path, tensors, layers, state)
    if tensors:
        fail(path, f"it has unknown tensors: {sorted(tensors)[:5]}")
    network.load_state_dict(state, assign=True)
    return network, header


def _untrained(
    name: str, width: float, normalise: Normalise | None, digital: list[str], products: list[Product]
) -> nn.Module:
    """Return the modules of a network, with layers to be filled."""
    supplied = is_code(name) or is_onnx(name)
    # Meta tensors take no memory or random numbers, whatever the width; but a user-supplied network may have tensors
    # outside its state dict.
    with torch.random.fork_rng(devices=[]) if supplied else torch.device("meta"):
        return replace_layers(build(name, width, normalise), digital=digital, products=products).eval()


def _beside(path: Path, header: dict[str, Any]) -> Path:
    """Return the ONNX file beside a stored network; its hash is checked."""
    file = path.parent / ONNX
    if header["network"] != ONNX:
        fail(path, f"its network is {header['network']!r}; expected {ONNX!r}, a file in the same folder")
    if sha256(read_content(file)).hexdigest() != header.get("onnx_sha256"):
        fail(file, "it is not the file that the network was made from")
    return file


def vector_shapes(network: nn.Module, norms: Norms) -> dict[str, torch.Size]:
    """Return the names and shapes of the state dict entries in `vectors`, in their order."""
    layers = quantized_operands(network)
    elsewhere = {f"{name}.{key}" for name in layers for key in ("weight", "weight_zero", "input_zero")}
    for name, norm in norms.items():
        if norm is not None:
            elsewhere |= neutral(name, layers[name], norm, network.get_submodule(norm)).keys()
    state = network.state_dict().items()
    return {key: value.shape for key, value in state if key not in elsewhere and not _is_counter(key)}


def pack(codes: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Pack codes `[n]` into bytes: two per byte for 4 bits, the earlier one in the low half; else one per byte."""
    if bits != 4:
        return codes.copy()
    pairs = np.pad(codes, (0, len(codes) % 2)).reshape(-1, 2)
    return (pairs[:, 0] | pairs[:, 1] << 4).astype(np.uint8)


def unpack(packed: NDArray[np.uint8], count: int, bits: int) -> NDArray[np.uint8]:
    """Invert `pack`: `[bytes]` -> `[count]` codes, uint8."""
    if bits != 4:
        return packed[:count].copy()
    codes: NDArray[np.uint8] = np.stack([packed & 15, packed >> 4], axis=1).astype(np.uint8).reshape(-1)
    return codes[:count]


def _packed_size(layer: QuantizedOperands) -> int:
    count = layer.weight.numel()
    return (count + 1) // 2 if layer.weight_bits == 4 else count


def _is_counter(key: str) -> bool:
    return key.endswith("num_batches_tracked")


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}
        header = json.loads(metadata["norsim"])
    except KeyError:
        fail(path, "it has no norsim metadata")
    except (OSError, SafetensorError, ValueError, RecursionError, TypeError) as problem:
        fail(path, f"it cannot be read ({problem})")
    if not isinstance(header, dict) or header.get("format_version") != FORMAT_VERSION:
        version = header.get("format_version") if isinstance(header, dict) else None
        fail(path, f"format version {version!r}; this norsim reads version {FORMAT_VERSION}")
    if not isinstance(header.get("network"), str) or not isinstance(header.get("layers"), dict):
        fail(path, "its metadata lacks the network's name or its layers")
    if type(header.get("width")) not in (int, float):
        fail(path, f"its width is {header.get('width')!r}; expected a number")
    digital = header.get("digital", [])
    if not isinstance(digital, list) or not all(isinstance(pattern, str) for pattern in digital):
        fail(path, f"its digital layers are {digital!r}; expected a list of patterns")
    if not isinstance(header.get("products", []), list):
        fail(path, f"its products are {header['products']!r}; expected a list")
    return tensors, header


def _check_norms(path: Path, norms: Norms, network: nn.Module, layers: dict[str, QuantizedOperands]) -> Norms:
    if list(norms) != list(layers):
        fail(path, f"it lists the layers {list(norms)}; expected {list(layers)}")
    modules = dict(network.named_modules())
    for name, norm in norms.items():
        if norm is None:
            continue
        layer, found = layers[name], modules.get(norm) if isinstance(norm, str) else None
        fits = isinstance(found, nn.BatchNorm2d) and is_foldable(found) and found.num_features == len(layer.weight)
        if not (fits and isinstance(layer, QuantConv2d) and list(norms.values()).count(norm) == 1):
            fail(path, f"layer {name!r} cannot be folded with {norm!r}")
    return norms


def _take(path: Path, tensors: dict[str, Tensor], key: str, shape: tuple[int, ...]) -> Tensor:
    if key not in tensors:
        fail(path, f"tensor {key!r} is missing")
    tensor = tensors.pop(key)
    dtype = torch.float32 if key == "vectors" else torch.uint8
    if tensor.shape != shape or tensor.dtype != dtype:
        found = f"{tensor.dtype} {list(tensor.shape)}"
        fail(path, f"tensor {key!r} is {found}; expected {dtype} {list(shape)}")
    return tensor


def _read_vectors(
    path: Path, tensors: dict[str, Tensor], shapes: dict[str, torch.Size], network: nn.Module
) -> dict[str, Tensor]:
    sizes = [shape.numel() for shape in shapes.values()]
    parts = torch.split(_take(path, tensors, "vectors", (sum(sizes),)), sizes)
    state = {key: part.reshape(shape).clone() for (key, shape), part in zip(shapes.items(), parts, strict=True)}
    kinds = {key: value.dtype for key, value in network.state_dict().items()}
    constants = free_buffers(network)
    for key, values in state.items():
        if key in constants and not bool(torch.isnan(values).any()):
            state[key] = values.to(kinds[key])
            continue
        lowest = SMALLEST_SCALE if key.endswith("_scale") else 0.0 if key.endswith("running_var") else -math.inf
        if not bool(torch.isfinite(values).all()) or bool((values < lowest).any()):
            fail(path, f"{key!r} holds a value that is not finite or is below {lowest:g}")
    return state


def free_buffers(network: nn.Module) -> set[str]:
    """Return the names of buffers that may hold any number, infinity included: masks, indices, but no statistics."""
    return {name for name, _ in network.named_buffers() if not name.endswith(("running_mean", "running_var"))}


def _single(key: str, value: Tensor) -> Tensor:
    """Return the values of an entry `[n]` as float32; ConfigurationError if that changes them."""
    single = value.detach().float().cpu()
    if not torch.equal(single.to(value.dtype), value.cpu()):
        raise ConfigurationError(f"{key!r} has {value.dtype} values that the float32 of the file cannot hold")
    return single.flatten()


def _read_grid(path: Path, name: str, layer: QuantizedOperands, grid: list[int]) -> dict[str, Tensor]:
    weight_bits, weight_zero, input_bits, input_zero = grid
    for bits, zero in ((weight_bits, weight_zero), (input_bits, input_zero)):
        if not 1 <= bits <= MAX_BITS:
            fail(path, f"layer {name!r} has codes of {bits} bits; expected 1 to {MAX_BITS}")
        if zero >= 2**bits:
            fail(path, f"layer {name!r} has a zero point of {zero}, which {bits} bits cannot hold")
    layer.weight_bits, layer.input_bits = weight_bits, input_bits
    zeros = {"weight_zero": torch.tensor([float(weight_zero)]), "input_zero": torch.tensor([input_zero])}
    return {f"{name}.{key}": value for key, value in zeros.items()}


def _read_weights(
    path: Path, tensors: dict[str, Tensor], layers: dict[str, QuantizedOperands], state: dict[str, Tensor]
) -> dict[str, Tensor]:
    sizes = [_packed_size(layer) for layer in layers.values()]
    packed = torch.split(_take(path, tensors, "codes", (sum(sizes),)), sizes)
    weights: dict[str, Tensor] = {}
    for (name, layer), part in zip(layers.items(), packed, strict=True):
        codes = torch.from_numpy(unpack(part.numpy(), layer.weight.numel(), layer.weight_bits))
        if int(codes.max()) >= 2**layer.weight_bits:
            fail(path, f"layer {name!r} has a code of {int(codes.max())}, which {layer.weight_bits} bits cannot hold")
        steps = codes.reshape(layer.weight.shape).to(torch.float32) - state[f"{name}.weight_zero"]
        weight = steps * state[f"{name}.weight_scale"].reshape(-1, *[1] * (steps.ndim - 1))
        if not bool(torch.isfinite(weight).all()):
            fail(path, f"layer {name!r} has a scale so large that weights overflow")
        weights[f"{name}.weight"] = weight
    return weights
