"""Normalisation of answers by the rules of SQuAD 1.1 and 2.0 (Rajpurkar et al. 2016), which are for English."""

import re
import string

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize_squad(text: str) -> str:
    """Lower-case a text, remove ASCII punctuation, replace English articles by blanks, and use single blanks."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())
