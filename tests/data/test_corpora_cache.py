"""Caches: built once, rebuilt when the text changes, continued after a kill, never incomplete."""

import json
import logging
import os
import resource
import signal
import subprocess
import sys
import time

import datasets
import numpy as np
import pytest

from longspan.data import load_corpus
from longspan.data.corpora import cache, pool, shards
from longspan.data.corpora.sources import CorpusSource
from longspan.errors import InputError


@pytest.fixture
def words(tokenizers):
    return tokenizers["wordpiece"]


@pytest.fixture
def written(monkeypatch):
    """Names of the shards that are tokenised."""
    names = []

    def write_shard(path, encoder, pieces):
        names.append(path.name)
        return shards.write_shard(path, encoder, pieces)

    monkeypatch.setattr(pool, "write_shard", write_shard)
    return names


@pytest.fixture
def text_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("\n\n".join(f"document {i} one two three" for i in range(30)), encoding="utf-8")
    return path


def load(tmp_path, words, *sources, n_processes=1, **options):
    return load_corpus(sources, words, cache_dir=tmp_path / "cache", n_processes=n_processes, progress=False, **options)


def ids(corpus):
    return [source.store.ids(0, int(source.store.document_starts[-1])).tolist() for source in corpus.sources]


def change(path, text):
    path.write_text(text, encoding="utf-8")


def caches(tmp_path):
    return sorted(path.name for path in (tmp_path / "cache").iterdir() if not path.name.endswith(".lock"))


def test_documents_tokens_and_characters(tmp_path, words, text_file):
    corpus = load(tmp_path, words, str(text_file))
    source = corpus.sources[0]
    assert corpus.n_documents == 30
    for i in range(30):
        text = f"document {i} one two three"
        start, stop = source.store.document_starts[i : i + 2]
        assert source.store.ids(start, stop).tolist() == words(text, add_special_tokens=False)["input_ids"]
        assert source.store.n_characters(start, stop).sum() == source.store.document_characters[i] == len(text)
    assert source.store.ids(0, 1).dtype == np.int32
    assert isinstance(source.store.document_starts, np.memmap)


def test_a_cache_is_a_data_set_of_the_library(tmp_path, words, text_file):
    corpus = load(tmp_path, words, str(text_file))
    rows = datasets.load_from_disk(str(corpus.sources[0].store.folder))
    assert rows[3]["input_ids"] == words("document 3 one two three", add_special_tokens=False)["input_ids"]
    assert rows.features["input_ids"].feature.dtype == "int32"
    assert rows.column_names == ["document", "characters", "input_ids", "n_characters"]


def test_a_cache_is_used_again_and_other_choices_need_no_other(tmp_path, words, text_file, written):
    first = load(tmp_path, words, str(text_file))
    longest = int(first.sources[0].lengths.max())
    again = load(tmp_path, words, {"path": str(text_file), "weight": 2, "min_tokens": longest, "language": "en"})
    assert written == ["data-00000.arrow"]
    assert ids(first) == ids(again)
    assert 0 < again.n_documents < 30
    assert again.sources[0].left_out == {"under min_tokens": 30 - again.n_documents}
    assert again.fingerprint != first.fingerprint
    text_file.touch()
    load(tmp_path, words, str(text_file))
    assert len(written) == 1


def test_a_changed_corpus_is_made_anew_and_that_is_said(tmp_path, words, text_file, written, caplog):
    first = load(tmp_path, words, str(text_file))
    # Same size, same time of change: only a hash can tell.
    before = text_file.stat()
    change(text_file, text_file.read_text(encoding="utf-8").replace("document 7", "document 8"))
    os.utime(text_file, ns=(before.st_atime_ns, before.st_mtime_ns))
    with caplog.at_level(logging.WARNING, logger=cache.__name__):
        second = load(tmp_path, words, str(text_file))
    assert "changed since it was tokenised (changed: " in caplog.text
    assert any("built again" in note for note in second.notes)
    assert len(written) == 2
    assert ids(second) != ids(first)
    assert caches(tmp_path) == [second.sources[0].store.folder.name]
    assert first.fingerprint != second.fingerprint


def test_a_corpus_that_was_moved_is_the_same_one(tmp_path, words):
    """Defaults that are written out change nothing either; other bytes, or the same in another order, do."""
    folder = tmp_path / "texts"
    folder.mkdir()
    change(folder / "a.txt", "one two\n\nthree")
    change(folder / "b.txt", "four five")
    first = load(tmp_path, words, str(folder))
    moved = folder.rename(tmp_path / "elsewhere")
    again = load(tmp_path, words, {"path": str(moved), "format": "text", "documents": "blank_line", "weight": 1})
    assert again.fingerprint == first.fingerprint
    assert list(again.data.values()) == list(first.data.values())
    assert load(tmp_path, words, {"path": str(moved), "documents": "file"}).fingerprint != first.fingerprint
    (moved / "a.txt").rename(moved / "c.txt")
    assert load(tmp_path, words, str(moved)).fingerprint != first.fingerprint


def test_a_cache_of_an_earlier_version_is_used(tmp_path, words, written):
    """It hashed the paths of several files beside their contents."""
    folder = tmp_path / "texts"
    folder.mkdir()
    for name in ("a.txt", "b.txt"):
        change(folder / name, f"{name} one two")
    first = load(tmp_path, words, str(folder))
    manifest = first.sources[0].store.folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace(json.loads(manifest.read_text())["sha256"], "0" * 64))
    again = load(tmp_path, words, str(folder))
    assert len(written) == 1
    assert again.fingerprint == first.fingerprint


def test_a_cache_of_another_reader_is_made_anew(tmp_path, words, caplog, monkeypatch):
    path = tmp_path / "novel.xml"
    path.write_text("<TEI><text><p>a word</p></text></TEI>")
    monkeypatch.setattr("longspan.data.corpora.contents.READER_VERSIONS", {})
    old = load_corpus([str(path)], words, cache_dir=tmp_path / "cache", progress=False)
    monkeypatch.undo()
    new = load_corpus([str(path)], words, cache_dir=tmp_path / "cache", progress=False)
    assert "longspan reads tei better now" in caplog.text
    assert new.fingerprint != old.fingerprint


def test_files_that_come_and_go_are_named(tmp_path, words):
    folder = tmp_path / "texts"
    folder.mkdir()
    change(folder / "a.txt", "one")
    change(folder / "notes.pdf", "no")
    corpus = load(tmp_path, words, str(folder))
    assert "1 files of other formats are left out" in corpus.notes[0]
    change(folder / "b.txt", "two")
    (folder / "a.txt").unlink()
    corpus = load(tmp_path, words, str(folder))
    assert any("new: " in note and "gone: " in note for note in corpus.notes)


def test_another_tokenizer_has_another_cache(tmp_path, tokenizers, text_file):
    one = load(tmp_path, tokenizers["wordpiece"], str(text_file))
    two = load(tmp_path, tokenizers["unigram"], str(text_file))
    assert len(caches(tmp_path)) == 2
    assert one.tokenizer_fingerprint != two.tokenizer_fingerprint
    assert one.fingerprint != two.fingerprint


@pytest.mark.parametrize("damage", ["cut", "gone", "manifest"])
def test_a_damaged_cache_is_made_anew(tmp_path, words, text_file, damage):
    first = load(tmp_path, words, str(text_file))
    folder = first.sources[0].store.folder
    expected = ids(first)
    if damage == "cut":
        path = folder / "data-00000.arrow"
        path.write_bytes(path.read_bytes()[:-20])
    elif damage == "gone":
        (folder / "document_starts.npy").unlink()
    else:
        (folder / "manifest.json").write_text("{}", encoding="utf-8")
    again = load(tmp_path, words, str(text_file))
    assert ids(again) == expected
    assert "is damaged" in again.notes[0]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError("killed")])
def test_an_interrupted_run_goes_on_with_its_finished_shards(tmp_path, words, text_file, monkeypatch, written, error):
    expected = ids(load(tmp_path / "whole", words, str(text_file)))
    written.clear()
    monkeypatch.setattr(cache, "SHARD_CHARACTERS", 100)
    real = pool.write_shard

    def write_some(path, encoder, pieces):
        if len(written) == 3:
            raise error
        return real(path, encoder, pieces)

    monkeypatch.setattr(pool, "write_shard", write_some)
    with pytest.raises(type(error) if isinstance(error, Exception) else error):
        load(tmp_path, words, str(text_file))
    building = tmp_path / "cache" / caches(tmp_path)[0]
    assert building.name.endswith(".building")
    (building / ".data-00003.arrow.x1y2").write_bytes(b"what a killed process was writing")
    monkeypatch.setattr(pool, "write_shard", real)
    corpus = load(tmp_path, words, str(text_file))
    assert ids(corpus) == expected
    assert "3 shards of an earlier, unfinished run are used" in corpus.notes[0]
    assert sorted(written) == sorted(set(written))
    assert len(written) > 6
    assert not [path for path in corpus.sources[0].store.folder.iterdir() if path.name.startswith(".")]


def test_a_kill_at_the_very_end_leaves_a_finished_cache(tmp_path, words, text_file, monkeypatch, written):
    """Between the last file and the folder's name: the shards are used; after it: the plan that is left is removed."""
    move = cache._move

    def killed_before(building, folder):
        raise KeyboardInterrupt

    def killed_after(building, folder):
        move(building, folder)
        raise KeyboardInterrupt

    for kill in (killed_before, killed_after):
        monkeypatch.setattr(cache, "_move", kill)
        with pytest.raises(KeyboardInterrupt):
            load(tmp_path, words, str(text_file))
    monkeypatch.setattr(cache, "_move", move)
    load(tmp_path, words, str(text_file))
    assert written == ["data-00000.arrow"]
    assert not (tmp_path / "cache" / caches(tmp_path)[0] / "plan.json").exists()


def test_what_was_begun_with_another_text_is_not_used(tmp_path, words, text_file, monkeypatch, caplog):
    monkeypatch.setattr(cache, "SHARD_CHARACTERS", 100)
    monkeypatch.setattr(cache, "_finish", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        load(tmp_path, words, str(text_file))
    monkeypatch.undo()
    change(text_file, "one two")
    corpus = load(tmp_path, words, str(text_file))
    assert "removing an unfinished cache of another version of the corpus" in caplog.text
    assert ids(corpus) == [words("one two", add_special_tokens=False)["input_ids"]]


KILLED = """
import sys
from longspan.data.corpora import cache, load_corpus, pool
from transformers import PreTrainedTokenizerFast

if __name__ == "__main__":
    cache.SHARD_CHARACTERS, pool.MAX_THREADS = 2_000, 1
    tokenizer = PreTrainedTokenizerFast.from_pretrained(sys.argv[1])
    load_corpus([sys.argv[2]], tokenizer, cache_dir=sys.argv[3], n_processes=2)
"""


def test_a_killed_run_goes_on_and_leaves_no_process_behind(tmp_path, words):
    """kill -9 while two processes tokenise; what they finished is used, and the tokens are the same."""
    path = tmp_path / "a.txt"
    change(path, "\n\n".join(f"document {i} one two three" for i in range(20_000)))
    words.save_pretrained(tmp_path / "tokenizer")
    change(tmp_path / "run.py", KILLED)
    command = [sys.executable, "run.py", tmp_path / "tokenizer", path, tmp_path / "cache"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, start_new_session=True) as run:
        finished = []
        while len(finished) < 4 and run.poll() is None:
            time.sleep(0.02)
            finished = list((tmp_path / "cache").glob(".*.building/data-*.arrow"))
        assert run.poll() is None, run.stderr.read().decode()
        run.send_signal(signal.SIGKILL)
        run.stderr.read()  # ends when the last process of the run that writes to it has ended
    assert not [name for name in caches(tmp_path) if not name.startswith(".")]
    corpus = load_like_killed(tmp_path, words, path)
    assert "shards of an earlier, unfinished run are used" in corpus.notes[0]
    assert ids(corpus) == ids(load(tmp_path / "whole", words, str(path)))


def load_like_killed(tmp_path, words, path):
    before, cache.SHARD_CHARACTERS = cache.SHARD_CHARACTERS, 2_000
    try:
        return load(tmp_path, words, str(path))
    finally:
        cache.SHARD_CHARACTERS = before


@pytest.mark.parametrize("max_threads", [1, 2])
def test_several_processes_or_threads_give_the_same(tmp_path, words, text_file, monkeypatch, max_threads):
    monkeypatch.setattr(cache, "SHARD_CHARACTERS", 200)
    monkeypatch.setattr(pool, "MAX_THREADS", max_threads)
    one = load(tmp_path / "one", words, str(text_file))
    two = load(tmp_path / "two", words, str(text_file), n_processes=2)
    assert ids(one) == ids(two)
    assert one.fingerprint == two.fingerprint


def test_a_full_disk_leaves_nothing_that_is_believed(tmp_path, words, text_file):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    change(text_file, "one two three " * 20_000)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(InputError, match=r"cannot write .*data-00000.arrow: File too large; choose another place"):
            load(tmp_path, words, str(text_file))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    (building,) = (tmp_path / "cache").glob(".*.building")
    assert [path.name for path in building.iterdir()] == ["plan.json"]
    assert load(tmp_path, words, str(text_file)).n_tokens == 60_000


def test_a_cache_behind_links_stays_there(tmp_path, words, text_file):
    (tmp_path / "cache").symlink_to(tmp_path / "disk" / "cache")
    folder = load(tmp_path, words, str(text_file)).sources[0].store.folder
    real = tmp_path / "larger" / "disk"
    real.parent.mkdir()
    folder.rename(real)
    folder.symlink_to(real)
    change(text_file, "other one two three")
    assert load(tmp_path, words, str(text_file)).n_documents == 1
    assert folder.is_symlink() and (real / "manifest.json").exists() and caches(tmp_path) == [folder.name]
    assert (tmp_path / "cache").is_symlink()


@pytest.mark.parametrize("text", ["", " \n\n \n"])
def test_an_empty_corpus_is_refused(tmp_path, words, text_file, text):
    change(text_file, text)
    with pytest.raises(InputError, match=r"a.txt holds no text"):
        load(tmp_path, words, str(text_file))
    assert caches(tmp_path) == []


def test_documents_that_are_all_too_short_are_refused(tmp_path, words, text_file):
    with pytest.raises(InputError, match=r"none of its 30 documents has 1,000 tokens .*the longest has \d+ tokens"):
        load(tmp_path, words, {"path": str(text_file), "min_tokens": 1000})


def test_bad_input_keeps_what_is_finished(tmp_path, words, written, monkeypatch):
    monkeypatch.setattr(cache, "SHARD_CHARACTERS", 10)
    path = tmp_path / "a.jsonl"
    lines = [json.dumps({"text": f"document {i} one two"}) for i in range(3)]
    change(path, "\n".join([*lines, '{"txt": "x"}']))
    with pytest.raises(InputError, match=r"a.jsonl: line 4 has no field 'text'"):
        load(tmp_path, words, str(path))
    assert len(written) == 3
    assert caches(tmp_path)[0].endswith(".building")


def test_records_without_text_are_counted(tmp_path, words):
    path = tmp_path / "a.jsonl"
    change(path, "\n".join(json.dumps({"text": text}) for text in ("one", "", " \n", "two")))
    corpus = load(tmp_path, words, str(path))
    assert corpus.n_documents == 2
    assert corpus.sources[0].left_out == {"empty": 2}


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, words, text_file, monkeypatch):
    real = cache._Jobs.__iter__

    def jobs(self):
        change(text_file, "one two three")
        return real(self)

    monkeypatch.setattr(cache._Jobs, "__iter__", jobs)
    with pytest.raises(InputError, match=r"a.txt changed while it was read"):
        load(tmp_path, words, str(text_file))


def test_documents_are_chosen_and_held_out_the_same_way_every_time(tmp_path, words, text_file):
    corpus = load(tmp_path, words, {"path": str(text_file), "fraction": 1 / 3, "name": "people"})
    assert corpus.n_documents == 10
    assert corpus.sources[0].left_out == {"outside the fraction": 20}
    train, validation = corpus.split(0.2, seed=1)
    assert (train.n_documents, validation.n_documents) == (8, 2)
    chosen = [set(part.sources[0].documents.tolist()) for part in (train, validation)]
    assert not chosen[0] & chosen[1]
    assert chosen[0] | chosen[1] == set(corpus.sources[0].documents.tolist())
    again = corpus.split(2, seed=1)[1]
    np.testing.assert_array_equal(again.sources[0].documents, validation.sources[0].documents)
    assert corpus.split(2, seed=2)[1].sources[0].documents.tolist() != again.sources[0].documents.tolist()
    for held_out in (0, 10, 0.0, 1.0):
        with pytest.raises(InputError, match=r"people: \d+ of 10 documents cannot be held out"):
            corpus.split(held_out)


def test_the_summary_counts_sources(tmp_path, words, text_file):
    other = tmp_path / "b.txt"
    change(other, "Anna lives in Oslo")
    corpus = load(tmp_path, words, CorpusSource(path=str(text_file), language="en", weight=0.5), str(other))
    summary = corpus.summary()
    assert (summary["n_documents"], summary["n_tokens"]) == (31, corpus.n_tokens)
    assert summary["n_characters"] == corpus.n_characters == sum(s["n_characters"] for s in summary["sources"])
    assert summary["sources"][0]["language"] == "en"
    assert summary["sources"][1]["n_characters"] == len("Anna lives in Oslo")
    assert json.loads(json.dumps(summary)) == summary
    assert set(corpus.data) == {str(text_file), str(other)}


def test_a_finished_cache_may_lie_where_nothing_can_be_written(tmp_path, words, text_file, monkeypatch):
    first = load(tmp_path, words, str(text_file))
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    assert ids(load(tmp_path, words, str(text_file))) == ids(first)


def test_a_bad_number_of_processes_is_refused(tmp_path, words, text_file):
    with pytest.raises(InputError, match="n_processes is 0"):
        load(tmp_path, words, str(text_file), n_processes=0)


def test_paragraphs_taken_for_documents_are_noticed(tmp_path, words, text_file):
    note = load(tmp_path, words, str(text_file)).notes[0]
    assert "split at blank lines, have a median of" in note
    assert "set documents: file" in note
    assert load(tmp_path, words, {"path": str(text_file), "documents": "file"}).notes == ()
    assert load(tmp_path, words, {"path": str(text_file), "documents": "blank_line"}).notes == ()
