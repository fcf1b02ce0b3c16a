"""Which language a file or a question is in, and which split a file is of, where its name or id tells."""

import re
from collections.abc import Iterable

_CODES = (
    "ar bg bn ca cs da de el en es et eu fa fi fr gl he hi hr hu hy id is it ja ka kk km ko lo lt lv mk ml mr ms my nb "
    "nl nn no pl pt ro ru sk sl sq sr sv sw ta te th tl tr uk ur vi zh"
)
# Codes that are English words: taken for a language only where a code is expected, at the end of a name.
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

# TyDi QA's questions say their language in their ids: `finnish-5438951`.
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
    """The language that a file's name (without endings) gives, None where it gives none.

    `context-xx` as in MLQA; else the last part that is a language's code, parts being separated by dots, hyphens and
    underscores: `xquad.el`, `squad_dev_v2_sv`, `tydiqa.goldp.id.dev`. Codes that are English words (`my`, `no`) count
    only at the end, before what names a split or version.
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
    """The split that a part of a file's name gives ("train", "validation", "test"), None where none does."""
    parts = re.split(r"[._-]", name.lower())
    return next((_SPLIT_WORDS[part] for part in parts if part in _SPLIT_WORDS), None)


def language_of_id(identifier: str) -> str | None:
    """The language that a question's id begins with, as in TyDi QA; None where it begins with none."""
    prefix, hyphen, _ = identifier.partition("-")
    return TYDIQA_LANGUAGES.get(prefix) if hyphen else None


def languages_of_ids(identifiers: Iterable[str]) -> list[str] | None:
    """The languages that questions' ids begin with, sorted; None unless every one of them begins with one."""
    found = set()
    for identifier in identifiers:
        language = language_of_id(identifier)
        if language is None:
            return None
        found.add(language)
    return sorted(found) or None
