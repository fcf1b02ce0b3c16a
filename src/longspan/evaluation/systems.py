"""The systems that a long model is always compared with: what a user would do instead, on the same examples.

    truncate 512           the short model reads the first 512 tokens
    windows of 512         the short model reads overlapping windows, which the task merges
    full attention         the long model, its window wide enough for every token to see every other
    window only            the long model without global tokens
    window + global ...    the long model as it was trained; the task says which tokens are global

From each of the last three to the next, only one thing changes. If there is no short model, the long one reads the 512
tokens itself.
"""

import copy
import re
from collections.abc import Sequence
from typing import Any, cast

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from longspan.errors import InputError
from longspan.models import LongformerModel
from longspan.models.agreement import max_tokens_of
from longspan.tasks.predicting import check_max_length
from longspan.tasks.task import FineTuningTask, PredictorOptions, Reading, ReadingKind

_SHORT_TOKENS = 512


def systems_for(
    task: FineTuningTask,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    names: Sequence[str] | None = None,
    short_model: PreTrainedModel | None = None,
    short_tokenizer: PreTrainedTokenizerBase | None = None,
    max_length: int | None = None,
    overlap: int | None = None,
    batch_size: int = 8,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    fields: Any = None,
) -> dict[str, Any]:
    """Return the named systems around one long model; they share its weights.

    Args:
        task: makes the predictors and says which tokens are global.
        model: with the task's head. For one without Longformer attention, "full attention" is the model itself, and
            the two systems with a window do not exist.
        tokenizer: its tokenizer.
        names: which of `task.readings` (another number in a name is another length: "windows of 384"); None for all
            that the model has.
        short_model: reads the short systems' 512 tokens; None for the long model itself.
        short_tokenizer: its tokenizer; None for the long model's.
        max_length: longest window of the long systems in tokens; None for all the model takes. A longer document is
            read in overlapping windows, by every system but "truncate".
        overlap: tokens that neighbouring windows share; None for 128, or a quarter of a window below 512.
        batch_size: windows at a time.
        device: where to run; None for where the models are.
        dtype: torch.bfloat16 or torch.float16 for autocast; None for the dtype of the models.
        fields: options that only this task has.

    Returns:
        Name -> predictor in the order of `names`. If a short model takes fewer than 512 tokens, the name that was not
        asked for explicitly says so ("truncate 128").

    Raises:
        InputError: an unknown name, a name that this model has not, or a length beyond the model.
    """
    is_longformer = model.config.model_type == "longformer"
    short, short_words = (model, tokenizer) if short_model is None else (short_model, short_tokenizer or tokenizer)
    if names is None:
        names = _default_names(task, model, short, max_length)

    def build(name: str) -> Any:
        reading = parse_reading(name, task)
        is_short = reading.n_tokens is not None
        if reading.kind != "full attention" and not is_short and not is_longformer:
            raise InputError(
                f"{name!r} needs a Longformer; this is a {model.config.model_type} model, choose truncate, windows or "
                "full attention, or extend it with `longspan extend`"
            )
        options = PredictorOptions(
            max_length=reading.n_tokens if is_short else check_max_length(model, max_length),
            overlap=overlap,
            truncate=reading.kind == "truncate",
            # A Longformer that plays the short model keeps the global tokens it was trained with.
            has_global=short.config.model_type == "longformer" if is_short else reading.kind != "window only",
            batch_size=batch_size,
            device=device,
            dtype=dtype,
        )
        own, words = (short, short_words) if is_short else (model, tokenizer)
        predictor: Any = task.predictor(own, words, options, fields)
        if reading.kind == "full attention" and is_longformer:
            predictor.model = with_full_attention(predictor.model, predictor.max_length)
        return predictor

    return {name: build(name) for name in dict.fromkeys(names)}


def _default_names(
    task: FineTuningTask, model: PreTrainedModel, short: PreTrainedModel, max_length: int | None
) -> list[str]:
    """Return the task's readings that `model` has, with the length that `short` takes."""
    length = min(_SHORT_TOKENS, max_tokens_of(short) or _SHORT_TOKENS)
    names = [re.sub(r"\d+$", str(length), name) for name in task.readings]
    if model.config.model_type == "longformer":
        return names
    return names[:3] if check_max_length(model, max_length) > length else names[:2]


def parse_reading(name: str, task: FineTuningTask) -> Reading:
    """Return the reading that a name stands for.

    Raises:
        InputError: the task has no such reading.
    """
    found = re.fullmatch(r"(truncate|windows(?: of)?)(?: (\d+))?", name.strip())
    if found is not None:
        kind = "truncate" if found[1] == "truncate" else "windows of"
        return Reading(kind, _SHORT_TOKENS if found[2] is None else int(found[2]))
    if name.strip() not in task.readings:
        raise InputError(f"there is no system {name!r}; choose from {', '.join(repr(n) for n in task.readings)}")
    kind = "window + global" if name.startswith("window + global") else name.strip()
    return Reading(cast(ReadingKind, kind), None)


def with_full_attention(model: PreTrainedModel, n_tokens: int) -> PreTrainedModel:
    """Return a twin of a Longformer that shares its weights and whose window reaches `n_tokens` to each side."""
    if not any(isinstance(module, LongformerModel) for module in model.modules()):
        raise InputError(
            f"{type(model).__name__} cannot change its window; load the checkpoint with longspan's class "
            f"(longspan.{type(model).__name__}.from_pretrained)"
        )
    tensors = [*model.parameters(), *model.buffers()]
    twin = copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})
    twin.config.attention_window = [2 * n_tokens] * twin.config.num_hidden_layers
    twin.config.attention_dilation = 1
    return twin
