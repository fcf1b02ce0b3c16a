"""Normalisation of answers by the rules of SQuAD 1.1 and 2.0 (Rajpurkar et al. 2016), which are made for English."""

import re
import string

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize_squad(text: str) -> str:
    """Lower case; without ASCII punctuation; English articles to blanks; runs of blanks to one."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())
