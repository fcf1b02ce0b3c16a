"""The systems a long model is always compared with: what a user would do instead, on the same questions.

    truncate 512               the short model reads the first 512 tokens
    windows of 512             the short model reads overlapping windows; the best span of all of them
    full attention             the long model, its window wide enough for every token to see every other
    window only                the long model without global tokens
    window + global question   the long model as it was trained

Only one thing changes from each of the last three to the next. Where there is no short model, the long one reads the
512 tokens itself.
"""

import copy
import re
from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from longspan.errors import InputError
from longspan.models import LongformerModel
from longspan.models.agreement import max_tokens_of
from longspan.tasks.question_answering.predictor import QaPredictor, check_max_length

SYSTEM_NAMES = ("truncate 512", "windows of 512", "full attention", "window only", "window + global question")

_SHORT_TOKENS = 512


def systems_for(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    names: Sequence[str] | None = None,
    short_model: PreTrainedModel | None = None,
    short_tokenizer: PreTrainedTokenizerBase | None = None,
    max_length: int | None = None,
    overlap: int | None = None,
    batch_size: int = 8,
    max_answer_tokens: int = 30,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
) -> dict[str, QaPredictor]:
    """The named systems around one long model; they share its weights.

    Args:
        model: with a question answering head. For one without Longformer attention "full attention" is the model
            itself, and the two systems with a window do not exist.
        tokenizer: its fast tokenizer.
        names: which, of `SYSTEM_NAMES` (another number in a name is another length: "windows of 384"); None: all that
            the model has.
        short_model: reads the short systems' 512 tokens; the long model itself where None.
        short_tokenizer: its tokenizer; the long model's where None.
        max_length: longest window of the long systems in tokens; all the model takes where None. A longer document
            is read in overlapping windows, by every system but "truncate".
        overlap: document tokens that neighbouring windows share; None: 128, or a quarter of a window below 512.
        batch_size: windows at a time.
        max_answer_tokens: longest answer.
        device: where to run; None: where the models are.
        dtype: torch.bfloat16 or torch.float16 run under autocast; None: as the models are.

    Returns:
        Name -> predictor in the order of `names`. Where a short model takes fewer than 512 tokens, the name that was
        not asked for explicitly says so ("truncate 128").

    Raises:
        InputError: an unknown name, a name that this model has not, or a length beyond the model.
    """
    if (short_model is None) != (short_tokenizer is None) and short_model is not None:
        short_tokenizer = tokenizer
    is_longformer = model.config.model_type == "longformer"
    short, short_words = (model, tokenizer) if short_model is None else (short_model, short_tokenizer or tokenizer)
    if names is None:
        length = min(_SHORT_TOKENS, max_tokens_of(short) or _SHORT_TOKENS)
        names = [re.sub(r"\d+$", str(length), name) for name in SYSTEM_NAMES]
        if not is_longformer:
            names = names[:3] if check_max_length(model, max_length) > length else names[:2]
    shared: dict[str, Any] = {
        "overlap": overlap,
        "batch_size": batch_size,
        "max_answer_tokens": max_answer_tokens,
        "device": device,
        "dtype": dtype,
    }

    def build(name: str) -> QaPredictor:
        kind, tokens = _parse(name)
        if kind in {"truncate", "windows of"}:
            return QaPredictor(
                short,
                short_words,
                max_length=tokens,
                truncate=kind == "truncate",
                **_without_global(short),
                **shared,
            )
        if kind != "full attention" and not is_longformer:
            raise InputError(
                f"{name!r} needs a Longformer; this is a {model.config.model_type} model, choose truncate, windows or "
                "full attention, or extend it with `longspan extend`"
            )
        length = check_max_length(model, max_length)
        long = QaPredictor(
            model,
            tokenizer,
            global_tokens="none" if kind == "window only" else "question",
            max_length=length,
            **shared,
        )
        if kind == "full attention" and is_longformer:
            long.model = _with_full_attention(long.model, length)
        return long

    return {name: build(name) for name in dict.fromkeys(names)}


def _parse(name: str) -> tuple[str, int]:
    """Kind of the system, and the length its name gives."""
    found = re.fullmatch(r"(.*?)(?: (\d+))?", name.strip())
    assert found is not None, "every text matches"
    kind, number = found[1], found[2]
    kind = {"windows": "windows of"}.get(kind, kind)
    known = {re.sub(r" \d+$", "", system) for system in SYSTEM_NAMES}
    if kind not in known or (number is not None and kind not in {"truncate", "windows of"}):
        raise InputError(f"there is no system {name!r}; choose from {', '.join(repr(n) for n in SYSTEM_NAMES)}")
    return kind, _SHORT_TOKENS if number is None else int(number)


def _without_global(short: PreTrainedModel) -> dict[str, Any]:
    """A Longformer that plays the short model keeps the global question it was trained with; others have none."""
    return {"global_tokens": "question" if short.config.model_type == "longformer" else "none"}


def _with_full_attention(model: PreTrainedModel, n_tokens: int) -> PreTrainedModel:
    """A twin of a Longformer with the same weights in memory, whose window reaches `n_tokens` to each side."""
    if not any(isinstance(module, LongformerModel) for module in model.modules()):
        raise InputError(
            f"{type(model).__name__} cannot change its window; load the checkpoint with longspan's class "
            "(longspan.LongformerForQuestionAnswering.from_pretrained)"
        )
    tensors = [*model.parameters(), *model.buffers()]
    twin = copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})
    twin.config.attention_window = [2 * n_tokens] * twin.config.num_hidden_layers
    twin.config.attention_dilation = 1
    return twin
