"""Conversion of an ONNX file to a torch module. Needs the package onnx, an extra of norsim."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from norsim.errors import ConfigurationError, DataError
from norsim.zoo.onnx.graph import GraphError, Node, OnnxNetwork, first_line

SUFFIX = ".onnx"
FIRST_OPSET = 13
LARGEST_BYTES = 2**31 - 1


def is_onnx(name: str) -> bool:
    """Return whether a network's name is an ONNX file."""
    return name.endswith(SUFFIX)


def read_content(path: Path) -> bytes:
    """Return the bytes of the file; DataError if it cannot be read or is larger than ONNX allows."""
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise DataError(f"{path} is larger than {LARGEST_BYTES} bytes, the most that ONNX allows")
        return path.read_bytes()
    except OSError as problem:
        raise DataError(f"{path} cannot be read: {problem.strerror}") from None


def build_onnx(path: Path, content: bytes | None = None) -> nn.Module:
    """Return the network in the file, with its weights, in eval mode. Only known operators are executed.

    It maps a batch of images to a batch of outputs. Raises ConfigurationError if the package onnx is missing or the
    network is not supported, DataError for a damaged file.
    """
    try:
        import onnx
    except ImportError:
        raise ConfigurationError(f"{path}: reading it needs the package onnx: pip install onnx") from None
    content = read_content(path) if content is None else content
    try:
        model = onnx.load_model_from_string(content)
        outside = [value.name for value in model.graph.initializer if value.data_location == onnx.TensorProto.EXTERNAL]
        if outside:
            raise DataError(f"{path}: {outside[0]!r} is in another file; export the network as one file")
        onnx.checker.check_model(model)
        model = onnx.shape_inference.infer_shapes(model)
    except DataError:
        raise
    except Exception as problem:  # protobuf and the checker raise anything on a damaged file
        raise DataError(f"{path} is not a valid ONNX file: {type(problem).__name__}: {first_line(problem)}") from None
    try:
        with torch.device("cpu"):  # constants need memory even if modules are on the meta device
            return _network(model, hashlib.sha256(content).hexdigest()).eval()
    except GraphError as problem:
        raise ConfigurationError(f"{path}: {problem}") from problem
    except (ValueError, KeyError, TypeError, IndexError, RuntimeError, OverflowError) as problem:
        # Errors that the checker misses, such as too few bytes for a shape.
        raise DataError(f"{path} is damaged: {type(problem).__name__}: {first_line(problem)}") from None


def _network(model: Any, digest: str) -> OnnxNetwork:
    graph = model.graph
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if opset < FIRST_OPSET:
        raise GraphError(f"it has opset {opset}; expected {FIRST_OPSET} or later: export it again")
    constants = {value.name: _tensor(value) for value in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise GraphError(f"it has {len(inputs)} inputs and {len(graph.output)} outputs; expected one of each")
    nodes = []
    for index, proto in enumerate(graph.node):
        attributes = {part.name: _attribute(part) for part in proto.attribute}
        if proto.op_type == "Constant" and proto.domain in ("", "ai.onnx"):
            constants[proto.output[0]] = _constant(attributes)
            continue
        kind = proto.op_type if proto.domain in ("", "ai.onnx") else f"{proto.domain}.{proto.op_type}"
        if kind == "Split":
            attributes.setdefault("num_outputs", len(proto.output))
        name = proto.name or f"{proto.op_type}_{index}"
        nodes.append(Node(kind, name, tuple(proto.input), tuple(proto.output), attributes))
    ranks = {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in (*graph.value_info, *graph.input)
        if value.type.tensor_type.HasField("shape")
    }
    return OnnxNetwork(nodes, constants, ranks, inputs[0].name, graph.output[0].name, digest)


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
