"""brat's standoff format: a text in `.txt`, its mentions and the relations between them in `.ann` beside it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from longspan.data.coreference.documents import CoreferenceDocument, FaultLog, Span, distinct_clusters
from longspan.data.coreference.members import Member, without_compression
from longspan.data.coreference.words import split_words, tokens_of_characters
from longspan.data.decoding import decode
from longspan.data.opening import split_lines
from longspan.errors import InputError

ENDINGS = (".ann", ".txt")
_RELATIONS = ("coreference", "coref")
_MOST_DIFFERING = 0.1


@dataclass
class _Annotations:
    """The mentions of one `.ann` file by their ids, and the pairs of ids that mean the same."""

    spans: dict[str, Span] = field(default_factory=dict)  # in characters
    pairs: list[tuple[str, str, int]] = field(default_factory=list)  # with the line


class _RepeatedIdError(Exception):
    """An id comes twice, so that relations do not say which mention they mean."""


def pair_members(members: Sequence[Member], source: str) -> Iterator[tuple[Member, Member]]:
    """The texts and annotations of the same name.

    Raises:
        InputError: one of the two is missing.
    """
    found = {without_compression(one.path): one for one in members}
    for stem in sorted({path.rpartition(".")[0] for path in found}):
        for ending in ENDINGS:
            if stem + ending not in found:
                raise InputError(f"{source} has no {stem}{ending}; brat's text and annotations have the same name")
        yield found[f"{stem}.txt"], found[f"{stem}.ann"]


def read_brat(text: Member, annotations: Member, faults: FaultLog) -> Iterator[CoreferenceDocument]:
    """The document of a text and its annotations; nothing if its ids come twice and faults are left out.

    Every annotation of text is a mention, whatever its type. Relations of the type `Coreference` or `Coref`, and
    brat's equivalences, join mentions to clusters; a mention without any is a singleton. The words are those of
    `split_words`, and a mention is the words that it touches: white space around it is cut off, and one that begins or
    ends within a word (`mentions_widened`) takes the whole word. A mention in several pieces reaches from the first to
    the last (`mentions_in_pieces`). The file repeats the text of each mention; where it is another one, the offsets
    count (`differing_texts`).

    Args:
        text: the file `.txt`.
        annotations: the file `.ann`.
        faults: of the corpus.

    Raises:
        InputError: a file is not UTF-8, the text is empty, or a line is malformed; more than a tenth of the mentions
            have another text at their offsets; or, if faults are refused, an id comes twice, offsets are not within
            the text or hold no word, or a relation names no mention. The message has the file and the line.
    """
    content = decode(text.where, text.data)
    tokens = split_words(content)
    if not tokens:
        raise InputError(f"{text.where} holds no words; remove it and its annotations")
    try:
        found = _read_annotations(annotations, content, faults)
    except _RepeatedIdError as error:
        faults.add("documents_left_out", str(error), "annotate the document in one piece")
        return

    mentions: dict[str, Span] = {}
    for identifier, (start, end) in found.spans.items():
        touched = tokens_of_characters((start, end), tokens)
        if touched is None:
            faults.add(
                "mentions_without_words",
                f"{annotations.where}: {identifier} (characters {start:,} to {end:,}) holds no word",
                "mend its offsets",
            )
            continue
        mentions[identifier] = touched
        first, last = tokens[touched[0]], tokens[touched[1] - 1]
        faults.count("mentions_widened", first[0] < start or last[1] > end)

    joined = {identifier: {identifier} for identifier in mentions}
    for one, other, line in found.pairs:
        if one not in mentions or other not in mentions:
            missing = other if one in mentions else one
            faults.add(
                "relations_left_out",
                f"{annotations.where}: line {line:,} names {missing}, which is no mention of the file",
                "mend the relation",
            )
        elif joined[one] is not joined[other]:
            joined[one] |= joined[other]
            for identifier in joined[other]:
                joined[identifier] = joined[one]
    words = [content[start:end] for start, end in tokens]
    groups = {id(group): sorted(mentions[identifier] for identifier in group) for group in joined.values()}
    linked = {mention for group in groups.values() if len(group) > 1 for mention in group}
    # A mention that is marked once with relations and once more without any is one mention.
    clusters = [group for group in groups.values() if len(group) > 1 or group[0] not in linked]
    faults.count("repeated_mentions", len(groups) - len(clusters))
    identifier = without_compression(text.path).rpartition("/")[2].removesuffix(".txt")
    yield CoreferenceDocument(
        id=identifier,
        text=content,
        tokens=tokens,
        sentences=((0, len(tokens)),),
        speakers=(),
        clusters=distinct_clusters(sorted(clusters), words, f"{annotations.where}: document {identifier!r}", faults),
    )


def _read_annotations(member: Member, text: str, faults: FaultLog) -> _Annotations:
    found = _Annotations()
    lines: dict[str, int] = {}
    n_differing = 0
    for number, line in enumerate(split_lines(decode(member.where, member.data)), 1):
        if not line.strip():
            continue
        where = f"{member.where}: line {number:,}"
        identifier, _, rest = line.partition("\t")
        described, _, repeated = rest.partition("\t")
        kind, *arguments = described.split(" ", 1)
        if identifier[0] not in "TR*":
            faults.count("other_annotations")  # events, attributes, notes
            continue
        if not arguments:
            raise InputError(f"{where} is no annotation of brat: {line[:60]!r}; mend the line")
        if identifier == "*":
            first, *others = arguments[0].split()
            found.pairs.extend((first, other, number) for other in others)
            continue
        if identifier in lines:
            raise _RepeatedIdError(
                f"{where} has the id {identifier!r} of line {lines[identifier]:,} again, so that it is not known which "
                "mention a relation means"
            )
        lines[identifier] = number
        if identifier[0] == "R":
            if kind.lower() in _RELATIONS:
                found.pairs.append((*_arguments(arguments[0], where), number))
            else:
                faults.count("other_annotations")
            continue
        span = _offsets(arguments[0], where, faults)
        if not 0 <= span[0] < span[1] <= len(text):
            faults.add(
                "offsets_outside_text",
                f"{where}: {identifier} has the offsets {span[0]:,} to {span[1]:,}, the text has {len(text):,} "
                "characters",
                "mend the offsets or pass the text they belong to",
            )
            continue
        if ";" not in arguments[0] and "".join(text[span[0] : span[1]].split()) != "".join(repeated.split()):
            n_differing += 1
            faults.count("differing_texts")
        found.spans[identifier] = span
    if n_differing > max(1, _MOST_DIFFERING * len(found.spans)):
        raise InputError(
            f"{member.where}: {n_differing:,} of {len(found.spans):,} mentions have another text at their offsets; "
            "pass the text that was annotated, with its line ends"
        )
    return found


def _offsets(text: str, where: str, faults: FaultLog) -> Span:
    """Start and end in characters; of a mention in pieces, the first start and the last end."""
    pieces = text.split(";")
    try:
        numbers = [int(number) for piece in pieces for number in piece.split()]
    except ValueError:
        numbers = []
    if len(numbers) != 2 * len(pieces) or numbers != sorted(numbers):
        raise InputError(f"{where} has the offsets {text!r}; they must be ascending numbers such as 12 15")
    faults.count("mentions_in_pieces", len(pieces) > 1)
    return min(numbers), max(numbers)


def _arguments(text: str, where: str) -> tuple[str, str]:
    """The ids of a relation's two mentions."""
    ids = [argument.partition(":")[2] for argument in text.split()]
    if len(ids) != 2 or not all(ids):
        raise InputError(f"{where} has the arguments {text.strip()!r}; they must be as Arg1:T1 Arg2:T2")
    return ids[0], ids[1]
