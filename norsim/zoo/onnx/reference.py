"""Operators that norsim has no function for, computed by onnx's reference implementations in NumPy.

They stay digital, and run on the CPU whatever the device of the network. Operators with graphs of their own and
operators that draw random numbers are refused.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

RANDOM = frozenset({"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
                    "RandomUniformLike"})  # fmt: skip


class ReferenceNode:
    """One node of an ONNX graph, as onnx computes it; `content` is its protobuf message, `opset` its version."""

    def __init__(self, content: bytes, opset: int) -> None:
        self.content, self.opset = content, opset
        self.evaluator = _evaluator(content, opset)

    def __getstate__(self) -> dict[str, Any]:
        return {"content": self.content, "opset": self.opset}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def __call__(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        """Return the outputs for inputs of any shape, None for omitted ones."""
        device = next((one.device for one in inputs if one is not None), torch.device("cpu"))
        named = {f"x{place}": one.detach().cpu().numpy() for place, one in enumerate(inputs) if one is not None}
        return tuple(torch.as_tensor(one).to(device) for one in self.evaluator.run(None, named))


def why_not(proto: Any, opset: int) -> str | None:
    """Return why a node of a graph cannot be computed in this way; None if it can."""
    from onnx import AttributeProto, defs

    if not defs.has(proto.op_type, max_inclusive_version=opset):
        return f"operator {proto.op_type} is not of the standard's opset {opset}"
    if proto.op_type in RANDOM:
        return f"operator {proto.op_type} draws random numbers"
    if any(part.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for part in proto.attribute):
        return f"operator {proto.op_type} has a graph of its own"
    try:
        ReferenceNode(proto.SerializeToString(), opset)
    except Exception as problem:  # onnx raises several kinds for what it does not implement
        return f"operator {proto.op_type} has no implementation in the package onnx ({type(problem).__name__})"
    return None


def _evaluator(content: bytes, opset: int) -> Any:
    """Return the evaluator of a graph of that node alone, with inputs x0, x1, ... and outputs y0, y1, ..."""
    from onnx import NodeProto, TensorProto, helper
    from onnx.reference import ReferenceEvaluator

    node = NodeProto()
    node.ParseFromString(content)
    inputs = [f"x{place}" if name else "" for place, name in enumerate(node.input)]
    outputs = [f"y{place}" if name else "" for place, name in enumerate(node.output)]
    for field, names in ((node.input, inputs), (node.output, outputs)):
        del field[:]
        field.extend(names)
    graph = helper.make_graph(
        [node], "node",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in inputs if name],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs if name],
    )  # fmt: skip
    return ReferenceEvaluator(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]))
