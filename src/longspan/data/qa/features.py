"""Makes windows of tokens from questions and documents, with answers aligned to tokens.

A document that does not fit is read in overlapping windows; each window repeats the question. Each document and
question is tokenised once, even if several windows and questions share it. A `QaFeature` is built only when it is
accessed, so that a hundred thousand windows take no more memory than their documents' tokens.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, overload

import numpy as np
from transformers import PreTrainedTokenizerBase

from longspan.data.decoding import require_text
from longspan.data.qa.examples import QaExample
from longspan.data.qa.tokens import DocumentTokens, Template, find_template, tokenise
from longspan.errors import InputError
from longspan.progress import progress_bar


@dataclass(kw_only=True)
class QaFeature:
    """One window: a question and a part of its document, without padding.

    Attributes:
        example_index: number of the question in the examples.
        window_index: number of the window among those of the question, from 0.
        n_windows: number of windows of the question.
        input_ids: special tokens, question, part of the document.
        token_type_ids: None if the tokenizer's models take none.
        attention_mask: all 1.
        is_question: True for tokens before the first separator: `<s>` or `[CLS]`, and the question's tokens. These are
            the global tokens of transformers' Longformer for question answering.
        offsets: character spans in the context of context tokens, without blanks at their ends and with whole graphemes
            (the tokens of a grapheme share its span); None for other tokens.
        start_position: first token of the first gold answer that has an offset; 0 if the window does not contain the
            whole answer; None without labels.
        end_position: last token of this answer, likewise.
        start_positions: if all answers are trained on at once (`QaExample.supervision`): first tokens of all gold
            answers that are whole in this window, ascending and unique; [0] if there is none. `start_position` is then
            the first of them. None otherwise.
        end_positions: last tokens, likewise.
    """

    example_index: int
    window_index: int
    n_windows: int
    input_ids: list[int]
    token_type_ids: list[int] | None
    attention_mask: list[int]
    is_question: list[bool]
    offsets: list[tuple[int, int] | None]
    start_position: int | None = None
    end_position: int | None = None
    start_positions: list[int] | None = None
    end_positions: list[int] | None = None


class _Window(NamedTuple):
    example_index: int
    window_index: int
    n_windows: int
    begin: int  # first token of the context in this window
    end: int
    start_position: int
    end_position: int
    start_positions: list[int] | None
    end_positions: list[int] | None


class QaFeatures(Sequence[QaFeature]):
    """The windows of questions, in the questions' order; a `QaFeature` is built when it is accessed.

    Attributes:
        counts: `questions`, `windows`, and if not zero: `answers_without_window` (questions whose answer is whole in no
            window), `questions_without_label` (left out of features with labels, because no gold answer has an offset),
            `smaller_overlaps` (questions so long that their windows overlap by less than requested).
        lengths: int64 array, number of tokens of each window; for grouping by length without building features.
    """

    def __init__(
        self,
        windows: Sequence[_Window],
        contexts: list[DocumentTokens],
        questions: list[DocumentTokens],
        template: Template,
        *,
        with_labels: bool,
        with_types: bool,
        counts: Counter[str],
    ) -> None:
        # contexts[i] and questions[i] belong to example i; equal texts share one entry.
        self._windows = windows
        self._contexts = contexts
        self._questions = questions
        self._template = template
        self._with_labels = with_labels
        self._with_types = with_types
        self.counts = dict(counts)
        lengths = (template.n_special + len(questions[w.example_index].ids) + w.end - w.begin for w in windows)
        self.lengths = np.fromiter(lengths, np.int64, len(windows))

    def __len__(self) -> int:
        return len(self._windows)

    @overload
    def __getitem__(self, index: int) -> QaFeature: ...
    @overload
    def __getitem__(self, index: slice) -> list[QaFeature]: ...
    def __getitem__(self, index: int | slice) -> QaFeature | list[QaFeature]:
        if isinstance(index, slice):
            return [self._build(window) for window in self._windows[index]]
        return self._build(self._windows[index])

    def __iter__(self) -> Iterator[QaFeature]:
        return map(self._build, self._windows)

    def _build(self, window: _Window) -> QaFeature:
        template = self._template
        question = self._questions[window.example_index].ids[:].tolist()
        context = self._contexts[window.example_index]
        before, between, after = template.before, template.between, template.after
        n_before = len(before) + len(question)
        input_ids = [token for token, _ in before] + question + [token for token, _ in between]
        input_ids += context.ids[window.begin : window.end].tolist()
        input_ids += [token for token, _ in after]
        offsets: list[tuple[int, int] | None] = [None] * (n_before + len(between))
        offsets += map(tuple, context.spans[window.begin : window.end].tolist())
        offsets += [None] * len(after)
        types = None
        if self._with_types:
            types = [type_id for _, type_id in before] + [template.question_type] * len(question)
            types += [type_id for _, type_id in between] + [template.context_type] * (window.end - window.begin)
            types += [type_id for _, type_id in after]
        return QaFeature(
            example_index=window.example_index,
            window_index=window.window_index,
            n_windows=window.n_windows,
            input_ids=input_ids,
            token_type_ids=types,
            attention_mask=[1] * len(input_ids),
            is_question=[True] * n_before + [False] * (len(input_ids) - n_before),
            offsets=offsets,
            start_position=window.start_position if self._with_labels else None,
            end_position=window.end_position if self._with_labels else None,
            start_positions=window.start_positions,
            end_positions=window.end_positions,
        )


def make_qa_features(
    examples: Sequence[QaExample],
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
    overlap: int,
    with_labels: bool,
    progress: bool = False,
    document: DocumentTokens | None = None,
) -> QaFeatures:
    """Tokenise questions and documents, split long documents into windows, and align gold answers with tokens.

    Every token of a document is in a window. Blanks around a question are removed. With labels, a question with answers
    of which none has an offset is left out and counted. A question without an answer (SQuAD 2.0), and a window without
    the whole answer, are labelled with the first token. If there are several gold answers, the first one or all of them
    are labels (`QaExample.supervision`).

    Args:
        examples: the questions.
        tokenizer: any fast tokenizer. Its padding and truncation settings are ignored.
        max_length: tokens per window, special tokens and question included.
        overlap: context tokens that a window shares with the one before.
        with_labels: set the features' start and end positions.
        progress: show a bar.
        document: tokens of the document of all examples, used instead of their contexts. They may be in a file
            (`longspan.data.stored`). Only without labels.

    Returns:
        The windows, in the order of `examples`, with counts.

    Raises:
        InputError: a question leaves no room for its document (the message names the question and both lengths); a
            question or document is empty or not valid text; `max_length` or `overlap` is out of range; the tokenizer is
            not a fast one.
    """
    assert document is None or not with_labels, "labels are found in memory"
    _check(examples, tokenizer, max_length, overlap, has_contexts=document is None)
    template = find_template(tokenizer)
    question_texts = [example.question.strip() for example in examples]
    with progress_bar(total=2 * len(examples), desc="tokenise", unit="text", is_shown=progress) as bar:
        questions = tokenise(question_texts, tokenizer, bar)
        if document is None:
            contexts = tokenise([example.context for example in examples], tokenizer, bar)
        else:
            contexts = [document] * len(examples)

    counts: Counter[str] = Counter(questions=len(examples))
    windows = _UnlabelledWindows()
    labelled_windows: list[_Window] = []
    for i, example in enumerate(examples):
        room = max_length - template.n_special - len(questions[i].ids)
        if room < 1:
            raise InputError(
                f"question {example.id} has {len(questions[i].ids)} tokens; with {template.n_special} special tokens "
                f"it leaves no room for its document in {max_length} tokens; shorten the question or raise max_length"
            )
        has_place = any(answer.start is not None for answer in example.answers)
        if with_labels and example.answers and not has_place:
            counts["questions_without_label"] += 1
            continue
        spans = _window_spans(len(contexts[i].ids), room, overlap)
        counts["smaller_overlaps"] += spans.n_windows > 1 and overlap >= room
        if not with_labels:
            windows.append(i, spans)
            continue
        labelled = _labelled_spans(example, contexts[i].spans[:])
        shift = len(template.before) + len(questions[i].ids) + len(template.between)
        is_held = False
        for k, (begin, end) in enumerate(map(spans.of, range(spans.n_windows))):
            held = labelled[(labelled[:, 0] >= begin) & (labelled[:, 1] < end)] - begin + shift
            is_held |= len(held) > 0
            first, last = held[0].tolist() if len(held) else (0, 0)
            starts = ends = None
            if example.supervision == "all":
                starts, ends = (np.unique(held[:, side]).tolist() or [0] for side in (0, 1))
            labelled_windows.append(_Window(i, k, spans.n_windows, begin, end, first, last, starts, ends))
        counts["answers_without_window"] += has_place and not is_held
    counts["windows"] = len(labelled_windows) if with_labels else len(windows)
    return QaFeatures(
        labelled_windows if with_labels else windows,
        contexts,
        questions,
        template,
        with_labels=with_labels,
        with_types="token_type_ids" in tokenizer.model_input_names,
        counts=Counter({key: n for key, n in counts.items() if n}),
    )


def _check(
    examples: Sequence[QaExample],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    overlap: int,
    *,
    has_contexts: bool,
) -> None:
    if not getattr(tokenizer, "is_fast", False):
        raise InputError(
            f"{type(tokenizer).__name__} is not a fast tokenizer, and only fast ones know the characters of each "
            "token; convert it to the tokenizers library's format (tokenizer.json)"
        )
    if max_length < 1:
        raise InputError(f"max_length is {max_length}; it must be the tokens per window, for instance 512")
    if not 0 <= overlap < max_length:
        raise InputError(
            f"overlap is {overlap}; it should be between 0 and max_length ({max_length}), for instance 128"
        )
    require_texts(examples, has_contexts=has_contexts)


def require_texts(examples: Sequence[QaExample], *, has_contexts: bool = True) -> None:
    """Refuse questions and documents that a tokenizer cannot read.

    Args:
        examples: the questions.
        has_contexts: check the documents, too.

    Raises:
        InputError: a text is empty or has a lone surrogate (`require_text`); the message names the question.
    """
    checked: str | None = None  # neighbouring questions share their document
    for example in examples:
        if not example.question.strip():
            raise InputError(f"question {example.id!r} is empty; give it some text or remove it")
        require_text(example.question, f"question {example.id!r}")
        if example.context is checked or not has_contexts:
            continue
        checked = example.context
        if not checked.strip():
            raise InputError(f"the document of question {example.id!r} is empty; give it some text or remove it")
        require_text(checked, f"the document of question {example.id!r}")


class _WindowSpans(NamedTuple):
    """The context tokens of each window, as [begin, end); a document without tokens has one window."""

    n_tokens: int
    room: int
    step: int
    n_windows: int

    def of(self, k: int) -> tuple[int, int]:
        """The span of window `k`."""
        return k * self.step, min(k * self.step + self.room, self.n_tokens)


def _window_spans(n_tokens: int, room: int, overlap: int) -> _WindowSpans:
    # If a long question leaves less room than the overlap, windows overlap by half.
    step = room - overlap if overlap < room else (room + 1) // 2
    return _WindowSpans(n_tokens, room, step, 1 + max(0, -(-(n_tokens - room) // step)))


class _UnlabelledWindows(Sequence[_Window]):
    """Windows that are computed on access, so that those of a long document take no memory."""

    def __init__(self) -> None:
        self._spans: list[tuple[int, _WindowSpans]] = []
        self._firsts = [0]

    def append(self, example_index: int, spans: _WindowSpans) -> None:
        """Add the windows of a question."""
        self._spans.append((example_index, spans))
        self._firsts.append(self._firsts[-1] + spans.n_windows)

    def __len__(self) -> int:
        return self._firsts[-1]

    @overload
    def __getitem__(self, index: int) -> _Window: ...
    @overload
    def __getitem__(self, index: slice) -> list[_Window]: ...
    def __getitem__(self, index: int | slice) -> _Window | list[_Window]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        place = bisect_right(self._firsts, index) - 1
        example_index, spans = self._spans[place]
        k = index - self._firsts[place]
        return _Window(example_index, k, spans.n_windows, *spans.of(k), 0, 0, None, None)


def _labelled_spans(example: QaExample, spans: np.ndarray) -> np.ndarray:
    """First and last token of each answer to train on, int64 [answers, 2], sorted by first token."""
    placed = [(answer.start, answer.text) for answer in example.answers if answer.start is not None]
    if example.supervision == "first":
        placed = placed[:1]
    found = [_token_span(spans, start, start + len(text)) for start, text in placed]
    return np.array(sorted({span for span in found if span is not None}), np.int64).reshape(-1, 2)


def _token_span(spans: np.ndarray, start: int, end: int) -> tuple[int, int] | None:
    """First and last token that share a character with `start:end`; None if no token does."""
    touching = np.flatnonzero((spans[:, 0] < end) & (spans[:, 1] > start) & (spans[:, 1] > spans[:, 0]))
    return (int(touching[0]), int(touching[-1])) if len(touching) else None
