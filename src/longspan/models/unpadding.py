"""Unpadding: padding is removed before the first layer and restored after the last one.

The tokens of all rows are concatenated into one packed row, in which each row is one or several documents
(`Documents`), so that embeddings, projections, attention and feed-forward compute tokens only. One padding token is
kept at the end. All padding of a batch has equal outputs, since it attends to nothing and nothing attends to it, and
the output of the kept token is written wherever padding was. Logits at padding, and losses that count them, do not
change.

B batch rows  T tokens of the longest row  C model width  N packed tokens, the padding token included  G global slots
"""

from typing import NamedTuple

import torch
import transformers
from torch import Tensor

from longspan.attention import Documents, GlobalSlots
from longspan.models.config import attention_backend, attention_patterns, unpad_inputs
from longspan.models.plan import AttentionPlan

# The share of padding from which removing it is faster (docs/experiments.md).
WORTHWHILE = 0.05


class PackedRow(NamedTuple):
    """The packed row of a padded batch.

    Attributes:
        shape: B and T of the padded batch.
        place_N: int64, index of each packed token among the B*T tokens of the batch; the last one is padding.
    """

    shape: tuple[int, int]
    place_N: Tensor

    def pack(self, x_BT: Tensor) -> Tensor:
        """[B, T, ...] as [1, N, ...]; [1, T, ...] is repeated for all rows."""
        if x_BT.shape[0] != self.shape[0]:
            x_BT = x_BT.expand(self.shape[0], *x_BT.shape[1:])
        return x_BT.flatten(0, 1).index_select(0, self.place_N)[None]

    def unpack(self, x_1NC: Tensor) -> Tensor:
        """[1, N, C] as [B, T, C]; padding gets the values of the padding token."""
        B, T = self.shape
        tokens_NC, padding_1C = x_1NC[0].split([x_1NC.shape[1] - 1, 1])
        # The gradient of a copy by index is a selection of rows; that of a selection would be a sum by index.
        return padding_1C.expand(B * T, -1).index_copy(0, self.place_N[:-1], tokens_NC).unflatten(0, (B, T))


def unpad(
    plan: AttentionPlan, shape: tuple[int, int], config: transformers.PreTrainedConfig
) -> tuple[AttentionPlan, PackedRow | None]:
    """The plan of the packed row and the packed row; the given plan and None if padding is not removed.

    Padding is not removed in these cases: `config.unpad_inputs` is false; a compiler traces; padding lies between
    tokens of a row (distances would change); the feed-forward is cut into chunks, which may not divide the packed row;
    and, unless `unpad_inputs` is true, there is little padding or the named backend is the reference. It waits for the
    device once; afterwards the host knows all documents and slots.

    Args:
        plan: the plan of the padded batch.
        shape: B and T.
        config: configuration of the model, with or without `unpad_inputs`.
    """
    is_traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
    if plan.is_token_BT is None or is_traced or plan.is_token_BT.is_meta or not may_unpad(config):
        return plan, None
    B, T = shape
    device = plan.is_token_BT.device
    is_token_BT, slots = _on_host(plan.is_token_BT, plan.slots)
    padded = plan.documents or Documents.find(torch.zeros(shape, dtype=torch.int64), is_token_BT)
    n_tokens = sum(stop - start for _, start, stop in padded.bounds)
    n_padding = B * T - n_tokens
    if n_padding == 0 or n_tokens == 0 or n_tokens != int(is_token_BT.sum()):
        return plan, None
    if unpad_inputs(config) is None and n_padding < WORTHWHILE * B * T:
        return plan, None

    place_N = torch.cat(
        [is_token_BT.flatten().nonzero()[:, 0], (~is_token_BT).flatten().to(torch.uint8).argmax()[None]]
    )
    # The inverse of place_N; values at padding are not used.
    packed_of_place = torch.zeros(B * T, dtype=torch.int64)
    packed_of_place[place_N] = torch.arange(n_tokens + 1)
    documents = Documents.of_lengths([*(stop - start for _, start, stop in padded.bounds), 1], device)
    packed_plan = plan._replace(
        # "First" means first in each row, not in the packed one; the slots hold these positions.
        patterns=attention_patterns(config, n_global=0),
        is_token_BT=None,
        slots=None if slots is None else _packed_slots(slots, padded, packed_of_place, T, device),
        documents=documents,
        document_BT=documents.id_BT,
        is_blank_BT1=(documents.id_BT == len(padded.bounds))[..., None],
    )
    return packed_plan, PackedRow(shape, place_N.to(device))


def may_unpad(config: transformers.PreTrainedConfig) -> bool:
    """Whether a model removes enough padding from batches, outside of a compiler."""
    wanted = unpad_inputs(config)
    if wanted is False or getattr(config, "chunk_size_feed_forward", 0):
        return False
    # The reference computes all pairs of tokens, which are more in one long row than in several short ones.
    return wanted is True or attention_backend(config) != "reference"


def _on_host(is_token_BT: Tensor, slots: GlobalSlots | None) -> tuple[Tensor, GlobalSlots | None]:
    """Copies of the mask and the slots on the host, fetched at once, so that no layer waits."""
    if slots is None:
        return is_token_BT.cpu(), None
    given = (is_token_BT, slots.index_BG, slots.is_used_BG)
    numbers = torch.cat([x.to(torch.int64).flatten() for x in given]).cpu()
    found = [x.view(like.shape) for x, like in zip(numbers.split([x.numel() for x in given]), given, strict=True)]
    return found[0].bool(), slots._replace(index_BG=found[1], is_used_BG=found[2].bool())


def _packed_slots(
    slots: GlobalSlots, padded: Documents, packed_of_place: Tensor, n_tokens: int, device: torch.device
) -> GlobalSlots:
    """The slots of the padded batch (on the host) as slots of the packed row, [1, B*G], on the device.

    `of_documents` and `start_documents` are kept.
    """
    if slots.of_documents is None:
        slots = slots.by_document(padded)
    assert slots.of_documents is not None
    B, G = slots.index_BG.shape
    place_BG = torch.arange(B)[:, None] * n_tokens + slots.index_BG
    index_BG = packed_of_place[place_BG].masked_fill(~slots.is_used_BG, 0)
    of_packed = [
        (row * G + first, row * G + last)
        for (row, *_), (first, last) in zip(padded.bounds, slots.of_documents, strict=True)
    ]
    return GlobalSlots(
        index_BG.reshape(1, -1).to(device, non_blocking=True),
        slots.is_used_BG.reshape(1, -1).to(device, non_blocking=True),
        of_documents=(*of_packed, (0, 0)),  # the document of the padding token has no slot
        start_documents=slots.start_documents,
    )
