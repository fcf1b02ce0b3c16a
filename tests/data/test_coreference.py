import gzip
import io
import json
import lzma
import tarfile

import pytest

from longspan.data.coreference import (
    COREFERENCE_CATALOGUE,
    load_coreference_dataset,
    require_coreference_data,
)
from longspan.data.coreference.catalogue import is_in_split
from longspan.data.coreference.words import join_words, split_words, tokens_of_characters
from longspan.errors import InputError


def lines(*rows, name="d", part="; part 000", end="#end document"):
    """A document in five columns; a row is a word and its brackets, None a blank line."""
    columns = ["" if row is None else "\t".join(["d", "0", "0", *row]) for row in rows]
    return "\n".join([f"#begin document ({name}){part}", *columns, end, ""])


ANNA = lines(("Anna", "(0)"), ("'s", "-"), ("dog", "(1"), None, ("barks", "1)"), (".", "-"))


def save(folder, name, data):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return str(path)


def save_tar(folder, name, files, mode="w:xz"):
    with tarfile.open(folder / name, mode) as tar:
        for path, text in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return str(folder / name)


def read_one(folder, text, name="a.conll", **options):
    found = load_coreference_dataset(save(folder, name, text), **options)
    return found, found.documents[0]


def refused(match, name, **options):
    with pytest.raises(InputError, match=match):
        load_coreference_dataset(name, **options)


# CoNLL columns.


def test_a_document_has_exact_offsets(tmp_path):
    dataset, document = read_one(tmp_path, ANNA)
    assert (document.id, document.header) == ("d_0", "(d); part 000")
    assert document.text == "Anna's dog barks."
    assert document.words == ("Anna", "'s", "dog", "barks", ".")
    assert document.sentences == ((0, 3), (3, 5))
    assert document.clusters == (((0, 1),), ((2, 4),))
    assert document.character_clusters == (((0, 4),), ((7, 16),))
    assert document.singletons == ((0, 1), (2, 4))
    assert dataset.counts == {
        "documents": 1,
        "tokens": 5,
        "sentences": 2,
        "mentions": 2,
        "clusters": 2,
        "singletons": 2,
        "mentions_across_sentences": 1,
    }


def test_ontonotes_columns_parts_and_speakers(tmp_path):
    rows = ["a/b 0 0 I PRP (TOP* - - - Ann * (3)", "a/b 0 1 go VBP * go 01 1 - * -"]
    parts = ["\n".join([f"#begin document (a/b); part 00{i}", *rows, "", "#end document"]) for i in (0, 1)]
    dataset, document = read_one(tmp_path, "\n".join(parts) + "\n", "x.v4_gold_conll")
    assert [one.id for one in dataset.documents] == ["a/b_0", "a/b_1"]
    assert document.speakers == ("Ann", None)
    assert document.clusters == (((0, 1),),)


def test_gum_columns_have_named_clusters_without_bars(tmp_path):
    text = "# begin document GUM_a\n0\tthe\t(person-1(place-2-Oslo)\n1\tman\tperson-1)\n# end document\n"
    _, document = read_one(tmp_path, text)
    assert document.id == "GUM_a"
    assert document.clusters == (((0, 1),), ((0, 2),))
    assert document.sentences == ((0, 2),)


def test_litbank_leaves_the_last_column_empty(tmp_path):
    row = "d\t0\t{}\t{}" + "\t_" * 8 + "\t{}"
    text = "\n".join(
        ["#begin document (d); part 0", row.format(0, "I", "(0)"), row.format(1, "go", ""), "#end document"]
    )
    assert read_one(tmp_path, text)[1].clusters == (((0, 1),),)


def test_a_closing_bracket_closes_the_last_open_one(tmp_path):
    text = lines(("a", "(1|(1"), ("b", "(1)"), ("c", "1)"), ("d", "1)|(2)"))
    assert read_one(tmp_path, text)[1].clusters == (((0, 3), (0, 4), (1, 2)), ((3, 4),))


def test_a_document_without_mentions_is_kept(tmp_path):
    dataset, document = read_one(tmp_path, lines(("Hi", "-")))
    assert document.clusters == ()
    assert dataset.counts["documents_without_mentions"] == 1
    assert not dataset.has_singletons


@pytest.mark.parametrize(
    ("rows", "bracket", "line"),
    [
        ([("a", "(1"), ("b", "-")], r"'\(1' is never closed", 2),
        ([("a", "-"), ("b", "1)")], r"'1\)' closes a mention that was not opened", 3),
        ([("a", "(1"), ("b", "2)|1)")], r"'2\)' closes a mention that was not opened", 3),
    ],
)
def test_unbalanced_brackets_are_named_with_their_place(tmp_path, rows, bracket, line):
    text = lines(("c", "(0)"), *rows)
    match = rf"a\.conll: document 'd_0', line {line + 1}: the bracket {bracket}"
    refused(match, save(tmp_path, "a.conll", text))
    dataset, document = read_one(tmp_path, text, faults="leave_out")
    assert dataset.counts["unbalanced_brackets"] == len(dataset.notes) == 1
    assert f"line {line + 1}" in dataset.notes[0]
    assert document.clusters[0] == ((0, 1),)


def test_repeated_mentions_are_counted_or_refused(tmp_path):
    dataset, document = read_one(tmp_path, lines(("a", "(1)|(1)"), ("b", "(1)")))
    assert document.clusters == (((0, 1), (1, 2)),)
    assert dataset.counts["repeated_mentions"] == 1
    text = lines(("a", "(1)|(2)"), ("b", "(2)"))
    refused(r"document 'd_0': the mention 'a' \(token 0\) is in two clusters", save(tmp_path, "b.conll", text))
    dataset, document = read_one(tmp_path, text, faults="leave_out")
    assert document.clusters == (((0, 1),), ((1, 2),))
    assert dataset.counts["mentions_in_two_clusters"] == len(dataset.notes) == 1


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (lines(("a", "-"), end=""), "begun in line 1, has no '#end document'"),
        (lines(("a", "-"), end="") + ANNA, "has no '#end document'"),
        ("d\t0\t0\ta\t-\n" + ANNA, "line 1 stands before '#begin document'"),
        ("#end document\n", "line 1 ends a document that did not begin"),
        ("", "has no line '#begin document'"),
        (lines(("a", "(1(")), r"line 2: the last column is '\(1\('"),
        (lines(("a", "12")), "line 2: the last column is '12'"),
        (lines(("a", "((1)")), r"line 2: the last column is '\(\(1\)'"),
        (lines(("", "-")), "line 2 has no word"),
        (lines(), "has no words"),
        ("#begin document (d); part 0\nword -\n#end document", "line 2 has 2 columns"),
        ("#begin document\n#end document", "line 1 begins a document without a name"),
        (ANNA + ANNA, "'d_0' comes twice"),
        (ANNA.encode().replace(b"dog", b"d\xf6g"), "byte .* is 0xf6"),
        (ANNA.encode("utf-16"), "UTF-16"),
    ],
)
def test_malformed_columns_are_refused(tmp_path, text, match):
    refused(match, save(tmp_path, "a.conll", text))


# brat.

TEXT = "Marie rit. Elle dit à Paul : « j'ai ri »"
ANNOTATIONS = """T1\tPER 0 6\tMarie 
T2\tPER 11 15\tElle
R1\tCoreference Arg1:T2 Arg2:T1\t
T3\tPER 22 26\tPaul
T4\tPER 31 33\tj'
*\tEquiv T4 T2
E1\tRire:T3
"""


def save_brat(folder, annotations=ANNOTATIONS, text=TEXT):
    save(folder, "a.txt", text)
    return save(folder, "a.ann", annotations)


def test_brat_joins_relations_to_clusters(tmp_path):
    path = save_brat(tmp_path)
    for name in (path, str(tmp_path)):
        dataset = load_coreference_dataset(name, language="fr")
        [document] = dataset.documents
        assert (document.id, document.text) == ("a", TEXT)
        found = [[TEXT[start:end] for start, end in cluster] for cluster in document.character_clusters]
        assert found == [["Marie", "Elle", "j'"], ["Paul"]]
        assert dataset.counts["other_annotations"] == 1
        assert set(dataset.sha256) in ({"a.ann", "a.txt"}, {f"{tmp_path.name} (all files)"})


@pytest.mark.parametrize(
    ("line", "match", "kind"),
    [
        ("T9\tPER 38 49\tx", r"line 8: T9 has the offsets 38 to 49, the text has 40", "offsets_outside_text"),
        ("T9\tPER 4 4\tx", "offsets 4 to 4", "offsets_outside_text"),
        ("T9\tPER 5 6\t ", r"T9 \(characters 5 to 6\) holds no word", "mentions_without_words"),
        ("R9\tCoreference Arg1:T2 Arg2:T77", "line 8 names T77, which is no mention", "relations_left_out"),
        ("T1\tPER 22 26\tPaul", "line 8 has the id 'T1' of line 1 again", "documents_left_out"),
    ],
)
def test_faults_of_brat_are_refused_or_counted(tmp_path, line, match, kind):
    path = save_brat(tmp_path, ANNOTATIONS + line + "\n")
    refused(match, path)
    if kind == "documents_left_out":
        save(tmp_path, "b.ann", ANNOTATIONS)
        save(tmp_path, "b.txt", TEXT)
        path = str(tmp_path)
    dataset = load_coreference_dataset(path, faults="leave_out")
    assert dataset.counts[kind] == 1
    assert len(dataset.notes) == 1
    assert dataset.counts["documents"] == 1


def test_brat_takes_whole_words_and_pieces(tmp_path):
    dataset = load_coreference_dataset(save_brat(tmp_path, "T1\tPER 0 3\tMar\nT2\tPER 11 15;22 26\tElle Paul\n"))
    [document] = dataset.documents
    assert document.clusters == (((0, 1),), ((3, 7),))
    assert dataset.counts["mentions_widened"] == dataset.counts["mentions_in_pieces"] == 1


def test_a_mention_marked_twice_is_one(tmp_path):
    dataset = load_coreference_dataset(save_brat(tmp_path, ANNOTATIONS + "T9\tPER 11 15\tElle\n"))
    assert [len(cluster) for cluster in dataset.documents[0].clusters] == [3, 1]
    assert dataset.counts["repeated_mentions"] == 1


@pytest.mark.parametrize(
    ("annotations", "match"),
    [
        ("T1\tPER a b\tx\n", "line 1 has the offsets 'a b'"),
        ("T1\tPER 9 3\tx\n", "line 1 has the offsets '9 3'"),
        ("T1\n", "line 1 is no annotation of brat"),
        ("R1\tCoreference T1 T2\n", "line 1 has the arguments 'T1 T2'"),
        ("T1\tPER 0 5\tPaul\nT2\tPER 11 15\tMarie\n", "2 of 2 mentions have another text"),
        (b"T1\tPER 0 5\tM\xe8re\n", "0xe8"),
    ],
)
def test_malformed_annotations_are_refused(tmp_path, annotations, match):
    refused(match, save_brat(tmp_path, annotations))


def test_differing_texts_are_counted(tmp_path):
    dataset = load_coreference_dataset(save_brat(tmp_path, ANNOTATIONS + "T9\tPER 6 9\trire\n"))
    assert dataset.counts["differing_texts"] == 1


def test_a_text_without_annotations_is_refused(tmp_path):
    save_brat(tmp_path)
    save(tmp_path, "b.txt", TEXT)
    refused(r"has no b\.ann", str(tmp_path))


# GAP and PreCo.

HEADER = ["ID", "Text", "Pronoun", "Pronoun-offset", "A", "A-offset", "A-coref", "B", "B-offset", "B-coref", "URL"]
PASSAGE = ["t-1", "Bob saw Al; he left.", "he", "12", "Bob", "0", "TRUE", "Al", "8", "FALSE", "u"]


def gap(**changes):
    row = dict(zip(HEADER, PASSAGE, strict=True)) | changes
    return "\n".join(["\t".join(HEADER), "\t".join(row.values()), ""])


def test_gap_puts_the_pronoun_with_its_name(tmp_path):
    dataset = load_coreference_dataset(save(tmp_path, "gap-test.tsv", gap()))
    [document] = dataset.documents
    assert document.clusters == (((0, 1), (4, 5)), ((2, 3),))
    assert dataset.is_partial
    neither = load_coreference_dataset(save(tmp_path, "b.tsv", gap(**{"A-coref": "FALSE"})))
    assert len(neither.documents[0].clusters) == 3


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"A-offset": "1"}, r"row 1 \(t-1\): A is 'Bob', which does not stand at character 1"),
        ({"B-offset": "900"}, "B is 'Al', which does not stand at character 900"),
        ({"B-coref": "TRUE"}, "the pronoun means both names"),
        ({"B-coref": "maybe"}, "B-coref is 'maybe'"),
        ({"URL": "u\tv"}, "row 1 has not as many cells as the header"),
    ],
)
def test_malformed_rows_of_gap_are_refused(tmp_path, changes, match):
    refused(match, save(tmp_path, "a.tsv", gap(**changes)))


def test_a_table_that_is_not_gap_is_refused(tmp_path):
    refused("lacks the columns ID, Text", save(tmp_path, "a.tsv", "text\tlabel\na\tb\n"))


RECORD = {
    "id": "p1",
    "sentences": [["Al", "left", "."], [" "], ["He", "ran"]],
    "mention_clusters": [[[0, 0, 1], [2, 0, 1]]],
}


def test_preco_keeps_sentences_and_blank_words(tmp_path):
    dataset = load_coreference_dataset(save(tmp_path, "a.jsonl", json.dumps(RECORD) + "\n\n"))
    [document] = dataset.documents
    assert document.text == "Al left. He ran"
    assert document.sentences == ((0, 3), (3, 4), (4, 6))
    assert document.clusters == (((0, 1), (4, 5)),)


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("{", "line 2 is not JSON"),
        ("[1]", "line 2 is not a JSON object but list"),
        (json.dumps({"id": "a"}), "must have id, sentences and mention_clusters"),
        (json.dumps(RECORD | {"id": "p2", "sentences": [["a", ""]]}), "sentence 0 holds ''"),
        (json.dumps(RECORD | {"id": "p2", "sentences": [["a", "\ud83d"]]}), "U.D83D"),
        (json.dumps(RECORD | {"id": "p2", "sentences": []}), "has no words"),
        (json.dumps(RECORD | {"id": "p2", "mention_clusters": [[[0, 2, 4]]]}), r"the mention \[0, 2, 4\] is not"),
        (json.dumps(RECORD | {"id": "p2", "mention_clusters": [[[9, 0, 1]]]}), r"the mention \[9, 0, 1\] is not"),
        (json.dumps(RECORD | {"id": "p2", "mention_clusters": [[3]]}), "the mention 3 is not"),
    ],
)
def test_malformed_lines_of_preco_are_refused(tmp_path, line, match):
    refused(match, save(tmp_path, "a.jsonl", json.dumps(RECORD) + "\n" + line))


# Files, folders, tars and names.


@pytest.mark.parametrize(("name", "pack"), [("a.conll.gz", gzip.compress), ("a.conll.xz", lzma.compress)])
def test_compressed_files_give_the_same(tmp_path, name, pack):
    packed = load_coreference_dataset(save(tmp_path, name, pack(ANNA.encode())))
    assert packed.documents == load_coreference_dataset(save(tmp_path, "b.conll", ANNA)).documents


@pytest.mark.parametrize(("ending", "mode"), [(".tar", "w"), (".tar.xz", "w:xz"), (".tgz", "w:gz")])
def test_tars_give_the_same_as_folders(tmp_path, ending, mode):
    files = {"c/b.conll": ANNA, "c/a.conll": lines(("x", "(1)"), name="e"), "c/README.md": "no data", "._c.conll": "x"}
    tar = load_coreference_dataset(save_tar(tmp_path, "t" + ending, files, mode))
    for name, text in files.items():
        save(tmp_path / "folder", name, text)
    folder = load_coreference_dataset(str(tmp_path / "folder"))
    assert [one.id for one in folder.documents] == ["e_0", "d_0"]
    assert tar.documents == folder.documents
    assert list(tar.sha256) == ["t" + ending]


def test_a_cut_tar_is_refused(tmp_path):
    path = save_tar(tmp_path, "t.tar", {"a.conll": ANNA * 9, "b.conll": ANNA}, "w")
    (tmp_path / "t.tar").write_bytes((tmp_path / "t.tar").read_bytes()[:700])
    refused("t.tar cannot be read as a tar", path)
    refused("cannot be read as a tar", save(tmp_path, "u.tar", "x" * 2000))


def test_folders_of_several_formats_are_refused(tmp_path):
    save(tmp_path, "a.conll", ANNA)
    save_brat(tmp_path)
    refused(r"of several formats \(conll, brat\)", str(tmp_path))
    refused("of no known format", save(tmp_path, "a.doc", "x"))


def test_a_named_set_takes_its_own_split(tmp_path):
    ids = ["730_oliver_twist_brat", "158_emma_brat", "105_persuasion_brat"]
    for name in ids:
        save(tmp_path, f"litbank/coref/conll/{name}.conll", lines(("a", "(1)"), name=name, part="; part 0"))
        save(tmp_path, f"litbank/entities/{name}.conll", "another layer")
    for split, name in zip(("test", "dev", "train"), ids, strict=True):
        dataset = load_coreference_dataset(f"litbank.{split}@{tmp_path}")
        assert [one.id for one in dataset.documents] == [f"{name}_0"]
        assert dataset.counts["documents_in_other_splits"] == 2
        assert (dataset.language, dataset.has_singletons) == ("en", True)
    refused("litbank has no split 'test2'", f"litbank.test2@{tmp_path}")
    refused("say which split: litbank.train@", f"litbank@{tmp_path}")
    save(tmp_path, "litbank/coref/conll/x.conll", lines(("a", "-"), name="x"))
    refused("litbank has no document 'x_0'", f"litbank.test@{tmp_path}/litbank")


def test_a_name_finds_the_folder_of_the_same_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(r"openboek: say where its files are: openboek@PATH", "openboek")
    save(tmp_path, "data/openboek/coref/a.conll", ANNA)
    assert load_coreference_dataset("openboek").language == "nl"
    assert load_coreference_dataset("openboek.test").name == "openboek.test"
    require_coreference_data("openboek")
    save(tmp_path, "litbank/coref/conll/a.conll", ANNA)
    refused("say which split: litbank.train", "litbank")
    assert load_coreference_dataset("./litbank").counts["documents"] == 1


def test_splits_of_litbank_and_gum_have_their_sizes():
    from longspan.data.coreference.catalogue import _documents_by_split

    sizes = {name: {one: len(ids) for one, ids in parts.items()} for name, parts in _documents_by_split().items()}
    assert sizes == {
        "litbank": {"train": 80, "validation": 10, "test": 10},
        "gum": {"validation": 32, "test": 32, "test2": 26},
    }
    assert len(frozenset().union(*_documents_by_split()["litbank"].values())) == 100
    assert is_in_split("gum", "GUM_academic_art", "train")
    assert is_in_split("gum", "GENTLE_poetry_raven", "test2")


def test_splits_in_files_are_told_by_their_paths(tmp_path):
    for folder in ("train", "development", "test"):
        save(tmp_path, f"{folder}/a.v4_gold_conll", lines(("a", "(1)"), name=folder))
        save(tmp_path, f"{folder}/a.v4_auto_conll", "not the gold file")
    dataset = load_coreference_dataset(f"ontonotes.validation@{tmp_path}")
    assert [one.id for one in dataset.documents] == ["development_0"]
    assert dataset.counts["files_of_other_splits"] == 2
    assert not dataset.has_singletons
    save(tmp_path, "b.gold_conll", ANNA)
    refused("its path does not tell its split", f"ontonotes.train@{tmp_path}")


def test_known_faults_of_a_named_set_are_left_out(tmp_path):
    save(tmp_path, "a.conll", lines(("a", "(1"), ("b", "(2)")))
    assert load_coreference_dataset(f"gerdracor@{tmp_path}").counts["unbalanced_brackets"] == 1
    refused("is never closed", f"gerdracor@{tmp_path}", faults="refuse")


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("litbnk.test", "did you mean litbank"),
        ("litbank.test@/no/where", "/no/where: no such file or folder; litbank needs"),
        ("litbank.test@", "no such file or folder"),
        (" ", "the name of the data set is empty"),
    ],
)
def test_names_are_checked_before_anything_is_read(name, match):
    refused(match, name)
    with pytest.raises(InputError, match=match):
        require_coreference_data(name)


def test_options_that_do_not_fit_are_refused(tmp_path):
    path = save(tmp_path, "a.conll", ANNA)
    refused("must be 'refuse' or 'leave_out'", path, faults="ignore")
    refused("has no splits", path, split="test")
    refused("is in 'nl', not 'de'", f"openboek@{path}", language="de")
    assert load_coreference_dataset(f"openboek@{path}", split="test").documents


def test_every_entry_is_described():
    for entry in COREFERENCE_CATALOGUE.values():
        assert entry.description
        assert entry.licence
        assert entry.path
        assert entry.faults in {"refuse", "leave_out"}


# Words.


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("He said , `` I do n't know . ''", "He said, ``I don't know.''"),
        ("( yes ) « oui » 3 %", "(yes) «oui» 3%"),
        ('" Yes " - no -- ok ... they \'ll', '" Yes " - no -- ok... they\'ll'),
        ("我们 去 。 你 and me", "我们去。你 and me"),
        ("Wer ? ! “ Ich ”", "Wer?! “Ich”"),
    ],
)
def test_words_are_joined_as_writers_write_them(words, text):
    joined, spans = join_words(words.split())
    assert joined == text
    assert [joined[start:end] for start, end in spans] == words.split()


def test_texts_are_split_at_punctuation():
    text = "Aujourd'hui, j’ai 3_4 nœuds…"
    assert [text[start:end] for start, end in split_words(text)] == [
        "Aujourd", "'", "hui", ",", "j", "’", "ai", "3_4", "nœuds", "…"
    ]  # fmt: skip


def test_characters_are_the_tokens_they_touch():
    tokens = ((0, 4), (5, 8), (8, 9))
    assert tokens_of_characters((3, 6), tokens) == (0, 2)
    assert tokens_of_characters((5, 9), tokens) == (1, 3)
    assert tokens_of_characters((4, 5), tokens) is None
