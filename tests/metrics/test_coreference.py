"""Ours against the CoNLL reference scorer (tests/golden/coreference/README.md)."""

import gzip
import itertools
import json
import random
import re
from fractions import Fraction
from pathlib import Path

import pytest

from longspan.data.coreference.conll import read_conll
from longspan.data.coreference.documents import FaultLog
from longspan.data.coreference.members import Member
from longspan.metrics.coreference import (
    Ratio,
    coreference_scores,
    count_document,
    scores_by_distance,
    scores_of_counts,
    sum_ratios,
)

FOLDER = Path(__file__).parents[1] / "golden" / "coreference"
NAMES = {"muc": "muc", "bcub": "b_cubed", "ceafm": "ceaf_m", "ceafe": "ceaf_e", "blanc": "blanc"}
CASES = json.loads((FOLDER / "expected.json").read_text("utf-8"))
KEY, RESPONSE = ["abc", "defg"], ["ab", "cd", "fghi"]


def clusters_of(name):
    # Some cases have no words, only a name and brackets.
    data = re.sub(rb"(?m)^(nw\S+) (\S+)$", rb"\1\t0\t0\tword\t\2", (FOLDER / "testcases" / name).read_bytes())
    [document] = read_conll(Member(name, name, data), FaultLog(refuse=False))
    return document.clusters


def random_sets():
    return json.loads(gzip.decompress((FOLDER / "random.json.gz").read_bytes()))


def as_tuples(documents):
    return [[[tuple(mention) for mention in cluster] for cluster in clusters] for clusters in documents]


def test_all_cases_of_the_reference_scorer_are_here():
    assert len(CASES) == 36
    assert sum(len(case["expected"]) for case in CASES) == 91
    named = {case[part] for case in CASES for part in ("key", "response")}
    assert named == {file.name for file in (FOLDER / "testcases").iterdir()}


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_figures_equal_the_reference_scorers_test_cases(case):
    scores = coreference_scores([clusters_of(case["key"])], [clusters_of(case["response"])])
    for metric, expected in case["expected"].items():
        for what, figure in zip(("recall", "precision", "f1"), expected, strict=True):
            found = scores[f"{NAMES[metric]}_{what}"] / 100
            if "." in figure:
                assert f"{found:.5f}" == f"{float(figure):.5f}", (metric, what)
            else:
                assert found == pytest.approx(float(Fraction(figure)), rel=1e-14), (metric, what)


def test_sums_equal_the_reference_scorer_on_random_sets():
    rows = random_sets()
    assert len(rows) == 40
    for row in rows:
        keys, responses = as_tuples(row["keys"]), as_tuples(row["responses"])
        counts = [count_document(key, response) for key, response in zip(keys, responses, strict=True)]
        scores = scores_of_counts(counts)
        assert scores == coreference_scores(keys, responses)
        for metric in counts[0].keys() - {"lea"}:
            total = sum_ratios(document[metric] for document in counts)
            ours = (
                total.recall_numerator,
                total.recall_denominator,
                total.precision_numerator,
                total.precision_denominator,
            )
            # The scorer prints 15 digits, of sums in another order.
            assert ours == pytest.approx([float(figure) for figure in row["scorer"][metric]], rel=1e-13)
        for metric in NAMES.values():
            assert 0 <= scores[f"{metric}_f1"] - float(row["scorer"][f"{metric}_f1"]) + 1e-9 < 0.01 + 2e-9


def test_conll_score_is_the_mean_of_three():
    scores = coreference_scores([KEY], [RESPONSE])
    assert scores["conll_f1"] == pytest.approx((scores["muc_f1"] + scores["b_cubed_f1"] + scores["ceaf_e_f1"]) / 3)


def test_lea_equals_its_papers_example():
    counts = count_document(KEY, RESPONSE)["lea"]
    assert counts.recall == pytest.approx((3 * 1 / 3 + 4 * 1 / 6) / 7)
    assert counts.precision == pytest.approx((2 * 1 + 2 * 0 + 4 * 1 / 6) / 8)


@pytest.mark.parametrize(("response", "recall"), [(["a", "b"], 1), (["ab"], 0), ([], 0), (["a"], 1 / 2)])
def test_lea_finds_singletons_only_as_singletons(response, recall):
    assert count_document(["a", "b"], response)["lea"].recall == recall


def test_lea_and_blanc_equal_counts_of_pairs():
    draw = random.Random(3)

    def partition(mentions):
        clusters = [[] for _ in range(draw.randint(1, 6))]
        for mention in mentions:
            draw.choice(clusters).append(mention)
        return [cluster for cluster in clusters if cluster]

    def links(clusters):
        return {frozenset(pair) for cluster in clusters for pair in itertools.combinations(cluster, 2)}

    def lea(clusters, others):
        found = links(others)
        singles = {tuple(cluster) for cluster in others if len(cluster) == 1}
        shares = [
            len(links([one]) & found) / len(links([one])) if len(one) > 1 else tuple(one) in singles for one in clusters
        ]
        return sum(len(one) * share for one, share in zip(clusters, shares, strict=True))

    for _ in range(200):
        key, response = partition(draw.sample(range(20), 12)), partition(draw.sample(range(20), 12))
        counts = count_document(key, response)
        assert counts["lea"].recall_numerator == pytest.approx(lea(key, response))
        assert counts["lea"].precision_numerator == pytest.approx(lea(response, key))
        all_pairs = [
            {frozenset(p) for p in itertools.combinations(itertools.chain(*one), 2)} for one in (key, response)
        ]
        apart = [pairs - links(one) for pairs, one in zip(all_pairs, (key, response), strict=True)]
        both = len(apart[0] & apart[1])
        assert counts["blanc_non_links"] == Ratio(both, len(apart[0]), both, len(apart[1]))


def test_a_repeated_mention_of_a_key_is_refused():
    with pytest.raises(ValueError, match="'a' comes twice in the key"):
        count_document(["ab", "ac"], ["ab"])


def test_a_repeated_mention_of_a_response_counts_once():
    assert count_document(["ab", "cd"], ["ab", "acd"]) == count_document(["ab", "cd"], ["ab", "cd"])


def test_documents_without_clusters_count():
    scores = coreference_scores([["ab"], []], [[], ["cd"]])
    assert set(scores.values()) == {0.0}
    assert coreference_scores([["ab"], []], [["ab"], []])["conll_f1"] == 100
    with pytest.raises(ValueError, match="1 keys and 0 responses"):
        coreference_scores([["ab"]], [])


# By distance.


def at(*starts):
    return [(start, start + 1) for start in starts]


def test_mentions_count_by_their_nearest_antecedent():
    key = [at(0, 10, 700), at(5)]
    found = scores_by_distance([key], [[at(0, 10), at(700)]])
    assert list(found) == ["0-63", "64-255", "256-511", "512-1023", "1024-2047", "2048-4095", "4096+"]
    assert found["0-63"] == Ratio(1, 1, 1, 1)
    assert found["512-1023"] == Ratio(0, 1, 0, 0)
    assert sum_ratios(found.values()) == Ratio(1, 2, 1, 1)


def test_any_earlier_mention_of_the_cluster_is_right():
    # The nearest antecedent of 700 is 690, which the response does not have.
    found = scores_by_distance([[at(0, 690, 700)]], [[at(0, 700)]], edges=(100,))
    assert found == {"0-99": Ratio(1, 1, 0, 0), "100+": Ratio(0, 1, 1, 1)}


def test_wrong_links_lower_precision_only():
    found = scores_by_distance([[at(0, 5), at(9)]], [[at(0, 5, 9)]], edges=(3,))
    assert found["3+"] == Ratio(1, 1, 1, 2)


def test_a_perfect_response_is_right_at_every_distance():
    for row in random_sets():
        keys = as_tuples(row["keys"])
        for one in scores_by_distance(keys, keys, edges=(1, 8, 64)).values():
            assert one.recall_numerator == one.recall_denominator == one.precision_numerator
        n = sum(len(cluster) - 1 for key in keys for cluster in key)
        assert sum_ratios(scores_by_distance(keys, keys).values()).recall_denominator == n


@pytest.mark.parametrize("edges", [(0, 5), (5, 5), (9, 3)])
def test_edges_must_ascend(edges):
    with pytest.raises(ValueError, match="ascend"):
        scores_by_distance([], [], edges)
