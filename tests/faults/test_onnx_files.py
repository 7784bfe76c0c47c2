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
from norsim.zoo.onnx.file import build_for_any_batch, build_onnx, check_batches
from norsim.zoo.onnx.operators import OPERATORS
from tests.zoo.test_onnx import assert_is_the_reference, drawn, graph


def node(kind: str, *constants: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, ["x", *constants], ["y"], name="one", **attributes)


X = drawn(3, 4, 8, 8)
W = drawn(4, 4, 3, 3, seed=1)


@pytest.mark.parametrize(
    ("made", "constants", "attribute"),
    [
        (node("AveragePool", kernel_shape=[2, 2], dilations=[2, 2]), {}, r"dilations=\[2, 2\]"),
        (node("GlobalLpPool", p=1), {}, "GlobalLpPool is not supported"),
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
    known = {kind for kind in (*OPERATORS, "Conv", "Gemm", "BatchNormalization")}
    assert set(HONOURED) <= known
    for kind in known:
        names = {name for version in onnx.defs.get_all_schemas_with_history() if version.name == kind
                 for name in version.attributes}  # fmt: skip
        assert set(HONOURED.get(kind, ())) <= names | {"kernel_shape"}, kind


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
