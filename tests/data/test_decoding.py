import bz2
import gzip
import json
import lzma
import os
from itertools import pairwise

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from longspan.data.corpora.contents import scan_source
from longspan.data.corpora.sources import CorpusSource
from longspan.data.corpora.streams import ByteCounter
from longspan.data.decoding import decode, decode_chunks, require_text
from longspan.data.opening import read_json, split_lines
from longspan.data.qa import load_qa_dataset
from longspan.data.qa.hub_rows import dataset_from_hub_rows
from longspan.data.text import Places
from longspan.errors import InputError

HALF = "\ud83d"  # of an emoji, as texts that were cut have it


@given(st.text())
def test_text_of_characters_passes(text):
    assert require_text(text, "here") is text


@given(st.text(), st.integers(0xD800, 0xDFFF), st.text())
def test_every_lone_surrogate_is_found(before, half, after):
    with pytest.raises(InputError, match=rf"^here .* character {len(before):,} is U\+{half:04X}"):
        require_text(before + chr(half) + after, "here")


@given(st.text(), st.booleans(), st.lists(st.integers(0, 99), max_size=4))
def test_chunks_do_not_change_the_text(text, has_mark, cuts):
    data = text.encode("utf-8-sig" if has_mark else "utf-8")
    assume(data.count(0) <= 3)  # else it is taken for UTF-16
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
    assert decode("a", b"\0") == "\0"


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
        [list(fragments) for _, fragments in scan_source(CorpusSource(path=str(path)), []).fragments(ByteCounter())]


def _bytes_as_text(*values):
    """An Arrow column of text whose bytes nothing has looked at, as Parquet files may hold it."""
    return pa.Array.from_buffers(pa.string(), len(values), pa.array(values, pa.binary()).buffers())


def test_parquet_that_is_not_utf_8_is_named(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": _bytes_as_text(*[b"ok"] * 70, b"Gr\xf6\xdfe")}), path)
    with pytest.raises(InputError, match=r"a\.parquet: row 71 holds text that is not UTF-8: byte 2 of it is 0xf6"):
        [list(fragments) for _, fragments in scan_source(CorpusSource(path=str(path)), []).fragments(ByteCounter())]


def test_rows_that_are_not_utf_8_are_named():
    columns = {"id": ["a", "b"], "question": ["Where?"] * 2, "answers": [{"text": ["ok"], "answer_start": [0]}] * 2}
    rows = datasets.Dataset(pa.table(columns | {"context": _bytes_as_text(b"ok", b"Gr\xf6\xdfe")}))
    with pytest.raises(InputError, match=r"my set: row 2 holds text that is not UTF-8: byte 2 .*after 'Gr'"):
        dataset_from_hub_rows(rows, source="my set", name="mine", language="de")


def _write_byte_name(folder, ending):
    try:
        with open(os.fsencode(folder) + b"/r\xf6" + ending.encode(), "wb") as file:
            file.write(b"{}")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")


def test_names_that_no_record_holds_are_refused(tmp_path):
    _write_byte_name(tmp_path, ".txt")
    with pytest.raises(InputError, match=r"r\\udcf6\.txt': this name is not UTF-8.*rename the file"):
        scan_source(CorpusSource(path=str(tmp_path)), [])
    _write_byte_name(tmp_path, ".json")
    with pytest.raises(InputError, match=r"r\\udcf6\.json': this name is not UTF-8.*rename the file"):
        load_qa_dataset(tmp_path)


@given(st.text("a\r\n\ufeffé", max_size=30), st.lists(st.integers(0, 30), max_size=4), st.data())
def test_places_are_those_of_the_document(text, cuts, data):
    bounds = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    places = Places()
    read = "".join(places.follow(text[i:j] for i, j in pairwise(bounds)))
    assert read == text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    start = data.draw(st.integers(0, len(read)))
    end = data.draw(st.integers(start, len(read)))
    assert places.written(read, start, end) == text[places.before(start) : places.before(end)]


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_compression_is_known_by_content(tmp_path, compress):
    path = tmp_path / "a.json"
    path.write_bytes(compress(b"[1, 2]"))
    assert read_json(path) == [1, 2]
    path.write_bytes(compress(b"[1, 2]")[:-9])
    with pytest.raises(InputError, match=r"a\.json: its \.\w+ data is broken or cut"):
        read_json(path)


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0c", "\x1e", "\x0b"])
def test_lines_end_at_line_ends_only(tmp_path, separator):
    assert split_lines(f"a{separator}b\r\nc\rd\n") == [f"a{separator}b", "c", "d", ""]
    path = tmp_path / "a.jsonl"
    if separator > "\x1f":  # JSON writes control characters as escapes
        record = RECORD | {"question": f"Where{separator}?"}
        path.write_bytes(json.dumps(record, ensure_ascii=False).encode() + b"\r\n")
        assert load_qa_dataset(path).examples[0].question == record["question"]


def test_null_is_no_id(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(RECORD | {"id": None}))
    with pytest.raises(InputError, match=r"row 0\.id should be text or a whole number, and is null"):
        load_qa_dataset(path)
