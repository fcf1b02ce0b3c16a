"""Normalisation of answers by Unicode properties, for languages without rules of their own.

Text is casefolded, punctuation is removed (categories P* and ASCII signs, as in MLQA's rules), and words are separated
by single blanks. Scripts without blanks between words (Han, kana, Thai, Lao, Khmer, Myanmar, Tibetan) are split into
characters, as MLQA does with Chinese; vowel and tone marks stay with their letter. Articles stay, because they are not
known for every language.
"""

import re
import string
import unicodedata
from functools import cache

_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
_KANA = "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"
_THAI, _LAO, _KHMER, _TIBETAN = "\u0e00-\u0e7f", "\u0e80-\u0eff", "\u1780-\u17ff", "\u0f00-\u0fff"
_MYANMAR = "\u1000-\u109f\ua9e0-\ua9fe\uaa60-\uaa7f"
_IS_WORD = re.compile(f"[{_HAN}{_KANA}{_THAI}{_LAO}{_KHMER}{_TIBETAN}{_MYANMAR}]")


def normalize_unicode(text: str) -> str:
    """Casefold a text, remove punctuation, and separate words (in some scripts characters) by single blanks."""
    text = "".join(character for character in text.casefold() if not is_punctuation(character))
    if _IS_WORD.search(text):
        text = _separate_characters(text)
    return " ".join(text.split())


def _separate_characters(text: str) -> str:
    """Put blanks around every character of a script without blanks between words."""
    parts: list[str] = []
    for character in text:
        if parts and unicodedata.category(character) in ("Mn", "Mc"):
            # Move the blank after the letter to after its mark.
            parts[-1] = parts[-1].rstrip(" ") + character + (" " if parts[-1].endswith(" ") else "")
        else:
            parts.append(f" {character} " if _IS_WORD.match(character) else character)
    return "".join(parts)


@cache
def is_punctuation(character: str) -> bool:
    """Whether a character is in a Unicode category P* or is an ASCII sign (including $ + < = > ^ ` | ~)."""
    return unicodedata.category(character).startswith("P") or character in string.punctuation
