"""The layers: attention and feed-forward, each with its residual and norm, and the stack of them.

B batch rows  T tokens  C model width
"""

import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.models.longformer.modeling_longformer import LongformerBaseModelOutput
from transformers.pytorch_utils import apply_chunking_to_forward

from longspan.attention.slots import gather_rows
from longspan.models.config import LongformerConfig
from longspan.models.plan import AttentionPlan
from longspan.models.self_attention import LongformerSelfAttention, is_hooked

# Tokens per chunk of the feed-forward on a CPU without gradients (docs/experiments.md).
_CHUNK = 1024


class LongformerResidual(nn.Module):
    """A projection, then residual and norm: the end of the attention and of the feed-forward."""

    def __init__(self, n_in: int, config: LongformerConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(n_in, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden_states: Tensor, input_tensor: Tensor) -> Tensor:
        """Project [B, T, `n_in`] to [B, T, C] and add it to `input_tensor`."""
        return self.LayerNorm(self.dropout(self.dense(hidden_states)) + input_tensor)


class LongformerAttention(nn.Module):
    """The attention of a layer, with residual and norm."""

    def __init__(self, config: LongformerConfig, layer_id: int) -> None:
        super().__init__()
        self.self = LongformerSelfAttention(config, layer_id)
        self.output = LongformerResidual(config.hidden_size, config)

    def forward(
        self, hidden_states: Tensor, attention_mask: AttentionPlan, output_attentions: bool = False
    ) -> tuple[Tensor, ...]:
        """As `LongformerSelfAttention.forward`."""
        attended, *weights = self.self(hidden_states, attention_mask, output_attentions)
        return self.output(attended, hidden_states), *weights


class LongformerIntermediate(nn.Module):
    """The first, wide projection of the feed-forward."""

    def __init__(self, config: LongformerConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.intermediate_act_fn = ACT2FN[config.hidden_act]

    def forward(self, hidden_states: Tensor) -> Tensor:
        """[B, T, C] to [B, T, F]."""
        return self.intermediate_act_fn(self.dense(hidden_states))


class LongformerLayer(GradientCheckpointingLayer):
    """Attention, then feed-forward."""

    def __init__(self, config: LongformerConfig, layer_id: int) -> None:
        super().__init__()
        self.attention = LongformerAttention(config, layer_id)
        self.intermediate = LongformerIntermediate(config)
        self.output = LongformerResidual(config.intermediate_size, config)
        self.chunk_size_feed_forward = config.chunk_size_feed_forward

    def forward(
        self, hidden_states: Tensor, attention_mask: AttentionPlan, output_attentions: bool = False
    ) -> tuple[Tensor, ...]:
        """As `LongformerSelfAttention.forward`."""
        attended_BTC, *weights = self.attention(hidden_states, attention_mask, output_attentions)
        if self._uses_chunks(attended_BTC):
            chunks = attended_BTC.view(1, -1, attended_BTC.shape[-1]).split(_CHUNK, dim=1)
            hidden_BTC = torch.cat([self._feed_forward(chunk) for chunk in chunks], dim=1).view_as(attended_BTC)
        else:
            hidden_BTC = apply_chunking_to_forward(self._feed_forward, self.chunk_size_feed_forward, 1, attended_BTC)
        return hidden_BTC, *weights

    def _uses_chunks(self, attended_BTC: Tensor) -> bool:
        """Whether to compute the feed-forward in chunks that fit the cache: on a CPU, without gradients and hooks."""
        B, T, _ = attended_BTC.shape
        # Training without gradients is a checkpointed forward, whose dropout must repeat when it is recomputed.
        if self.chunk_size_feed_forward or torch.compiler.is_compiling() or torch.is_grad_enabled() or self.training:
            return False
        modules = (self.intermediate, self.intermediate.dense, self.output, self.output.dense)
        return attended_BTC.device.type == "cpu" and B * T > _CHUNK and not any(map(is_hooked, modules))

    def _feed_forward(self, attended_BTC: Tensor) -> Tensor:
        return self.output(self.intermediate(attended_BTC), attended_BTC)


class LongformerEncoder(nn.Module):
    """The stack of layers."""

    def __init__(self, config: LongformerConfig) -> None:
        super().__init__()
        self.config = config
        self.layer = nn.ModuleList(LongformerLayer(config, layer_id) for layer_id in range(config.num_hidden_layers))
        self.gradient_checkpointing = False

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: AttentionPlan,
        output_attentions: bool | None = False,
        output_hidden_states: bool | None = False,
    ) -> LongformerBaseModelOutput:
        """The output of all layers for `hidden_states` [B, T, C].

        Returns:
            transformers' output: `last_hidden_state`; with `output_hidden_states` the embeddings and each layer's
            output, all [B, T, C]; with `output_attentions` `attentions` [B, H, T, G + window + 1] and, where there are
            global tokens, `global_attentions` [B, H, T, G] of each layer.
        """
        # This also runs on transformers' encoder (`use_fast_attention`), whose layers take the plan by this name.
        all_hidden = [hidden_states]
        local_weights, global_weights = [], []
        for layer in self.layer:
            hidden_states, *weights = layer(
                hidden_states, attention_mask=attention_mask, output_attentions=output_attentions
            )
            if output_hidden_states:
                all_hidden.append(hidden_states)
            if weights:
                local_weights.append(weights[0])
            if len(weights) > 1:
                global_weights.append(weights[1].transpose(2, 3))
        return LongformerBaseModelOutput(
            last_hidden_state=hidden_states,
            hidden_states=tuple(all_hidden) if output_hidden_states else None,
            attentions=tuple(local_weights) if output_attentions else None,
            global_attentions=tuple(global_weights) if global_weights else None,
        )


class LongformerPooler(nn.Module):
    """A projection of the first token."""

    def __init__(self, config: LongformerConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = nn.Tanh()

    def forward(self, hidden_states: Tensor) -> Tensor:
        """[B, T, C] to [B, C], from the first column."""
        return self.activation(self.dense(hidden_states[:, 0]))


def first_tokens(hidden_BTC: Tensor, is_token_BT: Tensor | None) -> Tensor:
    """The vector of each row's first token that is not padding, [B, 1, C]."""
    if is_token_BT is None:
        return hidden_BTC[:, :1]
    first_B = is_token_BT.to(torch.uint8).argmax(dim=1)
    return gather_rows(hidden_BTC, first_B[:, None])
