"""ONNX files compared with onnx's reference evaluator in NumPy, and their networks on the array."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import Tensor, nn

from norsim.chip.load import load_chip
from norsim.errors import ConfigurationError, DataError
from norsim.quantization.modules import quantized_layers
from norsim.quantization.quantize import quantize
from norsim.saved.fold import norms_after
from norsim.tiling.calibrate import calibrate
from norsim.tiling.convert import convert
from norsim.tiling.modules import reading
from norsim.zoo.onnx.file import build_onnx
from norsim.zoo.onnx.operators import OPERATORS
from tests.conftest import reader_by

Floats = np.ndarray[Any, Any]


def drawn(*shape: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def graph(
    nodes: Sequence[onnx.NodeProto], constants: dict[str, Any], shape: Sequence[int | str], opset: int = 18,
    outputs: Sequence[str] = ("y",), inputs: Sequence[str] = ("x",),
) -> bytes:  # fmt: skip
    """Return the file content of a graph from `x` `[shape]` to `y`."""
    values = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    made = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, []) for name in outputs], values,
    )  # fmt: skip
    content: bytes = helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)]).SerializeToString()
    return content


def assert_is_the_reference(content: bytes, x: Floats, tolerance: float = 1e-5) -> nn.Module:
    (expected,) = ReferenceEvaluator(onnx.load_model_from_string(content)).run(None, {"x": x})
    network = build_onnx(Path("made.onnx"), content)
    with torch.no_grad():
        found = network(torch.from_numpy(x)).numpy()
    assert found.shape == expected.shape and found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    return network


IMAGE = (2, 3, 5, 6)
I64 = np.int64
# Operator: further inputs, attributes, and the shape of x if it is not that of an image.
CASES: list[tuple[str, list[Any], dict[str, Any], tuple[int, ...]]] = [
    *[(kind, [drawn(3, 1, 6, seed=1)], {}, IMAGE) for kind in ("Add", "Sub", "Mul", "Div", "PRelu")],
    *[(kind, [], {}, IMAGE) for kind in ("Abs", "Exp", "Neg", "Relu", "Sigmoid", "Tanh", "Erf", "Identity", "Softplus",
                                         "HardSwish", "Reciprocal", "GlobalAveragePool", "GlobalMaxPool", "Flatten",
                                         "Dropout", "LeakyRelu", "Elu", "HardSigmoid", "Transpose", "Softmax",
                                         "LogSoftmax")],
    ("Pow", [np.float32(2)], {}, IMAGE), ("MatMul", [drawn(2, 3, 6, 4, seed=1)], {}, IMAGE),
    ("Mod", [np.float32(0.7)], {"fmod": 0}, ()), ("Clip", [np.float32(-0.5), np.float32(0.4)], {}, IMAGE),
    ("Clip", [None, np.float32(0.4)], {}, IMAGE), ("Elu", [], {"alpha": 0.3}, IMAGE),
    ("Flatten", [], {"axis": 2}, IMAGE),
    ("LeakyRelu", [], {"alpha": 0.3}, IMAGE), ("HardSigmoid", [], {"alpha": 0.3, "beta": 0.4}, IMAGE),
    ("Gelu", [], {}, IMAGE), ("Gelu", [], {"approximate": "tanh"}, IMAGE), ("Softmax", [], {"axis": 1}, IMAGE),
    ("LayerNormalization", [drawn(6), drawn(6, seed=2)], {"epsilon": 1e-3}, IMAGE),
    ("LayerNormalization", [drawn(5, 6)], {"axis": -2}, IMAGE), ("Cast", [], {"to": TensorProto.DOUBLE}, IMAGE),
    ("MaxPool", [], {"kernel_shape": [2, 3], "strides": [2, 1]}, IMAGE),
    ("MaxPool", [], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}, IMAGE),
    ("MaxPool", [], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 1, 2]}, IMAGE),
    ("MaxPool", [], {"kernel_shape": [2, 2], "dilations": [2, 2]}, IMAGE),
    ("AveragePool", [], {"kernel_shape": [2, 2], "strides": [1, 2]}, IMAGE),
    ("AveragePool", [], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}, IMAGE),
    ("AveragePool", [], {"kernel_shape": [3, 3], "pads": [0, 1, 1, 0], "count_include_pad": 1}, IMAGE),
    *[(kind, [np.array([2, -1])], {"keepdims": keep}, IMAGE)
      for kind in ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin") for keep in (0, 1)],
    ("ReduceMean", [], {"keepdims": 0}, IMAGE), ("ReduceSum", [], {"noop_with_empty_axes": 1}, IMAGE),
    ("Reshape", [np.array([0, -1, 15])], {}, IMAGE), ("Transpose", [], {"perm": [0, 2, 3, 1]}, IMAGE),
    ("Squeeze", [np.array([1, -1])], {}, (2, 1, 4, 1)), ("Squeeze", [], {}, (2, 1, 4, 1)),
    ("Unsqueeze", [np.array([0, -1])], {}, IMAGE), ("Unsqueeze", [np.array([4, 1])], {}, IMAGE),
    ("Concat", [drawn(2, 4, 5, 6)], {"axis": 1}, IMAGE), ("Concat", [drawn(2, 3, 5, 1)], {"axis": -1}, IMAGE),
    ("Slice", [np.array([1, 0]), np.array([-1, 2**62]), np.array([2, 3]), np.array([1, 2])], {}, IMAGE),
    ("Slice", [np.array([1, 0]), np.array([2, 3])], {}, IMAGE), ("Gather", [np.int64(-1)], {"axis": 1}, IMAGE),
    ("Gather", [np.array([[0, -1], [2, 1]])], {"axis": 2}, IMAGE),
    ("Pad", [np.array([0, 0, 1, 2, 0, 0, 0, 1]), np.float32(0.5)], {}, IMAGE),
    *[("Pad", [np.array([0, 0, 1, 2, 0, 0, 0, 1])], {"mode": mode}, IMAGE) for mode in ("reflect", "edge")],
    ("Expand", [np.array([4, 2, 1, 5, 6])], {}, (2, 1, 6)), ("Expand", [np.array([5, 1])], {}, (2, 1, 6)),
    ("Shape", [], {}, IMAGE), ("Shape", [], {"start": 1, "end": -1}, IMAGE),
    *[(kind, [drawn(3, 1, 6, seed=1), drawn(5, 6, seed=2)], {}, IMAGE) for kind in ("Max", "Min", "Sum", "Mean")],
    *[(kind, [], {}, IMAGE) for kind in ("Floor", "Ceil", "Round", "Sign", "Sin", "Cos", "Max")],
    ("Tile", [np.array([2, 1, 1, 3])], {}, IMAGE),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "others", "attributes", "shape"), CASES, ids=[case[0] for case in CASES])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_operators_agree_with_the_reference(
    kind: str, others: list[Any], attributes: dict[str, Any], shape: tuple[int, ...]
) -> None:
    constants = {f"c{index}": value for index, value in enumerate(others) if value is not None}
    names = [f"c{index}" if value is not None else "" for index, value in enumerate(others)]
    node = helper.make_node(kind, ["x", *names], ["y"], **attributes)
    assert_is_the_reference(graph([node], constants, shape, 20), drawn(*shape, seed=3))


def test_operators_of_other_types_agree_with_the_reference() -> None:
    """Comparisons, logs, roots, splits, and values computed only from constants."""
    nodes = [
        helper.make_node("Abs", ["x"], ["a"]), helper.make_node("Sqrt", ["a"], ["b"]),
        helper.make_node("Log", ["b"], ["c"]),
        helper.make_node("Split", ["c"], ["d", "e"], axis=1, num_outputs=2),
        helper.make_node("Split", ["d", "sizes"], ["f", "g"], axis=3),
        helper.make_node("Slice", ["e", "zero", "three", "last"], ["e1"]),
        helper.make_node("Less", ["f", "g"], ["h"]), helper.make_node("Greater", ["f", "e1"], ["i"]),
        helper.make_node("Equal", ["h", "i"], ["j"]), helper.make_node("Not", ["j"], ["k"]),
        helper.make_node("ConstantOfShape", ["shape"], ["l"],
                         value=numpy_helper.from_array(np.array([0.25], np.float32))),
        helper.make_node("Range", ["n0", "n3", "n1"], ["m"]), helper.make_node("Add", ["l", "m"], ["n"]),
        helper.make_node("Where", ["k", "f", "n"], ["y"]),
    ]  # fmt: skip
    constants = {
        "sizes": np.array([3, 3]), "zero": np.array([0]), "three": np.array([3]), "last": np.array([3]),
        "shape": np.array([5, 3]), "n0": np.float32(0), "n3": np.float32(3), "n1": np.float32(1),
    }  # fmt: skip
    assert_is_the_reference(graph(nodes, constants, (2, 4, 5, 6)), drawn(2, 4, 5, 6))


def test_every_operator_is_tested() -> None:
    others = {"Sqrt", "Log", "Split", "Less", "Greater", "Equal", "Not", "ConstantOfShape", "Range", "Where"}
    # In tests/zoo/test_onnx_files_of_others.py.
    others |= {"Resize", "And", "Or", "LessOrEqual", "GreaterOrEqual"}
    assert {case[0] for case in CASES} | others == set(OPERATORS)


LAYERS: dict[str, tuple[list[onnx.NodeProto], dict[str, Any], tuple[int, ...], str]] = {
    "lopsided": (
        [helper.make_node("Conv", ["x", "w", "b"], ["y"], pads=[1, 0, 0, 2], strides=[2, 1])],
        {"w": drawn(4, 3, 3, 3), "b": drawn(4)}, IMAGE, "Conv2d"),
    "grouped": (
        [helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1], group=3, dilations=[1, 2])],
        {"w": drawn(6, 1, 3, 2)}, IMAGE, "Conv2d"),
    "1-d": ([helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1])], {"w": drawn(4, 3, 3)}, (2, 3, 8), "Conv1d"),
    "gemm": (
        [helper.make_node("Gemm", ["x", "w", "b"], ["y"], alpha=0.5, beta=2.0)],
        {"w": drawn(5, 4), "b": drawn(1, 4)}, (3, 5), "Linear"),
    "gemm of one bias": (
        [helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1)], {"w": drawn(4, 5), "b": np.float32(0.5)}, (3, 5),
        "Linear"),
    "product": (
        [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("Add", ["b", "a"], ["y"])],
        {"w": drawn(6, 4), "b": drawn(4)}, IMAGE, "Linear"),
    "product used twice": (
        [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("Add", ["a", "b"], ["c"]),
         helper.make_node("Mul", ["a", "c"], ["y"])],
        {"w": drawn(6, 4), "b": drawn(4)}, IMAGE, "Linear"),
    "product by a turned constant": (
        [helper.make_node("Transpose", ["w"], ["v"]), helper.make_node("MatMul", ["x", "v"], ["y"])],
        {"w": drawn(4, 6)}, IMAGE, "Linear"),
    "norm": (
        [helper.make_node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"], epsilon=1e-3)],
        {"s": drawn(3), "b": drawn(3), "m": drawn(3), "v": np.abs(drawn(3))}, IMAGE, "BatchNorm2d"),
    "norm of vectors": (
        [helper.make_node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"])],
        {"s": drawn(3), "b": drawn(3), "m": drawn(3), "v": np.abs(drawn(3))}, (4, 3), "BatchNorm1d"),
}  # fmt: skip


@pytest.mark.parametrize("kind", LAYERS)
def test_weights_are_in_torch_layers(kind: str) -> None:
    nodes, constants, shape, expected = LAYERS[kind]
    network = assert_is_the_reference(graph(nodes, constants, shape), drawn(*shape, seed=5))
    assert [type(part).__name__ for part in network.children()] == [expected]
    # These are in the state dict, which is saved; other constants are not.
    assert all(part.is_leaf for part in network.parameters())


class Small(nn.Module):
    """Convolutions, one of them called twice, an addition, pooling, attention and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.turn = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.body = nn.Sequential(nn.Conv2d(4, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.qkv, self.head = nn.Linear(8, 24), nn.Linear(8, 5)
        self.norm = nn.LayerNorm(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.body(torch.relu(self.turn(torch.relu(self.turn(x))) + x)).flatten(2).transpose(1, 2)
        q, k, v = self.qkv(self.norm(x)).chunk(3, -1)
        x = x + torch.softmax(q @ k.transpose(1, 2), -1) @ v
        found: Tensor = self.head(x.mean(1))
        return found


def exported(opset: int = 18, dynamo: bool = False) -> tuple[nn.Module, bytes, Tensor]:
    """Return the network, its file from torch's older or newer exporter, and images."""
    torch.manual_seed(0)
    network, images, sink = Small(), torch.rand(4, 1, 6, 6), io.BytesIO()
    for _ in range(5):
        network(images)
    if dynamo:
        shapes = ({0: torch.export.Dim("images")},)
        program = torch.onnx.export(network.eval(), (images,), dynamo=True, opset_version=opset, dynamic_shapes=shapes,
                                    verbose=False)  # fmt: skip
        assert program is not None
        return network, program.model_proto.SerializeToString(), images
    torch.onnx.export(network.eval(), (images,), sink, dynamo=False, opset_version=opset, input_names=["x"],
                      dynamic_axes={"x": {0: "images"}})  # fmt: skip
    return network, sink.getvalue(), images


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize(("opset", "dynamo"), [(13, False), (17, False), (20, False), (18, True), (20, True)])
def test_exports_of_torch_round_trip_and_give_the_integers_on_the_array(
    opset: int, dynamo: bool, lossless: tuple[str, ...]
) -> None:
    network, content, images = exported(opset, dynamo)
    found = assert_is_the_reference(content, images.numpy())
    more = torch.rand(7, 1, 6, 6)
    with torch.no_grad():
        torch.testing.assert_close(found(more), network(more), rtol=1e-5, atol=1e-5)
    quantized = quantize(found, [images])
    assert list(quantized_layers(quantized)) == ["stem", "turn", "body_0", "qkv", "head"]
    analog = convert(quantized, load_chip("etox65", (*lossless, "adc.bits=24", "calibration.reads=32")))
    calibrate(analog, images, "nodal")
    with torch.inference_mode():
        expected = analog(images)
        with reading(analog, reader_by("nodal")):
            torch.testing.assert_close(analog(images), expected, rtol=0, atol=1e-4)


def test_a_norm_after_a_convolution_can_be_folded() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]), LAYERS["norm"][0][0],
        helper.make_node("Relu", ["z"], ["y"]),
    ]  # fmt: skip
    nodes[1] = helper.make_node("BatchNormalization", ["a", "s", "b", "m", "v"], ["z"], name="norm")
    constants = LAYERS["norm"][1] | {"w": drawn(3, 3, 3, 3)}
    network = assert_is_the_reference(graph(nodes, constants, ("n", 3, 5, 6)), drawn(*IMAGE))
    quantized = quantize(network, [torch.from_numpy(drawn(*IMAGE))])
    assert list(norms_after(quantized).values()) == ["norm"]


RELU = helper.make_node("Relu", ["x"], ["y"])


@pytest.mark.parametrize(
    ("content", "kind", "problem"),
    [
        (graph([RELU], {}, IMAGE, 8), ConfigurationError, "it has opset 8; expected 9 or later"),
        (graph([RELU], {}, IMAGE)[:40], DataError, "is not a valid ONNX file"),
        (b"", DataError, "is not a valid ONNX file"),
        (graph([helper.make_node("Conv", ["x", "w"], ["y"], auto_pad="SAME_UPPER")], {"w": drawn(4, 3, 3, 3)}, IMAGE),
         ConfigurationError, "auto_pad SAME_UPPER depends on the size of the image"),
        (graph([helper.make_node("Conv", ["x", "x"], ["y"])], {}, IMAGE), ConfigurationError, "needs constant ones"),
        (graph([helper.make_node("ConstantOfShape", ["s"], ["c"]), helper.make_node("Add", ["x", "c"], ["y"])],
               {"s": np.array([2**40, 2])}, IMAGE), ConfigurationError, "expected at most 268435456"),
    ],
    ids=range(6),
)  # fmt: skip
def test_unsupported_files_are_refused_with_a_reason(
    content: bytes, kind: type[Exception], problem: str, tmp_path: Path
) -> None:
    (tmp_path / "bad.onnx").write_bytes(content)
    with pytest.raises(kind, match=f"bad.onnx.*{problem}"):
        build_onnx(tmp_path / "bad.onnx")


def test_weights_in_another_file_are_refused(tmp_path: Path) -> None:
    nodes, constants, shape, _ = LAYERS["grouped"]
    model = onnx.load_model_from_string(graph(nodes, constants, shape))
    onnx.save(model, tmp_path / "two.onnx", save_as_external_data=True, size_threshold=0, location="rest")
    with pytest.raises(DataError, match="two.onnx: 'w' is in another file; export the network as one file"):
        build_onnx(tmp_path / "two.onnx")


def test_a_batch_of_another_size_than_in_the_file_is_refused() -> None:
    node = helper.make_node("Reshape", ["x", "s"], ["y"])
    network = build_onnx(Path("made.onnx"), graph([node], {"s": np.array([1, 90])}, (1, 3, 5, 6)))
    with pytest.raises(ConfigurationError, match=r"ONNX node 'Reshape_0' \(Reshape\).*with a dynamic first axis"):
        network(torch.rand(2, 3, 5, 6))


def test_networks_with_different_constants_have_different_text() -> None:
    node = helper.make_node("Add", ["x", "c"], ["y"])
    files = [graph([node], {"c": np.float32(value)}, IMAGE) for value in (1, 2)]
    assert len({str(build_onnx(Path("a.onnx"), content)) for content in files}) == 2


def test_the_error_without_the_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(graph([RELU], {}, IMAGE))
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ConfigurationError, match="a.onnx: reading it needs the package onnx: pip install onnx"):
        build_onnx(tmp_path / "a.onnx")
