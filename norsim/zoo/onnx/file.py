"""Conversion of an ONNX file to a torch module. Needs the package onnx, an extra of norsim."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from norsim.errors import ConfigurationError, DataError, first_line
from norsim.zoo.onnx.attributes import FLAGS, ignored
from norsim.zoo.onnx.batches import check_batches
from norsim.zoo.onnx.graph import GraphError, Node, OnnxNetwork, OnnxNetworkOfSeveral, Source
from norsim.zoo.onnx.layers import LAYERS
from norsim.zoo.onnx.operators import OPERATORS
from norsim.zoo.onnx.recurrent import RECURRENT
from norsim.zoo.onnx.reference import ReferenceNode, why_not
from norsim.zoo.onnx.resize import is_plain

SUFFIX = ".onnx"
# Files of older opsets, down to the second one, are converted to the first.
OPSET, OLDEST_OPSET = 13, 9
# The opset in which Resize got modes of coordinates.
FIRST_OF_MODES = 11
LARGEST_BYTES = 2**31 - 1
# Names of the standard's own domain, and its numbers of the types that inputs can have.
STANDARD = ("", "ai.onnx")
TYPES = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool}


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

    It maps a batch of each input to a batch of each output. Nodes that norsim has no operator for are computed by the
    package onnx. Raises ConfigurationError if that package is missing or the network is not supported, DataError for a
    damaged file.
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
        model = _converted(path, model)
        model = onnx.shape_inference.infer_shapes(model)
    except (ConfigurationError, DataError):
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


def _converted(path: Path, model: Any) -> Any:
    """Return the model in a known opset. Raises ConfigurationError if it is too old, or cannot be converted."""
    from onnx import version_converter

    opsets = {entry.version for entry in model.opset_import if entry.domain in STANDARD}
    opset = min(opsets, default=0)
    if len(opsets) > 1:
        found = " and ".join(map(str, sorted(opsets)))
        raise ConfigurationError(f"{path}: it has opsets {found}; expected one: export it again")
    if opset >= OPSET:
        return model
    if opset < OLDEST_OPSET:
        raise ConfigurationError(f"{path}: it has opset {opset}; expected {OLDEST_OPSET} or later: export it again")
    try:
        found = version_converter.convert_version(model, OPSET)
        if opset < FIRST_OF_MODES:
            _set_modes(found)
        return found
    except Exception as problem:  # the converter raises several kinds
        raise ConfigurationError(
            f"{path}: it has opset {opset}, which the package onnx cannot convert to {OPSET} ({first_line(problem)}); "
            f"export it again, with opset {OPSET} or later"
        ) from problem


def _set_modes(model: Any) -> None:
    """Let each Resize, which was a Resize or an Upsample without modes of coordinates, compute as it did; the converter
    leaves the defaults of later opsets."""
    from onnx import helper

    for node in model.graph.node:
        if node.op_type == "Resize":
            node.attribute.append(helper.make_attribute("coordinate_transformation_mode", "asymmetric"))
            node.attribute.append(helper.make_attribute("nearest_mode", "floor"))


def _network(model: Any, digest: str) -> OnnxNetwork:
    graph = model.graph
    opset = next(entry.version for entry in model.opset_import if entry.domain in STANDARD)
    replaced = [function.name for function in model.functions if function.domain in STANDARD]
    if replaced:
        raise GraphError(f"it defines the operator {replaced[0]} otherwise than the standard, which is not supported")
    constants = {value.name: _tensor(value) for value in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    if not inputs or not graph.output:
        raise GraphError(f"it has {len(inputs)} inputs and {len(graph.output)} outputs; expected at least one of each")
    for value in inputs:
        if value.type.tensor_type.elem_type not in TYPES:
            raise GraphError(
                f"its input {value.name!r} is {_type(value)}; expected a tensor of float32, int32, int64 or bool"
            )
    if not any(value.type.tensor_type.elem_type == 1 for value in graph.output):
        value = graph.output[0]
        raise GraphError(f"its output {value.name!r} is {_type(value)}; expected a tensor of floats of 32 bits")
    nodes = []
    for index, proto in enumerate(graph.node):
        attributes = {part.name: _attribute(part) for part in proto.attribute}
        if proto.op_type == "Constant" and proto.domain in STANDARD:
            constants[proto.output[0]] = _constant(attributes)
            continue
        nodes.append(_node(proto, index, attributes, opset))
    ranks = {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in (*graph.value_info, *graph.input)
        if value.type.tensor_type.HasField("shape")
    }
    sources = {
        value.name: Source(
            tuple(axis.dim_value for axis in value.type.tensor_type.shape.dim), TYPES[value.type.tensor_type.elem_type]
        )
        for value in inputs
    }
    kind = OnnxNetwork if len(sources) == 1 else OnnxNetworkOfSeveral
    return kind(nodes, constants, ranks, sources, tuple(value.name for value in graph.output), digest)


def _node(proto: Any, index: int, attributes: dict[str, Any], opset: int) -> Node:
    """Return a node, which onnx computes if norsim has no operator for it. Raises GraphError if neither has."""
    kind = proto.op_type if proto.domain in STANDARD else f"{proto.domain}.{proto.op_type}"
    if kind == "Split":
        attributes.setdefault("num_outputs", len(proto.output))
    name = proto.name or f"{proto.op_type}_{index}"
    extra = ignored(kind, attributes, _defaults(kind, opset))
    known = kind in OPERATORS or kind in LAYERS
    if extra is not None and known and (kind in LAYERS or extra.partition("=")[0] in FLAGS):
        raise GraphError(f"ONNX node {name!r} ({kind}): its attribute {extra} is not supported")
    if kind == "BatchNormalization" and opset < 14 and any(proto.output[1:]):
        # Before opset 14, which has an attribute for it, these outputs state the training mode.
        raise GraphError(f"ONNX node {name!r} ({kind}): it is in training mode; export the network in eval mode")
    beyond = (kind == "Resize" and not is_plain(attributes)) or (kind == "MaxPool" and any(proto.output[1:]))
    reference = None
    if proto.domain in STANDARD and (not known or extra is not None or beyond or kind in RECURRENT):
        problem = why_not(proto, opset)
        if problem is None:
            reference = ReferenceNode(proto.SerializeToString(), opset)
        elif kind not in RECURRENT:
            raise GraphError(f"ONNX node {name!r}: {problem}, so it is not supported")
    elif not known:
        raise GraphError(f"ONNX node {name!r}: operator {kind} is not supported: it is not of the ONNX standard")
    return Node(kind, name, tuple(proto.input), tuple(proto.output), attributes, reference)


def _type(value: Any) -> str:
    """Return the type of an input or output in words."""
    from onnx import helper

    kind = value.type.tensor_type.elem_type
    return helper.tensor_dtype_to_string(kind).removeprefix("TensorProto.").lower() if kind else "not a tensor"


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
