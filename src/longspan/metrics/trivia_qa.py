"""Normalisation of answers by the rules of TriviaQA (Joshi et al. 2017).

Those of SQuAD, but for punctuation: it becomes a blank instead of nothing, and four quotation marks and accents that
are not ASCII count as punctuation too.
"""

import re
import string

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION_TO_BLANK = str.maketrans(dict.fromkeys(string.punctuation + "‘’´`", " "))


def normalize_trivia_qa(text: str) -> str:
    """Lower case; punctuation and English articles to blanks; runs of blanks to one."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION_TO_BLANK)).split())
