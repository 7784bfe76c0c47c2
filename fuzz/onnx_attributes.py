"""ONNX graphs of one operator with random attributes: norsim's result is that of onnx's reference, or an error."""

from __future__ import annotations

import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from fuzz.choices import Choices, NoAnswerError
from norsim.errors import NorsimError
from norsim.zoo.onnx.batches import check_batches
from norsim.zoo.onnx.file import build_onnx

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((2, 4, 6, 6)).astype(np.float32)
VECTOR = np.abs(RANDOM.standard_normal(4)).astype(np.float32)
SOME = RANDOM.standard_normal((4, 4, 3, 3)).astype(np.float32)
# Operators, each with its further inputs.
OPERATORS: dict[str, tuple[Any, ...]] = {
    "Conv": (SOME,), "BatchNormalization": (VECTOR, VECTOR, VECTOR, VECTOR), "AveragePool": (), "MaxPool": (),
    "Softmax": (), "LogSoftmax": (), "Flatten": (), "Transpose": (), "LeakyRelu": (), "Elu": (), "HardSigmoid": (),
    "Gelu": (), "Mod": (np.float32(0.7),), "Pad": (np.array([0, 0, 1, 0, 0, 0, 1, 2]),),
    "Reshape": (np.array([0, -1]),), "ReduceMean": (np.array([2, 3]),), "ReduceSum": (np.array([1]),), "Shape": (),
    "LayerNormalization": (np.ones(6, np.float32),), "Gather": (np.array([1, -1]),), "Concat": (X,), "Split": (),
    "ReduceMax": (np.array([-1]),), "Clip": (np.float32(-1), np.float32(1)), "GlobalAveragePool": (), "Cast": (),
}  # fmt: skip
INTEGERS = (1, 0, 2, -1, 3, 4, 7, -2)
FLOATS = (1.0, 0.0, 0.5, -0.3, 1e-5, 2.0)
TEXTS = ("NOTSET", "SAME_UPPER", "VALID", "reflect", "edge", "constant", "tanh", "none", "wrap", "nonsense")
LISTS = ([1, 1], [2, 2], [3, 3], [1, 2], [1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 1, 0], [0, 1, 2, 3], [2], [0, 2, 3, 1])


def onnx_attributes(content: bytes) -> None:
    """Compare the network that the bytes choose."""
    choices = Choices(content)
    kind, opset = choices.one(list(OPERATORS)), choices.one((19, 20, 18, 13, 17))
    if kind == "BatchNormalization":
        opset = max(opset, 17)  # for earlier ones the reference always normalises with the statistics of the batch
    names = sorted({name for name in _schema(kind, opset)} | {"nonsense", "dilations"})
    attributes = {choices.one(names): _value(choices) for _ in range(choices.below(4))}
    if kind in ("AveragePool", "MaxPool"):
        attributes.setdefault("kernel_shape", choices.one(([2, 2], [3, 3], [3, 2])))
    inputs = {f"c{place}": value for place, value in enumerate(OPERATORS[kind])}
    outputs = ["y", "z"] if kind == "Split" else ["y"]
    node = helper.make_node(kind, ["x", *inputs], outputs, name="one", **attributes)
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", 1, list(X.shape))],
        [helper.make_tensor_value_info("y", 1, [])], [numpy_helper.from_array(v, k) for k, v in inputs.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    try:
        network = build_onnx(Path("made.onnx"), model.SerializeToString())
        found = network(torch.from_numpy(X)).detach().numpy()
        with suppress(NorsimError):
            check_batches(network)
    except NorsimError:
        return
    images = X
    if kind == "MaxPool" and len(set(attributes.get("pads", [0]))) > 1:
        # The reference takes the pads of some of these in another order than the standard, so it gets padded images.
        if attributes.get("ceil_mode"):
            return
        top, left, bottom, right = attributes["pads"]
        images = np.pad(X, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=-np.inf)
        kept = [part for part in model.graph.node[0].attribute if part.name != "pads"]
        del model.graph.node[0].attribute[:]
        model.graph.node[0].attribute.extend(kept)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            true = ReferenceEvaluator(model).run(None, {"x": images})[0]
    except Exception as problem:  # the reference does not know what to do either
        raise NoAnswerError(f"{kind} {attributes}, opset {opset}: {problem!r}") from None
    same = found.shape == true.shape and np.allclose(found, true, rtol=1e-4, atol=1e-5, equal_nan=True)
    assert same, f"{kind} {attributes}, opset {opset}: {found.shape} for {true.shape}"


def _schema(kind: str, opset: int) -> list[str]:
    known = onnx.defs.has(kind, max_inclusive_version=opset)
    return list(onnx.defs.get_schema(kind, opset).attributes) if known else []


def _value(choices: Choices) -> Any:
    return choices.one(choices.one((INTEGERS, LISTS, FLOATS, TEXTS)))


def onnx_attributes_seeds() -> list[bytes]:
    """Return one input for each operator."""
    return [bytes([place, 0, 1, 0, 1, 0]) for place in range(len(OPERATORS))]
