"""ONNX files: every attribute is honoured or refused by name, and a file for one batch size is refused."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from torch import Tensor, nn

from norsim.errors import ConfigurationError, DataError
from norsim.zoo.onnx.attributes import HONOURED
from norsim.zoo.onnx.batches import check_batches
from norsim.zoo.onnx.file import build_for_any_batch, build_onnx
from norsim.zoo.onnx.layers import LAYERS
from norsim.zoo.onnx.operators import OPERATORS
from norsim.zoo.onnx.recurrent import RECURRENT
from norsim.zoo.registry import spec_of
from tests.zoo.test_onnx import assert_is_the_reference, drawn, graph


def node(kind: str, *constants: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, ["x", *constants], ["y"], name="one", **attributes)


X = drawn(3, 4, 8, 8)
W = drawn(4, 4, 3, 3, seed=1)


@pytest.mark.parametrize(
    ("made", "constants", "attribute"),
    [
        (node("Mod", "m", fmod=4), {"m": np.float32(0.3)}, "fmod=4 is not supported"),
        (node("MaxPool", kernel_shape=[2, 2], ceil_mode=-1), {}, "ceil_mode=-1 is not supported"),
        (node("GlobalLpPool", p=1), {}, "GlobalLpPool has no implementation in the package onnx"),
        (node("RandomNormalLike"), {}, "RandomNormalLike draws random numbers"),
        (node("Conv", "w", kernel_shape=[2, 2]), {"w": W}, r"kernel_shape \[2, 2\] is not that of its weights"),
        (node("Conv", "w", auto_pad="SAME_UPPER"), {"w": W}, "auto_pad SAME_UPPER"),
        (node("Pad", "p", mode="reflect"), {"p": np.array([0, 1, 0, 0, 0, 1, 0, 0])}, "padding of the first two axes"),
        (helper.make_node("Dropout", ["x", "r", "t"], ["y"], name="one"),
         {"r": np.float32(0.5), "t": np.array(True)}, "training mode"),
        (node("Conv", "w"), {"w": W.astype(np.int8)}, "its weights are int8; expected float32|not a valid ONNX"),
        (node("Conv", "w"), {"w": W * np.inf}, "its weights are not all finite"),
    ],
)  # fmt: skip
def test_an_attribute_or_input_that_would_be_ignored_is_refused(
    made: onnx.NodeProto, constants: dict[str, Any], attribute: str
) -> None:
    with pytest.raises((ConfigurationError, DataError), match=attribute):
        build_onnx(Path("made.onnx"), graph([made], constants, X.shape, 19))(torch.from_numpy(X))


@pytest.mark.parametrize(
    ("made", "constants"),
    [
        (node("AveragePool", kernel_shape=[2, 2], dilations=[1, 1]), {}),
        (node("MaxPool", kernel_shape=[2, 2], dilations=[2, 2], strides=[2, 1]), {}),
        (node("MaxPool", kernel_shape=[3, 3], storage_order=1, pads=[1, 1, 1, 1]), {}),
        (node("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1), {}),
        (node("Mod", "m", fmod=1), {"m": np.float32(0.3)}), (node("Softmax", axis=1), {}),
        (node("Pad", "p", mode="edge"), {"p": np.array([0, 0, 2, 1, 0, 0, 1, 2])}),
        (node("Pad", "p", "v", "a"), {"p": np.array([1, 2]), "v": np.float32(0.5), "a": np.array([-1])}),
        (node("Conv", "w", group=1, dilations=[2, 2], pads=[0, 1, 2, 3]), {"w": W}),
        (node("BatchNormalization", "a", "b", "m", "v", momentum=0.3),
         {"a": drawn(4), "b": drawn(4, seed=2), "m": drawn(4, seed=3), "v": np.abs(drawn(4, seed=4))}),
        (node("HardSigmoid", alpha=0.3, beta=0.4), {}), (node("Gelu", approximate="tanh"), {}),
        (node("ReduceMean", "e", keepdims=0, noop_with_empty_axes=1), {"e": np.array([], dtype=np.int64)}),
    ],
)  # fmt: skip
def test_honoured_attributes_give_the_reference(made: onnx.NodeProto, constants: dict[str, Any]) -> None:
    opset = 20 if made.op_type == "Gelu" else 19
    assert_is_the_reference(graph([made], constants, X.shape, opset), X)


def test_an_attribute_that_no_operator_has_is_refused_for_every_operator() -> None:
    known = {*OPERATORS, *LAYERS, *RECURRENT}
    assert set(HONOURED) <= known
    for kind in known:
        names = {name for version in onnx.defs.get_all_schemas_with_history() if version.name == kind
                 for name in version.attributes}  # fmt: skip
        assert set(HONOURED.get(kind, ())) <= names | {"kernel_shape"}, kind


V = np.abs(drawn(4))
NORM = ("s", "b", "m", "v")


def values(**changed: Any) -> dict[str, Any]:
    """Return the weights of a batch norm of 4 channels."""
    return {"s": drawn(4), "b": drawn(4), "m": drawn(4), "v": V} | changed


@pytest.mark.parametrize(
    ("made", "constants", "problem"),
    [
        (node("Gather", "i", axis=7), {"i": np.array([1])}, r"Gather\): axis 7 of 4"),
        (node("Squeeze", "a"), {"a": np.array([1])}, r"axes \[1\] of shape \[3, 4, 8, 8\] are not all of size 1"),
        (node("Unsqueeze", "a"), {"a": np.array([1, 1])}, "expected different ones"),
        (node("Unsqueeze", "a"), {"a": np.array([9])}, "axis 9 of 5"), (node("Flatten", axis=7), {}, "axis 7 of 4"),
        (node("Expand", "s"), {"s": np.array([5])}, r"cannot be expanded to \[5\]"),
        (node("Expand", "s"), {"s": np.array([-1])}, r"cannot be expanded to \[-1\]"),
        (node("Slice", "s", "e", "a"), {"s": np.array([0]), "e": np.array([2]), "a": np.array([5])}, "axis 5 of 4"),
        (node("Pad", "p", mode="zeros"), {"p": np.zeros(8, np.int64)}, "mode zeros; expected constant"),
        (node("Pad", "p"), {"p": np.array([1, 1])}, r"pads \[1, 1\] for 4 axes"),
        (node("Cast", to=10), {}, "type 10 of the ONNX standard; expected one of float32"),
        (node("Conv", "w", auto_pad="VALID", pads=[1, 1, 1, 1]), {"w": W}, "VALID, which is no padding, together"),
        (node("Conv", "w", pads=[-1, -1, -1, -1]), {"w": W}, "expected 4 numbers of at least 0"),
        (node("Conv", "w", pads=[1, 1]), {"w": W}, r"pads \[1, 1\]; expected 4"),
        (node("Conv", "w", strides=[2]), {"w": W}, r"strides \[2\]; expected 2"),
        (node("Conv", "w", "b"), {"w": W, "b": drawn(1)}, r"shape \[1\]; expected \[4\]"),
        (node("MaxPool", kernel_shape=[2, 2, 2]), {}, "a pool along 3 axes of 4"),
        (node("AveragePool", kernel_shape=[5, 5], strides=[3, 3], pads=[2, 2, 2, 2], ceil_mode=1), {}, "disagree"),
        (node("BatchNormalization", *NORM), values(m=drawn(4) * np.nan), "its weights are not all finite"),
        (node("BatchNormalization", *NORM), values(v=-V), "its variance is negative"),
        (node("BatchNormalization", *NORM), values(m=drawn(4).astype(np.float64)), "are float64|not a valid ONNX"),
        (node("BatchNormalization", *NORM), values(m=drawn(1)), r"shape \[1\]; expected \[4\]"),
        (node("LayerNormalization", "s", stash_type=11), {"s": drawn(8)}, "stash_type=11"),
        (helper.make_node("Split", ["x"], ["a", "b", "y"], name="one", axis=1, num_outputs=3), {}, "2 parts for 3"),
        (helper.make_node("Range", ["z", "o", "z"], ["y"], name="one"), {"z": np.array(0), "o": np.array(4)},
         "a range in steps of 0"),
    ],
)  # fmt: skip
def test_what_an_operator_does_not_allow_is_refused_by_the_name_of_its_node(
    made: onnx.NodeProto, constants: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigurationError, match=problem) as refused:
        build_onnx(Path("made.onnx"), graph([made], constants, X.shape, 19))(torch.from_numpy(X))
    assert "'one'" in str(refused.value) or isinstance(refused.value, DataError)


@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 1, 1, 1], [1, 0, 0, 1], [2, 2, 2, 2]])
def test_pools_that_round_up_are_the_reference_or_refused(kind: str, size: int, pads: list[int]) -> None:
    for stride in (2, 3):
        for more in ({}, {"count_include_pad": 1}) if kind == "AveragePool" else ({}, {"dilations": [2, 2]}):
            made = node(kind, kernel_shape=[size] * 2, strides=[stride] * 2, pads=pads, ceil_mode=1, **more)
            content = graph([made], {}, X.shape, 19)
            try:
                build_onnx(Path("made.onnx"), content)(torch.from_numpy(X))
            except ConfigurationError:
                assert any(pads)
                continue
            assert_is_the_reference(content, X)


def test_auto_pad_valid_rounds_down_even_in_ceil_mode() -> None:
    made = node("MaxPool", kernel_shape=[3, 3], strides=[2, 2], auto_pad="VALID", ceil_mode=1)
    assert_is_the_reference(graph([made], {}, X.shape, 19), X)


def model_of(made: list[onnx.NodeProto], kind: int = 1, result: int = 1, **more: Any) -> bytes:
    """Return a graph from `x`, of that ONNX type, to `y`."""
    ends = [helper.make_tensor_value_info(name, type_, ["n", 4]) for name, type_ in (("x", kind), ("y", result))]
    opsets = [helper.make_opsetid("", 19), *more.pop("opsets", [])]
    model = helper.make_model(helper.make_graph(made, "g", ends[:1], ends[1:]), opset_imports=opsets, **more)
    content: bytes = model.SerializeToString()
    return content


BYTES = [helper.make_node("Cast", ["x"], ["y"], to=1)]
RELU = [helper.make_node("Relu", ["x"], ["y"])]
NEGATED = helper.make_function(
    "", "Relu", ["a"], ["b"], [helper.make_node("Neg", ["a"], ["b"])], [helper.make_opsetid("", 19)]
)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (model_of(BYTES, kind=2), "its input 'x' is uint8; expected a tensor of float32, int32"),
        (model_of(BYTES, kind=10), "its input 'x' is float16"),
        (model_of([helper.make_node("Cast", ["x"], ["y"], to=7)], result=7), "its output 'y' is int64"),
        (graph([helper.make_node("BatchNormalization", ["x", *NORM], ["y", "a", "b2", "c", "d"], name="one")], values(),
               X.shape, 13), "'one' .BatchNormalization.: it is in training mode"),
        (model_of(RELU, functions=[NEGATED]), "it defines the operator Relu otherwise than the standard"),
        (model_of(RELU, opsets=[helper.make_opsetid("ai.onnx", 11)]), "it has opsets 11 and 19"),
        (model_of([helper.make_node("Relu", ["x"], ["y"], domain="mine")], opsets=[helper.make_opsetid("mine", 1)]),
         "operator mine.Relu is not supported"),
    ],
)  # fmt: skip
def test_a_graph_of_other_types_or_operators_than_norsim_computes_is_refused(content: bytes, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        build_onnx(Path("made.onnx"), content)


class Fixed(nn.Module):
    """A network that writes the number of images of its export into the graph."""

    def __init__(self, shape: Callable[[int], tuple[int, ...]]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.shape, self.conv, self.head = shape, nn.Conv2d(1, 8, 3, padding=1), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.conv(x).relu().reshape(self.shape(len(x))).mean(2))
        return found


def exported(network: nn.Module, images: int, folder: Path, **options: Any) -> Path:
    file = io.BytesIO()
    torch.onnx.export(network.eval(), (torch.rand(images, 1, 8, 8),), file, dynamo=False, input_names=["x"], **options)
    (folder / "made.onnx").write_bytes(file.getvalue())
    return folder / "made.onnx"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("images", [1, 2, 3])
def test_a_file_for_one_number_of_images_is_refused_before_work(tmp_path: Path, images: int) -> None:
    path = exported(Fixed(lambda count: (images, 8, -1)), images, tmp_path)
    with pytest.raises(ConfigurationError, match=r"made\.onnx: .*export it with a dynamic first axis"):
        build_for_any_batch(path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("named", [{}, {"dynamic_axes": {"x": {0: "n"}}}])
def test_a_file_that_takes_any_number_of_images_is_taken(tmp_path: Path, named: dict[str, Any]) -> None:
    """Also if it states the number of its export, as long as no operator depends on it."""
    path = exported(Fixed(lambda count: (-1, 8, 64)), 2, tmp_path, **named)
    network = build_for_any_batch(path)
    assert network(torch.rand(5, 1, 8, 8)).shape == (5, 10)


def test_an_image_that_changes_the_answer_of_another_is_noticed() -> None:
    made = [helper.make_node("ReduceMean", ["x", "a"], ["m"], keepdims=1), helper.make_node("Sub", ["x", "m"], ["y"])]
    content = graph(made, {"a": np.array([0])}, ("n", 4), 19)
    network = build_onnx(Path("made.onnx"), content)
    with pytest.raises(ConfigurationError, match="otherwise for an image among others"):
        check_batches(network)


@pytest.mark.parametrize("shape", [[1, -1], [1, 4 * 8 * 8]])
@pytest.mark.parametrize("layer", ["Gemm", "MatMul"])
def test_images_flattened_for_a_batch_of_one_are_refused_before_a_linear_layer(
    tmp_path: Path, shape: list[int], layer: str
) -> None:
    """As `x.view(1, -1)` exports; torch's own error from the layer would be a traceback."""
    made = [helper.make_node("Reshape", ["x", "s"], ["r"]), helper.make_node(layer, ["r", "w"], ["y"])]
    content = graph(made, {"s": np.array(shape), "w": drawn(256, 10)}, (1, 4, 8, 8), 19)
    (tmp_path / "made.onnx").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"made\.onnx: .*export it with a dynamic first axis") as refused:
        build_for_any_batch(tmp_path / "made.onnx")
    assert "\n" not in str(refused.value)


def test_a_network_that_gives_no_numbers_is_refused() -> None:
    for kind, constant, problem in (("Div", 0.0, "not finite"), ("Add", np.nan, "not finite")):
        network = build_onnx(Path("made.onnx"), graph([node(kind, "c")], {"c": np.float32(constant)}, ("n", 4), 19))
        with pytest.raises(ConfigurationError, match=problem):
            check_batches(network)


def test_a_name_in_capitals_is_an_onnx_file(tmp_path: Path) -> None:
    made = [helper.make_node("Relu", ["x"], ["y"])]
    (tmp_path / "NET.ONNX").write_bytes(graph(made, {}, ("n", 4), 19))
    assert spec_of(str(tmp_path / "NET.ONNX")).build()(-torch.ones(2, 4)).tolist() == [[0.0] * 4] * 2
