"""The Longformer without a task head, and the base class of all models of this room.

B batch rows  T tokens  C model width
"""

import os
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import PreTrainedModel
from transformers.models.longformer.modeling_longformer import LongformerBaseModelOutputWithPooling

from longspan.full_disk import no_room_behind
from longspan.models.config import LongformerConfig
from longspan.models.embeddings import LongformerEmbeddings, check_positions, position_ids_of
from longspan.models.encoder import LongformerEncoder, LongformerPooler, first_tokens
from longspan.models.inputs import as_bool, check_input, check_shape, none_if_all, value_or_config
from longspan.models.model_card import note_stock_differences
from longspan.models.plan import plan_attention
from longspan.models.unpadding import unpad


class LongformerPreTrainedModel(PreTrainedModel):
    """The base class: loading, saving and initial weights; checkpoints are those of transformers' Longformer."""

    config: LongformerConfig
    base_model_prefix = "longformer"
    supports_gradient_checkpointing = True
    _no_split_modules = ["LongformerEmbeddings", "LongformerLayer"]  # noqa: RUF012 -- PreTrainedModel declares it
    # `attn_implementation` "eager" and "sdpa" are accepted without effect: `config.attention_backend` chooses.
    # transformers refuses others.
    _supports_sdpa = True
    # A buffer in checkpoints of old versions of transformers.
    _keys_to_ignore_on_load_unexpected = [r"embeddings\.position_ids$"]  # noqa: RUF012

    def save_pretrained(
        self, save_directory: str | os.PathLike, is_main_process: bool = True, *args: Any, **kwargs: Any
    ) -> Any:
        """As in transformers; if stock transformers would compute something else, the model card says so.

        Raises:
            OSError: also for a disk without room, which safetensors reports without the system's number.
        """
        try:
            saved = super().save_pretrained(save_directory, is_main_process, *args, **kwargs)
        except SafetensorError as error:
            n_bytes = sum(tensor.numel() * tensor.element_size() for tensor in self.state_dict().values())
            refusal = no_room_behind(error, Path(save_directory), n_bytes)
            if refusal is None:
                raise
            raise refusal from error
        if is_main_process and os.path.isdir(save_directory):
            note_stock_differences(save_directory, self.config)
        return saved

    def _upload_modified_files(self, working_dir: str | os.PathLike, *args: Any, **kwargs: Any) -> Any:
        # push_to_hub replaces the model card after saving.
        note_stock_differences(working_dir, self.config)
        return super()._upload_modified_files(working_dir, *args, **kwargs)


class LongformerModel(LongformerPreTrainedModel):
    """Token ids to hidden states; parameters, signature and outputs as in transformers' `LongformerModel`.

    Unlike there, inputs are not padded to the window, no mask over pairs of tokens is made, the result of a row does
    not depend on other rows, and padding may be on either side.
    """

    def __init__(self, config: LongformerConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        self.embeddings = LongformerEmbeddings(config)
        self.encoder = LongformerEncoder(config)
        self.pooler = LongformerPooler(config) if add_pooling_layer else None
        self.post_init()

    def get_input_embeddings(self) -> torch.nn.Module:
        """The word embeddings."""
        return self.embeddings.word_embeddings

    def set_input_embeddings(self, value: torch.nn.Module) -> None:
        """Replace the word embeddings."""
        self.embeddings.word_embeddings = cast(torch.nn.Embedding, value)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        global_attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> tuple | LongformerBaseModelOutputWithPooling:
        """The encoding of `input_ids` [B, T].

        Args:
            input_ids: int64 [B, T].
            attention_mask: [B, T], 0 at padding; None if there is no padding.
            global_attention_mask: [B, T], above 0 for tokens that see, and are seen by, all tokens of their row. The
                first `config.global_attention_size` positions are global too.
            token_type_ids: int64 [B, T]; None for zeros.
            position_ids: int64 [B, T] or [1, T], rows of the position table; None to count from the first token of each
                row or document.
            inputs_embeds: [B, T, C] in place of `input_ids`.
            output_attentions: whether to return attention probabilities, without dropout, in the layout of
                `LongformerEncoder.forward`.
            output_hidden_states: whether to return the embeddings and the output of each layer.
            return_dict: False for a tuple.
            kwargs: `document_ids`, int64 [B, T], for rows with several consecutive documents: the document of each
                token, numbers that do not decrease along a row. Documents do not see each other, and the first
                `config.global_attention_size` positions of each are global. `global_slots`, the global tokens of a task
                head. Other arguments are ignored, as in transformers.

        Returns:
            `last_hidden_state` [B, T, C], `pooler_output` [B, C] of the first token (None without pooler),
            `hidden_states`, `attentions` and `global_attentions`.

        Raises:
            InputError: not exactly one of `input_ids` and `inputs_embeds` was given, a mask has another shape, the
                document ids decrease, or the input is longer than the position table.
        """
        # This also runs on transformers' model (`use_fast_attention`): it uses only the model's modules and
        # configuration, and functions of this package.
        inputs, shape = check_input(input_ids, inputs_embeds)
        if input_ids is not None:
            self.warn_if_padding_and_no_attention_mask(input_ids, attention_mask)
        is_token_BT = none_if_all(as_bool("attention_mask", attention_mask, shape))
        is_global_BT = as_bool("global_attention_mask", global_attention_mask, shape)
        document_ids = kwargs.get("document_ids")
        check_shape("document_ids", document_ids, shape)

        padding_idx: int = self.embeddings.padding_idx
        if position_ids is None:
            position_ids = position_ids_of(input_ids, inputs_embeds, is_token_BT, padding_idx, document_ids)
        check_positions(position_ids, self.embeddings.position_embeddings.num_embeddings, padding_idx)
        plan = plan_attention(
            self.config, shape, inputs.device, is_token_BT, is_global_BT, kwargs.get("global_slots"), document_ids
        )
        parts = {
            "input_ids": input_ids,
            "token_type_ids": token_type_ids,
            "position_ids": position_ids,
            "inputs_embeds": inputs_embeds,
        }
        output_attentions = value_or_config(output_attentions, self.config.output_attentions)
        packed_row = None
        if not output_attentions:
            plan, packed_row = unpad(plan, shape, self.config)
        if packed_row is not None:
            for name in ("token_type_ids", "position_ids"):
                check_shape(name, parts[name], shape, or_one_row=True)
            parts = {name: None if part is None else packed_row.pack(part) for name, part in parts.items()}
        encoded = self.encoder(
            self.embeddings(**parts),
            attention_mask=plan,
            output_attentions=output_attentions,
            output_hidden_states=value_or_config(output_hidden_states, self.config.output_hidden_states),
        )
        hidden_BTC, all_hidden = encoded.last_hidden_state, encoded.hidden_states
        if packed_row is not None:
            hidden_BTC = packed_row.unpack(hidden_BTC)
            if all_hidden is not None:
                all_hidden = (*map(packed_row.unpack, all_hidden[:-1]), hidden_BTC)
        pooled_BC = None
        if self.pooler is not None:
            pooled_BC = self.pooler(first_tokens(hidden_BTC, is_token_BT))
        if not value_or_config(return_dict, self.config.return_dict):
            rest = (all_hidden, encoded.attentions, encoded.global_attentions)
            return hidden_BTC, pooled_BC, *(output for output in rest if output is not None)
        return LongformerBaseModelOutputWithPooling(
            last_hidden_state=hidden_BTC,
            pooler_output=pooled_BC,
            hidden_states=all_hidden,
            attentions=encoded.attentions,
            global_attentions=encoded.global_attentions,
        )
