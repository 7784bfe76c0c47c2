"""An ONNX graph as a torch module: operators with weights as torch layers, which arrays can hold, others as functions.

Operators with weights are Conv, ConvTranspose, Gemm, BatchNormalization, LSTM, GRU and RNN, and MatMul by a constant,
together with a following Add of a constant. Values that depend only on constants are computed once.
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
from norsim.zoo.onnx.recurrent import RECURRENT, recurrent
from norsim.zoo.onnx.reference import ReferenceNode

# What torch, and the functions of operators, raise for inputs that do not fit.
FAILURES = (RuntimeError, ValueError, IndexError, KeyError, TypeError, ArithmeticError)


@dataclass(frozen=True)
class Node:
    """One operator of a graph: its name, for messages, and the names of its inputs and outputs ('' if omitted).

    `reference` computes it, if norsim has no operator for it.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Attributes
    reference: ReferenceNode | None = None


@dataclass(frozen=True)
class Source:
    """An input of a graph: its shape with the axis of images, 0 for sizes that the file leaves open, and its type."""

    shape: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True)
class Step:
    """A node to execute: by the module of that name, or by the operator of its kind."""

    node: Node
    inputs: tuple[str, ...]
    module: str | None = None


class GraphError(ConfigurationError):
    """A graph that cannot be converted to a torch module; the message names the node."""


class OnnxNetwork(nn.Module):
    """The graph `nodes`, in topological order, from the values `sources`, by name, to the values `results`.

    `constants` are its initializers, of any shape; `ranks` are the known numbers of axes; `digest` is the hash of the
    file.
    """

    def __init__(
        self, nodes: Sequence[Node], constants: dict[str, Tensor], ranks: dict[str, int], sources: dict[str, Source],
        results: tuple[str, ...], digest: str,
    ) -> None:  # fmt: skip
        super().__init__()
        self.sources, self.results, self.digest = dict(sources), results, digest
        self.constants = dict(constants)
        self.shared: dict[tuple[Any, ...], str] = {}
        users = Counter(name for node in nodes for name in node.inputs)
        users.update(results)
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

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Return the graph's output, or its outputs, for a batch `[n, ...]`. ConfigurationError names the node that
        fails."""
        return self.computed({next(iter(self.sources)): images})

    def computed(self, given: dict[str, Tensor]) -> Tensor | tuple[Tensor, ...]:
        """Return the graph's output, or its outputs, for the inputs `given`, by name, `[n, ...]` each."""
        values: dict[str, Any] = {**self.constants, **given}
        for step in self.steps:
            parts = [values[name] if name else None for name in step.inputs]
            try:
                found = self._find(step, parts)
            except torch.cuda.OutOfMemoryError:
                raise
            except FAILURES as problem:
                raise GraphError(
                    f"ONNX node {step.node.name!r} ({step.node.kind}): {first_line(problem)}; if the file was exported "
                    "for one batch size, export it with a dynamic first axis"
                ) from problem
            values.update(_named(step.node, found))
        answers = tuple(values[name] for name in self.results)
        return answers if len(answers) > 1 else answers[0]

    def _find(self, step: Step, inputs: Sequence[Any]) -> Any:
        """Return the outputs of a step."""
        if step.module is None and step.node.reference is not None:
            return step.node.reference(*inputs)
        if step.module is None:
            return OPERATORS[step.node.kind](step.node.attributes, *inputs)
        return self.get_submodule(step.module)(*inputs)

    def _step(self, node: Node, ranks: dict[str, int], added: Node | None) -> Step | None:
        """Return the node as a step; None if it depends only on constants and was computed."""
        known = [not name or name in self.constants for name in node.inputs]
        try:
            if node.kind in RECURRENT:
                return self._recurrent(node)
            if (node.kind in LAYERS and node.kind != "MatMul") or (node.kind == "MatMul" and known == [False, True]):
                layer = self._layer(node, known, ranks, added)
                if layer is not None:
                    return layer
            if not all(known):
                return Step(node, node.inputs)
            inputs = [self.constants[name] if name else None for name in node.inputs]
            found = self._find(Step(node, node.inputs), inputs)
        except GraphError:
            raise
        except FAILURES as problem:
            raise GraphError(f"ONNX node {node.name!r} ({node.kind}): {first_line(problem)}") from problem
        self.constants.update(_named(node, found))
        return None

    def _recurrent(self, node: Node) -> Step:
        """Return a step by torch's recurrent layer or, for what that does not compute, by onnx."""
        inputs = (*node.inputs, *[""] * (8 - len(node.inputs)))
        weights = [name for name in inputs[1:4] if name]
        try:
            if any(name not in self.constants for name in weights) or inputs[4] or inputs[7]:
                raise ValueError("its weights are computed from the input, or it has lengths of sequences or peepholes")
            layer = recurrent(node.kind, node.attributes, [self.constants[name] for name in weights])
        except ValueError as problem:
            if node.reference is None:
                raise GraphError(f"ONNX node {node.name!r} ({node.kind}): {problem}") from problem
            return Step(node, node.inputs)
        plain = replace(node, reference=None)
        return Step(plain, (inputs[0], inputs[5], inputs[6]), self._added(layer, _name(node, None)))

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
        return self._added(layer, _name(node, bias))

    def _added(self, layer: nn.Module, name: str) -> str:
        """Add a layer under the name, with underscores if it is taken, and return its name."""
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
        given = {"", *self.sources, *self.constants}
        for step in self.steps:
            missing = [name for name in step.inputs if name not in given]
            if missing:
                node = f"ONNX node {step.node.name!r} ({step.node.kind})"
                raise GraphError(f"{node}: no node computes its input {missing[0]!r}")
            # Further outputs of a pool or a norm are for training.
            several = step.node.kind in ("Split", *RECURRENT) or step.node.reference is not None
            given.update(step.node.outputs if several else step.node.outputs[:1])
        for name in self.results:
            if name not in given:
                raise GraphError(f"no ONNX node computes the output {name!r}")

    def _is_used(self, name: str) -> bool:
        return name in self.results or any(name in step.inputs for step in self.steps)


class OnnxNetworkOfSeveral(OnnxNetwork):
    """A graph of several inputs."""

    def forward(self, *inputs: Tensor, **named: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Return the graph's output, or its outputs, for a batch `[n, ...]` of each input, in the order of the file or
        by name. ConfigurationError names inputs that are missing or unknown, and the node that fails."""
        given = dict(zip(self.sources, inputs, strict=False)) | named
        if len(inputs) > len(self.sources) or given.keys() != self.sources.keys():
            found = ", ".join([*(["some without a name"] if inputs else []), *named])
            raise GraphError(
                f"the ONNX network got {len(inputs) + len(named)} inputs ({found}); it takes {', '.join(self.sources)}"
            )
        return self.computed(given)


def _named(node: Node, found: Any) -> dict[str, Any]:
    """Return the outputs of a node by name; the reference omits those without one."""
    outputs = found if isinstance(found, tuple) else (found,)
    names = [name for name in node.outputs if name] if node.reference is not None else list(node.outputs)
    return {name: value for name, value in zip(names, outputs, strict=False) if name}


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
