"""Clusters written as CoNLL columns, and clusters of windows merged."""

import random
from dataclasses import replace

import pytest

from longspan.data.coreference import conll_of_document, load_coreference_dataset, merge_window_clusters, write_conll
from longspan.data.coreference.documents import CoreferenceDocument
from longspan.data.coreference.words import join_words
from longspan.errors import InputError


def make_document(n=12, clusters=(), **changes):
    text, tokens = join_words([f"w{i}" for i in range(n)])
    document = CoreferenceDocument("d", text, tokens, ((0, n // 2), (n // 2, n)), (), clusters, "(d); part 007")
    return replace(document, **changes)


def read_back(path):
    return load_coreference_dataset(str(path)).documents


# Written as columns.


def test_written_columns_are_read_back_equal(tmp_path):
    draw = random.Random(5)
    documents = []
    for number in range(60):
        spans = list({(s, s + draw.randint(1, 12 - s)) for s in (draw.randrange(12) for _ in range(14))})
        draw.shuffle(spans)
        clusters = []
        while spans:
            cluster = []
            for start, end in sorted(spans.pop() for _ in range(min(len(spans), draw.randint(1, 4)))):
                if not any(low < start < high < end for low, high in cluster):
                    cluster.append((start, end))
            clusters.append(tuple(cluster))
        speakers = (*(draw.choice(["Ann Lee", None]) for _ in range(11)), "Bo")
        documents.append(
            make_document(
                clusters=tuple(sorted(clusters)),
                id=f"a/d{number}_7",
                header=f"(a/d{number}); part 007",
                speakers=speakers if number % 2 else (),
            )
        )
    assert write_conll(tmp_path / "a.conll", documents) == 0
    assert read_back(tmp_path / "a.conll") == tuple(documents)


def test_predicted_clusters_keep_the_header(tmp_path):
    document = make_document(clusters=(((0, 1), (3, 5)),))
    write_conll(tmp_path / "a.conll", [document], [[[(2, 4)], [(2, 3), (9, 12)]]])
    [found] = read_back(tmp_path / "a.conll")
    assert found.clusters == (((2, 3), (9, 12)), ((2, 4),))
    assert found.header == document.header
    write_conll(tmp_path / "b.conll", [replace(document, header=None)])
    assert read_back(tmp_path / "b.conll")[0].id == "d"


def test_columns_are_those_of_conll_2012():
    text, _ = conll_of_document(make_document(2, (((0, 2),), ((0, 1), (1, 2)))))
    assert text == (
        "#begin document (d); part 007\nd\t007\t0\tw0\t-\t-\t-\t-\t-\t-\t*\t(0|(1)\n\n"
        "d\t007\t0\tw1\t-\t-\t-\t-\t-\t-\t*\t(1)|0)\n\n#end document\n"
    )


@pytest.mark.parametrize("cluster", [[(0, 4), (2, 6)], [(0, 4), (3, 6)]])
def test_crossing_mentions_of_a_cluster_are_refused(cluster):
    with pytest.raises(InputError, match="are in one cluster and cross"):
        conll_of_document(make_document(), [cluster])
    text, n_left_out = conll_of_document(make_document(), [cluster], leave_out_crossing=True)
    assert n_left_out == 1
    assert text.count("(0") == 1
    assert conll_of_document(make_document(), [[one] for one in cluster])[1] == 0


@pytest.mark.parametrize(
    ("clusters", "match"),
    [
        ([[(3, 13)]], "tokens 3 to 12 is not within its 12 tokens"),
        ([[(3, 3)]], "is not within"),
        ([[(0, 1)], [(0, 1)]], r"'w0' \(token 0\) comes twice"),
    ],
)
def test_clusters_of_other_documents_are_refused(clusters, match):
    with pytest.raises(InputError, match=match):
        conll_of_document(make_document(), clusters)


def test_words_with_tabs_are_refused():
    document = make_document(2, text="a\tb c", tokens=((0, 3), (4, 5)), sentences=((0, 2),))
    with pytest.raises(InputError, match="cannot be written in columns"):
        conll_of_document(document)


# Merged from windows.

A, B, C, D, E = (0, 1), (5, 7), (9, 10), (12, 13), (20, 21)


def test_clusters_that_share_a_mention_become_one():
    assert merge_window_clusters([[[A, B]], [[B, C], [D]], [[D, E]]]) == ((A, B, C), (D, E))
    assert merge_window_clusters([]) == ()
    assert merge_window_clusters([[], [[E, A]]]) == ((A, E),)


def test_windows_that_disagree_are_joined_or_kept_apart():
    windows = [[[A, B], [C]], [[B, C, D]]]
    assert merge_window_clusters(windows) == ((A, B, C, D),)
    assert merge_window_clusters(windows, conflicts="keep_apart") == ((A, B, D), (C,))
    # The cluster with more shared mentions is continued.
    assert merge_window_clusters([[[A], [B, C]], [[A, B, C, D]]], conflicts="keep_apart") == ((A,), (B, C, D))
    # The first window had one cluster where the second has two.
    split = [[[A, B, C]], [[B, D], [C, E]]]
    assert merge_window_clusters(split) == ((A, B, C, D, E),)
    assert merge_window_clusters(split, conflicts="keep_apart") == ((A, B, C, D), (E,))


def test_joined_clusters_do_not_depend_on_the_order():
    draw = random.Random(1)
    for _ in range(50):
        windows = []
        for _ in range(5):
            mentions = draw.sample([(i, i + 1) for i in range(15)], 9)
            windows.append([mentions[:2], mentions[2:5], mentions[5:]])
        merged = merge_window_clusters(windows)
        assert {one for cluster in merged for one in cluster} == {
            one for window in windows for cluster in window for one in cluster
        }
        for cluster in (cluster for window in windows for cluster in window):
            assert any(set(cluster) <= set(found) for found in merged)
        draw.shuffle(windows)
        assert merge_window_clusters(windows) == merged


def test_keeping_apart_loses_no_mention_and_joins_no_window():
    draw = random.Random(2)
    for _ in range(50):
        windows = [
            [mentions[:3], mentions[3:5]]
            for mentions in (draw.sample([(i, i + 1) for i in range(9)], 5) for _ in "abcd")
        ]
        merged = merge_window_clusters(windows, conflicts="keep_apart")
        flat = [one for cluster in merged for one in cluster]
        assert sorted(flat) == sorted({one for window in windows for cluster in window for one in cluster})
        first, second = (set(cluster) for cluster in windows[0])
        assert not any(first & set(found) and second & set(found) for found in merged)


def test_perfect_windows_give_the_document_back():
    draw = random.Random(3)
    for _ in range(30):
        starts = sorted(draw.sample(range(400), 80))
        clusters = [tuple((start, start + 1) for start in starts[i::8]) for i in range(8)]
        windows = []
        for begin in range(0, 400, 100):
            inside = [[one for one in cluster if begin <= one[0] < begin + 300] for cluster in clusters]
            windows.append([cluster for cluster in inside if cluster])
        for conflicts in ("join", "keep_apart"):
            assert merge_window_clusters(windows, conflicts=conflicts) == tuple(sorted(clusters))


def test_windows_with_a_mention_twice_are_refused():
    with pytest.raises(InputError, match="window 1 has a mention in two clusters"):
        merge_window_clusters([[[A]], [[A, B], [B]]])
    with pytest.raises(InputError, match="conflicts is 'drop'"):
        merge_window_clusters([], conflicts="drop")
