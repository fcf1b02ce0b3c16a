"""A model with a task's head from a folder or the hub, checked before it is used. Imports no adapter."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from longspan.errors import InputError
from longspan.models import LongformerConfig
from longspan.models.agreement import require_special_tokens, settle
from longspan.models.checkpoints import (
    explain_loading,
    quiet_loading,
    require_loaded,
    require_tokenizer,
)
from longspan.models.find_checkpoint import find_checkpoint
from longspan.models.heads import HEADS
from longspan.models.heads.fresh import other_head, reset_head, say_left_behind
from longspan.tasks.task import FineTuningTask


def load_checkpoint(
    name_or_path: str | Path,
    task: FineTuningTask,
    *,
    needs_head: bool = True,
    head_config: Mapping[str, Any] | None = None,
    dtype: torch.dtype | str = "auto",
    allow_pickle: bool = False,
    notes: list[str] | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return a model with the task's head, in eval mode, and its fast tokenizer.

    A Longformer is loaded into longspan's class, any other family into transformers'.

    Args:
        name_or_path: a folder with a transformers checkpoint, or a name on the hub (its cache suffices).
        task: says which head.
        needs_head: refuse a checkpoint without a trained head of the task; False gives it a fresh one.
        head_config: what the configuration says of a fresh head, such as its labels. None keeps the trained head.
        dtype: of the weights; "auto" is the checkpoint's own.
        allow_pickle: load pickle files if there are no safetensors. Unpickling runs code from the file.
        notes: collects what was corrected in the configuration or the tokenizer; None logs it as warnings.

    Raises:
        InputError: no such folder or name, a folder without a model or tokenizer, only pickle files, a damaged
            file, a missing or misshapen tensor, a family without such a head, or a tokenizer that does not belong to
            the model or has no padding token.
    """
    name, head = find_checkpoint(name_or_path, allow_pickle=allow_pickle), HEADS[task.head]
    options: dict[str, Any] = {
        "dtype": dtype,
        "use_safetensors": None if allow_pickle else True,
        "output_loading_info": True,
        "ignore_mismatched_sizes": True,  # reported below, with the tensor's name
    }
    with explain_loading(name):
        config = AutoConfig.from_pretrained(name)
        tokenizer = AutoTokenizer.from_pretrained(name)
        loader: Any = getattr(transformers, head.auto_classes[-1])
        if config.model_type == "longformer":
            config, loader = LongformerConfig.from_pretrained(name), head.load()
        old_head = other_head(config, head.class_ending)
        if old_head is not None or not task.keeps_head(config, head_config or {}):
            reset_head(config)
            for key, value in (head_config or {}).items():
                setattr(config, key, value)
        with quiet_loading():
            model, info = loader.from_pretrained(name, config=config, **options)
    require_tokenizer(name, tokenizer)
    require_loaded(name, type(model).__name__, info, needed_in=model.base_model_prefix + ".")
    missing = sorted(key for key in info["missing_keys"] if "pooler." not in key)
    if missing and needs_head:
        kind = "" if old_head is None else f" and is a {old_head}"
        raise InputError(
            f"{name} has no trained {task.title} head ({missing[0]} is missing){kind}; "
            "train one with `longspan finetune`"
        )
    if not tokenizer.is_fast:
        raise InputError(f"{name} has a slow tokenizer, without character offsets; save a fast one (tokenizer.json)")
    require_special_tokens(name, tokenizer, ["pad"])
    if missing and old_head is not None:
        say_left_behind(name, old_head, task.title, notes)
    settle(name, model, tokenizer, notes)
    return model.eval(), tokenizer
