import bz2
import gzip
import importlib.util
import json
import lzma
import re
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.data import load_text
from longspan.data.opening import read_json, read_text
from longspan.data.qa import read_squad
from longspan.errors import InputError

COMPRESS = {".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress}


@pytest.mark.parametrize("ending", ["", ".gz", ".xz", ".bz2", ".zip"])
def test_every_compression_reads_the_same(tmp_path, tiny_squad, ending):
    data = tiny_squad.read_bytes()
    path = tmp_path / f"tiny.json{ending}"
    if ending == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("inside/", "")
            archive.writestr("__MACOSX/._tiny.json", "x")
            archive.writestr("inside/tiny.json", data)
    else:
        path.write_bytes(COMPRESS.get(ending, bytes)(data))
    dataset = read_squad(path)
    assert dataset.examples == read_squad(tiny_squad).examples
    assert (dataset.name, len(dataset.examples)) == ("tiny", 24)


def test_zst_without_its_package_says_what_to_install(tmp_path):
    path = tmp_path / "a.json.zst"
    path.write_bytes(b"x")
    has_package = importlib.util.find_spec("zstandard") is not None
    with pytest.raises(InputError, match="broken or cut" if has_package else r"pip install 'longspan\[zstd\]'"):
        read_json(path)


def test_zst_of_several_frames_and_a_cut_one(tmp_path):
    zstandard = pytest.importorskip("zstandard")
    path = tmp_path / "a.json.zst"
    frame = zstandard.ZstdCompressor().compress(b"[1, 2, 3]" + b" " * 10_000)
    path.write_bytes(frame + zstandard.ZstdCompressor().compress(b"\n"))
    assert read_json(path) == [1, 2, 3]
    for cut in (frame[:-3], b""):
        path.write_bytes(cut)
        with pytest.raises(InputError, match=r"a.json.zst: its .zst data is broken or cut"):
            read_json(path)


@pytest.mark.parametrize("ending", [".gz", ".xz", ".bz2", ".zip"])
def test_cut_or_wrong_compressed_data_names_the_file(tmp_path, ending):
    path = tmp_path / f"a.json{ending}"
    for data in (b"", b"no such format", COMPRESS.get(ending, gzip.compress)(b"[1, 2, 3]" * 99)[:-9]):
        path.write_bytes(data)
        with pytest.raises(InputError, match=rf"{re.escape(str(path))}(: its \{ending} data is broken|.*cut)"):
            read_json(path)


def test_an_archive_of_several_files_is_refused(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("one.json", "1")
        archive.writestr("two.json", "2")
    with pytest.raises(InputError, match=r"holds 2 files \(one.json, two.json\)"):
        read_json(path)


def test_missing_files_and_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"a\.json: no such file"):
        read_json(tmp_path / "a.json")
    with pytest.raises(InputError, match="is a folder"):
        read_json(tmp_path)


WHOLE = json.dumps({"data": ['Zürich \u2192 "x"', 1.5, -12, True, None, {"é": []}]}, ensure_ascii=False).encode()
ESCAPED = json.dumps(["Zürich", "\U0001f600", {"a": False}]).encode()


@pytest.mark.parametrize("whole", [WHOLE, ESCAPED])
def test_json_cut_anywhere_says_after_which_byte(tmp_path, whole):
    path = tmp_path / "a.json"
    for n in range(len(whole)):
        path.write_bytes(whole[:n])
        with pytest.raises(InputError, match=rf"a\.json is cut: it ends after byte {n} "):
            read_json(path)


def test_json_with_a_mistake_says_at_which_byte(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"ü": 1,,\n"b": 2}', encoding="utf-8")
    with pytest.raises(InputError, match=r"is not JSON: .* at byte 9 \(line 1, column 9\)"):
        read_json(path)


@given(st.recursive(st.none() | st.booleans() | st.text(max_size=4), lambda inner: st.lists(inner, max_size=3)))
def test_whole_json_is_read(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("json") / "a.json"
    path.write_text(json.dumps(value), encoding="utf-8-sig")
    assert read_json(path) == value


def test_bytes_that_are_not_utf8_are_named(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"ab\xe4cd")
    with pytest.raises(InputError, match=r"not UTF-8: byte 2 is 0xe4"):
        load_text(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", r"letter is a PDF, not text; convert it to a text file first"),
        (b"PK\x03\x04\x14\x00\x06\x00\x08\x00\xdd\xfc", r"letter is an archive \(as .docx"),
    ],
)
def test_documents_that_are_no_text_are_called_what_they_are(tmp_path, data, message):
    path = tmp_path / "letter"
    path.write_bytes(data)
    with pytest.raises(InputError, match=message):
        read_text(path)


def test_load_text_reads_plain_and_compressed(tmp_path):
    for ending, compress in {"": bytes, **COMPRESS}.items():
        path = tmp_path / f"a.txt{ending}"
        path.write_bytes(compress("\ufeffOne\r\ntwo ö\rthree\n".encode()))
        assert load_text(path) == "One\ntwo ö\nthree\n"
    assert read_text(tmp_path / "a.txt").startswith("One\r\n")


def test_load_text_leaves_the_markup_of_tei_out(tmp_path):
    path = tmp_path / "novel.xml.gz"
    tei = "<TEI><teiHeader>1895</teiHeader><text><p>The <hi>first</hi> line.</p><p>The second.</p></text></TEI>"
    path.write_bytes(gzip.compress(tei.encode()))
    assert load_text(path).split("\n") == ["", "The first line.", "The second.", "", ""]
    path = tmp_path / "feed.xml"
    path.write_text("<rss><p>News</p></rss>")
    with pytest.raises(InputError, match=r"feed\.xml holds no <text>: it is XML, but not TEI"):
        load_text(path)


def test_an_empty_document_is_refused(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text(" \n")
    with pytest.raises(InputError, match=r"a\.txt is empty"):
        load_text(path)
