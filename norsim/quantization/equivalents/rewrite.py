"""Replace layers that an array cannot hold as they are by their equivalents."""

from __future__ import annotations

from collections.abc import Collection

from torch import nn

from norsim.quantization.equivalents import attention
from norsim.quantization.equivalents.attention import SplitAttention
from norsim.quantization.equivalents.padded import SplitPadding, is_asymmetric
from norsim.quantization.equivalents.recurrent import SplitCell, SplitRecurrent
from norsim.quantization.equivalents.transposed import SplitTransposed
from norsim.quantization.equivalents.volumes import SplitVolume
from norsim.quantization.exempt import is_exempt
from norsim.quantization.placeable import check_computation, check_values
from norsim.quantization.replace import replace_modules

# Classes of torch, and what replaces them.
EQUIVALENTS: tuple[tuple[type[nn.Module], type[nn.Module]], ...] = (
    (nn.LSTM, SplitRecurrent), (nn.GRU, SplitRecurrent), (nn.RNN, SplitRecurrent),
    (nn.LSTMCell, SplitCell), (nn.GRUCell, SplitCell), (nn.RNNCell, SplitCell),
    (nn.ConvTranspose1d, SplitTransposed), (nn.ConvTranspose2d, SplitTransposed), (nn.ConvTranspose3d, SplitTransposed),
    (nn.Conv3d, SplitVolume),
)  # fmt: skip
# Lists of a recurrent layer's weights.
LISTS = frozenset(("_flat_weights", "_flat_weights_names", "_flat_weight_refs", "_all_weights"))


def with_equivalents(model: nn.Module, digital: Collection[str] = ()) -> nn.Module:
    """Replace attention, recurrent layers, transposed and three-dimensional convolutions, and asymmetric padding in
    `model`, which is a copy, by modules that compute the same with linear layers and convolutions; return the model.

    Modules that match the patterns `digital` stay. Raises PlacementError naming a layer whose class overrides what is
    computed, or whose weights are no finite float32 numbers.
    """
    new: dict[int, nn.Module] = {}
    own = set(attention.OWN | LISTS)
    for name, part in model.named_modules():
        made = None if is_exempt(name, digital) else _equivalent(part, name)
        if made is not None:
            new[id(part)] = made
            own |= {key for key, _ in part.named_parameters(recurse=False)}
        if isinstance(part, nn.TransformerEncoder):
            # Nested tensors are only for the fused function, which is not used.
            part.use_nested_tensor = False
    return replace_modules(model, new, own)


def _equivalent(part: nn.Module, name: str) -> nn.Module | None:
    """Return the equivalent of a module; None for one that stays."""
    if isinstance(part, nn.MultiheadAttention):
        return SplitAttention(attention.checked(part, name))
    if is_asymmetric(part) and type(part) in (nn.Conv1d, nn.Conv2d):
        return SplitPadding(part)  # type: ignore[arg-type]
    for kind, equivalent in EQUIVALENTS:
        if isinstance(part, kind):
            check_computation(part, name, kind)
            for key, _ in part.named_parameters(recurse=False):
                check_values(part, name, key)
            return equivalent(part)
    return None
