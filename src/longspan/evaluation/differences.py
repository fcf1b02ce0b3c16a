"""Two systems on the same items: the mean difference, and how sure it is."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from longspan.metrics import paired_bootstrap
from longspan.records import Difference, Item

_N_RESAMPLES = 1000


class ItemKey(NamedTuple):
    """What identifies an item among those of one system.

    repeat: number of the item among those that are equal in everything else (some data sets repeat ids).
    """

    dataset: str
    language: str
    id: str
    unit: str
    variant: int | None
    repeat: int


def by_key(items: Iterable[Item]) -> dict[ItemKey, Item]:
    """Return the items of one system by their keys, in order."""
    seen: Counter[tuple[str, str, str, str, int | None]] = Counter()
    found: dict[ItemKey, Item] = {}
    for item in items:
        key = (item.dataset, item.language, item.id, item.unit, item.variant)
        found[ItemKey(*key, seen[key])] = item
        seen[key] += 1
    return found


def scores_of(items: Iterable[Item], metric: str) -> dict[ItemKey, float]:
    """Return one metric of each item of one system, in order; items without the metric are left out."""
    return {key: item.metrics[metric] for key, item in by_key(items).items() if metric in item.metrics}


def compare_scores(
    own: Mapping[ItemKey, float], other: Mapping[ItemKey, float], *, metric: str, system: str, baseline: str
) -> list[Difference]:
    """Return `own` less `other` by paired bootstrap: over all items if there are several data sets, then on each.

    The bootstrap draws units. The variants of one input (a question asked with its paragraph at several places) are
    averaged first, because their scores are not independent. Over all data sets, items of one unit (a question in
    several languages, or in documents of several lengths) are drawn together.

    Args:
        own: metric of each item.
        other: metric of the same items.
        metric: its name, for the result.
        system: name of `own` in the result.
        baseline: name of `other`.
    """
    groups: dict[tuple[str, str], list[ItemKey]] = {}
    for key in own:
        groups.setdefault((key.dataset, key.language), []).append(key)
    wholes = [("all", "all", list(own))] if len(groups) > 1 else []
    parts = [(dataset, language, keys) for (dataset, language), keys in groups.items()]
    result = []
    for dataset, language, keys in [*wholes, *parts]:
        own_means, other_means = _means_over_variants(own, keys), _means_over_variants(other, keys)
        units = [key.unit for key in own_means]
        found = paired_bootstrap(list(own_means.values()), list(other_means.values()), n=_N_RESAMPLES, groups=units)
        result.append(
            Difference(
                system=system,
                baseline=baseline,
                dataset=dataset,
                language=language,
                metric=metric,
                n_units=len(set(units)),
                mean=found.difference,
                low=found.low,
                high=found.high,
                p_value=found.p_value,
                n_resamples=_N_RESAMPLES,
            )
        )
    return result


def _means_over_variants(scores: Mapping[ItemKey, float], keys: Sequence[ItemKey]) -> dict[ItemKey, float]:
    """Return one score for each input, its variants averaged, in order."""
    of_input: dict[ItemKey, list[float]] = {}
    for key in keys:
        of_input.setdefault(key._replace(variant=None), []).append(scores[key])
    return {key: fmean(values) for key, values in of_input.items()}
