"""A description of the backend that computes a model's attention, for the records of runs."""

import torch
from transformers import LongformerConfig as StockLongformerConfig

from longspan.attention.backends import select
from longspan.attention.inputs import BackendRequest
from longspan.models.config import attention_backend, attention_patterns
from longspan.models.unpadding import may_unpad


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
    """The chosen backend for a batch, with the reason for or against each one, as one line of text.

    If the model takes padding out of batches, the request is about the packed row that its layers see.

    Args:
        config: configuration of a model of any family.
        n_rows: number of rows of the batch.
        n_tokens: number of tokens of the longest row.
        device: "cpu" or "cuda".
        dtype: dtype of the computation.
        needs_grad: whether there is a backward; the dropout of the configuration then counts.
        has_dynamic_global: whether a mask marks global tokens.
    """
    if not isinstance(config, StockLongformerConfig):
        return f"transformers' {getattr(config, '_attn_implementation', 'own')}, full attention"
    request = expected_request(
        config,
        n_rows=n_rows,
        n_tokens=n_tokens,
        device=device,
        dtype=dtype,
        needs_grad=needs_grad,
        has_dynamic_global=has_dynamic_global,
    )
    choice = select(request, attention_backend(config))
    return f"{choice.backend} ({'; '.join(f'{name}: {reason}' for name, reason in choice.reasons.items())})"


def expected_request(
    config: StockLongformerConfig,
    *,
    n_rows: int,
    n_tokens: int,
    device: str,
    dtype: torch.dtype,
    needs_grad: bool,
    has_dynamic_global: bool,
) -> BackendRequest:
    """The request of the layers for a batch; arguments as `attention_choice`. A packed row has its largest length."""
    patterns = attention_patterns(config)
    has_static_global = bool(patterns) and patterns[0].n_global > 0
    # Most batches of a run have rows of different lengths, which are packed.
    is_packed = n_rows > 1 and may_unpad(config)
    return BackendRequest(
        n_rows=1 if is_packed else n_rows,
        n_heads=config.num_attention_heads,
        n_tokens=n_rows * n_tokens if is_packed else n_tokens,
        width=config.hidden_size // config.num_attention_heads,
        device=device,
        dtype=dtype,
        needs_grad=needs_grad,
        # The slots hold the first positions too.
        pattern=attention_patterns(config, n_global=0)[0],
        has_padding=n_rows > 1 and not is_packed,
        has_dynamic_global=has_dynamic_global or has_static_global,
        has_documents=is_packed,
        dropout_p=config.attention_probs_dropout_prob if needs_grad else 0.0,
    )
