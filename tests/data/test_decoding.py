import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.data import load_qa_dataset
from longspan.data.corpora.contents import look_at
from longspan.data.corpora.sources import CorpusSource
from longspan.data.corpora.streams import Meter
from longspan.data.decoding import decode, decode_chunks, require_text
from longspan.errors import InputError

HALF = "\ud83d"  # of an emoji, as texts that were cut have it


@given(st.text(), st.booleans())
def test_text_of_characters_passes(text, _):
    assert require_text(text, "here") is text


@given(st.text(), st.integers(0xD800, 0xDFFF), st.text())
def test_every_lone_surrogate_is_found(before, half, after):
    with pytest.raises(InputError, match=rf"^here .* character {len(before):,} is U\+{half:04X}"):
        require_text(before + chr(half) + after, "here")


@given(st.text(), st.booleans(), st.lists(st.integers(0, 99), max_size=4))
def test_chunks_do_not_change_the_text(text, has_mark, cuts):
    data = text.encode("utf-8-sig" if has_mark else "utf-8")
    if data.count(0) > len(data) // 4:
        return
    places = sorted(min(cut, len(data)) for cut in cuts)
    chunks = [data[i:j] for i, j in zip([0, *places], [*places, len(data)], strict=True)]
    assert "".join(decode_chunks("a", chunks)) == decode("a", data) == data.decode("utf-8-sig")
    kept = "".join(decode_chunks("a", chunks, keep_mark=True))
    assert kept == decode("a", data, keep_mark=True)
    assert len(kept) == len(data.decode())


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_utf_16_is_refused_even_without_its_mark(encoding):
    with pytest.raises(InputError, match=r"^a is not UTF-8 but UTF-16"):
        decode("a", "Anna wrote it.".encode(encoding))


def test_a_few_nul_characters_are_read():
    assert decode("a", b"Anna\0 wrote it.") == "Anna\0 wrote it."


RECORD = {
    "id": "q",
    "question": "Where?",
    "context": "Anna lives in Oslo.",
    "title": "T",
    "answers": [{"text": "Oslo", "answer_start": 14}],
}


def _with_half(field):
    record = json.loads(json.dumps(RECORD))
    if field == "answers":
        record["answers"][0]["text"] += HALF
    else:
        record[field] += HALF
    return record


@pytest.mark.parametrize("field", sorted(RECORD))
def test_a_lone_surrogate_in_squad_is_named(tmp_path, field):
    record = _with_half(field)
    paragraph = {"context": record["context"], "qas": [record]}
    where = {
        "context": r"paragraphs\[0\]\.context",
        "title": r"data\[0\]\.title",
        "answers": r"qas\[0\]\.answers\[0\]\.text",
    }.get(field, rf"qas\[0\]\.{field}")
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"data": [{"title": record["title"], "paragraphs": [paragraph]}]}))
    with pytest.raises(InputError, match=rf"a\.json: .*{where} is not valid text: character \d+ is U\+D83D"):
        load_qa_dataset(path)


@pytest.mark.parametrize("field", sorted(RECORD))
def test_a_lone_surrogate_in_json_lines_is_named(tmp_path, field):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(RECORD) + "\n" + json.dumps(_with_half(field)))
    with pytest.raises(InputError, match=rf"a\.jsonl: row 1\.{field}.* is U\+D83D"):
        load_qa_dataset(path)


def test_lone_surrogates_in_unread_fields_are_ignored(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(RECORD | {"comment": HALF}))
    assert len(load_qa_dataset(path).examples) == 1


def test_a_lone_surrogate_in_a_corpus_is_named(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "ok \\ud83d\\ude00"}\n{"text": "cut \\ud83d"}\n')
    with pytest.raises(InputError, match=r"a\.jsonl: line 2: 'text' is not valid text: character 4 is U\+D83D"):
        [list(fragments) for _, fragments in look_at(CorpusSource(path=str(path)), []).fragments(Meter())]
