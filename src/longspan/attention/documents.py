"""Several documents in one row that do not see each other: the document of each token, and the bounds of each document.

B batch rows  T tokens
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from longspan.errors import InputError


class Documents(NamedTuple):
    """The documents of a batch; found once, so that no layer has to read the data again.

    Attributes:
        id_BT: int64, the document of each token; ids do not decrease along a row. Values at padding are ignored.
        bounds: (row, start, stop) of each document in order, on the host, from its first token to after its last one.
            Padding before, between and after documents is outside all bounds. Padding inside a document is inside its
            bounds; `is_token_BT` still marks it.
    """

    id_BT: Tensor
    bounds: tuple[tuple[int, int, int], ...]

    @staticmethod
    def find(document_BT: Int[Tensor, "B T"], is_token_BT: Bool[Tensor, "B T"] | None = None) -> "Documents":
        """The documents given by the ids in `document_BT`; ids at padding are ignored.

        It reads the data, which waits for the device once.

        Args:
            document_BT: whole numbers [B, T] that do not decrease along a row.
            is_token_BT: bool [B, T], False at padding; None if there is no padding.

        Raises:
            InputError: the ids decrease along a row.
        """
        id_BT = document_BT.to(torch.int64)
        if is_token_BT is None:
            on_host = id_BT.cpu()
            token_of_BT = None
        else:
            on_host, token_of_BT = torch.stack([id_BT, is_token_BT.to(torch.int64)]).cpu()
        # The tokens of all rows without padding; a document begins where the row or the id changes.
        n_tokens = on_host.shape[1]
        place_N = torch.arange(on_host.numel()) if token_of_BT is None else token_of_BT.flatten().nonzero()[:, 0]
        if len(place_N) == 0:
            return Documents(id_BT, ())
        id_N = on_host.flatten()[place_N]
        row_N, position_N = place_N // n_tokens, place_N % n_tokens
        is_same_row = row_N[1:] == row_N[:-1]
        backwards = (is_same_row & (id_N[1:] < id_N[:-1])).nonzero()
        if len(backwards):
            where = int(backwards[0]) + 1
            raise InputError(
                f"document_BT goes backwards in row {int(row_N[where])} at token {int(position_N[where])}; ids must not"
                " decrease along a row (documents lie one after another, each in one piece)"
            )
        is_new = ~is_same_row | (id_N[1:] != id_N[:-1])
        edge = torch.cat([torch.zeros(1, dtype=torch.int64), is_new.nonzero()[:, 0] + 1, torch.tensor([len(id_N)])])
        first, last = edge[:-1], edge[1:] - 1
        return Documents(
            id_BT,
            tuple(zip(row_N[first].tolist(), position_N[first].tolist(), (position_N[last] + 1).tolist(), strict=True)),
        )

    @staticmethod
    def of_lengths(lengths: Sequence[int], device: torch.device | str | None = None) -> "Documents":
        """One row of documents without padding; ids count from 0. It does not wait for the device.

        Args:
            lengths: number of tokens of each document.
            device: device of `id_BT`.

        Raises:
            InputError: there is no document, or a document has no token.
        """
        if not lengths or min(lengths) < 1:
            raise InputError(f"each document needs at least one token, and there must be one; got {list(lengths)}")
        stops = list(accumulate(lengths))
        starts = [0, *stops[:-1]]
        id_T = torch.repeat_interleave(
            torch.arange(len(lengths), device=device), torch.tensor(lengths, device=device), output_size=stops[-1]
        )
        return Documents(id_T[None], tuple((0, start, stop) for start, stop in zip(starts, stops, strict=True)))
