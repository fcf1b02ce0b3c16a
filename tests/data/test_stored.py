"""Texts of any length: tokenised in pieces with the tokens of the whole, and kept in temporary files."""

import contextlib
import tempfile
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tqdm import tqdm

from longspan.data import stored
from longspan.data.qa import load_qa_dataset
from longspan.data.qa import tokens as qa_tokens
from longspan.data.qa.tokens import tokenise, tokenise_in_pieces
from longspan.data.stored import StoredDocument, store_text
from longspan.data.text import store_document
from longspan.errors import InputError

KINDS = ("wordpiece", "unigram", "byte-level")
WORDS = ["Anna", "lives in", "Oslo,", "Norway;", "12345", "Αθήνα.", "Ünï", "ﬁne", "½", "e\u0301", "<s>", "[SEP]"]
OTHERS = ["北京是首都。", "东京", "नई", "क्षेत्र", "है।", "น้ำ", "กรุงเทพ", "👩‍👩‍👧", "👍🏽", "🇳🇴", "❤️", "서울"]
SPACES = ["", " ", " ", "\n", "  ", "\n\n", "\t", "\u00a0", "\u3000", " \n "]
TEXTS = st.lists(st.tuples(st.sampled_from(WORDS + OTHERS), st.sampled_from(SPACES)), min_size=1, max_size=120)


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(qa_tokens, "_PIECE", 64)
    monkeypatch.setattr(qa_tokens, "_CONTEXT", 40)
    monkeypatch.setattr(qa_tokens, "_LONGEST_PIECE", 1024)


def whole(text, tokenizer):
    """The tokens of a text that is not cut."""
    return qa_tokens._encode(text, tokenizer)


def joined(pieces):
    ids, spans = zip(*pieces, strict=True)
    return len(ids), np.concatenate(ids), np.concatenate(spans)


def require_same(text, tokenizer, n_chunk=50):
    chunks = (text[start : start + n_chunk] for start in range(0, len(text), n_chunk))
    n_pieces, ids, spans = joined(tokenise_in_pieces(chunks, tokenizer))
    expected = whole(text, tokenizer)
    np.testing.assert_array_equal(ids, expected.ids)
    np.testing.assert_array_equal(spans, expected.spans)
    return n_pieces


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("small_pieces")
def test_pieces_have_the_tokens_of_the_whole(tokenizers, kind):
    @settings(max_examples=40)
    @given(TEXTS, st.sampled_from(["NFC", "NFD"]))
    def check(parts, form):
        text = unicodedata.normalize(form, "".join(word + space for word, space in parts))
        require_same(text, tokenizers[kind])

    check()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "text",
    ["北京是首都，东京也是。" * 80, "नईदिल्ली।" * 80, "น้ำใจกรุงเทพ" * 60, "a" * 900, "Anna" + " " * 700 + "lives\n" * 40],
    ids=["Chinese", "Hindi", "Thai", "one word", "blanks"],
)
@pytest.mark.usefixtures("small_pieces")
def test_texts_without_white_space_keep_their_tokens(tokenizers, kind, text):
    require_same(text, tokenizers[kind])


@pytest.mark.usefixtures("small_pieces")
def test_a_text_without_safe_places_is_cut_nevertheless(tokenizers):
    text = "a" * 5000
    n_pieces, _, spans = joined(tokenise_in_pieces([text], tokenizers["wordpiece"]))
    assert n_pieces >= 4
    assert spans[0, 0] == 0 and spans[-1, 1] == len(text)


@pytest.mark.parametrize("language", ["en", "zh", "th", "hi", "ar", "el"])
def test_paragraphs_of_many_scripts_in_pieces(tokenizers, monkeypatch, language):
    monkeypatch.setattr(qa_tokens, "_PIECE", 1000)
    examples = load_qa_dataset(f"packaged/xquad.{language}").examples
    text = "\n\n".join(list(dict.fromkeys(example.context for example in examples))[:20])
    for kind in KINDS:
        assert require_same(text, tokenizers[kind], n_chunk=3000) > 3


def test_long_texts_in_memory_are_cut_too(tokenizers):
    text = "Anna lives in Oslo, Norway. " * 3000
    (found,) = tokenise([text], tokenizers["unigram"], tqdm(disable=True))
    expected = whole(text, tokenizers["unigram"])
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.spans, expected.spans)


@given(st.lists(st.text("aß北👍\n ", max_size=60), max_size=12), st.integers(0, 300), st.integers(0, 300))
def test_slices_of_a_stored_text_are_those_of_the_text(chunks, start, stop):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored, "_BLOCK", 7)
        patch.setattr(stored, "_IN_MEMORY", 50)
        text = "".join(chunks)
        with contextlib.closing(store_text(chunks)) as found:
            assert len(found) == len(text)
            assert found[start:stop] == text[start:stop]
            assert found[start:] == text[start:] and found[:] == text
            assert "".join(found.chunks()) == text
            assert found.is_blank == (not text.strip())


@pytest.mark.usefixtures("small_pieces")
def test_rows_of_a_stored_document_are_its_tokens(tokenizers, monkeypatch):
    monkeypatch.setattr(stored, "_IN_MEMORY", 100)
    text = "Anna lives in Oslo. " * 40
    expected = whole(text, tokenizers["unigram"])
    with contextlib.closing(store_text([text])) as kept:
        document = StoredDocument(kept, tokenizers["unigram"])
        assert len(document.tokens.ids) == len(document.tokens.spans) == len(expected.ids)
        np.testing.assert_array_equal(document.tokens.ids[5:90], expected.ids[5:90])
        np.testing.assert_array_equal(document.tokens.spans[5:90], expected.spans[5:90])
        assert document.tokens.spans[9:9].shape == (0, 2)
        document.close()


def test_no_room_for_temporary_files_is_said(monkeypatch):
    class Full:
        def __init__(self, _):
            pass

        def seek(self, _):
            pass

        def write(self, _):
            raise OSError(28, "No space left on device")

        def close(self):
            pass

    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", Full)
    with pytest.raises(InputError, match=r"No space left on device.*TMPDIR"):
        store_text(["a" * 40_000])


def test_a_pipe_is_read_once_as_a_document(tmp_path):
    import os
    import threading

    if not hasattr(os, "mkfifo"):
        pytest.skip("there are no named pipes")
    path = tmp_path / "pipe.txt"
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.write_text("One\r\ntwo", newline=""))
    writer.start()
    text, places = store_document(path)
    writer.join()
    with contextlib.closing(text):
        assert text[:] == "One\ntwo"
        assert places.before(4) == 5
