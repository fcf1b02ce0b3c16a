"""What belongs into one table."""

from collections.abc import Collection, Hashable, Iterable
from typing import TypeVar

_T = TypeVar("_T", bound=Hashable)


def connected(sets: Iterable[Collection[_T]]) -> list[set[_T]]:
    """Unions of the sets that share a member, directly or through others; in the order of the first of each."""
    unions: list[set[_T]] = []
    for members in sets:
        touched = [union for union in unions if not union.isdisjoint(members)]
        if not touched:
            unions.append(set(members))
            continue
        touched[0].update(members, *touched[1:])
        unions = [union for union in unions if all(union is not other for other in touched[1:])]
    return unions
