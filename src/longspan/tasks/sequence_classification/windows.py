"""Documents as overlapping windows of tokens, with the document's label where they are trained on."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from longspan.errors import InputError
from longspan.tasks.task import FeatureSet

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from longspan.data.classification import LabelledText


class WindowRow(dict[str, Any]):
    """One window: `input_ids`, `token_type_ids`, `example_index`, `window_index`, and `labels` where it has some."""


class DocumentWindows(FeatureSet):
    """The windows of some documents, tokenised once.

    Args:
        examples: the documents.
        tokenizer: a fast one.
        max_length: longest window in tokens, special ones included.
        overlap: tokens of the document that neighbouring windows share.
        first_only: make the first window of each document alone.
        target_of: example -> what the model is trained towards; None for rows without labels.

    Raises:
        InputError: a pair leaves no room for the document.
    """

    def __init__(
        self,
        examples: "Sequence[LabelledText]",
        tokenizer: "PreTrainedTokenizerBase",
        *,
        max_length: int,
        overlap: int,
        first_only: bool = False,
        target_of: Callable[[Any], Any] | None = None,
    ) -> None:
        from longspan.data.plain_text import plain_text_of

        self.counts: dict[str, int] = {}
        self.lengths: list[int] = []
        self.n_tokens: list[int] = []
        self.n_windows: list[int] = []
        self._rows: list[WindowRow] = []
        plain = plain_text_of(tokenizer)
        for index, example in enumerate(examples):
            ids = plain.encode_batch([example.text])[0].ids
            pair = None if example.pair is None else plain.encode_batch([example.pair])[0].ids
            frame = len(add_special_tokens(tokenizer, [], pair)["input_ids"])
            room = max_length - frame
            if room < 1:
                raise InputError(
                    f"document {example.id!r}: its second text has {frame:,} tokens and leaves no room in a window of "
                    f"{max_length:,}; shorten it"
                )
            step = room - overlap if overlap < room else (room + 1) // 2
            starts = [0] if len(ids) <= room else list(range(0, len(ids) - (room - step), step))
            self.n_tokens.append(frame + len(ids))
            self.n_windows.append(len(starts))
            for window, start in enumerate(starts[:1] if first_only else starts):
                row = WindowRow(add_special_tokens(tokenizer, ids[start : start + room], pair))
                row |= {"example_index": index, "window_index": window}
                if target_of is not None:
                    row["labels"] = target_of(example)
                self._rows.append(row)
                self.lengths.append(len(row["input_ids"]))
        if first_only and (n_cut := sum(n > 1 for n in self.n_windows)):
            self.counts["documents_cut"] = n_cut

    def __getitem__(self, index: int) -> WindowRow:
        """Return one window."""
        return self._rows[index]

    def sort_longest_first(self) -> None:
        """Put long windows first: what does not fit into memory fails at once."""
        order = np.argsort([-n for n in self.lengths], kind="stable")
        self._rows = [self._rows[i] for i in order]
        self.lengths = [self.lengths[i] for i in order]


def add_special_tokens(
    tokenizer: "PreTrainedTokenizerBase", ids: list[int], pair: list[int] | None
) -> dict[str, list[int]]:
    """Return ids and token types with the tokenizer's special tokens around them."""
    from longspan.data.corpora.encoder import find_frame
    from longspan.data.qa.tokens import find_template

    if pair is None:
        frame = find_frame(tokenizer)
        own = [*frame.before, *ids, *frame.after]
        return {"input_ids": own, "token_type_ids": [0] * len(own)}
    template = find_template(tokenizer)
    parts = [
        *template.before,
        *((i, template.question_type) for i in ids),
        *template.between,
        *((i, template.context_type) for i in pair),
        *template.after,
    ]
    return {"input_ids": [i for i, _ in parts], "token_type_ids": [kind for _, kind in parts]}
