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
from longspan.models.config import attention_backend, attention_patterns, unpad_inputs
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
    and, unless told to, where little is padding or the backend named is the reference. Waits for the device once, for
    all layers: what they ask of documents and slots is known on the host afterwards.

    Args:
        plan: of the padded batch.
        shape: B and T.
        config: with `unpad_inputs`, or without.
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
    # The inverse; at padding anything, where slots are unused.
    packed_of_place = torch.zeros(B * T, dtype=torch.int64)
    packed_of_place[place_N] = torch.arange(n_tokens + 1)
    documents = Documents.of_lengths([*(stop - start for _, start, stop in padded.bounds), 1], device)
    packed_plan = plan._replace(
        # The first positions are those of each row, not of the packed one: slots say which they are.
        patterns=attention_patterns(config, n_global=0),
        is_token_BT=None,
        slots=None if slots is None else _packed_slots(slots, padded, packed_of_place, T, device),
        documents=documents,
        document_BT=documents.id_BT,
        is_blank_BT1=(documents.id_BT == len(padded.bounds))[..., None],
    )
    return packed_plan, Packing(shape, place_N.to(device))


def may_unpad(config: transformers.PreTrainedConfig) -> bool:
    """Whether batches of a model are unpadded where padding is enough of them; not while a compiler traces."""
    wanted = unpad_inputs(config)
    if wanted is False or getattr(config, "chunk_size_feed_forward", 0):
        return False
    # The reference computes all pairs of tokens: those of one long row are more than those of several short ones.
    return wanted is True or attention_backend(config) != "reference"


def _on_host(is_token_BT: Tensor, slots: GlobalSlots | None) -> tuple[Tensor, GlobalSlots | None]:
    """Copies on the host, fetched in one piece: whatever is to be known of them is found there, and no layer waits."""
    if slots is None:
        return is_token_BT.cpu(), None
    given = (is_token_BT, slots.index_BG, slots.is_used_BG)
    numbers = torch.cat([x.to(torch.int64).flatten() for x in given]).cpu()
    found = [x.view(its.shape) for x, its in zip(numbers.split([x.numel() for x in given]), given, strict=True)]
    return found[0].bool(), slots._replace(index_BG=found[1], is_used_BG=found[2].bool())


def _packed_slots(
    slots: GlobalSlots, padded: Documents, packed_of_place: Tensor, n_tokens: int, device: torch.device
) -> GlobalSlots:
    """Slots of the padded batch, on the host, as slots of the packed row, [1, B*G], on the device.

    Which are whose, and whether each document begins with its own, is known on the host as before.
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
        of_documents=(*of_packed, (0, 0)),  # the padding token's document has none
        start_documents=slots.start_documents,
    )
