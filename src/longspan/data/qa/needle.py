"""The needle test: a made-up sentence at a known depth of real text, and a question only it answers.

Sentences and names of each language are in packaged/needles.json: one entry is one more language. A sentence is written
so that names stand in their dictionary form and numbers need no inflection (the names are women's, for languages whose
verbs or articles show it).
"""

import functools
import hashlib
import json
import random
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
from transformers import PreTrainedTokenizerBase

from longspan.data.qa.examples import GoldAnswer, QaDataset, QaExample
from longspan.data.qa.features import make_qa_features
from longspan.errors import InputError

# Where a sentence begins: after the end of another and what closes it, or after an empty line. Lines alone end no
# sentence, for many files break theirs.
_SENTENCE_START = re.compile(r"[.!?…।؟۔]+[\"'»”’)\]]*\s+|[。！？]+[」』”’）]*\s*|\n\s*\n\s*")
# Thai ends sentences, and clauses, with a blank; one beside a number or a foreign word is none of these.
_THAI_SENTENCE_START = re.compile(r"(?<=[\u0e00-\u0e7f])\s+(?=[\u0e00-\u0e7f])")
# An excerpt that fills this share of its room is good enough; among those the place in the text is drawn.
_WELL_FILLED = 0.95
_N_DRAWS = 1000
_NO_LIMIT = 1 << 40  # tokens in one window: nothing is cut


class _Fact(NamedTuple):
    statement: str
    question: str
    answer: str
    start: int  # of the answer, in the statement


class _Text(NamedTuple):
    """A text that needles are put into. K places where a sentence begins, the start and the end of the text too."""

    text: str
    place_K: np.ndarray  # int64 characters
    n_before_K: np.ndarray  # int64 tokens before each place


@functools.cache
def _facts() -> Mapping[str, Any]:
    path = resources.files("longspan.data") / "packaged" / "needles.json"
    return json.loads(path.read_text(encoding="utf-8"))


def needle_languages() -> list[str]:
    """Codes of the languages that facts are written in."""
    return sorted(_facts())


def make_needles(
    texts: Sequence[str],
    language: str,
    *,
    n_tokens: int,
    depths: Sequence[float],
    tokenizer: PreTrainedTokenizerBase,
    seed: int = 0,
    per_depth: int = 5,
    repeat: bool = False,
) -> QaDataset:
    """Documents of `n_tokens` tokens that hide one made-up fact each, and its question.

    An excerpt of a text, from one beginning of a sentence to another, is filled up with the fact so that question and
    document have at most `n_tokens` tokens, and as near to it as sentences allow. The fact stands at the beginning of
    a sentence, nearest to its depth in tokens. Names and numbers are drawn by the seed, again where the text has them
    already; a fact is the same at every length, and another at every depth.

    Args:
        texts: real text in `language`, each long enough.
        language: code, of `needle_languages()`.
        n_tokens: of question and document together, special tokens included.
        depths: from 0 (before the text) to 1 (behind it).
        tokenizer: counts the tokens; the model's own.
        seed: of names, numbers and excerpts.
        per_depth: facts at each depth.
        repeat: a text that is too short is repeated until it is long enough.

    Returns:
        `per_depth` questions for each depth, with `depth` and `nominal_tokens` set. `counts["repeated_texts"]` says
        how many documents repeat themselves.

    Raises:
        InputError: a language without facts, no depth or one out of range, no text, texts too short for `n_tokens`,
            or `n_tokens` too few for a fact and a sentence beside it.
    """
    _check(texts, language, depths, per_depth)
    # What every needle has room for, whatever its fact: the longest of some.
    trials = [_draw_fact(random.Random(f"{seed} {i}"), language, i) for i in range(30)]
    n_fact = int(_count_tokens([_example("", fact, fact.statement, fact.start) for fact in trials], tokenizer).max())
    room = n_tokens - n_fact
    if room < 1:
        raise InputError(
            f"{n_tokens} tokens leave no room for text beside a question and its fact ({n_fact} tokens in "
            f"{language!r}); choose more"
        )
    haystacks, are_repeated = _long_enough(texts, language, room, n_tokens, tokenizer, repeat=repeat)
    wanted = [(depth, k) for depth in depths for k in range(per_depth)]
    rooms = [room] * len(wanted)
    excess, examples = [1], []
    while any(excess):
        examples = [
            _bury(haystacks, language, n_tokens=n_tokens, room=own, depth=depth, k=k, seed=seed)
            for (depth, k), own in zip(wanted, rooms, strict=True)
        ]
        # Where fact and text meet there can be other tokens than in each alone.
        excess = np.maximum(_count_tokens(examples, tokenizer) - n_tokens, 0).tolist()
        rooms = [own - more for own, more in zip(rooms, excess, strict=True)]
    counts = {"questions": len(wanted), "answers": len(wanted)}
    if are_repeated:
        counts["repeated_texts"] = len(wanted)
    return QaDataset(
        name=f"needle.{language} {n_tokens}",
        language=language,
        examples=examples,
        counts=counts,
        sha256={
            f"needle text {i + 1} ({language})": hashlib.sha256(text.encode()).hexdigest()
            for i, text in enumerate(texts)
        },
    )


def _check(texts: Sequence[str], language: str, depths: Sequence[float], per_depth: int) -> None:
    if language not in _facts():
        raise InputError(
            f"there are no needles in {language!r}; there are some in {', '.join(needle_languages())} "
            "(docs/evaluation-protocol.md says how to write others)"
        )
    if not depths:
        raise InputError("there are no depths to put needles at; give some from 0 to 1")
    for depth in depths:
        if not 0 <= depth <= 1:
            raise InputError(f"a needle cannot be put at depth {depth}; depths are from 0 to 1")
    if len(set(depths)) < len(depths):
        raise InputError("a depth is given twice; give each once")
    if per_depth < 1:
        raise InputError(f"{per_depth} needles at each depth are no test; choose 1 or more")
    if not any(text.strip() for text in texts):
        raise InputError(f"there is no text in {language!r} to put needles into; give some (--texts FILE)")


def _long_enough(
    texts: Sequence[str],
    language: str,
    room: int,
    n_tokens: int,
    tokenizer: PreTrainedTokenizerBase,
    *,
    repeat: bool,
) -> tuple[list[_Text], bool]:
    """The texts of at least `room` tokens; without any the longest one repeated, if that is allowed, and True."""
    haystacks = [_read(text, language, tokenizer) for text in texts]
    long_enough = [text for text in haystacks if text.n_before_K[-1] >= room]
    if long_enough:
        return long_enough, False
    longest = max(haystacks, key=lambda text: text.n_before_K[-1])
    n_longest = int(longest.n_before_K[-1])
    if not repeat:
        raise InputError(
            f"a needle in {n_tokens} tokens needs a text of {room} in {language!r}, and the longest given has "
            f"{n_longest}; give longer text, or have it repeated (--repeat_texts)"
        )
    times = room // n_longest + 2
    return [_read("\n\n".join([longest.text] * times), language, tokenizer)], True


def _read(text: str, language: str, tokenizer: PreTrainedTokenizerBase) -> _Text:
    pattern = _THAI_SENTENCE_START if language == "th" else _SENTENCE_START
    places = sorted({0, *(match.end() for match in pattern.finditer(text)), len(text)})
    if not text.strip():
        return _Text(text, np.zeros(1, np.int64), np.zeros(1, np.int64))
    example = QaExample(id="text", question="?", context=text, answers=())
    (feature,) = make_qa_features([example], tokenizer, max_length=_NO_LIMIT, overlap=0, with_labels=False)
    starts = np.array([offset[0] for offset in feature.offsets if offset is not None], np.int64)
    place_K = np.array(places, np.int64)
    return _Text(text, place_K, np.searchsorted(starts, place_K))


def _bury(
    texts: Sequence[_Text], language: str, *, n_tokens: int, room: int, depth: float, k: int, seed: int
) -> QaExample:
    """One fact at `depth` of an excerpt of at most `room` tokens."""
    # The same place in the text for every depth, and about the same for every length.
    rng = random.Random(f"{seed} {language} {k}")
    text = texts[int(rng.random() * len(texts))]
    first, last = _excerpt(text, room, rng.random())
    if first == last:
        raise InputError(f"no sentence of the text in {language!r} has {room} tokens or fewer; give other text")
    begin, end = text.place_K[first], text.place_K[last]
    excerpt = text.text[begin:end]
    n_inside = text.n_before_K[first : last + 1] - text.n_before_K[first]
    nearest = int(np.abs(n_inside - depth * n_inside[-1]).argmin())
    place = int(text.place_K[first + nearest] - begin)
    rng = random.Random(f"{seed} {language} {depth} {k}")
    drawn = (_draw_fact(rng, language, k) for _ in range(_N_DRAWS))
    fact = next((fact for fact in drawn if fact.answer not in excerpt), None)
    if fact is None:
        raise InputError(f"the text in {language!r} holds every name or number that could be hidden; give other text")
    space = _facts()[language]["space"]
    before, after = excerpt[:place], excerpt[place:]
    before += space if before and not before[-1].isspace() else ""
    after = (space if after.strip() else "") + after
    example = _example(f"{language} {depth:g} {k}", fact, before + fact.statement + after, len(before) + fact.start)
    return QaExample(**{**vars(example), "depth": float(depth), "nominal_tokens": n_tokens})


def _excerpt(text: _Text, room: int, fraction: float) -> tuple[int, int]:
    """First and last place of an excerpt, the longest that begins there; the same place if no sentence fits."""
    last_K = np.searchsorted(text.n_before_K, text.n_before_K + room, side="right") - 1
    n_K = text.n_before_K[last_K] - text.n_before_K
    good = np.flatnonzero(n_K >= min(_WELL_FILLED * room, n_K.max()))
    first = int(good[int(fraction * len(good))])
    return first, int(last_K[first])


def _draw_fact(rng: random.Random, language: str, k: int) -> _Fact:
    """The k-th kind of sentence with names and numbers drawn."""
    facts = _facts()[language]
    statement, question, field = facts["sentences"][k % len(facts["sentences"])]
    name = facts["name"].format(first=rng.choice(facts["first_names"]), last=rng.choice(facts["last_names"]))
    words = {
        "name": name,
        "number": str(rng.randrange(10_000, 100_000)),
        "room": str(rng.randrange(100, 1000)),
        "year": str(rng.randrange(1100, 1900)),
    }
    start = len(statement[: statement.index("{" + field + "}")].format(**words))
    return _Fact(statement.format(**words), question.format(**words), words[field], start)


def _example(identifier: str, fact: _Fact, context: str, start: int) -> QaExample:
    answer = GoldAnswer(fact.answer, start)
    return QaExample(id=identifier, question=fact.question, context=context, answers=(answer,))


def _count_tokens(examples: Sequence[QaExample], tokenizer: PreTrainedTokenizerBase) -> np.ndarray:
    """Tokens of each question and its document, special tokens included."""
    return make_qa_features(examples, tokenizer, max_length=_NO_LIMIT, overlap=0, with_labels=False).lengths
