"""Names of languages, counts and data sets on the page."""

import re

LANGUAGE_NAMES = {
    "ar": "Arabic",
    "bn": "Bengali",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "fi": "Finnish",
    "fr": "French",
    "hi": "Hindi",
    "id": "Indonesian",
    "it": "Italian",
    "ja": "Japanese",
    "ko": "Korean",
    "ro": "Romanian",
    "ru": "Russian",
    "sv": "Swedish",
    "sw": "Swahili",
    "te": "Telugu",
    "th": "Thai",
    "tr": "Turkish",
    "vi": "Vietnamese",
    "zh": "Chinese",
}


def count_name(name: str) -> str:
    """Return the heading of a count that has no heading in its record."""
    return name.replace("_", " ").capitalize()


def language_name(code: str) -> str:
    """The name of a language with its code in brackets."""
    return f"{LANGUAGE_NAMES[code]} ({code})" if code in LANGUAGE_NAMES else code


def family_name(dataset: str, language: str) -> str:
    """A data set's name without its language; pairs of two different languages are a separate family."""
    pair = language_pair(dataset)
    if pair is not None:
        family = _named(dataset).replace(".".join(("", *pair)), "", 1)
        return family if pair[0] == pair[1] else f"{family}, question in another language"
    return re.sub(rf"[._-]{re.escape(language)}(?=[._\s-]|$)", "", dataset) or dataset


def without_length(family: str) -> str:
    """A family's name without the number of joined paragraphs and the slot of the answer."""
    return re.sub(r"(?:(?<=_long)\.\d+)?(?: x?\d+| slot \d+)*$", "", family) or family


def some(n: int, one: str, many: str | None = None) -> str:
    """`1 seed`, `2,067 questions`."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def language_pair(dataset: str) -> tuple[str, str] | None:
    """Languages of the contexts and of the questions, if a name has both: `mlqa.en.de`, MLQA's files."""
    found = re.search(r"(?:^|/)mlqa\.([a-z]{2})\.([a-z]{2})(?![a-z])", _named(dataset))
    return (found[1], found[2]) if found else None


def _named(dataset: str) -> str:
    """`dev-context-en-question-de`, as MLQA calls its files, is `mlqa.en.de.dev`."""
    return re.sub(r"(?:^|(?<=/))(dev|test)-context-([a-z]{2})-question-([a-z]{2})(?![a-z])", r"mlqa.\2.\3.\1", dataset)
