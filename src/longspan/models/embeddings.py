"""Token ids -> vectors: word, position and type embeddings, and the position of each token.

B batch rows  T tokens  C model width
"""

import torch
from torch import Tensor, nn

from longspan.errors import InputError
from longspan.models.config import LongformerConfig
from longspan.models.plan import ids_of_tokens, positions_in_documents


class LongformerEmbeddings(nn.Module):
    """The normalised sum of word, position and type embeddings; modules are named as in transformers."""

    def __init__(self, config: LongformerConfig) -> None:
        super().__init__()
        if config.pad_token_id is None:
            raise InputError(
                "pad_token_id is not set; positions are counted from it, so give the tokenizer's padding id"
            )
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.padding_idx: int = config.pad_token_id
        self.position_embeddings = nn.Embedding(
            config.max_position_embeddings, config.hidden_size, padding_idx=self.padding_idx
        )

    def forward(
        self,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
    ) -> Tensor:
        """The embeddings [B, T, C] of `input_ids` [B, T], or of `inputs_embeds` [B, T, C] in place of word embeddings.

        `position_ids` are rows of the position table, as `position_ids_of` returns them.
        """
        if position_ids is None:
            position_ids = position_ids_of(input_ids, inputs_embeds, None, self.padding_idx)
        if inputs_embeds is None:
            inputs_embeds = self.word_embeddings(input_ids)
        assert inputs_embeds is not None, "the model checks that it is given one of the two"
        if token_type_ids is None:
            token_type_ids = torch.zeros(inputs_embeds.shape[:-1], dtype=torch.long, device=inputs_embeds.device)
        hidden_BTC = inputs_embeds + self.position_embeddings(position_ids) + self.token_type_embeddings(token_type_ids)
        return self.dropout(self.LayerNorm(hidden_BTC))


def position_ids_of(
    input_ids: Tensor | None,
    inputs_embeds: Tensor | None,
    is_token_BT: Tensor | None,
    padding_idx: int,
    document_BT: Tensor | None = None,
) -> Tensor:
    """Row of the position table for each token, [B, T]: `padding_idx` + 1 for the first, `padding_idx` for padding.

    Padding is given by the padding id, or for `inputs_embeds` by `is_token_BT`. Tokens are counted from the first one
    of each row, or of each document, so that padding on either side changes no position.
    """
    if input_ids is not None:
        counted_BT = input_ids != padding_idx
    else:
        assert inputs_embeds is not None, "the model checks that it is given one of the two"
        B, T = inputs_embeds.shape[:2]
        counted_BT = torch.ones(B, T, dtype=torch.bool, device=inputs_embeds.device)
        counted_BT = counted_BT if is_token_BT is None else is_token_BT
    if document_BT is not None:
        ids_BT = ids_of_tokens(document_BT, counted_BT)
        return (positions_in_documents(ids_BT, counted_BT) + 1) * counted_BT + padding_idx
    return counted_BT.cumsum(dim=1) * counted_BT + padding_idx


def check_positions(position_ids: Tensor, n_rows: int, padding_idx: int) -> None:
    """Raise if a position is outside the position table of `n_rows` rows.

    Positions on an accelerator are read only if the input could be too long, because reading waits for the device.

    Raises:
        InputError: the input is longer than the model allows; the message names both lengths.
    """
    max_tokens = n_rows - padding_idx - 1
    if torch.compiler.is_compiling():
        return
    if position_ids.device.type != "cpu" and position_ids.shape[-1] <= max_tokens:
        return
    if position_ids.numel() and (last := int(position_ids.max())) >= n_rows:
        raise InputError(
            f"the input has {last - padding_idx} tokens, but this model takes at most {max_tokens}; cut it into "
            "overlapping windows (tokenizers: max_length, stride and return_overflowing_tokens), or extend the model "
            "with a larger max_tokens"
        )
