"""Copies the sentence-transformers modules (pooling, normalisation, dense layers) of a source to the long model.

The folder of a sentence-transformers model has `modules.json`, which lists the encoder and the modules that process its
token vectors, each in its own folder. They do not depend on the length of the input, so they are copied unchanged; only
`max_seq_length` is raised.
"""

import json
import logging
import re
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError

from longspan.errors import InputError
from longspan.limits import load_json

logger = logging.getLogger(__name__)

_LIST = "modules.json"
_SETTINGS = "config_sentence_transformers.json"
_LENGTHS = "sentence_*_config.json"
# Classes of sentence-transformers that process token or sentence vectors of any number of tokens.
_KEPT = {
    "CNN",
    "Dense",
    "Dropout",
    "LSTM",
    "LayerNorm",
    "Normalize",
    "Pooling",
    "SpladePooling",
    "WeightedLayerPooling",
}
_ENCODERS = {"Transformer", "MLMTransformer"}


class SentenceModules(NamedTuple):
    """The modules of a sentence-transformers model without its encoder.

    Attributes:
        folder: the model's folder.
        paths: paths of the modules in it.
        obstacle: why they cannot be copied; None if they can.
    """

    folder: Path
    paths: list[str]
    obstacle: str | None


def find_modules(source: str) -> SentenceModules | None:
    """Find the modules of a folder or hub name; None if `source` is not a sentence-transformers model.

    Raises:
        InputError: `modules.json` cannot be read.
    """
    folder = _locate(source)
    if folder is None or not (folder / _LIST).is_file():
        return None
    modules = _read(folder / _LIST)
    names = [str(module.get("type")) for module in modules]
    paths = [str(module.get("path") or "") for module in modules]
    obstacle = None
    if not modules or names[0].rpartition(".")[2] not in _ENCODERS or paths[0]:
        obstacle = f"its first module is {names[0] if names else 'missing'}{f' in {paths[0]}' if modules else ''}"
    else:
        for name, path in zip(names[1:], paths[1:], strict=True):
            is_known = name.startswith("sentence_transformers.") and name.rpartition(".")[2] in _KEPT
            if not is_known or not path or Path(path).is_absolute() or ".." in Path(path).parts:
                obstacle = f"longspan does not know its module {name}{f' in {path}' if path else ''}"
                break
    return SentenceModules(folder, paths[1:], obstacle)


def nested_encoder(folder: Path) -> str | None:
    """Path of the encoder inside `folder`, where early versions of sentence-transformers saved it; else None."""
    if (folder / "config.json").is_file() or not (folder / _LIST).is_file():
        return None
    paths = [str(module.get("path") or "") for module in _read(folder / _LIST)[:1]]
    return next((path for path in paths if path and (folder / path / "config.json").is_file()), None)


def copy_modules(source: str, folder: Path, max_tokens: int) -> list[str]:
    """Copy the modules of `source`, if it has any, to the long model's folder; returns their paths.

    If they cannot be copied, a warning gives the reason.

    Args:
        source: the short model's folder or name on the hub.
        folder: the long model's folder.
        max_tokens: the long model's longest input.
    """
    found = find_modules(source)
    if found is None:
        return []
    if found.obstacle is not None:
        logger.warning(
            "the sentence-transformers modules of %s are left behind (%s): SentenceTransformer(folder) would take the "
            "mean of the token vectors",
            source,
            found.obstacle,
        )
        return []
    for path in found.paths:
        # A module without weights and settings may have no folder in a repository.
        if (found.folder / path).is_dir():
            shutil.copytree(found.folder / path, folder / path, dirs_exist_ok=True)
        else:
            (folder / path).mkdir(parents=True, exist_ok=True)
    for name in (_LIST, _SETTINGS):
        if (found.folder / name).is_file():
            shutil.copyfile(found.folder / name, folder / name)
    for file in sorted(found.folder.glob(_LENGTHS)):
        settings = _read(file)
        if settings.get("max_seq_length") is not None:
            settings["max_seq_length"] = max_tokens
        (folder / file.name).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    return found.paths


def _locate(source: str) -> Path | None:
    """The folder with the module files; downloads them if `source` is a hub name that is in the cache."""
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", source):
        return None
    patterns = [_LIST, _SETTINGS, _LENGTHS, *(f"*_{name}/*" for name in sorted(_KEPT))]
    try:
        cached = Path(snapshot_download(source, allow_patterns=patterns, local_files_only=True))
    except LocalEntryNotFoundError:
        return None  # the name of something else, such as a class
    try:
        return Path(snapshot_download(source, allow_patterns=patterns))
    except OSError:
        return cached  # the hub is not reachable


def _read(path: Path) -> Any:
    expected = list if path.name == _LIST else dict
    try:
        value = load_json(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}; copy or download it again") from error
    if not isinstance(value, expected) or (expected is list and not all(isinstance(one, dict) for one in value)):
        raise InputError(f"{path} does not hold what sentence-transformers writes; copy or download it again")
    return value
