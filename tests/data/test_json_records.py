import gzip
import json
import lzma
import os
import threading

import pytest

from longspan.data import json_records
from longspan.data.json_records import JsonRecords
from longspan.errors import InputError

ROWS = [{"id": i, "text": 'Ünï\u2028code, [ ] { } \\ "quoted" 😀', "n": [1.5e3, True, None]} for i in range(5)]
LAYOUTS = {
    "list": json.dumps(ROWS),
    "indented": json.dumps(ROWS, indent=1, ensure_ascii=False),
    "lines": "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS),
    "windows lines": "\ufeff" + "".join(json.dumps(row) + "\r\n" for row in ROWS) + "\r\n\r\n",
    "one after the other": "\n".join(json.dumps(row, indent=2) for row in ROWS),
}


def save(folder, content, name="a.json"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_gives_the_same_records(tmp_path, monkeypatch, layout, chunk):
    monkeypatch.setattr(json_records, "CHUNK", chunk)
    records = JsonRecords(save(tmp_path, LAYOUTS[layout]))
    assert list(records) == list(enumerate(ROWS, 1))
    assert not records.is_cut


@pytest.mark.parametrize(("ending", "pack"), [(".gz", gzip.compress), (".xz", lzma.compress)])
def test_compressed_files_are_read(tmp_path, ending, pack):
    path = save(tmp_path, pack(LAYOUTS["indented"].encode()), "a.json" + ending)
    assert [record for _, record in JsonRecords(path)] == ROWS


def test_a_pipe_is_read_once(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_text(LAYOUTS["lines"], encoding="utf-8"))
    writer.start()
    assert [record for _, record in JsonRecords(pipe)] == ROWS
    writer.join()


def test_a_list_cut_anywhere_gives_its_whole_records(tmp_path):
    content = LAYOUTS["indented"].encode()
    whole = [len(json.dumps(ROWS[: n + 1], indent=1, ensure_ascii=False).encode()) - 2 for n in range(len(ROWS))]
    for n_bytes in range(1, len(content) - 1):
        path = save(tmp_path, content[:n_bytes])
        records = JsonRecords(path, allow_cut=True)
        assert [record for _, record in records] == ROWS[: sum(end <= n_bytes for end in whole)], n_bytes
        assert records.is_cut
        with pytest.raises(InputError, match=r"a\.json is cut: it ends after byte"):
            list(JsonRecords(path))


def test_a_last_line_that_is_cut_is_an_error(tmp_path):
    with pytest.raises(InputError, match="is cut: it ends after byte"):
        list(JsonRecords(save(tmp_path, LAYOUTS["lines"].encode()[:-5])))


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("[1]", "record 1 is not an object but int"),
        ('[{"a": 1} {"b": 2}]', "a comma is missing behind record 1 at byte 10"),
        ('[{"a": 1},, {"b": 2}]', r"not JSON: Expecting value at byte 10"),
        ('[{"ä": 1}, {b}]', r"not JSON: Expecting property name .* at byte 13"),
        ('[{"a": 1}] x', "something follows the end of its list at byte 11"),
        ("question;answer", "not JSON: Expecting value at byte 0"),
        ('{"a": 1}\n{"b": }', "not JSON: Expecting value at byte 15"),
        ('{"a": ' + "[" * 100_000, "record 1 is nested too deeply"),
        ('{"a": ' + "1" * 5000 + "}", "record 1 holds an integer that is too long"),
        (b'[{"a": "\xff"}]', "is not UTF-8: byte 8"),
        ('[{"a": 1}'.encode("utf-16"), "UTF-16"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path, content, match):
    with pytest.raises(InputError, match=match):
        list(JsonRecords(save(tmp_path, content), allow_cut=True))


def test_compressed_data_that_is_cut_is_an_error(tmp_path):
    path = save(tmp_path, gzip.compress(LAYOUTS["list"].encode())[:-20], "a.json.gz")
    with pytest.raises(InputError, match=r"its \.gz data is broken or cut"):
        list(JsonRecords(path, allow_cut=True))


def test_a_record_above_the_bound_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("LONGSPAN_MAX_UNPACKED", "100")
    monkeypatch.setattr(json_records, "CHUNK", 10)
    with pytest.raises(InputError, match="record 1 has at least"):
        list(JsonRecords(save(tmp_path, json.dumps([{"a": "b" * 300}]))))
