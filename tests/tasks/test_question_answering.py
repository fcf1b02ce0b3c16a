import contextlib
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from transformers.modeling_outputs import QuestionAnsweringModelOutput

from longspan.data.qa import GoldAnswer, QaExample, make_qa_features, read_squad
from longspan.data.qa import tokens as qa_tokens
from longspan.data.stored import store_text
from longspan.errors import InputError
from longspan.models.agreement import max_tokens_of
from longspan.tasks.open_model import load_qa_model
from longspan.tasks.question_answering.batch import ModelCollator
from longspan.tasks.question_answering.predictor import QaPredictor, check_max_length


@pytest.fixture(scope="module")
def examples(tiny_squad):
    return read_squad(tiny_squad).examples


@pytest.fixture(scope="module")
def long_example(examples):
    return QaExample(
        id="long", question="Where was Anna born?", context=" ".join(e.context for e in examples), answers=()
    )


@pytest.fixture(scope="module")
def bert(tiny_qa_folder):
    return load_qa_model(tiny_qa_folder("bert"))


@pytest.fixture(scope="module")
def longformer(tiny_qa_folder):
    return load_qa_model(tiny_qa_folder("longformer"))


class Oracle(transformers.PreTrainedModel):
    """Puts its highest logits on the tokens of one text, wherever a window holds them whole."""

    config_class = transformers.BertConfig

    def __init__(self, tokenizer, text):
        super().__init__(transformers.BertConfig(max_position_embeddings=64))
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.wanted = tokenizer(text, add_special_tokens=False)["input_ids"]

    def forward(self, input_ids, attention_mask):
        start, end = torch.zeros(2, *input_ids.shape)
        for row, ids in enumerate(input_ids.tolist()):
            for at in range(len(ids) - len(self.wanted) + 1):
                if ids[at : at + len(self.wanted)] == self.wanted:
                    start[row, at] = end[row, at + len(self.wanted) - 1] = 9.0
        return QuestionAnsweringModelOutput(start_logits=start, end_logits=end)


@pytest.mark.parametrize("kind", ["bert", "xlm-roberta", "longformer"])
@pytest.mark.parametrize("batch_size", [1, 5])
def test_one_prediction_for_each_question_in_the_given_order(tiny_qa_folder, examples, kind, batch_size):
    predictor = QaPredictor(*load_qa_model(tiny_qa_folder(kind)), overlap=16, batch_size=batch_size)
    predictions = predictor.predict(examples[::-1], progress=False)
    assert [prediction.id for prediction in predictions] == [example.id for example in examples[::-1]]
    for prediction, example in zip(predictions, examples[::-1], strict=True):
        for span in prediction.alternatives:
            assert example.context[span.start : span.end] == span.text != ""
        assert prediction.text == prediction.alternatives[0].text
        assert 0 < prediction.score <= 1
        assert prediction.seconds > 0


@pytest.mark.parametrize("kind", ["bert", "xlm-roberta", "longformer"])
def test_batches_change_nothing(tiny_qa_folder, examples, long_example, kind):
    model, tokenizer = load_qa_model(tiny_qa_folder(kind))
    together = QaPredictor(model, tokenizer, overlap=16, batch_size=16).predict([*examples, long_example])
    alone = QaPredictor(model, tokenizer, overlap=16, batch_size=1)
    for prediction, example in zip(together, [*examples, long_example], strict=True):
        (expected,) = alone.predict([example], progress=False)
        assert (prediction.text, prediction.n_windows, prediction.n_tokens) == (
            expected.text,
            expected.n_windows,
            expected.n_tokens,
        )
        assert prediction.logit == pytest.approx(expected.logit, abs=1e-5)
        assert prediction.no_answer_score == pytest.approx(expected.no_answer_score, abs=1e-5)


def test_an_answer_in_a_late_window_is_found_and_truncation_cannot_find_it(tiny_tokenizer, long_example):
    model = Oracle(tiny_tokenizer, "Lars moved")
    windowed = QaPredictor(model, tiny_tokenizer, max_length=64, overlap=16).predict([long_example])[0]
    assert windowed.text == "Lars moved"
    assert long_example.context[windowed.start : windowed.end] == "Lars moved"
    assert windowed.n_windows > 1
    truncated = QaPredictor(model, tiny_tokenizer, max_length=64, overlap=16, truncate=True).predict([long_example])[0]
    assert truncated.n_windows == 1
    assert truncated.n_tokens == 64
    assert truncated.text != "Lars moved"


def test_the_question_is_never_the_answer(tiny_tokenizer):
    model = Oracle(tiny_tokenizer, "Where was")
    example = QaExample(id="0", question="Where was Anna?", context="In Lund, they say.", answers=())
    prediction = QaPredictor(model, tiny_tokenizer).predict([example])[0]
    assert prediction.text in example.context
    assert prediction.logit == 0


def test_the_thesis_reads_the_first_window_and_may_answer_with_the_question(tiny_tokenizer, long_example):
    late, early = long_example.context.index("Lars moved"), long_example.context.index("Lund")
    asked = {
        "in the first window": replace(long_example, answers=(GoldAnswer("Lund", early),)),
        "behind it": replace(long_example, answers=(GoldAnswer("Lars moved", late), GoldAnswer("Lund", early))),
        "not in the document": replace(long_example, answers=(GoldAnswer("Rome", None), GoldAnswer("Lund", early))),
        "of a blank": replace(long_example, answers=(GoldAnswer(" Lund", early - 1),)),
        "unknown": long_example,
    }

    def answer(text, *, truncate=True):
        predictor = QaPredictor(Oracle(tiny_tokenizer, text), tiny_tokenizer, max_length=64, truncate=truncate)
        return [prediction.argmax_text for prediction in predictor.predict(list(asked.values()), progress=False)]

    # Only the first gold answer counts, and nothing is found in later windows.
    assert answer("Lund") == answer("Lund", truncate=False) == ["Lund", None, None, None, None]
    assert answer("Where was")[0] == "Where was"
    assert answer("Lars moved")[0] == "<s>", "all logits equal: the first token"


def test_tokens_are_counted_once(tiny_tokenizer, long_example):
    predictor = QaPredictor(Oracle(tiny_tokenizer, "Lund"), tiny_tokenizer, max_length=40, overlap=7)
    whole = len(tiny_tokenizer(long_example.question, long_example.context)["input_ids"])
    assert predictor.predict([long_example])[0].n_tokens == whole


def test_the_model_and_the_tokenizer_stay_as_they_were(bert, examples):
    model, tokenizer = bert
    before = tokenizer.backend_tokenizer.to_str()
    model.train()
    QaPredictor(model, tokenizer, overlap=8).predict(examples[:2])
    assert model.training
    assert tokenizer.backend_tokenizer.to_str() == before
    model.eval()


def test_global_tokens_are_the_question_or_none(longformer, tiny_tokenizer, examples):
    model, tokenizer = longformer
    features = make_qa_features(examples[:2], tokenizer, max_length=192, overlap=16, with_labels=False)
    question = ModelCollator(model, tokenizer)(list(features))
    assert question["global_attention_mask"].sum() == sum(sum(feature.is_question) for feature in features)
    nothing = ModelCollator(model, tokenizer, global_tokens="none")(list(features))
    assert nothing["global_attention_mask"].sum() == 0
    with_question = QaPredictor(model, tokenizer).predict(examples)
    without = QaPredictor(model, tokenizer, global_tokens="none").predict(examples)
    assert [p.logit for p in with_question] != [p.logit for p in without]


def test_other_models_get_no_global_mask_and_few_types_get_no_types(tiny_qa_folder, bert, examples):
    model, tokenizer = load_qa_model(tiny_qa_folder("xlm-roberta"))
    features = list(make_qa_features(examples[:2], tokenizer, max_length=64, overlap=16, with_labels=True))
    for feature in features:
        feature.token_type_ids = [1] * len(feature.input_ids)
    assert set(ModelCollator(model, tokenizer)(features)) == {
        "input_ids",
        "attention_mask",
        "start_positions",
        "end_positions",
    }
    assert "token_type_ids" in ModelCollator(bert[0], tokenizer)(features)


def test_low_precision_runs_under_autocast(longformer, examples):
    model, tokenizer = longformer
    low = QaPredictor(model, tokenizer, dtype=torch.bfloat16).predict(examples)
    full = QaPredictor(model, tokenizer).predict(examples)
    assert model.dtype == torch.float32
    assert np.allclose([p.no_answer_score for p in low], [p.no_answer_score for p in full], atol=0.1)


@pytest.mark.parametrize(("kind", "limit"), [("bert", 64), ("xlm-roberta", 64), ("longformer", 192)])
def test_the_longest_input_is_the_positions_less_the_reserved_rows(tiny_qa_folder, kind, limit):
    model, _ = load_qa_model(tiny_qa_folder(kind))
    assert max_tokens_of(model) == limit
    assert check_max_length(model, None) == limit


def test_a_window_longer_than_the_model_is_refused(bert):
    with pytest.raises(InputError, match=r"max_length is 100 but the model takes 64.*windows"):
        QaPredictor(*bert, max_length=100)


@pytest.mark.parametrize(
    ("option", "value"), [("batch_size", 0), ("max_answer_tokens", 0), ("n_best", 0), ("global_tokens", "all")]
)
def test_options_out_of_range_are_refused(bert, option, value):
    with pytest.raises(InputError, match=option):
        QaPredictor(*bert, **{option: value})


@pytest.mark.parametrize(
    ("question", "context", "message"),
    [(" ", "Text.", "is empty"), ("What?", " \n", "is empty"), ("\ud83d?", "Text.", "U\\+D83D")],
)
def test_questions_and_documents_must_be_text(bert, question, context, message):
    example = QaExample(id="q7", question=question, context=context, answers=())
    with pytest.raises(InputError, match=f"q7.*{message}"):
        QaPredictor(*bert).predict([example])


def test_a_question_longer_than_the_window_is_refused(bert):
    example = QaExample(id="q7", question="why " * 80, context="Because.", answers=(GoldAnswer("Because", 0),))
    with pytest.raises(InputError, match=r"q7.*leaves no room"):
        QaPredictor(*bert).predict([example])


def test_a_model_without_spans_is_refused(tiny_tokenizer, examples):
    model = transformers.BertModel(transformers.BertConfig(vocab_size=200, hidden_size=8, num_attention_heads=2))
    with pytest.raises(InputError, match=r"BertModel.*question answering"):
        QaPredictor(model, tiny_tokenizer).predict(examples[:1])


def test_nan_logits_name_the_question(bert, examples):
    model, tokenizer = bert
    bias = model.qa_outputs.bias
    bias.data.fill_(float("nan"))
    try:
        with pytest.raises(InputError, match=r"0-0.*NaN"):
            QaPredictor(model, tokenizer, overlap=8).predict(examples[:1])
    finally:
        bias.data.zero_()


@pytest.mark.parametrize("truncate", [False, True])
@pytest.mark.parametrize("kind", ["bert", "longformer"])
def test_a_stored_document_gets_the_same_predictions(tiny_qa_folder, long_example, monkeypatch, kind, truncate):
    predictor = QaPredictor(*load_qa_model(tiny_qa_folder(kind)), overlap=16, batch_size=3, truncate=truncate)
    text = long_example.context * 3
    questions = [("a", "Where was Anna born?"), ("b", "When was Boris born in that town?"), ("c", "Who?")]
    expected = predictor.predict([replace(long_example, id=i, question=q, context=text) for i, q in questions])
    monkeypatch.setattr(qa_tokens, "_PIECE", 300)
    with contextlib.closing(store_text(text[start : start + 99] for start in range(0, len(text), 99))) as stored:
        found = predictor.predict_document(stored, questions)
    assert [replace(one, seconds=0) for one in found] == [replace(one, seconds=0) for one in expected]
    assert all(one.seconds > 0 for one in found)


def test_a_stored_document_without_words_or_question_is_refused(bert):
    predictor = QaPredictor(*bert)
    with contextlib.closing(store_text([" \n"])) as blank, pytest.raises(InputError, match="the document is empty"):
        predictor.predict_document(blank, [("a", "Who?")])
    with contextlib.closing(store_text(["Bees."])) as text, pytest.raises(InputError, match="question 'a' is empty"):
        predictor.predict_document(text, [("a", " ")])


_PEAK = """
import resource, sys
from longspan.cli.main import main
assert main(["predict", *sys.argv[1:], "--question", "Where was Anna born?", "--batch_size", "32"]) == 0
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, file=sys.stderr)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux only")
def test_memory_does_not_grow_with_the_document(tiny_qa_folder, long_example, tmp_path):
    import subprocess

    peaks = []
    for n_bytes in (300_000, 1_800_000):
        path = tmp_path / "long.txt"
        path.write_text((long_example.context + "\n") * (n_bytes // len(long_example.context)))
        words = [sys.executable, "-c", _PEAK, str(tiny_qa_folder("bert")), "--document", str(path)]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        peaks.append(int(done.stderr.split()[-1]))
    # Kept whole, 1.5 MB more took 95 MiB more.
    assert peaks[1] - peaks[0] < 40, peaks
