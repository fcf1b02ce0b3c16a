"""PreCo (Chen et al. 2018): one document a line of JSON, with sentences of words and clusters of mentions."""

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, TypeGuard

from longspan.data.coreference.documents import CoreferenceDocument, FaultLog, Span, distinct_clusters
from longspan.data.coreference.members import Member
from longspan.data.coreference.words import join_words
from longspan.data.decoding import decode, require_text
from longspan.data.opening import split_lines
from longspan.errors import InputError

ENDINGS = (".jsonl", ".json")


def read_preco(member: Member, faults: FaultLog) -> Iterator[CoreferenceDocument]:
    """The documents of one file of JSON lines with `id`, `sentences` and `mention_clusters`.

    A mention is [sentence, first word, word after the last]. Words of white space, which PreCo has, stay words.

    Args:
        member: the file.
        faults: of the corpus.

    Raises:
        InputError: the file is not UTF-8, a line is no JSON object with these fields, a word is empty or not text, or
            a mention is not within its sentence; or as `distinct_clusters`. The message has the file and the line.
    """
    for number, line in enumerate(split_lines(decode(member.where, member.data)), 1):
        if not line.strip():
            continue
        where = f"{member.where}: line {number:,}"
        record = _object(line, where)
        sentences, clusters = record.get("sentences"), record.get("mention_clusters")
        if not isinstance(record.get("id"), str) or not _is_lists(sentences) or not _is_lists(clusters):
            raise InputError(f"{where} must have id, sentences and mention_clusters, as PreCo has them")
        for i, sentence in enumerate(sentences):
            for word in sentence:
                if not isinstance(word, str) or not word:
                    raise InputError(f"{where}: sentence {i} holds {word!r}; a word must be text that is not empty")
                require_text(word, f"{where}: sentence {i}")
        words = [word for sentence in sentences for word in sentence]
        if not words:
            raise InputError(f"{where} has no words; remove the document")
        starts = [0]
        for sentence in sentences:
            starts.append(starts[-1] + len(sentence))
        spans = [[_span(mention, sentences, starts, where) for mention in cluster] for cluster in clusters]
        text, tokens = join_words(words)
        yield CoreferenceDocument(
            id=record["id"],
            text=text,
            tokens=tokens,
            sentences=tuple((start, end) for start, end in pairwise(starts) if start < end),
            speakers=(),
            clusters=distinct_clusters(spans, words, f"{where}: document {record['id']!r}", faults),
        )


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"{where} is not JSON: {error.msg} at column {error.colno}; fetch the file again") from error
    except (ValueError, RecursionError) as error:  # an integer of thousands of digits, or too many brackets
        raise InputError(f"{where} is no document of PreCo; fetch the file again") from error
    if not isinstance(record, dict):
        raise InputError(f"{where} is not a JSON object but {type(record).__name__}; pass a file of PreCo")
    return record


def _is_lists(value: object) -> TypeGuard[list[list[Any]]]:
    return isinstance(value, list) and all(isinstance(one, list) for one in value)


def _span(mention: object, sentences: list[list[str]], starts: list[int], where: str) -> Span:
    match mention:
        case [int(sentence), int(start), int(end)] if 0 <= sentence < len(sentences):
            if 0 <= start < end <= len(sentences[sentence]):
                return starts[sentence] + start, starts[sentence] + end
    raise InputError(f"{where}: the mention {mention!r} is not [sentence, start, end] within a sentence; mend it")
