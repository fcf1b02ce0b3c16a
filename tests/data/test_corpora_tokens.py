"""Tokens of pieces are those of the whole document, and every character is counted once."""

import copy
import pickle
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models
from transformers import ByT5Tokenizer, PreTrainedTokenizerFast

from longspan.data.corpora import cutting
from longspan.data.corpora import encoder as encoder_module
from longspan.data.corpora.cutting import Cutter
from longspan.data.corpora.encoder import Encoder, find_frame
from longspan.data.corpora.fragments import Fragment
from longspan.data.corpora.parts import n_added, split
from longspan.data.corpora.shards import view_shard, write_shard
from longspan.errors import InputError

WORDS = [
    "Anna",
    "lives",
    "Oslo,",
    "Norway;",
    "it",
    "is",
    "big.",
    "document",
    "12345",
    "Αθήνα.",
    "Ünï",
    "ﬁne",
    "½",
    "the",
]
SPACES = [" ", " ", " ", " ", "\n", "  ", "\n\n", "\t", "\u00a0", "\u3000", " \n "]
PARTS = st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(SPACES)), max_size=150)


class Piece(NamedTuple):
    text: str
    n_skipped: int = 0


def pieces_of(encoder, text, **sizes):
    cutter = Cutter(encoder.ids, **sizes)
    return cutter, list(cutter.pieces([Fragment(text, True)]))


def encode(encoder, pieces):
    return encoder.encode([piece.text for piece in pieces], [piece.n_skipped for piece in pieces])


@pytest.mark.parametrize("kind", ["wordpiece", "unigram", "byte-level"])
@settings(max_examples=40)
@given(parts=PARTS)
def test_cut_documents_have_the_tokens_of_the_whole(tokenizers, kind, parts):
    text = "".join(word + space for word, space in parts)
    encoder = Encoder(tokenizers[kind])
    cutter, pieces = pieces_of(encoder, text, max_piece=120, context=40)
    assert cutter.n_unsafe_cuts == 0
    assert cutter.n_cuts == max(len(pieces) - 1, 0)
    assert "".join(piece.text for piece in pieces) == text.strip()
    whole = tokenizers[kind](text.strip(), add_special_tokens=False)["input_ids"]
    encoded = encode(encoder, pieces)
    assert encoded.ids.tolist() == whole
    assert encoded.ids.dtype == np.int32
    assert encoded.n_characters.sum() == len(text.strip())


def by_places(tokenizer):
    """An encoder that asks for every token's place in the text."""
    encoder = Encoder(tokenizer)
    encoder.__dict__["_begun"] = None
    return encoder


def test_a_vocabulary_of_bytes_tells_how_many_characters_begin(tokenizers):
    quick, slow = Encoder(tokenizers["byte-level"]), by_places(tokenizers["byte-level"])
    assert quick._begun is not None and Encoder(tokenizers["unigram"])._begun is None
    for text in ("Anna lives in Oslo.\n\n  She  is 12.", "a", "", "  "):
        assert encode(quick, [Piece(text)]).n_characters.tolist() == encode(slow, [Piece(text)]).n_characters.tolist()
    # A character of several tokens is the first's; places give it to the last.
    found, asked = (encode(encoder, [Piece("½ﬁ€")]) for encoder in (quick, slow))
    assert found.n_characters.sum() == asked.n_characters.sum() == 3
    assert found.n_characters[0] == 1 and asked.n_characters[-1] == 1
    # So are the characters of what is left out the first's that stays.
    assert encode(quick, [Piece("Oslo, Norway", 2)]).n_characters.sum() == len("Oslo, Norway")


@pytest.mark.parametrize("kind", ["wordpiece", "unigram", "byte-level"])
def test_long_texts_are_tokenised_in_parts(tokenizers, kind, monkeypatch):
    text = "Anna lives in Oslo, Norway;\n\n it  is a document ½ of Αθήνα. " * 200
    asked = []
    monkeypatch.setattr(encoder_module, "split", lambda text: asked.append(split(text)) or asked[-1])
    in_parts = encode(Encoder(tokenizers[kind]), [Piece(text)])
    ((parts, windows),) = asked
    assert len(parts) == len(windows) + 1 > 4 and "".join(parts) == text
    monkeypatch.setattr(encoder_module, "split", lambda text: ([text], []))
    for found, whole in zip(in_parts, encode(Encoder(tokenizers[kind]), [Piece(text)]), strict=True):
        np.testing.assert_array_equal(found, whole)


def test_parts_whose_tokens_differ_are_given_up():
    assert n_added([1, 2, 3], [4, 5, 6], [2, 3, 4, 5]) == 0
    assert n_added([1, 2, 3], [9, 4, 5, 6], [2, 3, 4, 5]) == 1  # a lone "▁" that only a text's start has
    assert n_added([1, 2, 3], [4, 5, 6], [2, 34, 5]) is None
    assert n_added([], [4], [4]) is None
    unbroken = "a" * 9000
    assert split(unbroken) == ([unbroken], [])


def test_an_added_token_that_takes_blanks_is_asked_for_its_place(tokenizers):
    tokenizer = copy.deepcopy(tokenizers["byte-level"])
    tokenizer.add_tokens([AddedToken("<mask>", lstrip=True)])
    text = "Anna   <mask> lives"
    encoded = encode(Encoder(tokenizer), [Piece(text)])
    assert encoded.n_characters.tolist() == encode(by_places(tokenizer), [Piece(text)]).n_characters.tolist()
    assert encoded.n_characters.sum() == len(text)


@pytest.mark.parametrize("kind", ["wordpiece", "unigram", "byte-level"])
def test_a_text_without_white_space_is_cut_too(tokenizers, kind):
    encoder = Encoder(tokenizers[kind])
    for text in ("北京是首都。" * 100, "नईदिल्ली।" * 60, "a" * 1000):
        cutter, pieces = pieces_of(encoder, text, max_piece=150, context=40)
        assert "".join(piece.text for piece in pieces) == text
        assert max(len(piece.text) for piece in pieces) <= 190
        encoded = encode(encoder, pieces)
        assert encoded.n_characters.sum() == len(text)
        if not cutter.n_unsafe_cuts:
            assert encoded.ids.tolist() == tokenizers[kind](text, add_special_tokens=False)["input_ids"]
    assert encoder.ids(["北京是首都。" * 100])


def test_a_cut_that_would_change_tokens_is_made_elsewhere():
    """A tokenizer to which "New York" is one token: no cut between the two words."""

    def ids(texts):
        return [[hash(word) for word in text.replace("New York", "New_York").split()] for text in texts]

    cutter = Cutter(ids, max_piece=20, context=12)
    text = "in New York in New York in New York in New York"
    pieces = [piece.text for piece in cutter.pieces([Fragment(text, True)])]
    assert len(pieces) > 1
    assert not any(piece.endswith("New") for piece in pieces)
    assert not cutter.n_unsafe_cuts


def test_no_safe_place_is_counted():
    cutter = Cutter(lambda texts: [[len(text)] for text in texts], max_piece=50, context=10)
    pieces = list(cutter.pieces([Fragment("word " * 40, True)]))
    assert cutter.n_unsafe_cuts == cutter.n_cuts == len(pieces) - 1 > 0


@given(st.lists(st.tuples(st.sampled_from(["", " ", "\n", "a", "b c ", " d"]), st.booleans()), max_size=30))
def test_documents_keep_their_text_however_it_is_cut_into_fragments(fragments):
    fragments = [Fragment(*fragment) for fragment in [*fragments, ("", True)]]
    cutter = Cutter(lambda texts: [[ord(c) for c in text] for text in texts], max_piece=7, context=2)
    cutter.counts_empty = True
    found: dict[int, str] = {}
    for piece in cutter.pieces(fragments):
        found[piece.document] = found.get(piece.document, "") + piece.text
    whole = "".join(text + ("\0" if ends else "") for text, ends in fragments).split("\0")[:-1]
    assert [found[i] for i in range(cutter.n_documents)] == [text.strip() for text in whole if text.strip()]
    assert cutter.n_empty == sum(not text.strip() for text in whole)


def test_a_saved_truncation_does_not_shorten_documents(tokenizers):
    tokenizer = pickle.loads(pickle.dumps(tokenizers["wordpiece"]))
    before = Encoder(tokenizer)
    expected = before.ids(["one two three one two three"])
    tokenizer.backend_tokenizer.enable_truncation(4)
    tokenizer.backend_tokenizer.enable_padding(length=9)
    encoder = Encoder(tokenizer)
    assert encoder.ids(["one two three one two three"]) == expected
    assert encoder.fingerprint == before.fingerprint
    tokenizer.add_tokens(["three"])
    assert Encoder(tokenizer).fingerprint != before.fingerprint


def test_an_encoder_in_another_process_gives_the_same(tokenizer):
    encoder = Encoder(tokenizer)
    texts = ["Anna lives in Oslo", "", "one two"]
    there = pickle.loads(pickle.dumps(encoder)).encode(texts, [0, 0, 1])
    for here, again in zip(encoder.encode(texts, [0, 0, 1]), there, strict=True):
        np.testing.assert_array_equal(here, again)
    assert there.n_tokens.tolist() == [len(encoder.ids(texts)[0]), 0, len(encoder.ids(texts)[2]) - 1]
    assert there.n_characters.sum() == len("".join(texts))


class Slow:
    """What a tokenizer in plain Python has: no offsets."""

    is_fast = False
    init_kwargs = {"vocab_file": "/some/place", "lower": True}  # noqa: RUF012
    all_special_ids = all_special_tokens = ()

    def get_vocab(self):
        return {"a": 0}

    def __call__(self, texts, **options):
        return {"input_ids": [[1] * len(text.split()) for text in texts]}


def test_a_slow_tokenizer_spreads_the_characters():
    encoded = pickle.loads(pickle.dumps(Encoder(Slow()))).encode(["a bb ccc", "dddd"], [0, 0])
    assert encoded.ids.tolist() == [1, 1, 1, 1]
    assert encoded.n_characters.tolist() == [2, 3, 3, 4]


WRITTEN = {
    "wordpiece": "Anna [SEP] lives[PAD] in [CLS] Oslo [UNK]",
    "unigram": "Anna <s> lives<pad> in </s> Oslo ＜s＞ <unk>",
    "byte-level": "Anna <s> lives<pad> in </s> Oslo <unk>",
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_special_tokens_in_a_text_are_letters(tokenizers, kind):
    tokenizer, text = tokenizers[kind], WRITTEN[kind]
    forbidden = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    assert forbidden & set(tokenizer(text, add_special_tokens=False)["input_ids"])
    encoder = pickle.loads(pickle.dumps(Encoder(tokenizer)))
    encoded = encode(encoder, [Piece(text), Piece("Anna lives in Oslo")])
    assert not forbidden & set(encoded.ids.tolist())
    assert encoded.n_characters.sum() == len(text) + len("Anna lives in Oslo")
    # The words around them are read as ever.
    ordinary = tokenizer("Anna lives in Oslo", add_special_tokens=False)["input_ids"]
    assert encoded.ids.tolist()[-len(ordinary) :] == ordinary
    assert encoder.ids([text])[0] == encoded.ids.tolist()[: -len(ordinary)]


def test_added_tokens_that_are_not_special_stay(tokenizers):
    for kind, written in WRITTEN.items():
        tokenizer = copy.deepcopy(tokenizers[kind])
        tokenizer.add_tokens(["<speaker>"])
        speaker = tokenizer.convert_tokens_to_ids("<speaker>")
        for text in ("Anna <speaker> lives", f"{written} <speaker> lives"):
            assert Encoder(tokenizer).ids([text])[0].count(speaker) == 1
        assert tokenizer("<s> <speaker>")["input_ids"].count(speaker) == 1  # itself is left as it was


def test_merges_that_spell_a_special_token_are_left_out():
    model = models.BPE(vocab={"<": 0, "s": 1, ">": 2, "<s": 3, "<s>": 4}, merges=[("<", "s"), ("<s", ">")])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(model), bos_token="<s>")
    assert Encoder(tokenizer).ids(["<s>s"]) == [[3, 2, 1]]


def test_special_tokens_in_a_text_are_cut_for_slow_tokenizers():
    tokenizer = ByT5Tokenizer()
    assert tokenizer("a</s>b", add_special_tokens=False)["input_ids"] == [100, 1, 101]
    assert Encoder(tokenizer).ids(["a</s>b", "ab"]) == [[byte + 3 for byte in b"a</s>b"], [100, 101]]


@pytest.mark.parametrize("kind", ["wordpiece", "unigram", "byte-level"])
@pytest.mark.parametrize("text", ["a word " + "x" * 3000 + " end", "a" + " " * 3000 + "b", "\u0007" * 3000 + "c"])
def test_long_words_blanks_and_controls_keep_their_characters(tokenizers, kind, text, tmp_path):
    encoder = Encoder(tokenizers[kind])
    _, pieces = pieces_of(encoder, text, max_piece=500, context=40)
    assert len(pieces) > 3
    write_shard(tmp_path / "shard.arrow", encoder, [cutting.Piece(0, *piece[1:]) for piece in pieces])
    shard = view_shard(tmp_path / "shard.arrow")
    assert shard.characters.sum() == len(text.strip())
    has_tokens = shard.n_tokens > 0
    assert sum(map(np.sum, shard.n_characters)) == shard.characters[has_tokens].sum()
    if "x" in text:
        assert has_tokens.all()


def test_the_frame_is_the_tokenizers_own(tokenizers):
    frame = find_frame(tokenizers["wordpiece"])
    assert (frame.before, frame.after, frame.separator, frame.pad) == ((2,), (3,), 3, 0)
    frame = find_frame(tokenizers["unigram"])
    assert (frame.before, frame.after, frame.separator, frame.pad) == ((0,), (2,), 2, 1)


def test_a_tokenizer_without_special_tokens_cannot_pad(tokenizers):
    tokenizer = pickle.loads(pickle.dumps(tokenizers["byte-level"]))
    assert find_frame(tokenizer).pad == tokenizer.pad_token_id
    tokenizer.pad_token = tokenizer.sep_token = tokenizer.eos_token = None
    with pytest.raises(InputError, match="no padding token"):
        find_frame(tokenizer)
