"""One layer's attention: projections, global rows, `attend`.

B batch rows  T tokens  H attention heads  D width per head  C model width = H*D  G global slots  S score columns
"""

from typing import NamedTuple

import torch
import transformers
from torch import Tensor, nn

from longspan.attention import AttentionPattern, GlobalRows, GlobalSlots, attend, attention_weights
from longspan.errors import InputError
from longspan.models.config import LongformerConfig, attention_backend, attention_patterns


class AttentionPlan(NamedTuple):
    """What all layers of one forward share; made once per forward.

    Attributes:
        patterns: who sees whom, one for each layer.
        backend: name of the attention backend, or "auto".
        is_token_BT: bool, True for real tokens; None where there is no padding.
        slots: where the global tokens are; None where there are none.
    """

    patterns: tuple[AttentionPattern, ...]
    backend: str
    is_token_BT: Tensor | None
    slots: GlobalSlots | None


def plan_attention(
    config: transformers.LongformerConfig,
    shape: tuple[int, int],
    device: torch.device,
    is_token_BT: Tensor | None,
    is_global_BT: Tensor | None,
    slots: GlobalSlots | None = None,
) -> AttentionPlan:
    """Find the global slots once, for all layers.

    Args:
        config: windows, dilations, static global tokens, backend.
        shape: B and T.
        device: where the slots are to be.
        is_token_BT: bool, True for real tokens; None for all.
        is_global_BT: bool, True for global tokens of a dynamic set; what is padding does not count.
        slots: global tokens whose number is known, in place of `is_global_BT`.
    """
    patterns = attention_patterns(config)
    n_global = patterns[0].n_global if patterns else 0
    if is_global_BT is not None:
        is_global_BT = is_global_BT | (torch.arange(shape[1], device=device) < n_global)
        slots = GlobalSlots.find(is_global_BT if is_token_BT is None else is_global_BT & is_token_BT)
    elif n_global:
        every_BT = torch.ones(shape, dtype=torch.bool, device=device) if is_token_BT is None else is_token_BT
        return AttentionPlan(patterns, attention_backend(config), is_token_BT, GlobalSlots.first(n_global, every_BT))
    # The slots hold the whole set, the first positions among it.
    return AttentionPlan(attention_patterns(config, n_global=0), attention_backend(config), is_token_BT, slots)


class LongformerSelfAttention(nn.Module):
    """Projections of all tokens, and other ones of the global tokens; modules named as in transformers."""

    def __init__(self, config: LongformerConfig, layer_id: int) -> None:
        super().__init__()
        if config.hidden_size % config.num_attention_heads:
            raise InputError(
                f"hidden_size {config.hidden_size} is not a multiple of num_attention_heads "
                f"{config.num_attention_heads}; choose a number of heads that divides the width"
            )
        self.num_heads = config.num_attention_heads
        self.head_dim = config.hidden_size // config.num_attention_heads
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)
        self.query_global = nn.Linear(config.hidden_size, config.hidden_size)
        self.key_global = nn.Linear(config.hidden_size, config.hidden_size)
        self.value_global = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = config.attention_probs_dropout_prob
        self.layer_id = layer_id

    def forward(
        self, hidden_states: Tensor, attention_mask: AttentionPlan, output_attentions: bool = False, **_: object
    ) -> tuple[Tensor, ...]:
        """Attend over `hidden_states` [B, T, C].

        The plan comes under the name `attention_mask`, and other arguments are taken and left, because the layers of
        transformers' own Longformer hand them on by these names (`use_fast_attention`).

        Returns:
            The output [B, T, C]; with `output_attentions` also `attention_weights`' local probabilities [B, H, T, S]
            and, where there are global tokens, those of their rows [B, H, G, T].
        """
        # Nothing but these attributes is used, so that this runs on transformers' module as well:
        # num_heads, head_dim, dropout, layer_id and the six projections.
        plan = attention_mask
        B, T, C = hidden_states.shape
        heads = (self.num_heads, self.head_dim)
        q_BHTD = self.query(hidden_states).unflatten(-1, heads).transpose(1, 2)
        k_BHTD = self.key(hidden_states).unflatten(-1, heads).transpose(1, 2)
        v_BHTD = self.value(hidden_states).unflatten(-1, heads).transpose(1, 2)
        global_rows = None
        if plan.slots is not None:
            if plan.slots.are_first:
                at_slots_BGC = hidden_states[:, : plan.slots.index_BG.shape[1]]
            else:
                at_slots_BGC = hidden_states.take_along_dim(plan.slots.index_BG[:, :, None], dim=1)
            global_rows = GlobalRows(
                plan.slots,
                self.query_global(at_slots_BGC).unflatten(-1, heads).transpose(1, 2),
                self.key_global(hidden_states).unflatten(-1, heads).transpose(1, 2),
                self.value_global(hidden_states).unflatten(-1, heads).transpose(1, 2),
            )
        pattern = plan.patterns[self.layer_id]
        out_BHTD = attend(
            q_BHTD,
            k_BHTD,
            v_BHTD,
            pattern,
            is_token_BT=plan.is_token_BT,
            global_rows=global_rows,
            dropout_p=self.dropout if self.training else 0.0,
            backend=plan.backend,
        )
        out_BTC = out_BHTD.transpose(1, 2).reshape(B, T, C)
        if not output_attentions:
            return (out_BTC,)
        local_BHTS, global_BHGT = attention_weights(
            q_BHTD, k_BHTD, pattern, is_token_BT=plan.is_token_BT, global_rows=global_rows
        )
        return (out_BTC, local_BHTS) if global_BHGT is None else (out_BTC, local_BHTS, global_BHGT)
