"""nn.MultiheadAttention as four linear layers and the products between them, so that an array can hold its weights.

torch multiplies by the projections' weights in functions, without calling any layer. Here they are separate layers:
`q_proj`, `k_proj`, `v_proj` and `out_proj`. The products of two activations and the softmax have no weights to program
and stay digital.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from norsim.quantization.exempt import refused
from norsim.quantization.placeable import check_computation
from norsim.quantization.replace import linear_of

# What an nn.MultiheadAttention computes with, which SplitAttention has in other forms.
OWN = frozenset((
    "in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight", "in_proj_bias", "out_proj",
    "_qkv_same_embed_dim",
))  # fmt: skip


class SplitAttention(nn.Module):
    """An equivalent of nn.MultiheadAttention (Vaswani et al., "Attention Is All You Need", 2017, section 3.2).

    Inputs and outputs are the same: queries `[targets, images, width]`, keys and values `[sources, images, ...]`, with
    images first if it is `batch_first`, or without images; masks are True, or -inf, at positions to ignore.
    """

    # torch's encoder layers check these before they compute a whole layer in one fused function, which would bypass
    # the layers here; these values prevent that.
    in_proj_bias = None
    _qkv_same_embed_dim = False
    bias_k = bias_v = None
    add_zero_attn = False

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        """Take the weights of `attention`."""
        super().__init__()
        self.num_heads, self.embed_dim = attention.num_heads, attention.embed_dim
        self.batch_first, self.dropout = attention.batch_first, attention.dropout
        self.head_dim, self.kdim, self.vdim = attention.head_dim, attention.kdim, attention.vdim
        weights: tuple[Tensor, ...] = (attention.q_proj_weight, attention.k_proj_weight, attention.v_proj_weight)
        if attention.in_proj_weight is not None:
            weights = attention.in_proj_weight.chunk(3)
        biases: tuple[Tensor | None, ...] = (None,) * 3
        if attention.in_proj_bias is not None:
            biases = attention.in_proj_bias.chunk(3)
        self.q_proj, self.k_proj, self.v_proj = (_linear(*pair) for pair in zip(weights, biases, strict=True))
        self.out_proj = _linear(attention.out_proj.weight, attention.out_proj.bias)
        self.train(attention.training)

    @property
    def in_proj_weight(self) -> Tensor | None:
        """The weights of queries, keys and values, `[3 width, width]`, for code that asks for their type or device.

        As in torch, None if keys or values have another width.
        """
        if {self.kdim, self.vdim} != {self.embed_dim}:
            return None
        return torch.cat([self.q_proj.weight, self.k_proj.weight, self.v_proj.weight])

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Tensor | None = None,
        need_weights: bool = True, attn_mask: Tensor | None = None, average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        """Return the output and, if needed, the weights `[images, targets, sources]`, averaged or per head.

        `is_causal` only states the kind of mask in `attn_mask`; the mask itself is used.
        """
        if is_causal and attn_mask is None:
            raise RuntimeError("is_causal is a hint about attn_mask: pass attn_mask too")
        single, swapped = query.dim() == 2, query.dim() == 3 and not self.batch_first
        if single:
            query, key, value = (part.unsqueeze(0) for part in (query, key, value))
            key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
        if swapped:
            query, key, value = (part.transpose(0, 1) for part in (query, key, value))
        q, k, v = self._heads(self.q_proj(query)), self._heads(self.k_proj(key)), self._heads(self.v_proj(value))
        scores = q * math.sqrt(1 / q.shape[-1]) @ k.transpose(-2, -1)
        if attn_mask is not None:
            each = attn_mask.dim() == 3
            scores = scores + _added(attn_mask.reshape(scores.shape) if each else attn_mask, scores)
        if key_padding_mask is not None:
            scores = scores + _added(key_padding_mask, scores)[:, None, None]
        weights = functional.dropout(torch.softmax(scores, -1), self.dropout, self.training)
        output = self.out_proj((weights @ v).transpose(1, 2).flatten(2))
        if need_weights and average_attn_weights:
            weights = weights.mean(1)
        if single:
            output, weights = output.squeeze(0), weights.squeeze(0)
        return output.transpose(0, 1) if swapped else output, weights if need_weights else None

    def _heads(self, projected: Tensor) -> Tensor:
        """Split `[images, tokens, width]` into `[images, heads, tokens, width of a head]`."""
        return projected.reshape(*projected.shape[:-1], self.num_heads, -1).transpose(1, 2)


def checked(attention: nn.MultiheadAttention, name: str) -> nn.MultiheadAttention:
    """Return `attention`. Raises PlacementError if it has more than projections: biases or zeros appended to keys and
    values, or an overridden forward."""
    check_computation(attention, name, nn.MultiheadAttention)
    check_computation(attention.out_proj, f"{name}.out_proj", nn.Linear)
    if attention.bias_k is not None or attention.bias_v is not None or attention.add_zero_attn:
        raise refused(name, f"layer {name!r}: attention with add_bias_kv or add_zero_attn cannot be placed")
    return attention


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    return linear_of(_own(weight), None if bias is None else _own(bias))


def _own(values: Tensor) -> nn.Parameter:
    """Return a parameter with a copy of `values`, separate from the parameter that they are part of."""
    return nn.Parameter(values.detach().clone(), values.requires_grad)


def _added(mask: Tensor, scores: Tensor) -> Tensor:
    """Convert a mask to the term that is added to scores."""
    if mask.dtype != torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=scores.dtype).masked_fill(mask, -math.inf)
