"""A question answering model from a folder or the hub, checked before it is used."""

from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForQuestionAnswering,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from longspan.errors import InputError
from longspan.models import LongformerConfig, LongformerForQuestionAnswering
from longspan.models.agreement import require_special_tokens, settle
from longspan.models.checkpoints import (
    explain_loading,
    quiet_loading,
    require_checkpoint,
    require_loaded,
    require_tokenizer,
)
from longspan.models.heads.fresh import other_head, reset_head, say_left_behind
from longspan.tasks.adapter_files import is_adapter


def load_qa_model(
    name_or_path: str | Path,
    *,
    needs_head: bool = True,
    dtype: torch.dtype | str = "auto",
    allow_pickle: bool = False,
    notes: list[str] | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a model with a question answering head, and its fast tokenizer.

    A Longformer, whoever saved it, is loaded into longspan's class; any other family into transformers'. An adapter is
    put on its base (longspan.tasks.adapters).

    Args:
        name_or_path: a folder with a transformers checkpoint or an adapter, a name on the hub (its cache suffices), or
            "packaged" for the adapter that comes with longspan.
        needs_head: refuse a checkpoint without a trained question answering head; False gives it a fresh one.
        dtype: of the weights; "auto" is the checkpoint's own, float32 for an adapter.
        allow_pickle: load pickle files where there are no safetensors. Unpickling runs code from the file.
        notes: gets what was set right in the configuration or the tokenizer; logged as warnings where None.

    Returns:
        The model in eval mode, and the tokenizer.

    Raises:
        InputError: no such folder or name, a folder without a model or tokenizer, only pickle files, a damaged
            file, a missing or misshapen tensor, a family without question answering, a tokenizer that does not belong
            to the model or has no padding token, or an adapter whose base is not there or is another model.
    """
    name = str(name_or_path)
    if is_adapter(name):
        from longspan.tasks.adapters import load_adapter  # which loads its base through this function

        weights = None if isinstance(dtype, str) else dtype
        model, found = load_adapter(name, dtype=weights, allow_pickle=allow_pickle)
        if found is None:
            raise InputError(f"the base of {name} has no tokenizer; save its tokenizer beside it (tokenizer.json)")
        return model, found
    folder = Path(name).expanduser()
    if folder.exists():
        require_checkpoint(folder, allow_pickle=allow_pickle)
        name = str(folder)
    elif name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise InputError(f"{name}: no such folder; give one that holds config.json and model.safetensors")
    options: dict[str, Any] = {
        "dtype": dtype,
        "use_safetensors": None if allow_pickle else True,
        "output_loading_info": True,
        "ignore_mismatched_sizes": True,  # reported below, with the tensor's name
    }
    with explain_loading(name):
        config = AutoConfig.from_pretrained(name)
        tokenizer = AutoTokenizer.from_pretrained(name)
        loader: Any = AutoModelForQuestionAnswering
        if config.model_type == "longformer":
            config, loader = LongformerConfig.from_pretrained(name), LongformerForQuestionAnswering
        old_head = other_head(config, "ForQuestionAnswering")
        if old_head is not None or config.num_labels != 2:  # start and end, whatever the configuration counts
            reset_head(config)
        with quiet_loading():
            model, info = loader.from_pretrained(name, config=config, **options)
    require_tokenizer(name, tokenizer)
    require_loaded(name, type(model).__name__, info, needed_in=model.base_model_prefix + ".")
    missing = sorted(key for key in info["missing_keys"] if "pooler." not in key)
    if missing and needs_head:
        kind = "" if old_head is None else f" and is a {old_head}"
        raise InputError(
            f"{name} has no trained question answering head ({missing[0]} is missing){kind}; "
            "train one with `longspan finetune`"
        )
    if not tokenizer.is_fast:
        raise InputError(f"{name} has a slow tokenizer, without character offsets; save a fast one (tokenizer.json)")
    require_special_tokens(name, tokenizer, ["pad"])
    if missing and old_head is not None:
        say_left_behind(name, old_head, "question answering", notes)
    settle(name, model, tokenizer, notes)
    return model.eval(), tokenizer
