"""Extractive question answering with any transformers model that gives start and end logits.

Documents longer than the model are read in overlapping windows; every question gets exactly one prediction.
"""

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from longspan.data.qa import QaExample, QaFeature, QaFeatures, make_qa_features
from longspan.data.qa.features import require_texts
from longspan.data.stored import StoredDocument, StoredText
from longspan.errors import InputError
from longspan.graphemes import Text
from longspan.models.agreement import require_agreement
from longspan.progress import progress_bar
from longspan.tasks.predicting import autocast, check_max_length, default_overlap, require_device
from longspan.tasks.question_answering.batch import GlobalTokens, ModelCollator
from longspan.tasks.question_answering.decoding import Span, SpanDecoder, WindowLogits, argmax_span, is_aligned

# Text that is tokenised ahead: enough for batches of similar lengths, without features of a whole corpus in memory.
_CHUNK_CHARACTERS = 4_000_000
_CHUNK_EXAMPLES = 256


@dataclass
class QaPrediction:
    """The answer to one question: `context[start:end] == text`; all empty (0, 0) if no window holds any context.

    `score` is the softmax over the alternatives, `logit` the best span's start + end logit. `no_answer_score` is
    on the scale of `logit`: if it is higher, the model finds that the document does not answer the question.
    `n_windows` were read; `n_tokens` counts question, special tokens and the part of the document that was read, each
    token once. `seconds` is this question's share of the tokenising, the batches it was in and the decoding.
    `argmax_text` is what Sagen's thesis would have taken from the first window: the text between the likeliest start
    and the likeliest end, maybe empty; None for questions it drops, whose first gold answer (if any is known) is not
    aligned to tokens of that window.
    `windows` are the characters from the first to the last token of each window that was read, and `n_tokens_document`
    counts question and whole document; they are empty and None for a document that is read as a stream.
    """

    id: str
    text: str
    start: int
    end: int
    score: float
    alternatives: list[Span]
    no_answer_score: float
    n_windows: int
    n_tokens: int
    seconds: float
    logit: float = field(default=float("-inf"))
    argmax_text: str | None = None
    windows: list[tuple[int, int]] = field(default_factory=list)
    n_tokens_document: int | None = None


class QaPredictor:
    """Answers questions with one model.

    Args:
        model: any transformers model whose outputs have `start_logits` and `end_logits`.
        tokenizer: its fast tokenizer.
        max_length: longest window in tokens, question and special tokens included; None: all that the model takes.
        overlap: tokens of the document that neighbouring windows share; None: 128, or a quarter of a shorter window.
        truncate: read the first window only; an answer beyond it cannot be found.
        global_tokens: "question" or "none"; only Longformer models have global tokens.
        batch_size: windows per batch.
        max_answer_tokens: longest answer.
        n_best: alternatives kept for each question.
        device: where to run; None: where the model is.
        dtype: torch.bfloat16 or torch.float16 run under autocast; None: as the model is.

    Raises:
        InputError: `max_length` is beyond the model, the model's own limit is unknown and none is given, the
            tokenizer is not a fast one or makes ids that the model has no rows for, `device` does not exist, or another
            option is out of range.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_length: int | None = None,
        overlap: int | None = None,
        truncate: bool = False,
        global_tokens: GlobalTokens = "question",
        batch_size: int = 8,
        max_answer_tokens: int = 30,
        n_best: int = 20,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if not tokenizer.is_fast:
            raise InputError(f"{type(tokenizer).__name__} has no character offsets; use the fast tokenizer")
        for name, value in (("batch_size", batch_size), ("max_answer_tokens", max_answer_tokens), ("n_best", n_best)):
            if value < 1:
                raise InputError(f"{name} is {value}; it must be at least 1")
        if isinstance(model, PreTrainedModel):  # not PEFT's wrapper around one
            require_agreement(model.name_or_path or type(model).__name__, model, tokenizer)
        self.model = model if device is None else model.to(require_device(device))  # pyright: ignore[reportArgumentType]
        self.tokenizer = tokenizer
        self.max_length = check_max_length(model, max_length)
        self.overlap = default_overlap(self.max_length) if overlap is None else overlap
        self.truncate = truncate
        self.global_tokens = global_tokens
        self.batch_size = batch_size
        self.max_answer_tokens = max_answer_tokens
        self.n_best = n_best
        self.dtype = dtype
        self._collate = ModelCollator(model, tokenizer, global_tokens=global_tokens)

    @property
    def has_global_tokens(self) -> bool:
        """Whether the question's tokens are global."""
        return self.global_tokens == "question"

    def describe(self) -> dict[str, Any]:
        """Return the options that only question answering has, for records."""
        own: dict[str, Any] = {"max_answer_tokens": self.max_answer_tokens, "n_best": self.n_best}
        return own | ({"global_tokens": self.global_tokens} if self.model.config.model_type == "longformer" else {})

    def predict(self, examples: Sequence[QaExample], *, progress: bool = True) -> list[QaPrediction]:
        """One prediction for each example, in the given order.

        Raises:
            InputError: a document or question is empty or not valid text, a question leaves no room for the document,
                the model's outputs are not those of question answering, or its logits are NaN (each names the example).
        """
        require_texts(examples)
        return self._predict(list(_chunks(examples)), None, progress=progress)

    def predict_document(
        self, text: StoredText, questions: Sequence[tuple[str, str]], *, progress: bool = True
    ) -> list[QaPrediction]:
        """One prediction for each question about one document, of any length: memory does not grow with it.

        The document is tokenised once, into temporary files.

        Args:
            text: of the document.
            questions: id and text of each.
            progress: show a bar.

        Raises:
            InputError: as `predict`, or there is no room for temporary files.
        """
        examples = [QaExample(id=name, question=question, context="", answers=()) for name, question in questions]
        require_texts(examples, has_contexts=False)
        if text.is_blank:
            raise InputError("the document is empty; give it some text")
        # As many questions at once as `predict` takes for documents of this length.
        n = min(-(-_CHUNK_CHARACTERS // len(text)), _CHUNK_EXAMPLES)
        chunks = [examples[first : first + n] for first in range(0, len(examples), n)]
        began = time.perf_counter()
        with contextlib.closing(StoredDocument(text, self.tokenizer)) as document:
            seconds = (time.perf_counter() - began) / max(len(examples), 1)
            return self._predict(chunks, document, progress=progress, seconds=seconds)

    def _predict(
        self,
        chunks: Sequence[Sequence[QaExample]],
        document: StoredDocument | None,
        *,
        progress: bool,
        seconds: float = 0.0,
    ) -> list[QaPrediction]:
        predictions: list[QaPrediction] = []
        was_training = self.model.training
        self.model.eval()
        try:
            total = sum(len(chunk) for chunk in chunks)
            with progress_bar(total=total, unit="question", is_shown=progress) as bar:
                for chunk in chunks:
                    predictions.extend(self._predict_chunk(chunk, document, bar, seconds))
        finally:
            self.model.train(was_training)
        return predictions

    def _predict_chunk(
        self, examples: Sequence[QaExample], document: StoredDocument | None, bar: tqdm, seconds_before: float
    ) -> list[QaPrediction]:
        began = time.perf_counter()
        features = make_qa_features(
            examples,
            self.tokenizer,
            max_length=self.max_length,
            overlap=self.overlap,
            with_labels=False,
            document=None if document is None else document.tokens,
        )
        share = seconds_before + (time.perf_counter() - began) / len(examples)
        open_questions = [
            _OpenQuestion(
                self,
                example,
                example.context if document is None else document.text,
                share,
                is_whole_kept=document is None,
            )
            for example in examples
        ]
        n_read, n_windows = 0, len(examples) if self.truncate else len(features)
        answered: dict[int, QaPrediction] = {}
        if self.truncate and document is None:
            for feature in features:
                open_questions[feature.example_index].note(feature)
        for batch in self._batches(features):
            began = time.perf_counter()
            logits = self._logits(batch)
            share = (time.perf_counter() - began) / len(batch)
            n_read += len(batch)
            bar.set_postfix_str(f"{n_read:,} of {n_windows:,} windows", refresh=False)
            for feature, window in zip(batch, logits, strict=True):
                question = open_questions[feature.example_index]
                # Decoded at once, so that only the logits of one batch are kept.
                question.add(feature, window, share)
                if question.n_windows == (1 if self.truncate else feature.n_windows):
                    answered[feature.example_index] = question.prediction()
                    bar.update()
        return [answered[i] for i in range(len(examples))]

    def _batches(self, features: QaFeatures) -> Iterator[list[QaFeature]]:
        """Batches of windows of similar length, the longest first, so that too little memory shows at once."""
        order = np.argsort(-features.lengths, kind="stable")
        batch: list[QaFeature] = []
        for place in order:
            feature = features[int(place)]
            if self.truncate and feature.window_index > 0:
                continue
            batch.append(feature)
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch:
            yield batch

    def _logits(self, features: Sequence[QaFeature]) -> list[WindowLogits]:
        """The model's start and end logits of each feature's own tokens, float32."""
        device = self.model.device
        batch = {name: tensor.to(device) for name, tensor in self._collate(features).items()}
        with torch.inference_mode(), autocast(self.model, self.dtype):
            outputs = self.model(**batch)
        if getattr(outputs, "start_logits", None) is None or getattr(outputs, "end_logits", None) is None:
            raise InputError(
                f"{type(self.model).__name__} gives no start and end logits; load a question answering model "
                "(fine-tune one with `longspan finetune`)"
            )
        start_BT, end_BT = outputs.start_logits.float().cpu().numpy(), outputs.end_logits.float().cpu().numpy()
        return [
            WindowLogits(
                start_BT[row, : len(feature.input_ids)], end_BT[row, : len(feature.input_ids)], feature.offsets
            )
            for row, feature in enumerate(features)
        ]


class _OpenQuestion:
    """Collects the results of a question's windows, in any order.

    Args:
        predictor: its options and tokenizer.
        example: the question.
        context: its document.
        seconds: spent on it so far.
        is_whole_kept: keep the place of each window; memory then grows with the document.
    """

    def __init__(
        self, predictor: QaPredictor, example: QaExample, context: Text, seconds: float, *, is_whole_kept: bool
    ) -> None:
        self._predictor, self._example, self._seconds = predictor, example, seconds
        self._spans: dict[int, NDArray[np.int64]] | None = {} if is_whole_kept else None  # of the tokens, by window
        self._decoder = SpanDecoder(context, max_answer_tokens=predictor.max_answer_tokens, n_best=predictor.n_best)
        self.n_windows = 0
        self._n_context = self._n_others = 0  # tokens
        self._argmax_text: str | None = None

    def add(self, feature: QaFeature, logits: WindowLogits, seconds: float) -> None:
        """Add one window, whose logits took `seconds`.

        Raises:
            InputError: a logit is NaN.
        """
        began = time.perf_counter()
        try:
            self._decoder.add(logits)
        except InputError as error:
            raise InputError(f"question {self._example.id!r}: {error}") from None
        n_context = sum(offset is not None for offset in feature.offsets)
        self.n_windows += 1
        self._n_context += n_context
        self._n_others = len(feature.input_ids) - n_context
        self.note(feature)
        if feature.window_index == 0:
            self._argmax_text = self._find_argmax_text(feature, logits)
        self._seconds += seconds + time.perf_counter() - began

    def note(self, feature: QaFeature) -> None:
        """Keep the place of a window's tokens in the document, whether the window is read or not."""
        if self._spans is not None:
            offsets = [offset for offset in feature.offsets if offset is not None]
            self._spans[feature.window_index] = np.array(offsets, np.int64).reshape(-1, 2)

    def prediction(self) -> QaPrediction:
        """Return the answer, after all windows were added."""
        began = time.perf_counter()
        spans, no_answer_score = self._decoder.decoded()
        best = spans[0] if spans else Span("", 0, 0, 0.0)
        return QaPrediction(
            id=self._example.id,
            text=best.text,
            start=best.start,
            end=best.end,
            score=best.score,
            alternatives=spans,
            no_answer_score=no_answer_score,
            n_windows=self.n_windows,
            n_tokens=self._count_tokens(),
            seconds=self._seconds + time.perf_counter() - began,
            logit=best.logit,
            argmax_text=self._argmax_text,
            windows=self._windows(),
            n_tokens_document=self._count_whole(),
        )

    def _windows(self) -> list[tuple[int, int]]:
        """Return the characters of each window that was read, in order."""
        spans = self._spans or {}
        read = [spans[index] for index in sorted(spans)][: self.n_windows]
        return [(int(own[0, 0]), int(own[-1, 1])) if len(own) else (0, 0) for own in read]

    def _count_whole(self) -> int | None:
        """Return the tokens of question and whole document; None if the document is a stream.

        Tokens in the overlap of two windows are counted in the first.
        """
        if self._spans is None:
            return None
        n, end_before = self._n_others, -1
        for index in sorted(self._spans):
            own = self._spans[index]
            n += int((own[:, 1] > end_before).sum())
            end_before = int(own[-1, 1]) if len(own) else 0
        return n

    def _find_argmax_text(self, feature: QaFeature, logits: WindowLogits) -> str | None:
        gold = self._example.answers[0] if self._example.answers else None
        if gold is None or gold.start is None:
            return None
        if not is_aligned(feature.offsets, gold.start, gold.start + len(gold.text)):
            return None
        span = argmax_span(logits)
        # Tokens are decoded, not sliced from the document, because they may be the question's.
        ids = [] if span is None else feature.input_ids[span[0] : span[1] + 1]
        text = self._predictor.tokenizer.decode(ids) if ids else ""
        assert isinstance(text, str), "one row of ids is one text"
        return text

    def _count_tokens(self) -> int:
        """Tokens of question and document, those in the overlap of two windows once."""
        room = self._predictor.max_length - self._n_others
        overlap = self._predictor.overlap
        # If a question leaves too little room for the overlap, windows overlap by half (longspan.data.qa.features).
        overlap = overlap if overlap < room else room - (room + 1) // 2
        return self._n_others + self._n_context - overlap * (self.n_windows - 1)


def _chunks(examples: Sequence[QaExample]) -> Iterator[Sequence[QaExample]]:
    first, characters = 0, 0
    for i, example in enumerate(examples):
        characters += len(example.context)
        if i + 1 - first >= _CHUNK_EXAMPLES or characters >= _CHUNK_CHARACTERS:
            yield examples[first : i + 1]
            first, characters = i + 1, 0
    if first < len(examples):
        yield examples[first:]
