"""Normalisation of answers by the rules of MLQA (Lewis et al. 2020), which cover seven languages.

The rules equal the official ones, oddities included: Arabic loses every "ال", also inside words; Chinese is split into
characters only in the range U+4E00 to U+9FA5. The official scorer refuses other languages; longspan compares them by
`longspan.metrics.unicode`.
"""

import re

from longspan.metrics.unicode import is_punctuation

MLQA_LANGUAGES = ("ar", "de", "en", "es", "hi", "vi", "zh")

_ARTICLES = {
    "en": "a|an|the",
    "es": "un|una|unos|unas|el|la|los|las",
    "vi": "của|là|cái|chiếc|những",
    "de": "ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des",
}
_ARTICLE_PATTERNS = {language: re.compile(rf"\b(?:{words})\b") for language, words in _ARTICLES.items()}
_ARABIC_ARTICLE = "ال"
_CHINESE = re.compile("([\u4e00-\u9fa5])")


def normalize_mlqa(text: str, language: str) -> str:
    """Lower-case a text, remove Unicode punctuation and the articles of `language`, and use single blanks."""
    assert language in MLQA_LANGUAGES, "other languages have no rules; see normalize_unicode"
    text = "".join(character for character in text.lower() if not is_punctuation(character))
    if language == "ar":
        text = text.replace(_ARABIC_ARTICLE, " ")
    elif language == "zh":
        text = _CHINESE.sub(r" \1 ", text)
    elif language in _ARTICLE_PATTERNS:
        text = _ARTICLE_PATTERNS[language].sub(" ", text)
    return " ".join(text.split())
