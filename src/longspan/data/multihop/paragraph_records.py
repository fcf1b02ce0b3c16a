"""Records of HotpotQA, 2WikiMultihopQA and MuSiQue, in their releases' and the hub's layouts -> `MultihopRecord`.

The layout of a record is known by its fields.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from longspan.data.multihop.collector import MultihopCollector, MultihopRecord
from longspan.data.multihop.examples import Evidence, Fact, Hop
from longspan.data.record_checker import kind_of

Aliases = Mapping[str, tuple[str, ...]]
"""Wikidata's id -> further names, of 2WikiMultihopQA's id_aliases.json."""


def multihop_record(
    checker: MultihopCollector, record: Mapping[str, Any], where: str, aliases: Aliases | None = None
) -> MultihopRecord:
    """What a record says, with the types of its fields checked.

    Args:
        checker: reads the fields and counts.
        record: in one of four layouts: `paragraphs` (MuSiQue), `para_a` (the sample on HotpotQA's site), or `context`
            (HotpotQA and 2WikiMultihopQA: pairs of title and sentences as released, or lists of both as on the hub).
        where: the record in errors.
        aliases: of answers and evidences of 2WikiMultihopQA.

    Raises:
        InputError: a field is missing or of another type, a sentence number is negative, an evidence is no triple, or
            paragraphs have the same number.
    """
    if not isinstance(record, Mapping):
        checker.fail(where, f"should be an object, and is {kind_of(record)}")
    if "paragraphs" in record:
        return _musique(checker, record, where)
    if "para_a" in record:
        return _sample_of_site(checker, record, where)
    if "supports" in record and "candidates" in record:
        checker.fail(where, "is a question of WikiHop, with candidates; read it with load_wikihop_dataset")
    return _hotpotqa(checker, record, where, aliases or {})


def _answer(checker: MultihopCollector, record: Mapping[str, Any], where: str) -> str:
    if record.get("answer") is None:
        checker.fail(where, "has no `answer`; a test set without answers can neither be trained on nor scored")
    return checker.text_of(record, "answer", where)


def _identifier(checker: MultihopCollector, record: Mapping[str, Any], where: str) -> str:
    """Its `_id` or `id`; if it has none, its place in the file."""
    key = next((key for key in ("_id", "id") if record.get(key) is not None), None)
    if key is None:
        checker.counts["questions_without_id"] += 1
        return where
    return checker.identifier_of(record, key, where)


# HotpotQA and 2WikiMultihopQA.


def _hotpotqa(checker: MultihopCollector, record: Mapping[str, Any], where: str, aliases: Aliases) -> MultihopRecord:
    paragraphs = []
    for i, (title, sentences) in enumerate(_pairs(checker, record, "context", where, ("title", "sentences|content"))):
        place = f"{where}.context[{i}]"
        if not isinstance(sentences, list):
            checker.fail(place, f"should have a list of sentences, and has {kind_of(sentences)}")
        checked = [checker.text(sentence, f"{place}: sentence {s}") for s, sentence in enumerate(sentences)]
        if not checked:
            checker.fail(place, "has no sentences; remove the paragraph or give it text")
        paragraphs.append((checker.text(title, f"{place}: its title"), checked))
    facts = []
    for i, (title, n) in enumerate(_pairs(checker, record, "supporting_facts", where, ("title", "sent_id"))):
        place = f"{where}.supporting_facts[{i}]"
        facts.append((checker.text(title, f"{place}: its title"), _sentence_number(checker, n, place)))
    answer = _answer(checker, record, where)
    answer_id = record.get("answer_id")
    return MultihopRecord(
        where=where,
        given_id=_identifier(checker, record, where),
        question=checker.text_of(record, "question", where),
        answers=_with_aliases(answer, answer_id, aliases),
        paragraphs=paragraphs,
        named_facts=tuple(facts),
        type=checker.text_of(record, "type", where, default=""),
        level=checker.text_of(record, "level", where, default=""),
        evidences=_evidences(checker, record, where, aliases),
    )


def _pairs(
    checker: MultihopCollector, record: Mapping[str, Any], key: str, where: str, columns: tuple[str, ...]
) -> list[tuple[Any, ...]]:
    """The rows of a field: a list of lists as released, or an object of lists as the hub has it.

    Args:
        checker: reads the field.
        record: the record.
        key: the field's name.
        where: the record in errors.
        columns: names of an object's lists; several names for one are separated by |.
    """
    value = checker.field(record, key, where)
    where = f"{where}.{key}"
    if isinstance(value, Mapping):
        lists = []
        for column in columns:
            name = next((name for name in column.split("|") if name in value), column.split("|", maxsplit=1)[0])
            lists.append(checker.list_of(value, name, where))
        if len({len(one) for one in lists}) > 1:
            told = " and ".join(f"{len(one)} {column}" for one, column in zip(lists, columns, strict=True))
            checker.fail(where, f"has lists of different lengths: {told}")
        return list(zip(*lists, strict=True))
    if not isinstance(value, list):
        checker.fail(where, f"should be a list or an object of lists, and is {kind_of(value)}")
    for i, row in enumerate(value):
        if not isinstance(row, list) or len(row) != len(columns):
            told = f"a list of {len(row)}" if isinstance(row, list) else kind_of(row)
            checker.fail(f"{where}[{i}]", f"should be a list of {len(columns)}, and is {told}")
    return [tuple(row) for row in value]


def _sentence_number(checker: MultihopCollector, value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        told = value if isinstance(value, int | float) else kind_of(value)
        checker.fail(where, f"should have a sentence number, from 0, and has {told}")
    return value


def _with_aliases(name: str, identifier: Any, aliases: Aliases) -> tuple[str, ...]:
    further = aliases.get(identifier, ()) if isinstance(identifier, str) else ()
    return tuple(dict.fromkeys((name, *further)))


def _evidences(
    checker: MultihopCollector, record: Mapping[str, Any], where: str, aliases: Aliases
) -> tuple[Evidence, ...]:
    if record.get("evidences") is None:
        return ()
    rows = _pairs(checker, record, "evidences", where, ("subject|fact", "relation", "object|entity"))
    identifiers: list[tuple[Any, ...]] = []
    if record.get("evidences_id"):
        identifiers = _pairs(checker, record, "evidences_id", where, ("subject", "relation", "object"))
        if len(identifiers) != len(rows):
            checker.fail(where, f"has {len(rows)} `evidences` and {len(identifiers)} `evidences_id`; give one for each")
    found = []
    for i, row in enumerate(rows):
        subject, relation, object_ = (checker.text(text, f"{where}.evidences[{i}]") for text in row)
        subject_id, relation_again, object_id = identifiers[i] if identifiers else (None, relation, None)
        if relation_again != relation:
            checker.fail(f"{where}.evidences_id[{i}]", f"is of the relation {relation_again!r}, not {relation!r}")
        found.append(
            Evidence(_with_aliases(subject, subject_id, aliases), relation, _with_aliases(object_, object_id, aliases))
        )
    return tuple(found)


def _sample_of_site(checker: MultihopCollector, record: Mapping[str, Any], where: str) -> MultihopRecord:
    """A record of the 100 on HotpotQA's site: two paragraphs with the facts, then distractors.

    The release's order of the paragraphs is lost. They are put in the order of a hash, so that the ones with the facts
    do not come first.
    """
    identifier = _identifier(checker, record, where)
    given: list[tuple[Any, ...]] = [
        (checker.field(record, f"title_{x}", where), checker.list_of(record, f"para_{x}", where)) for x in "ab"
    ]
    for i, distractor in enumerate(checker.list_of(record, "distractors", where)):
        if not isinstance(distractor, list) or len(distractor) not in {2, 3}:  # the third is the retriever's score
            checker.fail(f"{where}.distractors[{i}]", "should be a title, a list of sentences, and maybe a score")
        given.append((distractor[0], distractor[1]))
    facts: list[list[Any]] = []
    numbers = checker.list_of(record, "supporting_facts", where)
    if len(numbers) != 2 or not all(isinstance(one, list) for one in numbers):
        checker.fail(f"{where}.supporting_facts", "should be two lists of sentence numbers, one for each paragraph")
    for (title, _), sentences in zip(given, numbers, strict=False):
        facts += [[title, n] for n in sentences]
    given.sort(key=lambda one: hashlib.sha256(f"{identifier}\0{one[0]}".encode("utf-8", "surrogatepass")).digest())
    checker.counts["questions_in_hashed_order"] += 1
    context = [list(one) for one in given]
    return _hotpotqa(checker, {**record, "context": context, "supporting_facts": facts}, where, {})


# MuSiQue.


def _musique(checker: MultihopCollector, record: Mapping[str, Any], where: str) -> MultihopRecord:
    paragraphs, facts = [], []
    place_of: dict[int, int] = {}
    for i, paragraph in enumerate(checker.list_of(record, "paragraphs", where)):
        place = f"{where}.paragraphs[{i}]"
        text = checker.text_of(paragraph, "paragraph_text", place)
        paragraphs.append((checker.text_of(paragraph, "title", place, default=""), [text]))
        number = paragraph.get("idx", i)
        if isinstance(number, bool) or not isinstance(number, int):
            checker.fail(f"{place}.idx", f"should be a whole number, and is {kind_of(number)}")
        if number in place_of:
            checker.fail(f"{place}.idx", f"is {number}, as of paragraphs[{place_of[number]}]; number them apart")
        place_of[number] = i
        if _flag(checker, paragraph, "is_supporting", place):
            facts.append(Fact(i, 0))
    hops = _hops(checker, record, where, place_of)
    is_answerable = _flag(checker, record, "answerable", where, default=True)
    told = {hop.paragraph for hop in hops}
    checker.counts["decompositions_of_other_paragraphs"] += bool(
        hops and is_answerable and None not in told and told != {fact.paragraph for fact in facts}
    )
    aliases = checker.list_of(record, "answer_aliases", where) if record.get("answer_aliases") is not None else []
    checked = [checker.text(alias, f"{where}.answer_aliases[{i}]") for i, alias in enumerate(aliases)]
    identifier = _identifier(checker, record, where)
    return MultihopRecord(
        where=where,
        given_id=identifier,
        question=checker.text_of(record, "question", where),
        answers=tuple(dict.fromkeys((_answer(checker, record, where), *checked))),
        paragraphs=paragraphs,
        facts=tuple(facts),
        type=identifier.partition("__")[0] if "hop" in identifier.partition("__")[0] else "",
        hops=hops,
        is_answerable=is_answerable,
    )


def _flag(
    checker: MultihopCollector, record: Mapping[str, Any], key: str, where: str, default: bool | None = None
) -> bool:
    if default is not None and record.get(key) is None:
        return default
    value = checker.field(record, key, where)
    if not isinstance(value, bool):
        checker.fail(f"{where}.{key}", f"should be true or false, and is {kind_of(value)}")
    return value


def _hops(
    checker: MultihopCollector, record: Mapping[str, Any], where: str, place_of: Mapping[int, int]
) -> tuple[Hop, ...]:
    if record.get("question_decomposition") is None:
        return ()
    hops = []
    for i, step in enumerate(checker.list_of(record, "question_decomposition", where)):
        place = f"{where}.question_decomposition[{i}]"
        question, answer = checker.text_of(step, "question", place), checker.text_of(step, "answer", place)
        number = step.get("paragraph_support_idx")
        if number is not None and (isinstance(number, bool) or not isinstance(number, int)):
            checker.fail(f"{place}.paragraph_support_idx", f"should be a whole number, and is {kind_of(number)}")
        if number is not None and number not in place_of:
            checker.counts["hops_without_paragraph"] += 1
        hops.append(Hop(question, answer, None if number is None else place_of.get(number)))
    return tuple(hops)
