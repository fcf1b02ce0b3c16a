import gzip
import json
import logging

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longspan.data.multihop import (
    MULTIHOP_CATALOGUE,
    Evidence,
    Fact,
    Hop,
    fact_distance,
    load_multihop_dataset,
    load_wikihop_dataset,
    read_aliases,
)
from longspan.errors import InputError

# Made-up records in each layout.
HOTPOTQA = {
    "_id": "h1",
    "question": "In which town was the author of The Pale Lamp born?",
    "answer": "Norby",
    "type": "bridge",
    "level": "hard",
    "supporting_facts": [["Ada Holm", 1], ["The Pale Lamp", 0]],
    "context": [
        ["The Pale Lamp", ["The Pale Lamp is a novel by Ada Holm.", " It is set in Norbyville."]],
        ["Norby (film)", ["Norby is a film."]],
        ["Ada Holm", ["Ada Holm is a writer.", " She was born in Norby.", " "]],
    ],
}
HUB = {
    **{key: HOTPOTQA[key] for key in ("question", "answer", "type", "level")},
    "id": "h1",
    "supporting_facts": {"title": ["Ada Holm", "The Pale Lamp"], "sent_id": [1, 0]},
    "context": {
        "title": [title for title, _ in HOTPOTQA["context"]],
        "sentences": [sentences for _, sentences in HOTPOTQA["context"]],
    },
}
SITE = {
    "_id": "h1",
    "question": HOTPOTQA["question"],
    "answer": "Norby",
    "title_a": "The Pale Lamp",
    "para_a": HOTPOTQA["context"][0][1],
    "title_b": "Ada Holm",
    "para_b": HOTPOTQA["context"][2][1],
    "supporting_facts": [[0], [1]],
    "distractors": [[*HOTPOTQA["context"][1], 17.5]],
}
TWO_WIKI = {
    "_id": "w1",
    "question": "Were Ada Holm and Bo Ek born in the same country?",
    "answer": "yes",
    "answer_id": None,
    "type": "comparison",
    "supporting_facts": [["Ada Holm", 0], ["Bo Ek", 1]],
    "context": [["Ada Holm", ["Ada Holm is from Sweden."]], ["Bo Ek", ["Bo Ek is a poet.", "He is from Sweden."]]],
    "evidences": [["Ada Holm", "country", "Sweden"], ["Bo Ek", "country", "Sweden"]],
    "evidences_id": [["Q1", "country", "Q34"], ["Q2", "country", "Q34"]],
}
MUSIQUE = {
    "id": "2hop__1_2",
    "question": "Who leads the town of Ada Holm?",
    "answer": "Eva Dahl",
    "answer_aliases": ["E. Dahl"],
    "answerable": True,
    "paragraphs": [
        {"idx": 0, "title": "Norby", "paragraph_text": "Norby is led by Eva Dahl. It is old.", "is_supporting": True},
        {"idx": 1, "title": "Norby", "paragraph_text": "Norby is a film.", "is_supporting": False},
        {"idx": 2, "title": "Ada Holm", "paragraph_text": "She is of Norby.", "is_supporting": True},
    ],
    "question_decomposition": [
        {"id": 1, "question": "town of Ada Holm", "answer": "Norby", "paragraph_support_idx": 2},
        {"id": 2, "question": "Who leads #1?", "answer": "Eva Dahl", "paragraph_support_idx": 0},
    ],
}
WIKIHOP = {
    "id": "WH_1",
    "query": "place_of_birth ada holm",
    "answer": "norby",
    "candidates": ["sweden", "norby", "uppsala"],
    "supports": ["Ada Holm grew up near Uppsala .", "Norby is a town in Sweden ."],
    "annotations": [["follows", "multiple"], ["likely", "single"], ["follows", "single"]],
}


def save(folder, rows, name="a.json"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = name.removesuffix(".gz").endswith(".jsonl")
    data = "".join(json.dumps(row) + "\n" for row in rows) if lines else json.dumps(rows)
    path.write_bytes(gzip.compress(data.encode()) if name.endswith(".gz") else data.encode())
    return str(path)


def only(folder, record, **options):
    return load_multihop_dataset(save(folder, [record]), **options).examples[0]


def texts(example, spans):
    return [example.document[start:end] for start, end in spans]


# What a record becomes.


def test_hotpotqa_has_offsets_in_one_document(tmp_path):
    example = only(tmp_path, HOTPOTQA)
    assert example.document == (
        "The Pale Lamp\nThe Pale Lamp is a novel by Ada Holm. It is set in Norbyville.\n\n"
        "Norby (film)\nNorby is a film.\n\nAda Holm\nAda Holm is a writer. She was born in Norby. "
    )
    assert [example.document[slice(*one.title_span)] for one in example.paragraphs] == [
        "The Pale Lamp",
        "Norby (film)",
        "Ada Holm",
    ]
    assert texts(example, example.paragraphs[2].sentences) == ["Ada Holm is a writer.", "She was born in Norby.", ""]
    assert example.document[slice(*example.paragraphs[1].span)] == "Norby (film)\nNorby is a film."
    assert example.supporting_facts == (Fact(0, 0), Fact(2, 1))
    assert example.supporting_paragraphs == (0, 2)
    assert texts(example, map(example.sentence_span, example.supporting_facts))[1] == "She was born in Norby."
    assert [example.named(fact) for fact in example.supporting_facts] == [("The Pale Lamp", 0), ("Ada Holm", 1)]
    assert set(example.gold_facts) == {("Ada Holm", 1), ("The Pale Lamp", 0)}
    assert (example.id, example.type, example.level, example.answer_kind) == ("h1", "bridge", "hard", "span")
    # "Norbyville" is another word.
    assert texts(example, example.answer_spans) == ["Norby"] * 3


def test_the_hubs_columns_give_the_same_question(tmp_path):
    assert only(tmp_path, HUB) == only(tmp_path, HOTPOTQA)
    assert only(
        tmp_path, {**HUB, "context": {"title": HUB["context"]["title"], "content": HUB["context"]["sentences"]}}
    )


def test_the_sites_sample_is_put_in_another_order(tmp_path):
    dataset = load_multihop_dataset(save(tmp_path, [{**SITE, "_id": f"h{i}"} for i in range(40)]))
    assert dataset.counts["questions_in_hashed_order"] == 40
    orders = [[paragraph.title for paragraph in example.paragraphs] for example in dataset.examples]
    assert len(set(map(tuple, orders))) == 6  # every order of three paragraphs comes
    for example in dataset.examples:
        found = texts(example, map(example.sentence_span, example.supporting_facts))
        assert sorted(found) == ["She was born in Norby.", "The Pale Lamp is a novel by Ada Holm."]
    again = load_multihop_dataset(save(tmp_path, [{**SITE, "_id": f"h{i}"} for i in range(40)]))
    assert again == dataset


def test_2wikis_sentences_are_joined_with_blanks(tmp_path):
    example = only(tmp_path, TWO_WIKI)
    assert example.document.endswith("Bo Ek\nBo Ek is a poet. He is from Sweden.")
    assert (example.answer_kind, example.answer_spans) == ("yes", ())
    assert example.evidences[0] == Evidence(("Ada Holm",), "country", ("Sweden",))


def test_aliases_name_answers_and_evidences(tmp_path):
    path = tmp_path / "2wikimultihopqa" / "id_aliases.json"
    record = {**TWO_WIKI, "question": "Where is Bo Ek from?", "answer": "Sweden", "answer_id": "Q34"}
    save(path.parent, [record], "dev.json")
    path.write_text('{"Q_id": "Q34", "aliases": ["SE", "Sweden"], "demonyms": ["Swedish"]}\n')
    assert read_aliases(path) == {"Q34": ("SE", "Sweden", "Swedish")}
    dataset = load_multihop_dataset(path.parent)
    assert dataset.examples[0].answers == ("Sweden", "SE", "Swedish")
    assert dataset.examples[0].evidences[1] == Evidence(("Bo Ek",), "country", ("Sweden", "SE", "Swedish"))
    assert set(dataset.sha256) == {"dev.json", "id_aliases.json"}
    assert only(tmp_path, record).answers == ("Sweden",)
    assert only(tmp_path, record, aliases=path).answers == ("Sweden", "SE", "Swedish")


def test_a_paragraph_of_musique_is_one_sentence(tmp_path):
    example = only(tmp_path, MUSIQUE)
    assert example.answers == ("Eva Dahl", "E. Dahl")
    assert example.supporting_facts == (Fact(0, 0), Fact(2, 0))
    assert example.document[slice(*example.sentence_span(Fact(0, 0)))] == "Norby is led by Eva Dahl. It is old."
    assert example.hops == (Hop("town of Ada Holm", "Norby", 2), Hop("Who leads #1?", "Eva Dahl", 0))
    assert (example.type, texts(example, example.answer_spans)) == ("2hop", ["Eva Dahl"])


def test_both_versions_of_a_question_are_kept(tmp_path):
    without = {**MUSIQUE, "answerable": False, "paragraphs": MUSIQUE["paragraphs"][1:]}
    dataset = load_multihop_dataset(save(tmp_path, [MUSIQUE, without], "a.jsonl"))
    first, second = dataset.examples
    assert (first.id, second.id, second.given_id) == ("2hop__1_2", "2hop__1_2#2", "2hop__1_2")
    assert (second.is_answerable, second.answer_spans, second.hops[1].paragraph) == (False, (), None)
    assert dataset.counts["unanswerable_questions"] == dataset.counts["repeated_ids"] == 1
    assert dataset.counts["hops_without_paragraph"] == 1


def test_wikihops_answer_is_one_of_its_candidates(tmp_path):
    dataset = load_wikihop_dataset(save(tmp_path, [WIKIHOP]))
    example = dataset.examples[0]
    assert (example.relation, example.subject, example.answer_index) == ("place of birth", "ada holm", 1)
    assert example.annotations[1] == ("likely", "single")
    assert dataset.counts == {"questions": 1, "candidates": 3, "documents": 2}


# What is odd and counted.


def changed(record, **fields):
    return {**record, **fields}


@pytest.mark.parametrize(
    ("record", "counts"),
    [
        (changed(HOTPOTQA, supporting_facts=[["Ada Holm", 7]]), {"facts_without_sentence": 1, "supporting_facts": 1}),
        (changed(HOTPOTQA, supporting_facts=[["Nobody", 0]]), {"facts_without_paragraph": 1, "supporting_facts": 1}),
        (changed(HOTPOTQA, supporting_facts=[["Ada Holm", 0]] * 2), {"repeated_facts": 1, "supporting_facts": 1}),
        (changed(HOTPOTQA, supporting_facts=[]), {"questions_without_facts": 1}),
        (changed(HOTPOTQA, answer="Norbyvillle"), {"unlocatable_answers": 1}),
        (changed(HOTPOTQA, answer="norby"), {"respelled_answers": 1}),
        (changed(HOTPOTQA, answer="no"), {"yes_no_answers": 1}),
        (
            changed(TWO_WIKI, context=[*TWO_WIKI["context"], ["Bo Ek", ["Another.", "One."]]]),
            {"facts_of_repeated_titles": 1, "questions_with_repeated_titles": 1},
        ),
        (
            changed(MUSIQUE, question_decomposition=MUSIQUE["question_decomposition"][:1]),
            {"decompositions_of_other_paragraphs": 1, "questions_with_repeated_titles": 1},
        ),
        ({key: value for key, value in HOTPOTQA.items() if key != "_id"}, {"questions_without_id": 1}),
    ],
    ids=lambda one: "-".join(one)[:30],
)
def test_odd_records_are_kept_and_counted(tmp_path, record, counts):
    dataset = load_multihop_dataset(save(tmp_path, [record]))
    assert len(dataset.examples) == 1
    assert dataset.counts == {**dataset.counts, **counts}
    assert bool(dataset.unlocatable_ids) == ("unlocatable_answers" in counts)


def test_missing_facts_are_still_scored_against(tmp_path):
    facts = [["Ada Holm", 0], ["Ada Holm", 7], ["Nobody", 0]]
    example = only(tmp_path, changed(HOTPOTQA, supporting_facts=facts))
    assert example.supporting_facts == (Fact(2, 0),)
    assert example.gold_facts == (("Ada Holm", 0), ("Ada Holm", 7), ("Nobody", 0))


def test_candidates_without_a_document_are_kept_and_counted(tmp_path):
    record = changed(
        WIKIHOP, candidates=["sweden", "oslo", "sweden", "nor", "norby"], supports=["Sweden", "", "Norby!"]
    )
    other = changed(WIKIHOP, candidates=["norby", "$", "+"], supports=["It costs $ 5 ."])
    dataset = load_wikihop_dataset(save(tmp_path, [record, other]))
    assert dataset.examples[0].candidates == ("sweden", "oslo", "nor", "norby")
    assert dataset.examples[1].id == "WH_1#2"
    assert dataset.unlocatable_ids == ["WH_1#2"]
    assert dataset.counts == {
        "questions": 2,
        "candidates": 7,
        "repeated_candidates": 1,
        "candidates_in_no_document": 4,  # oslo, nor; norby, +
        "answers_in_no_document": 1,
        "documents": 4,
        "empty_documents": 1,
        "repeated_ids": 1,
    }


# What is refused.

NO_ANSWER = "has no `answer`; a test set without answers"


@pytest.mark.parametrize(
    ("record", "match"),
    [
        ({"text": "a"}, "record 1 has no `context`; it has text"),
        (changed(HOTPOTQA, answer=None), NO_ANSWER),
        (changed(MUSIQUE, answer=None), NO_ANSWER),
        (changed(HOTPOTQA, answer=" "), "record 1.answer is empty"),
        (changed(HOTPOTQA, question=""), "record 1.question is empty"),
        (changed(HOTPOTQA, question=3), "record 1.question should be text, and is a number"),
        (changed(HOTPOTQA, _id=[1]), "record 1._id should be text or a whole number"),
        (changed(HOTPOTQA, context=[]), "record 1 has no paragraphs"),
        (changed(HOTPOTQA, context=[["A", [" "]]]), None),
        (changed(HOTPOTQA, context=[["", [" "]]]), "paragraphs without any text"),
        (changed(HOTPOTQA, context=[["A", []]]), r"record 1.context\[0\] has no sentences"),
        (changed(HOTPOTQA, context=[["A"]]), r"record 1.context\[0\] should be a list of 2, and is a list of 1"),
        (changed(HOTPOTQA, context=["A"]), r"record 1.context\[0\] should be a list of 2, and is text"),
        (changed(HOTPOTQA, context=[["A", "B"]]), r"context\[0\] should have a list of sentences, and has text"),
        (changed(HOTPOTQA, context="A"), "context should be a list or an object of lists, and is text"),
        (changed(HOTPOTQA, context=[["A", ["\ud83d"]]]), r"context\[0\]: sentence 0 is not valid text"),
        (
            changed(HOTPOTQA, supporting_facts=[["Ada Holm", -1]]),
            r"supporting_facts\[0\] should have a sentence number",
        ),
        (changed(HOTPOTQA, supporting_facts=[["Ada Holm", "1"]]), "sentence number, from 0, and has text"),
        (changed(HUB, supporting_facts={"title": ["A"], "sent_id": []}), "different lengths: 1 title and 0 sent_id"),
        (changed(HUB, context={"title": ["A"]}), "record 1.context has no `sentences`; it has title"),
        (changed(SITE, supporting_facts=[[0]]), "should be two lists of sentence numbers"),
        (changed(SITE, distractors=[["A"]]), r"distractors\[0\] should be a title, a list of sentences"),
        (changed(TWO_WIKI, evidences=[["A", "b"]]), r"evidences\[0\] should be a list of 3, and is a list of 2"),
        (changed(TWO_WIKI, evidences_id=[["Q1", "country", "Q2"]]), "2 `evidences` and 1 `evidences_id`"),
        (changed(TWO_WIKI, evidences_id=[["Q1", "born", "Q2"]] * 2), "relation 'born', not 'country'"),
        (changed(MUSIQUE, answerable="yes"), "record 1.answerable should be true or false, and is text"),
        (
            changed(MUSIQUE, paragraphs=MUSIQUE["paragraphs"][:1] * 2),
            r"paragraphs\[1\].idx is 0, as of paragraphs\[0\]",
        ),
        (changed(MUSIQUE, paragraphs=[{"paragraph_text": "A"}]), r"paragraphs\[0\] has no `is_supporting`"),
        (changed(MUSIQUE, answer_aliases="A"), "answer_aliases should be a list, and is text"),
        (changed(MUSIQUE, question_decomposition=[{"question": "A"}]), r"question_decomposition\[0\] has no `answer`"),
        (WIKIHOP, "is a question of WikiHop, with candidates; read it with load_wikihop_dataset"),
    ],
)
def test_a_bad_record_is_refused_with_its_place(tmp_path, record, match):
    path = save(tmp_path, [record])
    if match is None:
        assert len(load_multihop_dataset(path).examples) == 1
        return
    with pytest.raises(InputError, match=match) as error:
        load_multihop_dataset(path)
    assert str(error.value).startswith(path)


@pytest.mark.parametrize(
    ("record", "match"),
    [
        (
            changed(WIKIHOP, answer="oslo"),
            r"record 1.answer is 'oslo', which is not among its 3 candidates \('sweden', 'norby', 'uppsala'\)",
        ),
        (changed(WIKIHOP, answer=None), NO_ANSWER),
        (changed(WIKIHOP, query=" "), "record 1.query is empty"),
        (changed(WIKIHOP, candidates=[]), "record 1.candidates is empty"),
        (changed(WIKIHOP, candidates=["norby", ""]), r"record 1.candidates\[1\] is empty"),
        (changed(WIKIHOP, candidates="norby"), "record 1.candidates should be a list, and is text"),
        (changed(WIKIHOP, supports=[""]), "record 1.supports holds no text"),
        (changed(WIKIHOP, supports=[1]), r"record 1.supports\[0\] should be text, and is a number"),
        (changed(WIKIHOP, annotations=["follows"]), r"record 1.annotations\[0\] should be a list, and is text"),
        (HOTPOTQA, "record 1 has no `query`"),
    ],
)
def test_a_bad_record_of_wikihop_is_refused(tmp_path, record, match):
    path = save(tmp_path, [record])
    with pytest.raises(InputError, match=match) as error:
        load_wikihop_dataset(path)
    assert str(error.value).startswith(path)


def test_wikihop_is_read_up_to_a_cut(tmp_path, caplog):
    content = json.dumps([WIKIHOP, WIKIHOP, WIKIHOP], indent=1)
    path = tmp_path / "dev.prefix.json.txt"
    path.write_text(content[:-100])
    with caplog.at_level(logging.WARNING):
        dataset = load_wikihop_dataset(path)
    assert (dataset.name, len(dataset.examples), dataset.counts["cut_files"]) == ("dev.prefix", 2, 1)
    assert "is cut: its 2 whole records are read" in caplog.text
    path.write_text(content[:100])
    with pytest.raises(InputError, match="is cut within its first record"):
        load_wikihop_dataset(path)


def test_a_cut_file_of_hotpotqa_is_refused(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps([HOTPOTQA, HOTPOTQA])[:-10])
    with pytest.raises(InputError, match="is cut: it ends after byte"):
        load_multihop_dataset(path)


# Names.


def test_a_folder_gives_the_file_of_the_split(tmp_path, monkeypatch):
    folder = tmp_path / "hotpotqa"
    save(folder, [HOTPOTQA], "hotpot_dev_distractor_v1.json")
    save(folder, [changed(HOTPOTQA, _id="f")], "hotpot_dev_fullwiki_v1.json.gz")
    save(folder, [changed(HOTPOTQA, _id="t")] * 2, "hotpot_train_v1.1.json.gz")
    monkeypatch.chdir(tmp_path)
    for name, options, ids, told in [
        (folder, {}, ["h1"], "hotpotqa.validation"),
        ("hotpotqa", {}, ["h1"], "hotpotqa.validation"),
        ("hotpotqa.train", {}, ["t", "t#2"], "hotpotqa.train"),
        ("hotpotqa", {"split": "train"}, ["t", "t#2"], "hotpotqa.train"),
        (f"hotpotqa.dev@{folder}", {"split": "train"}, ["h1"], "hotpotqa.validation"),
        (f"hotpotqa_fullwiki@{folder}", {}, ["f"], "hotpotqa_fullwiki.validation"),
        (f"hotpotqa.train@{folder}/hotpot_train_v1.1.json.gz", {}, ["t", "t#2"], "hotpotqa.train"),
        ("hotpotqa/hotpot_train_v1.1.json.gz", {}, ["t", "t#2"], "hotpot_train_v1.1"),
        ("hotpotqa", {"name_in_tables": "mine"}, ["h1"], "mine"),
    ]:
        dataset = load_multihop_dataset(name, **options)
        assert ([example.id for example in dataset.examples], dataset.name) == (ids, told), (name, options)
        assert len(dataset.sha256) == 1


def test_a_mixed_file_gives_one_splits_records(tmp_path):
    path = save(
        tmp_path, [changed(HOTPOTQA, _id=split, split=split) for split in ("train", "dev", "train")], "mixed.json"
    )
    assert len(load_multihop_dataset(path).examples) == 3
    dataset = load_multihop_dataset(f"hotpotqa@{path}")
    assert [example.id for example in dataset.examples] == ["dev"]
    assert dataset.counts["questions_of_other_splits"] == 2
    save(tmp_path, [changed(HOTPOTQA, split="train")], "mixed.json")
    with pytest.raises(InputError, match="holds no questions of the split validation; 1 are of others"):
        load_multihop_dataset(f"hotpotqa@{path}")
    save(tmp_path, [changed(HOTPOTQA, split="other")], "mixed.json")
    with pytest.raises(InputError, match=r"record 1.split is 'other'; it should be one of"):
        load_multihop_dataset(f"hotpotqa@{path}")


def test_parquet_and_saved_folders_are_read(tmp_path):
    pq.write_table(pa.Table.from_pylist([HUB]), tmp_path / "a.parquet")
    expected = only(tmp_path, HOTPOTQA)
    assert load_multihop_dataset(tmp_path / "a.parquet").examples == [expected]
    datasets.DatasetDict({"validation": datasets.Dataset.from_list([HUB])}).save_to_disk(tmp_path / "saved")
    assert load_multihop_dataset(tmp_path / "saved").examples == [expected]


@pytest.mark.parametrize("name", [name for name, entry in MULTIHOP_CATALOGUE.items() if entry.repository])
def test_a_name_of_the_catalogue_asks_the_hub(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    entry = MULTIHOP_CATALOGUE[name]
    record = {"2wikimultihopqa": TWO_WIKI, "musique": MUSIQUE}.get(name, HUB if entry.kind == "paragraphs" else WIKIHOP)
    asked = []

    def load_dataset(repository, config, *, split, revision):
        asked.append((repository, config, split))
        if name == "2wikimultihopqa":  # its copy on the hub has objects of lists
            return datasets.Dataset.from_list(
                [
                    {
                        **{key: record[key] for key in ("_id", "question", "answer", "type")},
                        "context": dict(zip(("title", "content"), zip(*record["context"], strict=True), strict=True)),
                        "supporting_facts": {"title": ["Ada Holm", "Bo Ek"], "sent_id": [0, 1]},
                        "evidences": {"fact": ["Ada Holm"], "relation": ["country"], "entity": ["Sweden"]},
                    }
                ]
            )
        return datasets.Dataset.from_list([record])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    read = load_multihop_dataset if entry.kind == "paragraphs" else load_wikihop_dataset
    dataset = read(f"{name}.train")
    assert asked == [(entry.repository, entry.config, "train")]
    assert (dataset.name, len(dataset.examples), len(dataset.sha256)) == (f"{name}.train", 1, 1)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        (" ", "the name of the data is empty"),
        ("hotpotqq", r"no such file or folder \(did you mean hotpotqa"),
        ("gone.json", "no such file or folder"),
        ("hotpotqa.test", "hotpotqa has no split 'test'; it has validation, train"),
        ("hotpotqa@gone", "gone: no such file or folder; hotpotqa needs its files, from hotpotqa.github.io"),
        ("musique_full", "say where its files are: musique_full.validation@PATH"),
        ("wikihop", "wikihop is read with load_wikihop_dataset"),
        ("hotpotqa.train@hotpot_dev_distractor_v1.json", "is a file of the split validation by its name, not of train"),
        ("musique@empty", r"empty: validation needs a file musique_ans_v1.0_dev\*, and it holds none"),
        ("two", r"two: validation needs a file whose name has the word validation, and it holds 2 such files \(a.dev"),
    ],
)
def test_a_name_that_leads_nowhere_is_explained(tmp_path, monkeypatch, name, match):
    monkeypatch.chdir(tmp_path)
    save(tmp_path, [HOTPOTQA], "hotpot_dev_distractor_v1.json")
    (tmp_path / "empty").mkdir()
    save(tmp_path, [HOTPOTQA], "two/a.dev.json")
    save(tmp_path, [HOTPOTQA], "two/b.dev.json")
    with pytest.raises(InputError, match=match):
        load_multihop_dataset(name)


def test_every_entry_says_what_it_is():
    for name, entry in MULTIHOP_CATALOGUE.items():
        assert entry.licence and entry.source and entry.description and "questions" in entry.size, name
        assert entry.splits == ("validation", "train")


# Distances.


def test_distances_are_counted_in_characters_and_tokens(tmp_path):
    example = only(tmp_path, HOTPOTQA)
    document = example.document
    first = "The Pale Lamp is a novel by Ada Holm."
    begin, end = document.index(first), document.index("She was born in Norby.")
    distance = fact_distance(example)
    assert (distance.n_characters, distance.n_tokens) == (end - begin - len(first), None)
    assert distance.n_characters_needed == len(document) - 1 - begin
    # Tokens of four characters, with a special token on both sides, which has none.
    offsets = [(0, 0), *((i, min(i + 4, len(document))) for i in range(0, len(document), 4)), (0, 0)]
    counted = fact_distance(example, offsets)
    assert counted[:2] == distance[:2]
    assert counted.n_tokens == end // 4 - -(-(begin + len(first)) // 4)
    assert counted.n_tokens_needed == -(-(len(document) - 1) // 4) - begin // 4


@pytest.mark.parametrize(
    ("facts", "expected"), [([["Ada Holm", 0]], (0, 21, 0, 21)), ([["Ada Holm", 2]], None), ([["Nobody", 1]], None)]
)
def test_one_fact_has_no_distance(tmp_path, facts, expected):
    example = only(tmp_path, changed(HOTPOTQA, supporting_facts=facts))
    assert fact_distance(example, [(i, i + 1) for i in range(len(example.document))]) == expected
