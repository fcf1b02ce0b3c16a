"""Bounds on what is read: archives, files that are read whole, JSON and YAML of any shape."""

import bz2
import gzip
import io
import json
import lzma
import os
import zipfile
import zlib

import pytest
import yaml

from longspan import limits
from longspan.cli.main import main
from longspan.data import load_text
from longspan.data.corpora.fragments import ReadOptions
from longspan.data.corpora.readers import READERS
from longspan.data.corpora.streams import ByteCounter, text_chunks
from longspan.data.opening import read_json, read_text
from longspan.data.qa import load_qa_dataset
from longspan.errors import InputError
from longspan.extend.sources import find_facts
from longspan.grid.read import read_grid
from longspan.limits import VARIABLE, load_json, load_yaml, parse_size, read_bounded
from longspan.models.checkpoints import require_checkpoint
from longspan.records import read_record
from longspan.report.find import find_records
from longspan.tasks.adapter_files import read_adapter
from longspan.training.recipe.files import load_recipe

TEXT = "Anna was born in Lund. " * 50_000


def zipped(data):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", data)
    return file.getvalue()


COMPRESS = {".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress, ".zip": zipped}


@pytest.fixture
def bomb(tmp_path):
    """Writes a text of a megabyte as an archive of some kilobytes."""

    def write(ending, name="bomb.txt"):
        path = tmp_path / f"{name}{ending}"
        path.write_bytes(COMPRESS[ending](TEXT.encode()))
        return path

    return write


def sparse(path, n_bytes):
    with path.open("wb") as file:
        file.truncate(n_bytes)
    return path


@pytest.mark.parametrize("ending", list(COMPRESS))
def test_an_archive_beyond_the_bound_is_refused(bomb, ending, monkeypatch):
    monkeypatch.setattr(limits, "_ARCHIVE_BYTES", 300_000)
    monkeypatch.setattr(limits, "_ARCHIVE_RATIO", 5)
    path = bomb(ending)
    for read in (read_text, load_text, lambda path: sum(map(len, text_chunks(path, ByteCounter())))):
        with pytest.raises(InputError, match=r"bomb\.txt\S+ unpacks to .*the bound is 300,000; .*--max_unpacked"):
            read(path)
    monkeypatch.setenv(VARIABLE, "2MB")
    assert load_text(path) == TEXT


def test_an_archive_of_a_likely_ratio_is_read(bomb, monkeypatch):
    monkeypatch.setattr(limits, "_ARCHIVE_BYTES", 1000)
    monkeypatch.setattr(limits, "_ARCHIVE_RATIO", 10_000)
    assert load_text(bomb(".gz")) == TEXT


def test_several_gzip_members_count_together(tmp_path, monkeypatch):
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(b"a " * 1000) * 10)
    monkeypatch.setenv(VARIABLE, "15kB")
    with pytest.raises(InputError, match="the bound is 15,000"):
        load_text(path)
    monkeypatch.setenv(VARIABLE, "20kB")
    assert load_text(path) == "a " * 10_000


def test_a_zip_is_refused_for_what_it_declares(bomb, monkeypatch):
    path = bomb(".zip")
    monkeypatch.setenv(VARIABLE, "1MB")
    # Nothing is unpacked: a broken content would be named instead.
    data = bytearray(path.read_bytes())
    data[100:200] = bytes(100)
    path.write_bytes(data)
    with pytest.raises(InputError, match=rf"unpacks to {len(TEXT):,} bytes, and the bound is 1,000,000"):
        load_text(path)


@pytest.mark.parametrize("declares", [True, False])
def test_zstandard_frames_are_bounded(tmp_path, monkeypatch, declares):
    zstandard = pytest.importorskip("zstandard")
    path = tmp_path / "a.txt.zst"
    path.write_bytes(zstandard.ZstdCompressor(write_content_size=declares).compress(bytes(30_000_000)) * 2)
    monkeypatch.setenv(VARIABLE, "40MB")
    with pytest.raises(InputError, match="the bound is 40,000,000"):
        read_text(path)


def test_predict_bounds_archives_and_an_option_raises_it(tiny_qa_folder, bomb, capsys, monkeypatch):
    monkeypatch.setattr(limits, "_ARCHIVE_BYTES", 10_000)
    monkeypatch.setattr(limits, "_ARCHIVE_RATIO", 2)
    words = ["predict", str(tiny_qa_folder("bert")), "--document", str(bomb(".gz")), "--question", "Where?"]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert "unpacks to at least" in error and "--max_unpacked" in error
    assert main([*words, "--max_unpacked", "5GB", "--truncate"]) == 0
    assert VARIABLE not in os.environ
    assert main([*words, "--max_unpacked", "much"]) == 2
    assert "--max_unpacked is 'much'; it must be a size such as 5GB" in capsys.readouterr().err


def test_a_file_of_questions_is_bounded(tiny_qa_folder, bomb, tmp_path, capsys):
    document = tmp_path / "a.txt"
    document.write_text("Anna was born in Lund.")
    words = ["--document", str(document), "--questions", str(bomb(".xz")), "--max_unpacked", "500kB"]
    assert main(["predict", str(tiny_qa_folder("bert")), *words]) == 2
    assert "bomb.txt.xz unpacks to at least" in capsys.readouterr().err


def test_data_sets_that_are_too_large_are_refused(tmp_path, monkeypatch):
    for name in ("a.json", "a.jsonl"):
        with pytest.raises(InputError, match=r"has 5,000,000,000 bytes, and the bound is 4,294,967,296"):
            load_qa_dataset(str(sparse(tmp_path / name, 5_000_000_000)))
    path = tmp_path / "b.json.gz"
    path.write_bytes(gzip.compress(b"[" + b" " * 1_000_000 + b"]"))
    monkeypatch.setenv(VARIABLE, "100kB")
    with pytest.raises(InputError, match=r"b\.json\.gz unpacks to at least .*100,000"):
        load_qa_dataset(str(path))


def test_lines_of_a_corpus_are_bounded(tmp_path, monkeypatch):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": "short"}) + "\n" + json.dumps({"text": "a" * 9000}) + "\n")
    read = READERS["jsonl"]
    assert len(list(read(path, ReadOptions("record", "text"), ByteCounter()))) == 2
    monkeypatch.setenv(VARIABLE, "5kB")
    with pytest.raises(InputError, match=r"a\.jsonl: line 2 has at least 5,001 bytes"):
        list(read(path, ReadOptions("record", "text"), ByteCounter()))


def test_parquet_is_refused_for_what_it_declares(tmp_path, monkeypatch):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"id": [1], "text": [TEXT]}), path, compression="gzip", use_dictionary=False)
    read = READERS["parquet"]
    assert len(list(read(path, ReadOptions("record", "text"), ByteCounter()))) == 1
    assert len(list(read(path, ReadOptions("record", "text"), ByteCounter()))) == 1
    monkeypatch.setenv(VARIABLE, "1MB")
    with pytest.raises(InputError, match=r"a\.parquet unpacks to 1,1\d\d,\d\d\d bytes"):
        list(read(path, ReadOptions("record", "text"), ByteCounter()))


def test_entities_that_multiply_in_tei_are_refused(tmp_path):
    entities = "".join(f'<!ENTITY a{i + 1} "{f"&a{i};" * 10}">' for i in range(9))
    path = tmp_path / "laughs.xml"
    path.write_text(f'<!DOCTYPE TEI [<!ENTITY a0 "ha">{entities}]><TEI><text><p>&a9;</p></text></TEI>')
    with pytest.raises(InputError, match=r"laughs\.xml"):
        load_text(path)


@pytest.mark.parametrize("read", [read_record, load_json, lambda path: find_records([path])])
def test_records_are_bounded(tmp_path, read):
    with pytest.raises(InputError, match=r"a\.json has 3,000,000,000 bytes, and the bound is 268,435,456"):
        read(sparse(tmp_path / "a.json", 3_000_000_000))


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "vocab.txt"])
def test_json_of_checkpoints_is_bounded(tmp_path, name, capsys):
    (tmp_path / "config.json").write_text("{}")
    sparse(tmp_path / name, 2 << 30)
    with pytest.raises(InputError, match=rf"{name} has 2,147,483,648 bytes"):
        require_checkpoint(tmp_path, allow_pickle=False)
    assert main(["check", str(tmp_path)]) == 2
    assert f"{name} has 2,147,483,648 bytes" in capsys.readouterr().err


def test_json_of_adapters_is_bounded(tmp_path):
    sparse(tmp_path / "adapter.json", 2 << 30)
    with pytest.raises(InputError, match=r"adapter\.json has 2,147,483,648 bytes"):
        read_adapter(tmp_path)


def test_a_small_bound_leaves_models_readable(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, "1kB")
    path = tmp_path / "a.json"
    path.write_text(json.dumps(["a"] * 1000))
    assert len(load_json(path)) == 1000


LAUGHS = "a0: &a0 [ha, ha]\n" + "".join(f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 10)}]\n" for i in range(30))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LAUGHS, r"more than 10\*\*15 values once its aliases"),
        ("a: &a [1, *a]\n", "nested too deeply"),
        ("a: " + "[" * 5000 + "]" * 5000, "nested too deeply"),
        ("a: " + "- " * 5000, "nested too deeply|sequence entries are not allowed here"),
    ],
)
@pytest.mark.parametrize("read", [load_recipe, read_grid])
def test_yaml_that_multiplies_or_nests_is_refused(tmp_path, read, text, message):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read(path)


@pytest.mark.parametrize("read", [load_recipe, read_grid])
def test_recipes_are_bounded(tmp_path, read):
    with pytest.raises(InputError, match=r"a\.yaml has 1,073,741,824 bytes, and the bound is 1,048,576"):
        read(sparse(tmp_path / "a.yaml", 1 << 30))


def test_aliases_and_merges_are_read(tmp_path):
    text = "base: &base {x: 1, y: [1, 2]}\nruns:\n- {<<: *base, z: 3}\n- *base\n"
    assert load_yaml(text, "a.yaml") == yaml.safe_load(text)
    assert load_yaml("", "a.yaml") is None


def test_tags_of_a_model_card_that_multiply_are_ignored(tmp_path):
    (tmp_path / "README.md").write_text("---\n" + LAUGHS + "language: *a30\n---\n")
    assert find_facts(str(tmp_path)).languages == []


@pytest.mark.parametrize("read", [read_json, load_json, read_record, lambda path: load_qa_dataset(str(path))])
def test_deeply_nested_json_is_refused(tmp_path, read):
    path = tmp_path / "a.json"
    path.write_text("[" * 200_000 + "]" * 200_000)
    with pytest.raises(InputError, match=r"a\.json"):
        read(path)


def test_deeply_nested_lines_of_json_are_refused(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": ' + "[" * 200_000 + "]" * 200_000 + "}")
    with pytest.raises(InputError, match=r"a\.jsonl: line 1 is nested too deeply"):
        load_qa_dataset(str(path))


def test_json_lines_of_questions_are_bounded_together(tmp_path, monkeypatch):
    path = tmp_path / "a.jsonl"
    path.write_text("{}\n" * 400_000)
    monkeypatch.setenv(VARIABLE, "1MB")
    with pytest.raises(InputError, match=r"a\.jsonl has 1,200,000 bytes, and the bound is 1,000,000"):
        load_qa_dataset(str(path))


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="there is no /dev/zero")
def test_a_device_without_end_is_bounded(tmp_path, monkeypatch):
    from pathlib import Path

    with pytest.raises(InputError, match=r"/dev/zero has at least .* and the bound is 5,000"):
        read_bounded(Path("/dev/zero"), 5000)
    monkeypatch.setenv(VARIABLE, "3MB")
    link = tmp_path / "zeros.txt"
    link.symlink_to("/dev/zero")
    with pytest.raises(InputError):
        load_text(link)


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [("5GB", 5 * 10**9), ("512 MiB", 512 << 20), ("1.5g", 1_500_000_000), ("1000", 1000), ("2TiB", 2 << 40)],
)
def test_sizes_are_parsed(text, n_bytes):
    assert parse_size(text, "x") == n_bytes
    for wrong in ("", "GB", "-1", "0", "5 PB", "1e9"):
        with pytest.raises(InputError, match="x is"):
            parse_size(wrong, "x")


def test_compressed_data_that_is_cut_is_no_bomb(tmp_path):
    path = tmp_path / "a.txt.gz"
    packer = zlib.compressobj(wbits=31)
    path.write_bytes(packer.compress(TEXT.encode()) + packer.flush(zlib.Z_SYNC_FLUSH))
    with pytest.raises(InputError, match="broken or cut"):
        load_text(path)
