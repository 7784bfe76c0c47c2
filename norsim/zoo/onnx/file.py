"""Conversion of an ONNX file to a torch module. Needs the package onnx, an extra of norsim."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from norsim.errors import ConfigurationError, DataError, first_line
from norsim.zoo.onnx.attributes import ignored
from norsim.zoo.onnx.graph import GraphError, Node, OnnxNetwork
from norsim.zoo.onnx.layers import LAYERS
from norsim.zoo.onnx.operators import OPERATORS

SUFFIX = ".onnx"
FIRST_OPSET = 13
LARGEST_BYTES = 2**31 - 1
# Names of the standard's own domain, and its number of the type float32.
STANDARD = ("", "ai.onnx")
FLOAT = 1
# The longest side of images on which a network is tried when it is read.
LARGEST_SIDE = 512


def is_onnx(name: str) -> bool:
    """Return whether a network's name is an ONNX file."""
    return name.lower().endswith(SUFFIX)


def read_content(path: Path) -> bytes:
    """Return the bytes of the file; DataError if it cannot be read or is larger than ONNX allows."""
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise DataError(f"{path} is larger than {LARGEST_BYTES} bytes, the most that ONNX allows")
        return path.read_bytes()
    except OSError as problem:
        raise DataError(f"{path} cannot be read: {problem.strerror}") from None


def build_for_any_batch(path: Path) -> nn.Module:
    """Return the network in the file, as `build_onnx` does, after a check that it takes batches of any size."""
    network = build_onnx(path)
    try:
        check_batches(network)
    except GraphError as problem:
        raise ConfigurationError(f"{path}: {problem}") from problem
    return network


def build_onnx(path: Path, content: bytes | None = None) -> OnnxNetwork:
    """Return the network in the file, with its weights, in eval mode. Only known operators are executed.

    It maps a batch of images to a batch of outputs. Raises ConfigurationError if the package onnx is missing or the
    network is not supported, DataError for a damaged file.
    """
    try:
        import onnx
    except ModuleNotFoundError:
        raise ConfigurationError(f"{path}: reading it needs the package onnx: pip install onnx") from None
    except Exception as problem:  # with another version of protobuf than it expects, it raises several kinds
        raise ConfigurationError(
            f"{path}: the package onnx cannot be imported ({type(problem).__name__}: {first_line(problem)}); install "
            "versions of onnx and protobuf that fit each other"
        ) from problem
    content = read_content(path) if content is None else content
    try:
        model = onnx.load_model_from_string(content)
        for value in _tensors(model):
            if value.data_location == onnx.TensorProto.EXTERNAL:
                raise DataError(f"{path}: {value.name!r} is in another file; export the network as one file")
        onnx.checker.check_model(model)
        _check_splits(path, model)
        model = onnx.shape_inference.infer_shapes(model)
    except DataError:
        raise
    except Exception as problem:  # protobuf and the checker raise anything on a damaged file
        raise DataError(f"{path} is not a valid ONNX file: {type(problem).__name__}: {first_line(problem)}") from None
    try:
        with torch.device("cpu"):  # constants need memory even if modules are on the meta device
            network = _network(model, hashlib.sha256(content).hexdigest())
    except GraphError as problem:
        raise ConfigurationError(f"{path}: {problem}") from problem
    except (ValueError, KeyError, TypeError, IndexError, RuntimeError, OverflowError) as problem:
        # Errors that the checker misses, such as too few bytes for a shape.
        raise DataError(f"{path} is damaged: {type(problem).__name__}: {first_line(problem)}") from None
    network.eval()
    return network


def _tensors(message: Any) -> Iterator[Any]:
    """Yield every tensor in a message: initializers, sparse ones, and those in attributes, subgraphs and functions."""
    if message.DESCRIPTOR.name == "TensorProto":
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in value if isinstance(value, Sequence) else (value,):
                yield from _tensors(part)


def _check_splits(path: Path, model: Any) -> None:
    """Raise DataError for a Split with another number of outputs than it states, on which onnx's own check of shapes
    ends the process."""
    for node in model.graph.node:
        for part in node.attribute:
            if node.op_type == "Split" and part.name == "num_outputs" and part.i != len(node.output):
                raise DataError(
                    f"{path}: ONNX node {node.name!r} (Split) states {part.i} outputs and has {len(node.output)}"
                )


def _network(model: Any, digest: str) -> OnnxNetwork:
    from onnx import helper

    graph = model.graph
    opsets = {entry.version for entry in model.opset_import if entry.domain in STANDARD}
    opset = min(opsets, default=0)
    if len(opsets) > 1:
        raise GraphError(f"it has opsets {' and '.join(map(str, sorted(opsets)))}; expected one: export it again")
    if opset < FIRST_OPSET:
        raise GraphError(f"it has opset {opset}; expected {FIRST_OPSET} or later: export it again")
    replaced = [function.name for function in model.functions if function.domain in STANDARD]
    if replaced:
        raise GraphError(f"it defines the operator {replaced[0]} otherwise than the standard, which is not supported")
    constants = {value.name: _tensor(value) for value in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise GraphError(f"it has {len(inputs)} inputs and {len(graph.output)} outputs; expected one of each")
    for what, value in (("input", inputs[0]), ("output", graph.output[0])):
        kind = value.type.tensor_type.elem_type
        if kind != FLOAT:
            name = helper.tensor_dtype_to_string(kind).removeprefix("TensorProto.").lower() if kind else "not a tensor"
            raise GraphError(f"its {what} {value.name!r} is {name}; expected a tensor of floats of 32 bits")
    nodes = []
    for index, proto in enumerate(graph.node):
        attributes = {part.name: _attribute(part) for part in proto.attribute}
        if proto.op_type == "Constant" and proto.domain in STANDARD:
            constants[proto.output[0]] = _constant(attributes)
            continue
        kind = proto.op_type if proto.domain in STANDARD else f"{proto.domain}.{proto.op_type}"
        if kind == "Split":
            attributes.setdefault("num_outputs", len(proto.output))
        name = proto.name or f"{proto.op_type}_{index}"
        extra = ignored(kind, attributes, _defaults(kind, opset))
        if extra is not None and (kind in OPERATORS or kind in LAYERS):
            raise GraphError(f"ONNX node {name!r} ({kind}): its attribute {extra} is not supported")
        if kind == "BatchNormalization" and opset < 14 and any(proto.output[1:]):
            # Before opset 14, which has an attribute for it, these outputs state the training mode.
            raise GraphError(f"ONNX node {name!r} ({kind}): it is in training mode; export the network in eval mode")
        nodes.append(Node(kind, name, tuple(proto.input), tuple(proto.output), attributes))
    ranks = {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in (*graph.value_info, *graph.input)
        if value.type.tensor_type.HasField("shape")
    }
    shape = tuple(axis.dim_value for axis in inputs[0].type.tensor_type.shape.dim)
    return OnnxNetwork(nodes, constants, ranks, inputs[0].name, graph.output[0].name, digest, shape)


def _defaults(kind: str, opset: int) -> dict[str, Any]:
    """Return the standard's default values for an operator's attributes."""
    from onnx import defs, helper

    if not defs.has(kind, max_inclusive_version=opset):
        return {}
    schema = defs.get_schema(kind, opset)
    return {
        name: helper.get_attribute_value(about.default_value)
        for name, about in schema.attributes.items() if about.default_value.name
    }  # fmt: skip


@torch.no_grad()
def check_batches(network: OnnxNetwork) -> None:
    """Raise GraphError if a network answers for batches of one and of three images otherwise than image by image.

    Nothing is checked if the file does not state the size of an image.
    """
    shape = network.shape
    if not shape[1:] or not all(0 < size <= LARGEST_SIDE for size in shape[1:]):
        return
    images = torch.rand(3, *shape[1:], generator=torch.Generator().manual_seed(0))
    advice = "a constant of its graph is for one batch size; export it with a dynamic first axis"
    each, together = [network(one[None]) for one in images], network(images)
    rows = [len(answer) if answer.ndim else 0 for answer in (*each, together)]
    if rows != [1, 1, 1, 3]:
        raise GraphError(f"it gives {rows[0]} answers for one image and {rows[3]} for three: {advice}")
    if not together.numel():
        raise GraphError(f"its output has shape {list(together.shape)}, so no values")
    if not torch.isfinite(together).all():
        raise GraphError("its output for random images has values that are not finite")
    scale = float(together.abs().max()) or 1.0
    if together.is_floating_point() and not (torch.cat(each) - together).abs().max() <= 1e-3 * scale:
        raise GraphError("it answers otherwise for an image among others than for the image alone")


def _tensor(proto: Any) -> Tensor:
    from onnx import numpy_helper

    array = numpy_helper.to_array(proto)
    try:
        return torch.from_numpy(array.copy())
    except TypeError:
        raise GraphError(f"value {proto.name!r} has the unsupported type {array.dtype}") from None


def _attribute(proto: Any) -> Any:
    from onnx import TensorProto, helper

    value = helper.get_attribute_value(proto)
    return _tensor(value) if isinstance(value, TensorProto) else value


def _constant(attributes: dict[str, Any]) -> Tensor:
    for key, value in attributes.items():
        if key == "value":
            found: Tensor = value
            return found
        if key in ("value_float", "value_floats"):
            return torch.tensor(value, dtype=torch.float32)
        if key in ("value_int", "value_ints"):
            return torch.tensor(value, dtype=torch.int64)
    raise GraphError(f"a constant of kind {', '.join(attributes) or 'none'}; expected numbers")
