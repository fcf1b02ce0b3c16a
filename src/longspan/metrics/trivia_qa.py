"""Normalisation of answers by the rules of TriviaQA (Joshi et al. 2017).

They are SQuAD's rules with two differences: punctuation becomes a blank instead of being removed, and four quotation
marks and accents count as punctuation, too.
"""

import re
import string

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION_TO_BLANK = str.maketrans(dict.fromkeys(string.punctuation + "‘’´`", " "))


def normalize_trivia_qa(text: str) -> str:
    """Lower-case a text, replace punctuation and English articles by blanks, and use single blanks."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION_TO_BLANK)).split())
