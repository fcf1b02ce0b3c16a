"""Checks of records read from JSON or from the hub; errors name the source, the record and the field."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, NoReturn

from longspan.data.decoding import require_text
from longspan.errors import InputError


def unique_id(identifier: str, seen: set[str]) -> str:
    """The id, with a number behind it where it is in `seen`; what is returned is added there."""
    own, n = identifier, 2
    while own in seen:
        own, n = f"{identifier}#{n}", n + 1
    seen.add(own)
    return own


class RecordChecker:
    """Reads fields of records with their types checked, and counts what a reader of the data should know.

    Attributes:
        source: what errors call the data.
        counts: how often something happened.
        seen_ids: the ids given so far.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.counts: Counter[str] = Counter()
        self.seen_ids: set[str] = set()

    def fail(self, where: str, problem: str) -> NoReturn:
        """Raise the InputError that says what is wrong where."""
        raise InputError(f"{self.source}: {where} {problem}" if where else f"{self.source} {problem}")

    def field(self, record: Any, key: str, where: str) -> Any:
        """`record[key]`, which must be there."""
        if not isinstance(record, Mapping):
            self.fail(where, f"should be an object, and is {kind_of(record)}")
        if key not in record:
            self.fail(where, f"has no `{key}`; it has {', '.join(map(str, record)) or 'no fields'}")
        return record[key]

    def text_of(self, record: Any, key: str, where: str, default: str | None = None) -> str:
        """`record[key]`, which must be text; `default` where it is missing and a default is given."""
        if default is not None and isinstance(record, Mapping) and record.get(key) is None:
            return default
        return self.text(self.field(record, key, where), f"{where}.{key}")

    def text(self, value: Any, where: str) -> str:
        """`value`, which must be text that a tokenizer takes."""
        if not isinstance(value, str):
            self.fail(where, f"should be text, and is {kind_of(value)}")
        return require_text(value, f"{self.source}: {where}")

    def list_of(self, record: Any, key: str, where: str) -> list[Any]:
        """`record[key]`, which must be a list."""
        value = self.field(record, key, where)
        if not isinstance(value, list):
            self.fail(f"{where}.{key}", f"should be a list, and is {kind_of(value)}")
        return value

    def identifier_of(self, record: Mapping[str, Any], key: str, where: str) -> str:
        """`record[key]`, which must be text or a whole number."""
        value = self.field(record, key, where)
        if isinstance(value, bool) or not isinstance(value, str | int):
            self.fail(f"{where}.{key}", f"should be text or a whole number, and is {kind_of(value)}")
        return self.text(str(value), f"{where}.{key}")

    def unique(self, identifier: str) -> str:
        """The id, or a new one where an earlier question has it; both questions count."""
        own = unique_id(identifier, self.seen_ids)
        self.counts["repeated_ids"] += own != identifier
        return own


_KINDS = {type(None): "null", bool: "true or false", str: "text", int: "a number", float: "a number", list: "a list"}


def kind_of(value: Any) -> str:
    """What a JSON value is, in words."""
    return _KINDS.get(type(value), "an object" if isinstance(value, Mapping) else type(value).__name__)
