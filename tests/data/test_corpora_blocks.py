"""No token lost or doubled, the order is the seed's, and any block is there at once."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from longspan.data import BlockDataset, load_corpus
from longspan.data.corpora.corpus import Corpus, SourceTokens
from longspan.data.corpora.encoder import Frame
from longspan.data.corpora.packing import pack
from longspan.data.corpora.sources import CorpusSource
from longspan.data.masking import Masker
from longspan.errors import InputError

FRAME = Frame((0,), (2,), 2, 1)


class MadeStore:
    """A store of documents of given lengths whose tokens are all different: 1000, 1001, ..."""

    def __init__(self, lengths):
        self.document_starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        self.document_characters = 2 * np.asarray(lengths, np.int64)

    def ids(self, start, stop):
        return np.arange(1000 + start, 1000 + stop, dtype=np.int32)

    def n_characters(self, start, stop):
        return np.full(stop - start, 2, np.uint16)


def made_corpus(*lengths_of_sources, weights=None, frame=FRAME, chosen=None):
    sources = []
    for i, lengths in enumerate(lengths_of_sources):
        documents = np.array(chosen, np.int64) if chosen is not None else np.arange(len(lengths))
        source = CorpusSource(path=f"source {i}", weight=weights[i] if weights else 1.0, language=f"l{i}")
        sources.append(SourceTokens(source, MadeStore(lengths), documents))
    return Corpus(tuple(sources), frame, "fingerprint")


LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=12)
FRAMES = st.sampled_from([Frame((0,), (2,), 2, 1), Frame((), (), 2, 1), Frame((0, 5), (2,), 2, 1)])


@settings(max_examples=40)
@given(LENGTHS, st.integers(4, 17), FRAMES, st.sampled_from(["documents", "continuous"]), st.booleans(), st.booleans())
def test_no_token_is_lost_or_doubled(lengths, max_tokens, frame, layout, separator, pads):
    data = BlockDataset(
        made_corpus(lengths, lengths[::-1], frame=frame),
        max_tokens=max_tokens,
        layout=layout,
        separator=separator,
        last_block="pad" if pads else "keep",
        token_characters=True,
    )
    seen = []
    for item in (data[i] for i in range(len(data))):
        is_text = item["special_tokens_mask"] == 0
        tokens = item["input_ids"][is_text].tolist()
        seen += [(item["source"], token) for token in tokens]
        assert item["n_tokens"] == len(tokens)
        assert item["n_characters"] == 2 * len(tokens) == item["token_characters"].sum()
        assert (item["token_characters"][~is_text] == 0).all()
        n = int(item["attention_mask"].sum())
        assert item["attention_mask"].tolist() == [1] * n + [0] * (len(item["input_ids"]) - n)
        assert (item["input_ids"][n:] == frame.pad).all()
        assert len(item["input_ids"]) == (max_tokens if pads else n) <= max_tokens
        assert item["input_ids"][: len(frame.before)].tolist() == list(frame.before)
        assert item["input_ids"][n - len(frame.after) : n].tolist() == list(frame.after)
        assert all(value.dtype == torch.int64 for value in item.values() if isinstance(value, torch.Tensor))
    n_tokens = sum(lengths)
    expected = [(f"source {i}", 1000 + k) for i in range(2) for k in range(n_tokens)]
    assert sorted(seen) == expected
    assert data.n_dropped_tokens == 0


@settings(max_examples=40)
@given(LENGTHS, st.integers(3, 17), st.booleans())
def test_a_stream_is_the_documents_one_after_the_other(lengths, max_tokens, separator):
    data = BlockDataset(
        made_corpus(lengths), max_tokens=max_tokens, layout="continuous", separator=separator, shuffle=False,
        last_block="keep",
    )  # fmt: skip
    stream = [token for i in range(len(data)) for token in data[i]["input_ids"].tolist()[1:-1]]
    starts = np.cumsum([1000, *lengths])
    expected = []
    for i, length in enumerate(lengths):
        expected += [2] * (separator and i > 0) + list(range(starts[i], starts[i] + length))
    assert stream == expected
    assert all(len(data[i]["input_ids"]) == max_tokens for i in range(len(data) - 1))


@settings(max_examples=40)
@given(LENGTHS, st.integers(3, 17))
def test_a_dropped_last_block_is_counted(lengths, max_tokens):
    def make(last_block):
        return BlockDataset(made_corpus(lengths), max_tokens=max_tokens, layout="continuous", last_block=last_block)

    kept = make("pad")
    if kept.n_blocks == 1 and int(kept[0]["attention_mask"].sum()) < max_tokens:
        with pytest.raises(InputError, match=r"less than one block of .* short blocks are dropped"):
            make("drop")
        return
    dropped = make("drop")
    assert sum(dropped[i]["n_tokens"] for i in range(len(dropped))) + dropped.n_dropped_tokens == sum(lengths)
    assert all(dropped[i]["attention_mask"].all() for i in range(len(dropped)))


@settings(max_examples=40)
@given(LENGTHS, st.integers(3, 17))
def test_documents_are_framed_each_and_cut_only_when_longer_than_a_block(lengths, max_tokens):
    data = BlockDataset(made_corpus(lengths), max_tokens=max_tokens, layout="documents")
    n_parts = np.zeros(len(lengths), int)
    for i in range(len(data)):
        item = data[i]
        source, segments = data.segments(item["block"])
        assert source == 0
        assert [segment.document for segment in segments] == sorted(segment.document for segment in segments)
        for k, segment in enumerate(segments):
            is_own = item["document_ids"] == k
            ids = item["input_ids"][is_own].tolist()
            assert (ids[0], ids[-1]) == (0, 2)
            assert ids[1:-1] == list(range(1000 + segment.at, 1000 + segment.at + segment.length))
            assert item["positions"][is_own].tolist() == list(range(segment.length + 2))
            n_parts[segment.document] += 1
        assert set(item["document_ids"].tolist()) - {-1} == set(range(len(segments)))
        assert ((item["document_ids"] == -1) == (item["attention_mask"] == 0)).all()
    assert n_parts.tolist() == [-(-length // (max_tokens - 2)) for length in lengths]


@given(st.lists(st.integers(1, 60), min_size=1, max_size=60), st.integers(3, 40))
def test_packing_is_best_fit(lengths, max_tokens):
    packing = pack(np.array(lengths), max_tokens, 2)
    sizes = np.add.reduceat(packing.length + 2, packing.first[:-1])
    assert (sizes <= max_tokens).all()
    # The textbook's: one after the other, longest first, into the fullest block that has room.
    rooms: list[int] = []
    for size in sorted((packing.length + 2).tolist(), reverse=True):
        fitting = [room for room in rooms if room >= size]
        if fitting:
            rooms[rooms.index(min(fitting))] -= size
        else:
            rooms.append(max_tokens - size)
    assert sorted(max_tokens - sizes) == sorted(rooms)


def test_documents_that_are_not_chosen_are_in_no_block():
    corpus = made_corpus([5, 6, 7, 8], chosen=[1, 3])
    for layout in ("documents", "continuous"):
        data = BlockDataset(corpus, max_tokens=6, layout=layout)
        seen = sorted(t for i in range(len(data)) for t in data[i]["input_ids"].tolist() if t >= 1000)
        assert seen == [*range(1005, 1011), *range(1018, 1026)]


def order(data, epoch):
    data.set_epoch(epoch)
    return [data[i]["block"] for i in range(len(data))]


def test_the_order_is_that_of_seed_and_epoch():
    corpus = made_corpus([300], [200])
    data = BlockDataset(corpus, max_tokens=12, layout="continuous", seed=3)
    first, second = order(data, 0), order(data, 1)
    assert sorted(first) == sorted(second) == list(range(data.n_blocks))
    assert first != second != sorted(second)
    again = BlockDataset(corpus, max_tokens=12, layout="continuous", seed=3, epoch=1)
    assert order(again, 1) == second
    assert order(pickle.loads(pickle.dumps(again)), 0) == first
    assert order(BlockDataset(corpus, max_tokens=12, layout="continuous", seed=4), 0) != first
    plain = BlockDataset(corpus, max_tokens=12, layout="continuous", shuffle=False)
    assert order(plain, 0) == order(plain, 1) == list(range(data.n_blocks))
    # Pinned: a run that goes on with a later version of numpy or longspan has to see the same order.
    assert first[:6] == PINNED


PINNED = [11, 29, 48, 28, 35, 30]


def test_no_order_is_drawn_with_the_numbers_of_a_mask(monkeypatch, tiny_tokenizer):
    seeds = {"order": set(), "mask": set()}
    make_seeds, make_draw = np.random.SeedSequence, np.random.default_rng

    def seen(of, sequence):
        seeds[of].add(tuple(sequence.generate_state(4).tolist()))
        return sequence

    def drawn(*args):
        draw = make_draw(*args)
        seen("mask", draw.bit_generator.seed_seq)
        return draw

    monkeypatch.setattr(np.random, "SeedSequence", lambda *args, **fields: seen("order", make_seeds(*args, **fields)))
    monkeypatch.setattr(np.random, "default_rng", drawn)
    data = BlockDataset(made_corpus([300], [200]), max_tokens=12, layout="continuous", seed=3)
    for epoch in range(3):
        data.set_epoch(epoch)
        for purpose in ("training", "evaluation"):
            for index in range(3):
                Masker(tiny_tokenizer, seed=3, purpose=purpose).mask(np.arange(20, 40), epoch=epoch, index=index)
    assert len(seeds["mask"]) == 18
    assert len(seeds["order"]) > 6
    assert not seeds["mask"] & seeds["order"]


def test_weights_say_how_often_blocks_come():
    corpus = made_corpus([300], [200], weights=[0.5, 2.0])
    data = BlockDataset(corpus, max_tokens=12, layout="continuous")
    n_first, n_second = 30, 20
    assert data.n_blocks == n_first + n_second
    assert len(data) == n_first // 2 + 2 * n_second
    epochs = [order(data, epoch) for epoch in range(2)]
    for blocks in epochs:
        counts = np.bincount(blocks, minlength=data.n_blocks)
        assert (counts[n_first:] == 2).all()
        assert counts[:n_first].max() == 1
    both = np.bincount(np.concatenate(epochs), minlength=data.n_blocks)
    assert (both[:n_first] == 1).all()


def test_items_are_found_without_those_before_them():
    data = BlockDataset(made_corpus([10**12]), max_tokens=10**9 + 2, layout="continuous", shuffle=False)
    assert data.n_blocks == 1000
    assert data.segments(999)[1][0].start == 999 * 10**9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_tokens": 2}, r"max_tokens is 2, and a block needs room for 2 special tokens"),
        ({"layout": "packed"}, r"layout is 'packed'"),
        ({"last_block": "cut"}, r"last_block is 'cut'"),
        ({"layout": "documents", "last_block": "drop"}, r'last_block="drop" is for layout="continuous"'),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        BlockDataset(made_corpus([9]), **{"max_tokens": 8, "layout": "continuous"} | options)


def test_a_stream_needs_a_separator_or_the_word_that_it_has_none():
    corpus = made_corpus([9, 9], frame=Frame((), (), None, 0))
    with pytest.raises(InputError, match=r"neither a separator nor an end-of-text token"):
        BlockDataset(corpus, max_tokens=8, layout="continuous")
    data = BlockDataset(corpus, max_tokens=8, layout="continuous", separator=False)
    assert sum(data[i]["n_tokens"] for i in range(len(data))) == 18


def test_real_text_comes_back(tmp_path, tokenizers):
    tokenizer = tokenizers["byte-level"]
    texts = [f"Anna lives in Oslo, number {i}." * (i % 3 + 1) for i in range(40)]
    (tmp_path / "a.txt").write_text("\n\n".join(texts), encoding="utf-8")
    corpus = load_corpus([str(tmp_path / "a.txt")], tokenizer, cache_dir=tmp_path / "cache", n_processes=1)
    data = BlockDataset(corpus, max_tokens=64, layout="documents")
    found = []
    for i in range(len(data)):
        ids, documents = data[i]["input_ids"], data[i]["document_ids"]
        found += [tokenizer.decode(ids[documents == k][1:-1]) for k in range(int(documents.max()) + 1)]
    assert sorted(found) == sorted(texts)
    assert sum(data[i]["n_characters"] for i in range(len(data))) == corpus.n_characters == sum(map(len, texts))
