"""What a backend is asked for, in a file of its own: backends judge it, and the table of backends imports them."""

from typing import NamedTuple

import torch

from longspan.attention.pattern import AttentionPattern


class Request(NamedTuple):
    """What a backend is asked for, without the tensors."""

    n_rows: int
    n_heads: int
    n_tokens: int
    width: int
    device: str
    dtype: torch.dtype
    needs_grad: bool
    pattern: AttentionPattern
    has_padding: bool = False
    has_dynamic_global: bool = False
    has_documents: bool = False
    dropout_p: float = 0.0
    is_exporting: bool = False
    is_compiling: bool = False  # traced by torch.export, into a graph for other lengths as well
