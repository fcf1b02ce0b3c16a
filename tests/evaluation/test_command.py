import json
import shutil
from pathlib import Path

from longspan.cli.main import main
from longspan.records import read_record


def test_writes_a_record_and_prints_a_table(tiny_qa_folder, tiny_squad, tmp_path, capsys):
    for language in ("el", "en"):
        shutil.copy(tiny_squad, tmp_path / f"people.{language}.json")
    argv = ["evaluate", str(tiny_qa_folder("longformer")), "--short_model", str(tiny_qa_folder("xlm-roberta"))]
    argv += ["--data", str(tmp_path / "people.el.json"), str(tmp_path / "people.en.json"), "--n_concat", "3"]
    argv += ["--limit", "4", "--gold_slot", "0", "--shuffle_seed", "0", "--output", str(tmp_path / "out")]
    argv += ["--device", "cpu"]
    assert main(argv) == 0
    printed = capsys.readouterr().out
    assert "window + global question" in printed and "first 4 questions" in printed
    record = read_record(tmp_path / "out" / "evaluation.json")
    assert record.kind == "evaluation" and record.settings["limit"] == 4 and "first 4" in record.protocol
    assert record.settings["gold_slot"] == record.settings["shuffle_seed"] == 0
    assert {score.language for score in record.scores} == {"el", "en"} and len(record.scores) == 10
    assert all(score.n_items == 4 for score in record.scores)
    assert any(name.endswith("model.safetensors") for name in record.made.data)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["evaluation.json"]
    # A second start does not write over what is there, and says how it would.
    assert main(argv) == 2
    assert "--overwrite" in capsys.readouterr().err


def test_several_lengths_with_the_answer_at_every_place(tiny_qa_folder, tiny_squad, tmp_path, capsys):
    argv = ["evaluate", str(tiny_qa_folder("longformer")), "--data", str(tiny_squad), "--device", "cpu"]
    argv += ["--n_concat", "1", "3", "--gold_slot", "all", "--distractors", "same", "--limit", "2"]
    argv += ["--systems", "truncate 48", "window only", "--output", str(tmp_path / "out")]
    assert main(argv) == 0
    printed = capsys.readouterr().out
    assert "1 and 3 paragraphs joined" in printed and "the other paragraphs from the same article" in printed
    assert "the thesis' protocol" in printed and "(same article, every slot) x3" in printed
    record = read_record(tmp_path / "out" / "evaluation.json")
    assert record.kind == "evaluation" and record.settings["n_concat"] == [1, 3]
    assert record.settings["gold_slot"] == "all" and record.settings["distractors"] == "same"
    assert [score.n_items for score in record.scores] == [2, 2, 6, 6]
    own = [place for place in record.places if place.system == "window only"]
    assert [(place.length, place.slot, place.n_items) for place in own] == [
        (1, 0, 2),
        *((3, i, 2) for i in range(3)),
    ]
    assert {row.n_units for row in record.differences if row.dataset.endswith("x3")} == {2}


def test_a_sample_has_the_same_questions_at_every_length(tiny_qa_folder, tiny_squad, tmp_path, capsys):
    argv = ["evaluate", str(tiny_qa_folder("longformer")), "--data", str(tiny_squad), "--device", "cpu"]
    argv += ["--systems", "window only", "--n_concat", "1", "3", "--gold_slot", "all", "--distractors", "same"]
    assert main([*argv, "--sample", "4", "--output", str(tmp_path / "out")]) == 0
    record = read_record(tmp_path / "out" / "evaluation.json")
    assert record.kind == "evaluation" and record.settings["sample"] == 4
    assert "only 4 questions of each data set, drawn at random" in record.protocol
    assert [score.n_items for score in record.scores] == [4, 12]
    asked = [[a.input for a in record.items if a.dataset.endswith(end)] for end in ("x1", "x3")]
    assert asked[1] == [question for question in asked[0] for _ in range(3)]
    assert main([*argv, "--limit", "4", "--output", str(tmp_path / "first")]) == 0
    first = read_record(tmp_path / "first" / "evaluation.json")
    assert first.kind == "evaluation" and len(set(asked[0])) == 4
    assert asked[0] != [answer.input for answer in first.items if answer.dataset.endswith("x1")]
    assert main([*argv, "--sample", "4", "--limit", "4", "--output", str(tmp_path / "other")]) == 2
    assert "--limit and --sample both say which questions" in capsys.readouterr().err


def test_a_sample_stands_in_slots_at_equal_distances(tiny_qa_folder, tiny_squad, tmp_path):
    argv = ["evaluate", str(tiny_qa_folder("longformer")), "--data", str(tiny_squad), "--device", "cpu"]
    argv += ["--systems", "window only", "--n_concat", "3", "--distractors", "same", "--sample", "2"]
    assert main([*argv, "--output", str(tmp_path / "out")]) == 0
    record = read_record(tmp_path / "out" / "evaluation.json")
    assert record.kind == "evaluation" and [place.slot for place in record.places] == [0, 2]


def test_needles_in_given_and_packaged_text(tiny_qa_folder, tmp_path, capsys):
    # The file's name tells its language, or its folder's does.
    texts = [str(tmp_path / "novel.en.txt"), str(tmp_path / "sv" / "novel.txt")]
    (tmp_path / "sv").mkdir()
    for path in texts:
        text = " ".join(f"Sentence {i} says that Anna was born in Lund." for i in range(60))
        Path(path).write_text(text, encoding="utf-8")
    argv = ["evaluate", str(tiny_qa_folder("longformer")), "--data", "needle", "--languages", "en", "sv"]
    argv += ["--device", "cpu", "--needle_tokens", "150", "300", "--needle_depths", "0", "1", "--needles", "1"]
    argv += ["--systems", "window only", "--batch_size", "1"]
    assert main([*argv, "--texts", *texts, "--output", str(tmp_path / "out")]) == 0
    assert "documents of 150 and 300 tokens, 1 at each of 2 depths" in capsys.readouterr().out
    record = read_record(tmp_path / "out" / "evaluation.json")
    assert record.kind == "evaluation"
    assert [score.dataset for score in record.scores] == [f"needle.{c} {n}" for c in ("en", "sv") for n in (150, 300)]
    assert [(p.length, p.depth, p.n_items) for p in record.places[:4]] == [
        (n, depth, 1) for n in (150, 300) for depth in (0, 1)
    ]
    # 300 tokens are read in windows of the model's 192.
    assert all(score.counts["gold_not_read"] == 0 for score in record.scores)
    assert record.settings["texts"] == texts and "needle text 1 (sv)" in record.made.data
    argv[argv.index("sv")] = "el"
    assert main([*argv[:-2], "--limit", "1", "--output", str(tmp_path / "packaged")]) == 0
    for more, message in (
        (["--texts", texts[0]], "--texts has none in el"),
        (["--texts", texts[1]], "novel.txt: its name does not tell which of en, el"),
        (["--needle_tokens", "60000"], "(--repeat_texts)"),
    ):
        assert main([*argv, *more, "--output", str(tmp_path / "refused")]) == 2
        assert message in capsys.readouterr().err


def test_a_users_mistakes_have_exit_code_2(tiny_qa_folder, tiny_squad, tmp_path, capsys):
    model, output = str(tiny_qa_folder("longformer")), str(tmp_path / "out")
    for argv, message in (
        ([model, "--data", "nosuch.json"], "nosuch.json"),
        ([model, "--data", str(tiny_squad), "--limit", "0"], "--limit"),
        ([model, "--data", str(tiny_squad), "--sample", "0"], "--sample is 0"),
        ([model, "--data", str(tiny_squad), "--systems", "magic"], "magic"),
        ([model, "--data", str(tiny_squad), "--gold_slot", "0"], "--gold_slot is of no effect without --n_concat"),
        (
            [model, "--data", str(tiny_squad), "--n_concat", "3", "5", "--gold_slot", "3"],
            "--gold_slot is 3; with 3 paragraphs joined it is between 0 and 2, or all",
        ),
        ([model, "--data", str(tiny_squad), "--n_concat", "20", "--gold_slot", "all"], "has 12 paragraphs; n is 20"),
        ([model, "--data", str(tiny_squad), "--distractors", "same"], "--distractors is of no effect without"),
        ([model, "--data", str(tiny_squad), "--needles", "3"], "--needles is of no effect without needles"),
        ([model, "--data", "needle"], "needles need --languages; there are some in ar, de"),
        ([model, "--data", "needle", "--languages", "fi"], "no needles in fi; there are some in ar, de"),
        ([model, "--data", "needle", "--languages", "sv", "--n_concat", "3"], "--n_concat is of no effect on needles"),
        ([model, "--data", str(tiny_squad), "--device", "gpu"], "there is no device 'gpu'"),
        ([model, "--data", str(tiny_squad), "--languages", "en", "de"], "--languages"),
        ([str(tmp_path), "--data", str(tiny_squad)], "holds no model"),
    ):
        assert main(["evaluate", *argv, "--output", output]) == 2
        assert message in capsys.readouterr().err


def test_names_of_the_catalogue_take_languages(tiny_qa_folder, tmp_path):
    argv = ["evaluate", str(tiny_qa_folder("xlm-roberta")), "--data", "packaged/xquad", "--languages", "el", "zh"]
    argv += ["--limit", "2", "--output", str(tmp_path / "out"), "--device", "cpu"]
    assert main(argv) == 0
    record = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert {score["language"] for score in record["scores"]} == {"el", "zh"}
