"""An ONNX graph as a torch module: operators with weights as torch layers, which arrays can hold, others as functions.

Operators with weights are Conv, Gemm, BatchNormalization, and MatMul by a constant, together with a following Add of a
constant. Values that depend only on constants are computed once.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from norsim.errors import ConfigurationError, first_line
from norsim.zoo.onnx.axes import Attributes, padding
from norsim.zoo.onnx.layers import LAYERS
from norsim.zoo.onnx.operators import OPERATORS

# What torch, and the functions of operators, raise for inputs that do not fit.
FAILURES = (RuntimeError, ValueError, IndexError, KeyError, TypeError, ArithmeticError)


@dataclass(frozen=True)
class Node:
    """One operator of a graph: its name, for messages, and the names of its inputs ('' if omitted) and outputs."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Attributes


@dataclass(frozen=True)
class Step:
    """A node to execute: by the module of that name, or by the operator of its kind."""

    node: Node
    inputs: tuple[str, ...]
    module: str | None = None


class GraphError(ConfigurationError):
    """A graph that cannot be converted to a torch module; the message names the node."""


class OnnxNetwork(nn.Module):
    """The graph `nodes`, in topological order, from value `source` to value `result`.

    `constants` are its initializers, of any shape; `ranks` are the known numbers of axes; `digest` is the hash of the
    file, `shape` that of its input, 0 for sizes that the file leaves open.
    """

    def __init__(
        self, nodes: Sequence[Node], constants: dict[str, Tensor], ranks: dict[str, int], source: str, result: str,
        digest: str, shape: tuple[int, ...] = (),
    ) -> None:  # fmt: skip
        super().__init__()
        self.source, self.result, self.digest, self.shape = source, result, digest, shape
        self.constants = dict(constants)
        self.shared: dict[tuple[Any, ...], str] = {}
        users = Counter(name for node in nodes for name in node.inputs)
        users[result] += 1
        self.steps: list[Step] = []
        merged: set[str] = set()
        for node in nodes:
            if node.outputs[0] in merged:
                continue
            added = self._bias_after(node, nodes, users) if node.kind == "MatMul" else None
            step = self._step(node, ranks, added)
            if added is not None:
                merged.add(added.outputs[0])
            if step is not None:
                self.steps.append(step)
        self._check()
        self.constants = {name: value for name, value in self.constants.items() if self._is_used(name)}

    def extra_repr(self) -> str:
        """Return the file's hash, which distinguishes networks that differ only in constants."""
        return f"sha256={self.digest}"

    def forward(self, images: Tensor) -> Tensor:
        """Return the graph's output for a batch `[n, ...]`. ConfigurationError names the node that fails."""
        values: dict[str, Any] = {**self.constants, self.source: images}
        for step in self.steps:
            inputs = [values[name] if name else None for name in step.inputs]
            try:
                found = self._find(step, inputs)
            except torch.cuda.OutOfMemoryError:
                raise
            except FAILURES as problem:
                raise GraphError(
                    f"ONNX node {step.node.name!r} ({step.node.kind}): {first_line(problem)}; if the file was exported "
                    "for one batch size, export it with a dynamic first axis"
                ) from problem
            outputs = found if isinstance(found, tuple) else (found,)
            values.update(zip(step.node.outputs, outputs, strict=False))
        answer: Tensor = values[self.result]
        return answer

    def _find(self, step: Step, inputs: Sequence[Any]) -> Any:
        """Return the outputs of a step."""
        if step.module is None:
            return OPERATORS[step.node.kind](step.node.attributes, *inputs)
        return self.get_submodule(step.module)(*inputs)

    def _step(self, node: Node, ranks: dict[str, int], added: Node | None) -> Step | None:
        """Return the node as a step; None if it depends only on constants and was computed."""
        known = [not name or name in self.constants for name in node.inputs]
        try:
            if node.kind in ("Conv", "Gemm", "BatchNormalization") or (
                node.kind == "MatMul" and known == [False, True]
            ):
                layer = self._layer(node, known, ranks, added)
                if layer is not None:
                    return layer
            if node.kind not in OPERATORS:
                raise GraphError(
                    f"ONNX node {node.name!r}: operator {node.kind} is not supported; supported are Conv, Gemm, "
                    f"BatchNormalization, Constant, {', '.join(OPERATORS)}"
                )
            if not all(known):
                return Step(node, node.inputs)
            inputs = [self.constants[name] if name else None for name in node.inputs]
            found = OPERATORS[node.kind](node.attributes, *inputs)
        except GraphError:
            raise
        except FAILURES as problem:
            raise GraphError(f"ONNX node {node.name!r} ({node.kind}): {first_line(problem)}") from problem
        self.constants.update(zip(node.outputs, found if isinstance(found, tuple) else (found,), strict=False))
        return None

    def _layer(self, node: Node, known: Sequence[bool], ranks: dict[str, int], added: Node | None) -> Step | None:
        """Return a step by a torch layer; None for a product of activations."""
        if node.kind == "MatMul" and self.constants[node.inputs[1]].ndim != 2:
            return None
        if known[0] or not all(known[1:]):
            raise ValueError(f"its weights are computed from the input; a {node.kind} needs constant ones")
        weights = tuple(name for name in node.inputs[1:] if name)
        bias = None if added is None else self._constant_of(added)
        key = (node.kind, weights, bias, repr(sorted(node.attributes.items())))
        if key not in self.shared:
            self.shared[key] = self._add(node, [self.constants[name] for name in weights], bias, ranks)
        outputs = node if added is None else replace(node, outputs=added.outputs)
        source = self._padded(node, self.constants[weights[0]].ndim - 2) if node.kind == "Conv" else node.inputs[0]
        return Step(outputs, (source,), self.shared[key])

    def _padded(self, node: Node, axes: int) -> str:
        """Return the name of a convolution's input; add a step that pads it if the sides differ."""
        start, end = padding(node.attributes, axes)
        if start == end:
            return node.inputs[0]
        padded, sizes = f"{node.outputs[0]}, padded input", f"{node.outputs[0]}, padding"
        self.constants[sizes] = torch.tensor([0, 0, *start, 0, 0, *end])
        inputs = (node.inputs[0], sizes)
        self.steps.append(Step(Node("Pad", node.name, inputs, (padded,), {}), inputs))
        return padded

    def _add(self, node: Node, weights: list[Tensor], bias: str | None, ranks: dict[str, int]) -> str:
        """Add the torch layer of a node and return its name."""
        added = None if bias is None else self.constants[bias]
        layer = LAYERS[node.kind](node.attributes, weights, added, ranks.get(node.inputs[0], 4))
        name = _name(node, bias)
        while name in self._modules:
            name += "_"
        self.add_module(name, layer)
        return name

    def _bias_after(self, node: Node, nodes: Sequence[Node], users: Counter[str]) -> Node | None:
        """Return the node that adds one constant per output to this product, if no other node uses the product."""
        if users[node.outputs[0]] != 1 or node.inputs[1] not in self.constants:
            return None
        for other in nodes:
            if other.kind == "Add" and node.outputs[0] in other.inputs:
                name = self._constant_of(other)
                shape = self.constants[node.inputs[1]].shape
                if name is not None and len(shape) == 2 and self.constants[name].shape == shape[1:]:
                    return other
        return None

    def _constant_of(self, node: Node) -> str | None:
        return next((name for name in node.inputs if name in self.constants), None)

    def _check(self) -> None:
        """Raise GraphError if no earlier step computes an input of a step."""
        given = {"", self.source, *self.constants}
        for step in self.steps:
            missing = [name for name in step.inputs if name not in given]
            if missing:
                node = f"ONNX node {step.node.name!r} ({step.node.kind})"
                raise GraphError(f"{node}: no node computes its input {missing[0]!r}")
            # Further outputs of a pool or a norm are for training.
            given.update(step.node.outputs if step.node.kind == "Split" else step.node.outputs[:1])
        if self.result not in given:
            raise GraphError(f"no ONNX node computes the output {self.result!r}")

    def _is_used(self, name: str) -> bool:
        return name == self.result or any(name in step.inputs for step in self.steps)


def _name(node: Node, bias: str | None) -> str:
    """Return a module's name: its weight or bias as torch exports it, without the suffix; else the node's name."""
    for value in (*node.inputs[1:], bias or ""):
        stem, _, end = value.rpartition(".")
        if stem and end in ("weight", "bias"):
            return _word(stem)
    parts = [part for part in node.name.split("/") if part]
    parts = parts[:-1] if parts[-1] == node.kind and len(parts) > 1 else parts
    # torch's scopes of a Sequential: /body/body.0/Conv
    whole = [a for a, b in zip(parts, [*parts[1:], ""], strict=True) if not b.startswith(f"{a}.")]
    return _word("/".join(whole)) or node.kind


def _word(text: str) -> str:
    return re.sub(r"\W+", "_", text).strip("_")
