"""ONNX files as people have them: older opsets, several inputs and outputs, resizing, recurrent layers, and operators
that norsim has no function for, compared with onnx's reference evaluator."""

from __future__ import annotations

import copy
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import Tensor, nn
from torch.nn import functional

import norsim
from norsim.errors import ConfigurationError
from norsim.zoo.onnx.file import build_for_any_batch, build_onnx
from norsim.zoo.onnx.recurrent import Recurrent
from tests.zoo.test_onnx import assert_is_the_reference, drawn, graph

MADE = Path("made.onnx")


def several(
    nodes: list[Any], constants: dict[str, Any], inputs: dict[str, Any], outputs: tuple[str, ...], opset: int = 18
) -> bytes:  # fmt: skip
    """Return the content of a graph of inputs by name, each an example."""
    made = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), ["n", *value.shape[1:]])
         for name, value in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, []) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    content: bytes = helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)]).SerializeToString()
    return content


def assert_all_are_the_reference(content: bytes, inputs: dict[str, Any]) -> nn.Module:
    expected = ReferenceEvaluator(onnx.load_model_from_string(content)).run(None, inputs)
    network = build_onnx(MADE, content)
    with torch.no_grad():
        found = network(*(torch.from_numpy(value) for value in inputs.values()))
    for one, other in zip(found if isinstance(found, tuple) else (found,), expected, strict=True):
        np.testing.assert_allclose(one.numpy(), other, rtol=1e-5, atol=1e-5)
    return network


@pytest.mark.parametrize("kind", ["half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel",
                                  "half_pixel_symmetric"])  # fmt: skip
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_resizing_is_the_reference(kind: str, mode: str) -> None:
    x = drawn(2, 3, 5, 6)
    more: list[dict[str, Any]] = [{}]
    if mode == "nearest":
        more = [{"nearest_mode": one} for one in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")]
    if mode == "cubic":
        more = [{}, {"cubic_coeff_a": -0.5}, {"exclude_outside": 1}]
    for options in more:
        attributes = {"mode": mode, "coordinate_transformation_mode": kind, **options}
        # With corners aligned, the reference divides by lengths before they are rounded, unlike onnxruntime.
        for scales in ([1, 1, 2, 2], [1, 1, 2, 0.5] if kind == "align_corners" else [1, 1, 1.5, 0.6]):
            node = helper.make_node("Resize", ["x", "", "s"], ["y"], **attributes)
            assert_is_the_reference(graph([node], {"s": np.array(scales, np.float32)}, x.shape, 18), x)
        node = helper.make_node("Resize", ["x", "", "", "s"], ["y"], axes=[3, 2], **attributes)
        assert_is_the_reference(graph([node], {"s": np.array([9, 4])}, x.shape, 18), x)


def test_resizing_that_norsim_has_no_function_for_is_computed_by_onnx() -> None:
    x = drawn(2, 3, 8, 8)
    node = helper.make_node("Resize", ["x", "", "s"], ["y"], mode="linear", antialias=1)
    assert_is_the_reference(graph([node], {"s": np.array([1, 1, 0.5, 0.5], np.float32)}, x.shape, 18), x)
    for policy in ("not_larger", "not_smaller"):
        node = helper.make_node("Resize", ["x", "", "", "s"], ["y"], keep_aspect_ratio_policy=policy, axes=[2, 3])
        assert_is_the_reference(graph([node], {"s": np.array([6, 12])}, x.shape, 18), x)


@pytest.mark.parametrize("opset", [9, 10, 11, 12])
def test_older_files_are_converted(opset: int) -> None:
    """Their forms of operators are of their time: axes as attributes, a softmax over all that follows an axis."""
    x = drawn(2, 3, 4, 4)
    clip = {"min": -0.5, "max": 0.75} if opset < 11 else {}
    bounds = [] if opset < 11 else ["low", "high"]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Clip", ["a", *bounds], ["b"], **clip),
        helper.make_node("Unsqueeze", ["b"], ["c"], axes=[0]), helper.make_node("Squeeze", ["c"], ["d"], axes=[0]),
        helper.make_node("ReduceSum", ["d"], ["e"], axes=[3], keepdims=0), helper.make_node("Max", ["e", "k"], ["f"]),
        helper.make_node("Softmax", ["f"], ["y"], axis=1),
    ]  # fmt: skip
    constants = {"w": drawn(5, 3, 3, 3, seed=1), "k": np.float32(0.1)}
    constants |= {} if opset < 11 else {"low": np.float32(-0.5), "high": np.float32(0.75)}
    network = build_onnx(MADE, graph(nodes, constants, x.shape, opset))
    # Not onnx's reference evaluator, which computes a softmax of any opset along one axis.
    hidden = functional.conv2d(torch.from_numpy(x), torch.from_numpy(constants["w"]), padding=1).clamp(-0.5, 0.75)
    expected = torch.softmax(hidden.sum(3).clamp(min=0.1).flatten(1), 1).view(2, 5, 4)
    torch.testing.assert_close(network(torch.from_numpy(x)), expected)
    assert [type(part).__name__ for part in network.children()] == ["Conv2d"]


@pytest.mark.parametrize(("kind", "opset"), [("Upsample", 9), ("Resize", 10)])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_older_ways_of_resizing(kind: str, opset: int, mode: str) -> None:
    x = torch.from_numpy(drawn(2, 3, 4, 5))
    node = helper.make_node(kind, ["x", "s"], ["y"], mode=mode)
    network = build_onnx(MADE, graph([node], {"s": np.array([1, 1, 2, 2], np.float32)}, x.shape, opset))
    # Each new place is that share of the old one, without the half of a pixel that later files have.
    place = [torch.arange(2 * length) / 2 for length in (4, 5)]
    if mode == "nearest":
        expected = x[:, :, place[0].floor().long()][..., place[1].floor().long()]
    else:
        after = [torch.clamp(at.floor().long() + 1, max=length - 1) for at, length in zip(place, (4, 5), strict=True)]
        rows = torch.lerp(x[:, :, place[0].floor().long()], x[:, :, after[0]], (place[0] % 1)[:, None])
        expected = torch.lerp(rows[..., place[1].floor().long()], rows[..., after[1]], place[1] % 1)
    torch.testing.assert_close(network(x), expected)


RECURRENT = [
    ("LSTM", 4, {}), ("LSTM", 4, {"direction": "reverse"}), ("LSTM", 4, {"direction": "bidirectional"}),
    ("GRU", 3, {"linear_before_reset": 1}), ("GRU", 3, {}), ("RNN", 1, {"direction": "bidirectional"}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "gates", "attributes"), RECURRENT)
@pytest.mark.parametrize("start", [False, True])
def test_recurrent_layers_are_the_reference(kind: str, gates: int, attributes: dict[str, Any], start: bool) -> None:
    count = 2 if attributes.get("direction") == "bidirectional" else 1
    x = drawn(6, 3, 5)
    constants = {
        "w": drawn(count, gates * 4, 5, seed=1), "r": drawn(count, gates * 4, 4, seed=2),
        "b": drawn(count, 8 * gates, seed=3), "h": drawn(count, 3, 4, seed=4),
    }  # fmt: skip
    inputs = ["x", "w", "r", "b", "", "h"] if start else ["x", "w", "r", "b"]
    if not start:
        del constants["h"]
    node = helper.make_node(kind, inputs, ["y", "last"], hidden_size=4, **attributes)
    content = several([node], constants, {"x": x}, ("y", "last"))
    network = assert_all_are_the_reference(content, {"x": x})
    # What torch's layers compute is in one of them; onnx computes the rest, digitally.
    in_torch = (kind, attributes) != ("GRU", {})
    assert [type(part) for part in network.children()] == ([Recurrent] if in_torch else [])


def test_an_exported_lstm_is_computed(tmp_path: Path) -> None:
    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.lstm = nn.Embedding(11, 6), nn.LSTM(6, 5, batch_first=True, bidirectional=True)
            self.head = nn.Linear(10, 3)

        def forward(self, tokens: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
            hidden = self.lstm(self.words(tokens))[0] * scale[:, None]
            return self.head(hidden), hidden.mean(1)

    torch.manual_seed(0)
    net, tokens, scale = Tagger().eval(), torch.randint(11, (4, 7)), torch.rand(4, 1)
    sink = io.BytesIO()
    axes = {name: {0: "n"} for name in ("tokens", "scale", "tags", "mean")}
    with pytest.warns():
        torch.onnx.export(net, (tokens, scale), sink, dynamo=False, opset_version=14, dynamic_axes=axes,
                          input_names=["tokens", "scale"], output_names=["tags", "mean"])  # fmt: skip
    (tmp_path / "tagger.onnx").write_bytes(sink.getvalue())
    found = build_for_any_batch(tmp_path / "tagger.onnx")
    with torch.no_grad():
        for one, other in zip(found(tokens, scale), net(tokens, scale), strict=True):
            torch.testing.assert_close(one, other)
        torch.testing.assert_close(found(scale=scale, tokens=tokens)[0], net(tokens, scale)[0])
    with pytest.raises(ConfigurationError, match=r"got 1 inputs \(some without a name\); it takes tokens, scale"):
        found(tokens)
    deployed = norsim.deploy(
        found, "etox65", calibration=[((tokens, scale),)], weight_bits=8, activation_bits=8,
        set={"calibration.reads": 4, "tile.wordlines": 32, "tile.bitlines": 36},
    )  # fmt: skip
    assert len(deployed.tiled) == 5
    result = deployed.evaluate(((tokens, scale), torch.randint(3, (4, 7))), "cross-entropy", spice_sample=0,
                               proof_images=0)  # fmt: skip
    assert result.accuracy is None and abs(result.metric_value - (result.metric_float or 0)) < 0.05


def test_operators_without_a_function_are_computed_by_onnx() -> None:
    x, ids = drawn(3, 4, 4), np.array([[0, 2], [1, 1], [3, 0]])
    nodes = [
        helper.make_node("Det", ["x"], ["d"]), helper.make_node("CumSum", ["x", "one"], ["c"]),
        helper.make_node("TopK", ["c", "two"], ["t", "places"], axis=2),
        helper.make_node("GatherElements", ["t", "index"], ["e"], axis=1),
        helper.make_node("MaxPool", ["x"], ["m", "i"], kernel_shape=[2]), helper.make_node("Cast", ["i"], ["j"], to=1),
        helper.make_node("ReduceMean", ["j", "axes"], ["k"], keepdims=0), helper.make_node("Add", ["d", "k"], ["y"]),
        helper.make_node("And", ["p", "q"], ["r"]), helper.make_node("GreaterOrEqual", ["x", "half"], ["p"]),
        helper.make_node("LessOrEqual", ["x", "half"], ["q"]), helper.make_node("Or", ["r", "p"], ["s"]),
        helper.make_node("Cast", ["s"], ["z"], to=1),
    ]  # fmt: skip
    nodes[8:11] = [nodes[9], nodes[10], nodes[8]]
    constants = {"one": np.array(1), "two": np.array([2]), "axes": np.array([1, 2]), "half": np.float32(0.5)}
    inputs = {"x": x, "index": ids[..., None].repeat(2, 2)}
    network = assert_all_are_the_reference(several(nodes, constants, inputs, ("y", "e", "z")), inputs)
    given = [torch.from_numpy(value) for value in inputs.values()]
    for other in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        for one, again in zip(other(*given), network(*given), strict=True):
            assert torch.equal(one, again)


def test_what_onnx_cannot_compute_either_is_refused_by_name() -> None:
    branch = helper.make_graph([helper.make_node("Neg", ["x"], ["b"])], "b", [],
                               [helper.make_tensor_value_info("b", TensorProto.FLOAT, None)])  # fmt: skip
    choice = helper.make_node("If", ["c"], ["y"], name="choice", then_branch=branch, else_branch=branch)
    with pytest.raises(ConfigurationError, match="ONNX node 'choice': operator If has a graph of its own"):
        build_onnx(MADE, graph([choice], {"c": np.array(True)}, (2, 3)))


@pytest.mark.parametrize("axes", [1, 2])
def test_transposed_convolutions_are_torchs(axes: int) -> None:
    shape = (2, 4, 5, 6)[: 2 + axes]
    attributes = {"strides": [2, 3][:axes], "pads": [1, 0, 0, 1][:2] if axes == 1 else [1, 1, 0, 1]}
    node = helper.make_node("ConvTranspose", ["x", "w", "b"], ["y"], **attributes)
    constants = {"w": drawn(4, 3, *(3, 4)[:axes], seed=1), "b": drawn(3, seed=2)}
    network = assert_is_the_reference(graph([node], constants, shape), drawn(*shape))
    assert [type(part).__name__ for part in network.children()] == [f"ConvTranspose{axes}d"]
    # Two groups are two of them; onnx's reference evaluator does not have groups with a bias.
    grouped = helper.make_node("ConvTranspose", ["x", "w", "b"], ["y"], group=2, **attributes)
    constants = {"w": drawn(4, 3, *(3, 4)[:axes], seed=1), "b": drawn(6, seed=2)}
    x = torch.from_numpy(drawn(*shape))
    parts = [
        build_onnx(MADE, graph([node], {"w": constants["w"][2 * k : 2 * k + 2], "b": constants["b"][3 * k : 3 * k + 3]},
                               (2, 2, *shape[2:])))(x[:, 2 * k : 2 * k + 2])
        for k in range(2)
    ]  # fmt: skip
    torch.testing.assert_close(build_onnx(MADE, graph([grouped], constants, shape))(x), torch.cat(parts, 1))


def test_a_rectified_recurrent_layer_is_torchs() -> None:
    x, w, r = drawn(3, 2, 5), drawn(1, 4, 5, seed=1), drawn(1, 4, 4, seed=2)
    node = helper.make_node("RNN", ["x", "w", "r"], ["y", "last"], hidden_size=4, activations=["Relu"])
    found, _ = build_onnx(MADE, several([node], {"w": w, "r": r}, {"x": x}, ("y", "last")))(torch.from_numpy(x))
    state = np.zeros((2, 4), np.float32)
    for step, given in enumerate(x):
        state = np.maximum(given @ w[0].T + state @ r[0].T, 0)
        np.testing.assert_allclose(found[step, 0].detach().numpy(), state, rtol=1e-5, atol=1e-5)
