"""Reads the language and split of a file from its name, and the language of a question from its id."""

import re
from collections.abc import Iterable

_CODES = (
    "ar bg bn ca cs da de el en es et eu fa fi fr gl he hi hr hu hy id is it ja ka kk km ko lo lt lv mk ml mr ms my nb "
    "nl nn no pl pt ro ru sk sl sq sr sv sw ta te th tl tr uk ur vi zh"
)
# Codes that are English words; they count only at the end of a name, where a code is expected.
_WORDS = ("da", "et", "he", "id", "is", "it", "my", "no")
_LANGUAGES = frozenset(_CODES.split())
_SPLITS = re.compile(r"train|dev|validation|valid|val|test|v?[0-9]+", re.IGNORECASE)
_SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "dev": "validation",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
}

# The ids of TyDi QA's questions begin with the language: `finnish-5438951`.
TYDIQA_LANGUAGES = {
    "arabic": "ar",
    "bengali": "bn",
    "english": "en",
    "finnish": "fi",
    "indonesian": "id",
    "korean": "ko",
    "russian": "ru",
    "swahili": "sw",
    "telugu": "te",
}


def language_of_name(name: str) -> str | None:
    """The language code in a file's name (without suffixes); None if there is none.

    This is `xx` of `context-xx` as in MLQA; else the last part that is a language code, where parts are separated by
    dots, hyphens and underscores: `xquad.el`, `squad_dev_v2_sv`, `tydiqa.goldp.id.dev`. Codes that are English words
    (`my`, `no`) count only at the end, before the split or version.
    """
    context = re.search(r"context-([a-z]{2})\b", name)
    if context:
        return context[1]
    parts = re.split(r"[._-]", name)
    while parts and _SPLITS.fullmatch(parts[-1]):
        parts.pop()
    if len(parts) > 1 and parts[-1] in _LANGUAGES:
        return parts[-1]
    return next((part for part in reversed(parts) if part in _LANGUAGES.difference(_WORDS)), None)


def split_of_name(name: str) -> str | None:
    """The split in a file's name ("train", "validation", "test"); None if there is none."""
    parts = re.split(r"[._-]", name.lower())
    return next((_SPLIT_WORDS[part] for part in parts if part in _SPLIT_WORDS), None)


def language_of_id(identifier: str) -> str | None:
    """The language at the beginning of a question's id, as in TyDi QA; None if there is none."""
    prefix, hyphen, _ = identifier.partition("-")
    return TYDIQA_LANGUAGES.get(prefix) if hyphen else None


def languages_of_ids(identifiers: Iterable[str]) -> list[str] | None:
    """The languages at the beginning of questions' ids, sorted; None unless every id begins with one."""
    found = set()
    for identifier in identifiers:
        language = language_of_id(identifier)
        if language is None:
            return None
        found.add(language)
    return sorted(found) or None
