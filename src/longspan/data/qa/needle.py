"""The needle test: a made-up fact at a known depth of real text, and a question that only this fact answers.

packaged/needles.json has the sentences and names of each language; a new language is one entry. Sentences use names in
their dictionary form and numbers without inflection. All names are women's, for languages whose verbs or articles show
the gender.
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

# The end of a sentence with closing marks, or an empty line. A line break alone ends no sentence, because many files
# break lines inside sentences.
_SENTENCE_START = re.compile(r"[.!?…।؟۔]+[\"'»”’)\]]*\s+|[。！？]+[」』”’）]*\s*|\n\s*\n\s*")
# Thai ends sentences and clauses with a blank; a blank beside a number or a foreign word ends neither.
_THAI_SENTENCE_START = re.compile(r"(?<=[\u0e00-\u0e7f])\s+(?=[\u0e00-\u0e7f])")
# Excerpts that fill this share of the available tokens are long enough; one of them is drawn.
_WELL_FILLED = 0.95
_N_DRAWS = 1000
_NO_LIMIT = 1 << 40  # tokens per window, so that nothing is cut


class _Fact(NamedTuple):
    statement: str
    question: str
    answer: str
    start: int  # offset of the answer in the statement


class _Haystack(NamedTuple):
    """A text that needles are inserted into. K is the number of sentence boundaries, with start and end of the text."""

    text: str
    place_K: np.ndarray  # int64, character offset of each boundary
    n_before_K: np.ndarray  # int64, number of tokens before each boundary


@functools.cache
def _facts() -> Mapping[str, Any]:
    path = resources.files("longspan.data") / "packaged" / "needles.json"
    return json.loads(path.read_text(encoding="utf-8"))


def needle_languages() -> list[str]:
    """Codes of the languages that have facts."""
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
    """Make documents of `n_tokens` tokens that contain one made-up fact each, with a question about it.

    A document is an excerpt of whole sentences with the fact inserted. Question and document together have at most
    `n_tokens` tokens, and as close to that as whole sentences allow. The fact is inserted at the sentence boundary that
    is nearest to its depth in tokens. Names and numbers are random; a name or number that the excerpt contains is drawn
    again. The fact is the same at every length and different at every depth.

    Args:
        texts: real texts in `language`.
        language: a code of `needle_languages()`.
        n_tokens: tokens of question and document together, special tokens included.
        depths: depths from 0 (before the text) to 1 (after it).
        tokenizer: the model's tokenizer, which counts the tokens.
        seed: seed of names, numbers and excerpts.
        per_depth: number of facts at each depth.
        repeat: repeat a text that is too short until it is long enough.

    Returns:
        `per_depth` questions for each depth, with `depth` and `nominal_tokens` set. `counts["repeated_texts"]` is the
        number of documents made from a repeated text.

    Raises:
        InputError: the language has no facts, there is no depth or one is out of range, there is no text, all texts are
            too short for `n_tokens`, or `n_tokens` is too small for a fact and another sentence.
    """
    _check(texts, language, depths, per_depth)
    # The tokens for the text must suffice for every fact, so the longest of 30 facts is subtracted.
    trials = [_draw_fact(random.Random(f"{seed} {i}"), language, i) for i in range(30)]
    n_fact = int(_count_tokens([_example("", fact, fact.statement, fact.start) for fact in trials], tokenizer).max())
    room = n_tokens - n_fact
    if room < 1:
        raise InputError(
            f"{n_tokens} tokens leave no room for text beside a question and its fact ({n_fact} tokens in "
            f"{language!r}); choose more"
        )
    haystacks, are_repeated = _choose_haystacks(texts, language, room, n_tokens, tokenizer, repeat=repeat)
    wanted = [(depth, k) for depth in depths for k in range(per_depth)]
    rooms = [room] * len(wanted)
    excess, examples = [1], []
    while any(excess):
        examples = [
            _insert_fact(haystacks, language, n_tokens=n_tokens, room=own, depth=depth, k=k, seed=seed)
            for (depth, k), own in zip(wanted, rooms, strict=True)
        ]
        # The tokens at the boundary of fact and text can differ from those of each alone.
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
            f"there are no needles in {language!r}; choose one of {', '.join(needle_languages())} "
            "(docs/evaluation-protocol.md says how to add a language)"
        )
    if not depths:
        raise InputError("there are no depths for the needles; give some from 0 to 1")
    for depth in depths:
        if not 0 <= depth <= 1:
            raise InputError(f"a needle cannot be put at depth {depth}; depths are from 0 to 1")
    if len(set(depths)) < len(depths):
        raise InputError("a depth is given twice; give each once")
    if per_depth < 1:
        raise InputError(f"{per_depth} needles at each depth are no test; choose 1 or more")
    if not any(text.strip() for text in texts):
        raise InputError(f"there is no text in {language!r} for the needles; give some (--texts FILE)")


def _choose_haystacks(
    texts: Sequence[str],
    language: str,
    room: int,
    n_tokens: int,
    tokenizer: PreTrainedTokenizerBase,
    *,
    repeat: bool,
) -> tuple[list[_Haystack], bool]:
    """Return the texts of at least `room` tokens and False; if there is none, the longest text repeated and True."""
    haystacks = [_read(text, language, tokenizer) for text in texts]
    long_enough = [text for text in haystacks if text.n_before_K[-1] >= room]
    if long_enough:
        return long_enough, False
    longest = max(haystacks, key=lambda text: text.n_before_K[-1])
    n_longest = int(longest.n_before_K[-1])
    if not repeat:
        raise InputError(
            f"a needle in {n_tokens} tokens needs a text of {room} tokens in {language!r}, and the longest text has "
            f"{n_longest}; give longer texts, or allow repetition (--repeat_texts)"
        )
    times = room // n_longest + 2
    return [_read("\n\n".join([longest.text] * times), language, tokenizer)], True


def _read(text: str, language: str, tokenizer: PreTrainedTokenizerBase) -> _Haystack:
    pattern = _THAI_SENTENCE_START if language == "th" else _SENTENCE_START
    places = sorted({0, *(match.end() for match in pattern.finditer(text)), len(text)})
    if not text.strip():
        return _Haystack(text, np.zeros(1, np.int64), np.zeros(1, np.int64))
    example = QaExample(id="text", question="?", context=text, answers=())
    (feature,) = make_qa_features([example], tokenizer, max_length=_NO_LIMIT, overlap=0, with_labels=False)
    starts = np.array([offset[0] for offset in feature.offsets if offset is not None], np.int64)
    place_K = np.array(places, np.int64)
    return _Haystack(text, place_K, np.searchsorted(starts, place_K))


def _insert_fact(
    texts: Sequence[_Haystack], language: str, *, n_tokens: int, room: int, depth: float, k: int, seed: int
) -> QaExample:
    """Insert one fact at `depth` of an excerpt of at most `room` tokens."""
    # The excerpt begins at the same place for every depth, and at about the same place for every length.
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
        raise InputError(f"the text in {language!r} contains every possible answer of a fact; give other text")
    space = _facts()[language]["space"]
    before, after = excerpt[:place], excerpt[place:]
    before += space if before and not before[-1].isspace() else ""
    after = (space if after.strip() else "") + after
    example = _example(f"{language} {depth:g} {k}", fact, before + fact.statement + after, len(before) + fact.start)
    return QaExample(**{**vars(example), "depth": float(depth), "nominal_tokens": n_tokens})


def _excerpt(text: _Haystack, room: int, fraction: float) -> tuple[int, int]:
    """First and last boundary of an excerpt of at most `room` tokens; they are equal if no sentence fits."""
    last_K = np.searchsorted(text.n_before_K, text.n_before_K + room, side="right") - 1
    n_K = text.n_before_K[last_K] - text.n_before_K
    good = np.flatnonzero(n_K >= min(_WELL_FILLED * room, n_K.max()))
    first = int(good[int(fraction * len(good))])
    return first, int(last_K[first])


def _draw_fact(rng: random.Random, language: str, k: int) -> _Fact:
    """Draw names and numbers for the k-th sentence."""
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
    """Number of tokens of each question with its document, special tokens included."""
    return make_qa_features(examples, tokenizer, max_length=_NO_LIMIT, overlap=0, with_labels=False).lengths
