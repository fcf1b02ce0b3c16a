"""What computes a model's attention, and why, in words: for the records of runs."""

import torch
from transformers import LongformerConfig as StockLongformerConfig

from longspan.attention.selection import Request, select
from longspan.models.config import attention_backend, attention_patterns


def attention_choice(
    config: object,
    *,
    n_rows: int,
    n_tokens: int,
    device: str,
    dtype: torch.dtype,
    needs_grad: bool,
    has_dynamic_global: bool = True,
) -> str:
    """What computes the attention of a batch, and why each backend was taken or not.

    Args:
        config: of the model, any family.
        n_rows: rows of the batch.
        n_tokens: of the longest row.
        device: "cpu" or "cuda".
        dtype: what is computed in.
        needs_grad: whether there is a backward; with it the configuration's dropout counts.
        has_dynamic_global: whether a mask marks global tokens.
    """
    if not isinstance(config, StockLongformerConfig):
        return f"transformers' {getattr(config, '_attn_implementation', 'own')}, full attention"
    request = Request(
        n_rows=n_rows,
        n_heads=config.num_attention_heads,
        n_tokens=n_tokens,
        width=config.hidden_size // config.num_attention_heads,
        device=device,
        dtype=dtype,
        needs_grad=needs_grad,
        pattern=attention_patterns(config)[0],
        has_padding=n_rows > 1,
        has_dynamic_global=has_dynamic_global,
        dropout_p=config.attention_probs_dropout_prob if needs_grad else 0.0,
    )
    choice = select(request, attention_backend(config))
    return f"{choice.backend} ({'; '.join(f'{name}: {reason}' for name, reason in choice.reasons.items())})"
