"""Checks of a checkpoint before it is loaded, and errors of the loaders as messages that a user can act on."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers import PreTrainedTokenizerBase

from longspan.errors import InputError
from longspan.files import require_whole
from longspan.limits import DESCRIPTION_BYTES, bound_of_description, load_json, too_large
from longspan.models.missing_packages import explain_missing_package

SAFE_FILES = ("model.safetensors", "model.safetensors.index.json")
# Endings of configurations, vocabularies, merges, SentencePiece models and chat templates.
READ_WHOLE = {".json", ".txt", ".model", ".codes", ".vocab", ".jinja"}
PICKLE_FILES = ("pytorch_model.bin", "pytorch_model.bin.index.json")


def require_checkpoint(folder: Path, *, allow_pickle: bool) -> None:
    """Raise an InputError unless `folder` holds a whole, readable checkpoint.

    Args:
        folder: folder with config.json and the weights.
        allow_pickle: accept weights that are pickles; unpickling can run any code of the file.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is a file; give the folder that holds config.json and model.safetensors")
    require_whole(folder)
    if not (folder / "config.json").is_file():
        if (folder / "adapter.json").is_file():
            raise InputError(
                f"{folder} holds an adapter, and a whole model is needed here: load it with "
                "longspan.tasks.adapters.load_adapter, or train it with merge_adapter: true"
            )
        hint = "; the run in it has not finished" if (folder / "checkpoints").is_dir() else ""
        raise InputError(f"{folder} holds no model: config.json is missing{hint}")
    require_small_files(folder)
    if any((folder / file).is_file() for file in SAFE_FILES):
        for path in _safetensors_files(folder):
            try:
                with safe_open(path, framework="pt") as file:
                    file.keys()
            except (SafetensorError, OSError) as error:
                raise InputError(f"{path} is cut off or damaged: {error}; copy or download it again") from error
    elif not any((folder / file).is_file() for file in PICKLE_FILES):
        raise InputError(f"{folder} holds no model: there is a config.json but no model.safetensors")
    elif not allow_pickle:
        raise InputError(
            f"{folder} has its weights as a pickle only ({PICKLE_FILES[0]}), and opening a pickle can run any code; "
            "convert it to safetensors, or allow it with allow_pickle (--allow_pickle) if you trust its author"
        )


def require_small_files(folder: Path) -> None:
    """Raise an InputError for a configuration or tokenizer file that is too large for the libraries that read it whole.

    Args:
        folder: of a checkpoint or an adapter.
    """
    bound = bound_of_description(DESCRIPTION_BYTES)
    for path in sorted(folder.iterdir()):
        if path.suffix in READ_WHOLE and path.is_file() and (n_bytes := path.stat().st_size) > bound:
            raise too_large(path, n_bytes, bound)


def require_loaded(name: str, class_name: str, loading_info: dict[str, Any], *, needed_in: str = "") -> None:
    """Raise an InputError if the checkpoint lacks a tensor of the model; `from_pretrained` would make random values.

    A missing pooler raises nothing.

    Args:
        name: name of the checkpoint.
        class_name: name of the loaded class.
        loading_info: the second result of `from_pretrained(..., output_loading_info=True)`.
        needed_in: how the names of tensors start that may not be missing.
    """
    for tensor, found, expected in sorted(loading_info["mismatched_keys"]):
        raise InputError(
            f"{name}: tensor {tensor} has shape {tuple(found)}, config.json says {tuple(expected)}; "
            "the checkpoint and its config.json don't belong together"
        )
    missing = sorted(key for key in loading_info["missing_keys"] if "pooler." not in key and key.startswith(needed_in))
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise InputError(f"{name} lacks tensor {missing[0]}{more}, which a {class_name} has")


def require_tokenizer(name: str, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise an InputError for the empty tokenizer that AutoTokenizer makes for a checkpoint without one."""
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise InputError(f"{name} has no tokenizer; save the model's tokenizer beside its weights (tokenizer.json)")


@contextmanager
def explain_loading(name: str, what: str = "") -> Iterator[None]:
    """Turn errors of the loaders about the user's files into an InputError; `what` names the part of `name`."""
    try:
        yield
    except InputError:
        raise
    except SafetensorError as error:
        raise InputError(f"{what}{name} has a cut off or damaged safetensors file: {error}") from error
    # Damaged files raise many kinds of errors; the kinds below are programming mistakes instead.
    except Exception as error:
        if isinstance(error, (AssertionError, AttributeError, TypeError, MemoryError)):
            raise
        if (reason := explain_missing_package(name, error)) is not None:
            raise InputError(f"cannot load {what}{name}: {reason}") from error
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        # Of a missing package the sentence goes on in the next lines, which say how to get it.
        first = " ".join(lines) if isinstance(error, ImportError) else lines[0]
        advice = "" if Path(name).is_dir() else "; give a folder, or a name that the hub or its local cache has"
        raise InputError(f"cannot load {what}{name}: {first.rstrip('.')}{advice}") from error


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Silence the warnings of `from_pretrained` about tensors, which `require_loaded` checks."""
    logger = logging.getLogger("transformers.modeling_utils")

    def refuse(record: logging.LogRecord) -> bool:
        return record.levelno > logging.WARNING

    logger.addFilter(refuse)
    try:
        yield
    finally:
        logger.removeFilter(refuse)


def _safetensors_files(folder: Path) -> list[Path]:
    index = folder / SAFE_FILES[1]
    if (folder / SAFE_FILES[0]).is_file() or not index.is_file():
        return [folder / SAFE_FILES[0]]
    try:
        names = sorted(set(load_json(index)["weight_map"].values()))
    except (ValueError, KeyError, AttributeError) as error:
        raise InputError(f"{index} is not an index of weights: {error}") from error
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise InputError(f"{folder} lacks {', '.join(missing)}, which {index.name} lists; copy or download it again")
    return [folder / name for name in names]
