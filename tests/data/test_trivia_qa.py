import json
import subprocess
import sys
from dataclasses import replace

import datasets
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longspan.data.qa import load_qa_dataset, make_qa_features
from longspan.data.qa.trivia_qa import find_aliases, read_trivia_qa, trivia_qa_from_rows
from longspan.errors import InputError
from longspan.metrics import normalize_answer

PAGES = {
    "York.txt": "York is old. The Kings of York!\nA york-ham is not the City_of  YORK, is it?",
    "Ham.txt": "Nothing here; New. York's walls are Roman.",
    "Empty.txt": " \n",
}
ANSWER = {
    "NormalizedAliases": ["city of york", "york", "yorkish"],
    "NormalizedValue": "york",
    "Aliases": ["City of York", "York", "Yorkish"],
}


def question(identifier, *files, **further):
    pages = [{"Filename": file, "Title": file[:-4]} for file in files]
    return {"QuestionId": identifier, "Question": "Where?", "Answer": ANSWER, "EntityPages": pages, **further}


def write(folder, rows, *, split="dev", file="wikipedia-dev.json", **further):
    evidence = folder / "evidence" / "wikipedia"
    evidence.mkdir(parents=True, exist_ok=True)
    for name, text in PAGES.items():
        (evidence / name).write_text(text)
    path = folder / "qa" / file
    path.parent.mkdir(exist_ok=True)
    content = {"Domain": "Wikipedia", "Split": split, "VerifiedEval": False, "Version": 1.0, "Data": rows, **further}
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("text", "aliases", "found"),
    [
        ("The Beatles.", ["beatles"], ["Beatles"]),
        ("the beatles, BEATLES", ["Beatles"], ["beatles", "BEATLES"]),
        ("beatlesque", ["beatles"], []),
        ("Rock-n-roll and Rock_n_roll", ["rock n roll"], ["Rock-n-roll", "Rock_n_roll"]),
        ("City of the York", ["city of york", "york"], ["City of the York", "York"]),
        ("York's", ["york"], ["York"]),
        ("a b a b a", ["b a b"], ["b a b"]),
        ("x y x y x", ["x y x"], ["x y x", "x y x"]),
        ("İzmir Σοφός, IZMIR", ["σοφός", "izmir"], ["Σοφός", "IZMIR"]),
        ("anything", ["", "the", "."], []),
        ("", ["york"], []),
    ],
)
def test_aliases_are_found_as_the_scorer_compares(text, aliases, found):
    assert [text[start:end] for start, end in find_aliases(text, aliases)] == found


# No capital sigma: how Python lowers it depends on what stands around.
TEXT = st.text(alphabet="aAbB tThHeE.-_’İσ\n–", max_size=30)


@settings(max_examples=40)
@given(TEXT, TEXT)
def test_what_is_found_equals_an_alias_by_the_scorers_rules(text, alias):
    spans = find_aliases(text, [alias])
    wanted = normalize_answer(alias, rules="trivia_qa")
    assert all(normalize_answer(text[start:end], rules="trivia_qa") == wanted for start, end in spans)
    surrounded = f"{text} {alias} {text}"
    assert (not wanted) or find_aliases(surrounded, [alias])


def test_to_evaluate_a_question_has_one_document_of_all_its_pages(tmp_path):
    path = write(
        tmp_path, [question("q1", "York.txt", "Ham.txt"), question("q2", "Empty.txt"), question("q3", "Ham.txt")]
    )
    dataset = load_qa_dataset(path)
    assert (dataset.name, dataset.language, dataset.supervision) == ("wikipedia-dev", "en", "all")
    first, second, third = dataset.examples
    assert [row.id for row in dataset.examples] == ["q1", "q2", "q3"]
    assert (first.title, first.rules) == ("York; Ham", "trivia_qa")
    assert first.context == PAGES["York.txt"] + "\n\n" + PAGES["Ham.txt"]
    assert first.golds == ["york", "city of york", "yorkish"]
    assert [answer.text for answer in first.answers] == ["York", "York", "york", "City_of  YORK", "YORK", "York"]
    assert all(first.context.startswith(answer.text, answer.start) for answer in first.answers)
    assert (second.context, [answer.start for answer in second.answers], second.is_impossible) == ("", [None], False)
    assert [answer.text for answer in third.answers] == ["York"]
    assert dataset.unlocatable_ids == ["q2"]
    expected = {"questions": 3, "answers": 8, "pages": 3, "empty_pages": 1, "questions_without_page": 1}
    assert dataset.counts == {**expected, "unlocatable_answers": 1}
    assert list(dataset.sha256) == ["wikipedia-dev.json", "wikipedia (3 pages)"]


def test_to_train_each_page_is_a_document(tmp_path):
    rows = [question("q1", "York.txt", "Ham.txt"), question("q2", "Empty.txt")]
    path = write(tmp_path, rows, split="train", file="wikipedia-train.json")
    dataset = load_qa_dataset(tmp_path, split="train")
    assert dataset == load_qa_dataset(path)
    assert [row.id for row in dataset.examples] == ["q1--York.txt", "q1--Ham.txt"]
    assert dataset.counts == {"questions": 2, "answers": 6, "pages": 2, "empty_pages": 1, "questions_without_page": 1}
    assert len(read_trivia_qa(path, documents="joined").examples) == 2


def test_of_a_verified_file_only_what_was_verified_is_read(tmp_path):
    row = question("q1", "York.txt", "Ham.txt", QuestionPartOfVerifiedEval=True)
    row["EntityPages"][1]["DocPartOfVerifiedEval"] = True
    row["Answer"] = {**ANSWER, "HumanAnswers": ["The Wall!"]}
    path = write(tmp_path, [question("q0", "York.txt"), row], VerifiedEval=True)
    dataset = read_trivia_qa(path)
    assert [(row.id, row.title) for row in dataset.examples] == [("q1", "Ham")]
    assert dataset.examples[0].golds[-1] == "The Wall!"
    assert dataset.counts["not_verified"] == 1


def test_wrong_files_are_explained(tmp_path):
    for rows, further, message in [
        ([question("q", "York.txt")], {"Domain": "Web"}, r"Web part; longspan reads wikipedia-\*"),
        ([question("q", "No.txt")], {}, r"No\.txt: no such file"),
        ([question("q", "York.txt", Answer=None)], {}, r"Data\[0\] has no `Answer`"),
        ([question("q", "York.txt", Answer={})], {}, r"Data\[0\] has no `Answer`"),
        ([question("q", "York.txt", Answer={"NormalizedAliases": []})], {}, r"Data\[0\] has no aliases"),
        ([{"QuestionId": "q", "Answer": ANSWER}], {}, r"Data\[0\] has no `Question`"),
        ([question("q", "York.txt", EntityPages=[{"Title": "x"}])], {}, r"EntityPages\[0\] has no `Filename`"),
        ([], {}, "holds no questions"),
    ]:
        with pytest.raises(InputError, match=message):
            load_qa_dataset(write(tmp_path, rows, **further))
    path = write(tmp_path, [question("q", "York.txt")])
    with pytest.raises(InputError, match=r"no such folder; TriviaQA's pages belong there"):
        read_trivia_qa(path, evidence=tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"wikipedia-train\.json: no such file"):
        load_qa_dataset(tmp_path, split="train")
    path.write_text("{}")
    with pytest.raises(InputError, match="not in TriviaQA's format"):
        read_trivia_qa(path)


def test_aliases_and_pages_must_be_text(tmp_path):
    row = question("q1", "York.txt")
    row["Answer"] = ANSWER | {"NormalizedAliases": ["york", "y\ud83d"]}
    with pytest.raises(InputError, match=r"wikipedia-dev\.json: Data\[0\]: alias 1 is not valid text: .* U\+D83D"):
        load_qa_dataset(write(tmp_path, [row]))
    row["Answer"] = ANSWER | {"NormalizedAliases": ["york", None]}
    with pytest.raises(InputError, match=r"Data\[0\]: alias 1 should be text, and is null"):
        load_qa_dataset(write(tmp_path, [row]))
    row["Answer"] = ANSWER | {"NormalizedAliases": "york"}
    with pytest.raises(InputError, match=r"Data\[0\]\.Answer\.NormalizedAliases should be a list, and is text"):
        load_qa_dataset(write(tmp_path, [row]))
    row["Answer"] = "york"
    with pytest.raises(InputError, match=r"Data\[0\]\.Answer should be an object"):
        load_qa_dataset(write(tmp_path, [row]))


def test_null_is_no_id_of_a_row():
    answer = {"normalized_aliases": ["york"], "normalized_value": "york"}
    page = {"filename": "York.txt", "title": "York", "wiki_context": "York is old."}
    row = {"question": "Where?", "question_id": None, "entity_pages": [page], "answer": answer}
    with pytest.raises(InputError, match=r"row 0\.question_id should be text or a whole number, and is null"):
        trivia_qa_from_rows(datasets.Dataset.from_list([row]), source="hub", name="x", documents="joined")


@pytest.mark.parametrize("split", ["validation", "train"])
def test_reads_the_hubs_rows(monkeypatch, split):
    pages = {"filename": ["York.txt", "Ham.txt"], "title": ["York", "Ham"], "doc_source": ["", ""]}
    pages["wiki_context"] = [PAGES["York.txt"], PAGES["Ham.txt"]]
    answer = {"normalized_aliases": ["york", "yorkish"], "normalized_value": "york", "aliases": ["York"]}
    as_objects = [dict(zip(pages, values, strict=True)) for values in zip(*pages.values(), strict=True)]
    asked = []

    def load_dataset(repository, config, *, split, revision):
        asked.append((repository, config, split))
        rows = [{"question": "Where?", "question_id": "q1", "entity_pages": pages, "answer": answer}]
        rows[0]["entity_pages"] = pages if split == "train" else as_objects
        return datasets.Dataset.from_list(rows)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    dataset = load_qa_dataset("trivia_qa", split=split)
    assert asked == [("mandarjoshi/trivia_qa", "rc.wikipedia", split)]
    ids = {"validation": ["q1"], "train": ["q1--York.txt", "q1--Ham.txt"]}[split]
    assert [row.id for row in dataset.examples] == ids
    assert dataset.counts["answers"] == 5


def test_a_window_is_labelled_with_all_it_holds(tmp_path, tokenizer):
    row = question("q1", "York.txt", "Ham.txt")
    (example,) = load_qa_dataset(write(tmp_path, [row])).examples
    (whole,) = make_qa_features([example], tokenizer, max_length=400, overlap=0, with_labels=True)
    spans = {(answer.start, (answer.start or 0) + len(answer.text)) for answer in example.answers}
    for name, side in (("start", 0), ("end", 1)):
        positions = getattr(whole, f"{name}_positions")
        assert positions == sorted(set(positions))
        assert getattr(whole, f"{name}_position") == positions[0]
        # A token may hold more than the answer (`york-ham`): it begins before it, or ends behind.
        held = [whole.offsets[at] for at in positions]
        assert all(any(first <= span[side] <= last for first, last in held) for span in spans)
    example = replace(example, context=example.context + 40 * " it is big")
    windows = make_qa_features([example], tokenizer, max_length=40, overlap=8, with_labels=True)
    held = [window for window in windows if window.start_positions != [0]]
    assert 0 < len(held) < len(windows)
    assert all((window.start_positions, window.end_positions) == ([0], [0]) for window in windows if window not in held)
    without = make_qa_features([example], tokenizer, max_length=40, overlap=8, with_labels=False)
    assert all(window.start_positions is None for window in without)


def test_reading_needs_no_torch(tmp_path):
    path = write(tmp_path, [question("q1", "York.txt")])
    code = f"import sys, longspan.data.qa as qa; qa.load_qa_dataset({str(path)!r}); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
