"""The self-attention of a layer: projections, global rows, `attend`.

B batch rows  T tokens  H attention heads  D width per head  C model width = H*D  G global slots  S score columns
"""

import torch
from torch import Tensor, nn
from torch.fx.experimental.symbolic_shapes import guard_or_true

from longspan.attention import FoldedGlobalRows, GlobalRows, attend, attention_weights
from longspan.attention.slots import gather_rows
from longspan.errors import InputError
from longspan.models.config import LongformerConfig
from longspan.models.plan import AttentionPlan


class LongformerSelfAttention(nn.Module):
    """Self-attention with separate projections for global tokens; modules are named as in transformers."""

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
        """The attention over `hidden_states` [B, T, C].

        The argument `attention_mask` is the plan, and other arguments are ignored, because the layers of transformers'
        Longformer pass them by these names (`use_fast_attention`).

        Returns:
            The output [B, T, C]; with `output_attentions` also the local probabilities of `attention_weights`
            [B, H, T, S] and, if there are global tokens, those of the global rows [B, H, G, T].
        """
        # Only num_heads, head_dim, dropout, layer_id and the six projections are used, so that this also runs on
        # transformers' module.
        plan = attention_mask
        B, T, C = hidden_states.shape
        heads = (self.num_heads, self.head_dim)
        q_BHTD = self.query(hidden_states).unflatten(-1, heads).transpose(1, 2)
        k_BHTD = self.key(hidden_states).unflatten(-1, heads).transpose(1, 2)
        v_BHTD = self.value(hidden_states).unflatten(-1, heads).transpose(1, 2)
        global_rows = _project_global(self, hidden_states, q_BHTD.dtype, plan)
        pattern = plan.patterns[self.layer_id]
        masks = {"is_token_BT": plan.is_token_BT, "documents": plan.documents}
        if plan.documents is None:
            masks["document_BT"] = plan.document_BT
        out_BHTD = attend(
            q_BHTD,
            k_BHTD,
            v_BHTD,
            pattern,
            **masks,
            global_rows=global_rows,
            dropout_p=self.dropout if self.training else 0.0,
            backend=plan.backend,
        )
        out_BTC = out_BHTD.transpose(1, 2).reshape(B, T, C)
        if plan.is_blank_BT1 is not None:
            out_BTC = out_BTC.masked_fill(plan.is_blank_BT1, 0)
        if not output_attentions:
            return (out_BTC,)
        local_BHTS, global_BHGT = attention_weights(q_BHTD, k_BHTD, pattern, **masks, global_rows=global_rows)
        return (out_BTC, local_BHTS) if global_BHGT is None else (out_BTC, local_BHTS, global_BHGT)


def _project_global(
    attention: LongformerSelfAttention, hidden_BTC: Tensor, dtype: torch.dtype, plan: AttentionPlan
) -> GlobalRows | FoldedGlobalRows | None:
    """The separate projections of the global tokens, folded if that is less work; None without global tokens."""
    if plan.slots is None:
        return None
    heads = (attention.num_heads, attention.head_dim)
    if plan.slots.are_first:
        at_slots_BGC = hidden_BTC[:, : plan.slots.index_BG.shape[1]]
    else:
        at_slots_BGC = gather_rows(hidden_BTC, plan.slots.index_BG)
    q_BHGD = attention.query_global(at_slots_BGC).unflatten(-1, heads).transpose(1, 2)
    key, value = attention.key_global, attention.value_global
    can_fold = all(is_plain_linear(module) and module.bias is not None for module in (key, value))
    if can_fold and _folding_is_less_work(hidden_BTC.shape, heads, plan):
        # The bias of `key_global` cancels in the softmax; the product with 0 gives it a gradient of zero.
        value_bias_E = value.bias + 0 * key.bias
        vectors = (hidden_BTC, key.weight, value.weight, value_bias_E)
        return FoldedGlobalRows(plan.slots, q_BHGD, *(x.to(dtype) for x in vectors))
    k_BHTD, v_BHTD = (module(hidden_BTC).unflatten(-1, heads).transpose(1, 2) for module in (key, value))
    return GlobalRows(plan.slots, q_BHGD, k_BHTD, v_BHTD)


def is_plain_linear(module: nn.Module) -> bool:
    """Whether the module is a plain linear layer, without adapter, quantisation or hook."""
    if type(module) is not nn.Linear or is_hooked(module):
        return False
    return type(module.weight) in (Tensor, nn.Parameter) and module.weight.is_floating_point()


def is_hooked(module: nn.Module) -> bool:
    """Whether the module has a hook, or another forward than its class."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(hooks) or "forward" in vars(module)


def _folding_is_less_work(shape: torch.Size, heads: tuple[int, int], plan: AttentionPlan) -> bool:
    """Whether folded projections (`FoldedGlobalRows`) take fewer multiply-adds than projecting all tokens."""
    assert plan.slots is not None
    B, T, C = shape
    H, E = heads[0], heads[0] * heads[1]
    G = plan.slots.index_BG.shape[1]
    if torch.compiler.is_compiling():
        # Without the number of tokens: it may be a symbol, which a comparison would fix. The number of slots may be a
        # symbol too; it is then assumed to be small, as in a question.
        return guard_or_true(H * G * C < (C + G) * E)
    n_pairs = plan.n_pairs((B, T))
    return B * G * C * E + n_pairs * H * C < B * T * C * E + n_pairs * E
