"""Normalisation of answers by the rules of MLQA (Lewis et al. 2020), per language.

For MLQA's seven languages (en es hi vi de ar zh) the rules are the official ones, their oddities included: Arabic
loses every "ال", inside words too; Chinese is cut into characters only in the range U+4E00 to U+9FA5. The official
scorer refuses every other language. Here they get the same steps (lower case, no Unicode punctuation, no articles to
take away), and two ways to find words:

- Languages written without blanks between words (th, ja, lo, km, my) are cut into characters of their own scripts, as
  Chinese is; a vowel or tone mark stays with the letter that carries it. Other letters and digits go by blanks.
- All others go by blanks.
"""

import re
import string
import unicodedata
from functools import cache

_ARTICLES = {
    "en": "a|an|the",
    "es": "un|una|unos|unas|el|la|los|las",
    "vi": "của|là|cái|chiếc|những",
    "de": "ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des",
}
_ARTICLE_PATTERNS = {language: re.compile(rf"\b(?:{words})\b") for language, words in _ARTICLES.items()}
_ARABIC_ARTICLE = "ال"

# Characters that stand as words of their own, per language.
_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
_MARKS_FOLLOW = {
    "ja": rf"[{_HAN}\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f]",
    "km": "[\u1780-\u17ff]",
    "lo": "[\u0e80-\u0eff]",
    "my": "[\u1000-\u109f\ua9e0-\ua9fe\uaa60-\uaa7f]",
    "th": "[\u0e00-\u0e7f]",
}
_CHARACTER_WORDS = {"zh": re.compile("[\u4e00-\u9fa5]")} | {
    language: re.compile(script) for language, script in _MARKS_FOLLOW.items()
}


def normalize_mlqa(text: str, language: str) -> str:
    """Lower case, without Unicode punctuation and `language`'s articles, words between single blanks."""
    text = "".join(character for character in text.lower() if not _is_punctuation(character))
    if language == "ar":
        text = text.replace(_ARABIC_ARTICLE, " ")
    elif language in _ARTICLE_PATTERNS:
        text = _ARTICLE_PATTERNS[language].sub(" ", text)
    if language in _CHARACTER_WORDS:
        text = _separate_characters(text, language)
    return " ".join(text.split())


def _separate_characters(text: str, language: str) -> str:
    """Blanks around every character that is a word of its own."""
    pattern = _CHARACTER_WORDS[language]
    parts: list[str] = []
    for character in text:
        if language in _MARKS_FOLLOW and parts and unicodedata.category(character) in ("Mn", "Mc"):
            # The blank behind the letter moves behind its mark.
            parts[-1] = parts[-1].rstrip(" ") + character + (" " if parts[-1].endswith(" ") else "")
        else:
            parts.append(f" {character} " if pattern.match(character) else character)
    return "".join(parts)


@cache
def _is_punctuation(character: str) -> bool:
    return unicodedata.category(character).startswith("P") or character in string.punctuation
