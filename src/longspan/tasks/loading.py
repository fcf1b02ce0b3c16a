"""A question answering model from a folder or the hub, checked before it is used."""

import contextlib
import logging
from collections.abc import Iterator
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


def load_qa_model(
    name_or_path: str | Path,
    *,
    needs_head: bool = True,
    dtype: torch.dtype | str = "auto",
    allow_pickle: bool = False,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a model with a question answering head, and its fast tokenizer.

    A Longformer, whoever saved it, is loaded into longspan's class; any other family into transformers'.

    Args:
        name_or_path: a folder with a transformers checkpoint, or a name on the hub (its cache suffices).
        needs_head: refuse a checkpoint without a trained question answering head; False gives it a fresh one.
        dtype: of the weights; "auto" is the checkpoint's own.
        allow_pickle: load pickle files where there are no safetensors. Unpickling runs code from the file.

    Returns:
        The model in eval mode, and the tokenizer.

    Raises:
        InputError: no such folder or name, a folder without a model or tokenizer, only pickle files, a damaged
            file, a missing or misshapen tensor, or a family without question answering.
    """
    name = str(name_or_path)
    folder = Path(name).expanduser()
    if folder.exists():
        _require_checkpoint(folder, allow_pickle=allow_pickle)
        name = str(folder)
    elif name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise InputError(f"{name}: no such folder; give one that holds config.json and model.safetensors")
    options: dict[str, Any] = {
        "dtype": dtype,
        "use_safetensors": None if allow_pickle else True,
        "output_loading_info": True,
        "ignore_mismatched_sizes": True,  # reported below, with the tensor's name
    }
    with _explain(name):
        config = AutoConfig.from_pretrained(name)
        tokenizer = AutoTokenizer.from_pretrained(name)
        loader: Any = AutoModelForQuestionAnswering
        if config.model_type == "longformer":
            config, loader = LongformerConfig.from_pretrained(name), LongformerForQuestionAnswering
        with _quiet("transformers.modeling_utils"):  # it prints a table of what is checked below
            model, info = loader.from_pretrained(name, config=config, **options)
    for tensor, found, wanted in sorted(info["mismatched_keys"]):
        raise InputError(f"{name}: tensor {tensor} has shape {tuple(found)}, config.json says {tuple(wanted)}")
    missing = sorted(key for key in info["missing_keys"] if "pooler." not in key)
    of_body = [key for key in missing if key.startswith(model.base_model_prefix + ".")]
    if of_body:
        more = f" and {len(of_body) - 1} more" if len(of_body) > 1 else ""
        raise InputError(f"{name} lacks tensor {of_body[0]}{more}, which a {type(model).__name__} has")
    if missing and needs_head:
        raise InputError(
            f"{name} has no trained question answering head ({missing[0]} is missing); "
            "train one with `longspan finetune`"
        )
    if not tokenizer.is_fast:
        raise InputError(f"{name} has a slow tokenizer, without character offsets; save a fast one (tokenizer.json)")
    return model.eval(), tokenizer


def _require_checkpoint(folder: Path, *, allow_pickle: bool) -> None:
    if not folder.is_dir():
        raise InputError(f"{folder} is a file; give the folder that holds config.json and model.safetensors")
    if not (folder / "config.json").is_file():
        hint = "; the run in it has not finished" if (folder / "checkpoints").is_dir() else ""
        raise InputError(f"{folder} holds no model: config.json is missing{hint}")
    if any(folder.glob("*.safetensors")):
        return
    if not any(folder.glob("*.bin")):
        raise InputError(f"{folder} holds no model: there is a config.json but no model.safetensors")
    if not allow_pickle:
        raise InputError(
            f"{folder} has its weights as a pickle only, and opening a pickle can run any code; convert it to "
            "safetensors, or insist with --allow_pickle if you trust who made it"
        )


@contextlib.contextmanager
def _quiet(logger_name: str) -> Iterator[None]:
    logger = logging.getLogger(logger_name)

    def refuse(record: logging.LogRecord) -> bool:
        return record.levelno > logging.WARNING

    logger.addFilter(refuse)
    try:
        yield
    finally:
        logger.removeFilter(refuse)


@contextlib.contextmanager
def _explain(name: str) -> Iterator[None]:
    """Turn the loader's complaints about the user's files into an InputError."""
    try:
        yield
    except InputError:
        raise
    # safetensors' own error is not an OSError; transformers raises most kinds for one or the other damage.
    except Exception as error:
        if isinstance(error, (AssertionError, AttributeError, TypeError, MemoryError)):
            raise
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        hint = "" if Path(name).is_dir() else "; give a folder, or a name that the hub or its local cache has"
        raise InputError(f"cannot load {name}: {first}{hint}") from error
