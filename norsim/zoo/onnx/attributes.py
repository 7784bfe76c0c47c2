"""The attributes of ONNX operators that norsim honours; any other value than the default is refused, never ignored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

_CONVOLUTION = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
_POOL = ("auto_pad", "ceil_mode", "kernel_shape", "pads", "strides")
_RECURRENT = ("activations", "clip", "direction", "hidden_size", "layout")
_REDUCE = ("axes", "keepdims", "noop_with_empty_axes")

# The attributes that an operator's function or layer takes, and those without effect in a network that only answers:
# of training, of types of 8 bits, and of outputs that norsim does not compute.
HONOURED: Mapping[str, tuple[str, ...]] = {
    "AveragePool": (*_POOL, "count_include_pad"), "BatchNormalization": ("epsilon", "momentum", "training_mode"),
    "Cast": ("saturate", "to"), "Concat": ("axis",), "ConstantOfShape": ("value",), "Conv": _CONVOLUTION,
    "Dropout": ("seed",), "Elu": ("alpha",), "Flatten": ("axis",), "Gather": ("axis",), "Gelu": ("approximate",),
    "Gemm": ("alpha", "beta", "transA", "transB"), "HardSigmoid": ("alpha", "beta"),
    "LayerNormalization": ("axis", "epsilon"), "LeakyRelu": ("alpha",), "LogSoftmax": ("axis",),
    "MaxPool": (*_POOL, "dilations", "storage_order"), "Mod": ("fmod",), "Pad": ("mode",), "ReduceMax": _REDUCE,
    "ReduceMean": _REDUCE, "ReduceMin": _REDUCE, "ReduceSum": _REDUCE, "Reshape": ("allowzero",),
    "Resize": ("antialias", "axes", "coordinate_transformation_mode", "cubic_coeff_a", "exclude_outside",
               "keep_aspect_ratio_policy", "mode", "nearest_mode"),
    "ConvTranspose": (*_CONVOLUTION, "output_padding"), "LSTM": (*_RECURRENT, "input_forget"),
    "GRU": (*_RECURRENT, "linear_before_reset"), "RNN": _RECURRENT,
    "Shape": ("end", "start"), "Softmax": ("axis",), "Split": ("axis", "num_outputs"), "Transpose": ("perm",),
}  # fmt: skip

# Attributes that are 0 or 1; the standard gives other numbers no meaning.
FLAGS = frozenset({
    "allowzero", "antialias", "ceil_mode", "count_include_pad", "exclude_outside", "fmod", "input_forget",
    "keepdims", "layout", "linear_before_reset", "noop_with_empty_axes", "storage_order",
    "training_mode", "transA", "transB",
})  # fmt: skip

# Values without effect of attributes for which the standard states no default.
NEUTRAL: Mapping[str, Any] = {"dilations": 1, "pads": 0, "strides": 1, "output_padding": 0}


def ignored(kind: str, attributes: Mapping[str, Any], defaults: Mapping[str, Any]) -> str | None:
    """Return the first attribute of a node that would be ignored, with its value; None if there is none.

    `defaults` are the values of the standard for the operator's attributes, where it states them.
    """
    for name, value in attributes.items():
        if name in HONOURED.get(kind, ()) and (name not in FLAGS or value in (0, 1)):
            continue
        if name in NEUTRAL and not isinstance(value, (int, float, bytes, Tensor)):
            if all(one == NEUTRAL[name] for one in value):
                continue
        elif name in defaults and not isinstance(value, Tensor) and defaults[name] == value:
            continue
        shown = value.decode(errors="replace") if isinstance(value, bytes) else value
        return f"{name}={list(shown.shape) if isinstance(shown, Tensor) else shown}"
    return None
