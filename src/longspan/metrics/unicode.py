"""Normalisation of answers in any language, by Unicode's properties alone: the rules where a language has none.

Casefolded, without punctuation (categories P*, and ASCII's signs as MLQA takes them away), words between single blanks.
Scripts written without blanks between words (Han, kana, Thai, Lao, Khmer, Myanmar, Tibetan) are cut into characters, as
MLQA cuts Chinese; a vowel or tone mark stays with the letter that carries it. Articles stay: nothing is known of them.
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
    """Casefolded, without punctuation, words (of some scripts: characters) between single blanks."""
    text = "".join(character for character in text.casefold() if not is_punctuation(character))
    if _IS_WORD.search(text):
        text = _separate_characters(text)
    return " ".join(text.split())


def _separate_characters(text: str) -> str:
    """Blanks around every character that is a word of its own."""
    parts: list[str] = []
    for character in text:
        if parts and unicodedata.category(character) in ("Mn", "Mc"):
            # The blank behind the letter moves behind its mark.
            parts[-1] = parts[-1].rstrip(" ") + character + (" " if parts[-1].endswith(" ") else "")
        else:
            parts.append(f" {character} " if _IS_WORD.match(character) else character)
    return "".join(parts)


@cache
def is_punctuation(character: str) -> bool:
    """Of Unicode's categories P*, or one of ASCII's signs ($ + < = > ^ ` | ~ among them)."""
    return unicodedata.category(character).startswith("P") or character in string.punctuation
