import argparse
import importlib
from pathlib import Path

import pytest

from longspan.cli import quickstart
from longspan.cli.main import main
from longspan.training.recipe.files import load_recipe

DOCUMENTS = {language: quickstart._LongDocument("Ann lives in Rome.", "Who?", "Ann") for language in ("en", "th")}


def _arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    quickstart.add_arguments(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize("words", [(), ("--overwrite", "--minutes", "1", "--languages", "el", "th")])
def test_every_step_is_a_command_that_its_verb_takes(words):
    steps = quickstart._steps(_arguments(*words), DOCUMENTS)
    assert [step.command[0] for step in steps][:2] == ["extend", "finetune"]
    for step in steps:
        verb = importlib.import_module(f"longspan.cli.{step.command[0]}")
        parser = argparse.ArgumentParser(exit_on_error=False)
        verb.add_arguments(parser)
        known, rest = parser.parse_known_args(step.command[1:])
        if getattr(verb, "TAKES_FIELDS", False):
            load_recipe(known.recipe, rest)
        else:
            assert not rest


@pytest.mark.parametrize("is_there", [False, True])
def test_the_packaged_model_answers_too_where_it_is_there(monkeypatch, is_there):
    monkeypatch.setattr("longspan.tasks.adapter_files.has_packaged", lambda: is_there)
    commands = [step.command for step in quickstart._steps(_arguments(), DOCUMENTS)]
    answering = [command for command in commands if command[0] == "predict"]
    packaged = [command for command in answering if command[1] == "--document"]
    assert len(answering) == 1 + len(packaged)
    assert [Path(command[2]).stem for command in packaged] == (["en", "th"] if is_there else [])


def test_the_short_and_the_long_model_get_the_same_minutes():
    minutes = {}
    for step in quickstart._steps(_arguments(), DOCUMENTS):
        if step.command[0] == "finetune":
            minutes[Path(step.command[step.command.index("--output_dir") + 1]).name] = step.command[
                step.command.index("--max_minutes") + 1
            ]
    assert minutes["long"] == minutes["short-continued"]


def test_the_long_document_of_every_language_holds_its_answer_far_beyond_512_tokens():
    documents = quickstart._long_documents()
    assert len(documents) == 12
    for language, document in documents.items():
        assert document.text.index(document.gold) > 0.3 * len(document.text), language
    assert len(documents["en"].text) > 12_000


def test_a_folder_in_use_is_refused(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["quickstart", "--output", str(tmp_path)]) == 2
    assert "not empty" in capsys.readouterr().err


def test_an_unknown_language_is_refused_before_anything_is_trained(tmp_path, capsys):
    assert main(["quickstart", "--output", str(tmp_path / "new"), "--languages", "en", "xx"]) == 2
    assert "xx: the packaged questions are in" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_link_to_no_folder_is_followed(tmp_path, monkeypatch):
    (tmp_path / "out").symlink_to(tmp_path / "disk" / "out")
    monkeypatch.setattr(quickstart, "_steps", lambda *_: [])
    main(["quickstart", "--output", str(tmp_path / "out")])
    assert len(list((tmp_path / "disk" / "out" / "documents").iterdir())) == 12
