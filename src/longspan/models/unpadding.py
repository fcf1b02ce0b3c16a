"""Padding taken out once where a batch enters, and put back once where it leaves: rows cost their own tokens.

The tokens of all rows lie one after another in one packed row, each row a document of its own, or several
(`Documents`), so that embeddings, projections, attention and feed-forward run over tokens alone. One padding token
rides along at the end: all padding of a batch comes out of a layer alike, since nothing attends to it or from it, and
its output is put back wherever padding was. Logits there, and losses that count them, stay what they are without
unpadding.

B batch rows  T tokens of the longest row  C model width  N packed tokens, the padding token included  G global slots
"""

from typing import NamedTuple

import torch
import transformers
from torch import Tensor

from longspan.attention import Documents, GlobalSlots
from longspan.models.config import attention_patterns, unpad_inputs
from longspan.models.plan import AttentionPlan

# The share of padding from which taking it out pays (docs/experiments.md).
WORTHWHILE = 0.05


class Packing(NamedTuple):
    """Where the tokens of a padded batch lie in the packed row.

    Attributes:
        shape: B and T of the padded batch.
        place_N: int64, the place of each packed token among the B*T of the padded batch; the last one is padding.
    """

    shape: tuple[int, int]
    place_N: Tensor

    def take(self, x_BT: Tensor) -> Tensor:
        """[B, T, ...] as [1, N, ...]; [1, T, ...] stands for all rows alike."""
        if x_BT.shape[0] != self.shape[0]:
            x_BT = x_BT.expand(self.shape[0], *x_BT.shape[1:])
        return x_BT.flatten(0, 1).index_select(0, self.place_N)[None]

    def put_back(self, x_1NC: Tensor) -> Tensor:
        """[1, N, C] as [B, T, C], with what the padding token holds wherever padding is."""
        B, T = self.shape
        tokens_NC, padding_1C = x_1NC[0].split([x_1NC.shape[1] - 1, 1])
        # Backwards a copy by index is a selection of rows; a selection would be a sum by index.
        return padding_1C.expand(B * T, -1).index_copy(0, self.place_N[:-1], tokens_NC).unflatten(0, (B, T))


def unpad(
    plan: AttentionPlan, shape: tuple[int, int], config: transformers.PreTrainedConfig
) -> tuple[AttentionPlan, Packing | None]:
    """The plan of the packed row and where things lie in it; the plan as given, and None, where nothing is taken out.

    That is where `config.unpad_inputs` says so, while a compiler traces, where tokens follow padding in the midst of a
    row (distances would change), where the feed-forward is cut into chunks that the packed row may not divide into;
    and, unless told to, where little is padding or the backend named is the reference. Waits for the device once.

    Args:
        plan: of the padded batch.
        shape: B and T.
        config: with `unpad_inputs`, or without.
    """
    wanted = unpad_inputs(config)
    is_traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
    if plan.is_token_BT is None or wanted is False or is_traced or plan.is_token_BT.is_meta:
        return plan, None
    if getattr(config, "chunk_size_feed_forward", 0):
        return plan, None
    if wanted is None and plan.backend == "reference":
        # It computes all pairs of tokens: those of one long row are more than those of several short ones.
        return plan, None
    B, T = shape
    device = plan.is_token_BT.device
    is_token_BT = plan.is_token_BT.cpu()
    padded = plan.documents or Documents.find(torch.zeros(shape, dtype=torch.int64), is_token_BT)
    n_tokens = sum(stop - start for _, start, stop in padded.bounds)
    n_padding = B * T - n_tokens
    if n_padding == 0 or n_tokens == 0 or n_tokens != int(is_token_BT.sum()):
        return plan, None
    if wanted is None and n_padding < WORTHWHILE * B * T:
        return plan, None

    place_N = torch.cat(
        [is_token_BT.flatten().nonzero()[:, 0], (~is_token_BT).flatten().to(torch.uint8).argmax()[None]]
    )
    # The inverse; at padding anything, where slots are unused.
    packed_of_place = torch.zeros(B * T, dtype=torch.int64)
    packed_of_place[place_N] = torch.arange(n_tokens + 1)
    documents = Documents.of_lengths([*(stop - start for _, start, stop in padded.bounds), 1], device)
    packed_plan = plan._replace(
        # The first positions are those of each row, not of the packed one: slots say which they are.
        patterns=attention_patterns(config, n_global=0),
        is_token_BT=None,
        slots=None if plan.slots is None else _packed_slots(plan.slots, padded, packed_of_place.to(device), T),
        documents=documents,
        document_BT=documents.id_BT,
        is_blank_BT1=(documents.id_BT == len(padded.bounds))[..., None],
    )
    return packed_plan, Packing(shape, place_N.to(device))


def _packed_slots(slots: GlobalSlots, padded: Documents, packed_of_place: Tensor, n_tokens: int) -> GlobalSlots:
    """Slots of the padded batch as slots of the packed row, [1, B*G]."""
    B, G = slots.index_BG.shape
    row_B1 = torch.arange(B, device=slots.index_BG.device)[:, None]
    index_BG = packed_of_place[row_B1 * n_tokens + slots.index_BG].masked_fill(~slots.is_used_BG, 0)
    of_documents = slots.of_documents or ((0, G),) * len(padded.bounds)
    of_packed = [
        (row * G + first, row * G + last) for (row, *_), (first, last) in zip(padded.bounds, of_documents, strict=True)
    ]
    # The padding token's document has none.
    return GlobalSlots(index_BG.reshape(1, -1), slots.is_used_BG.reshape(1, -1), of_documents=(*of_packed, (0, 0)))
