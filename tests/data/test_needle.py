import re
import string

import pytest

from longspan.data.qa import make_qa_features
from longspan.data.qa.needle import _facts, make_needles, needle_languages
from longspan.errors import InputError

XQUAD = {"ar", "de", "el", "en", "es", "hi", "ro", "ru", "th", "tr", "vi", "zh"}
PROSE = [" ".join(f"Sentence {i} of text {k} says {'much ' * (i % 7)}here." for i in range(120)) for k in "ab"]
DEPTHS = (0.0, 0.25, 0.5, 1.0)


@pytest.fixture
def unigram(tokenizers):
    return tokenizers["unigram"]


def lengths(dataset, tokenizer):
    features = make_qa_features(dataset.examples, tokenizer, max_length=10**6, overlap=0, with_labels=False)
    return features.lengths


@pytest.mark.parametrize("n_tokens", [200, 700])
def test_documents_have_their_length_and_the_needle_its_depth(tokenizer, n_tokens):
    dataset = make_needles(PROSE, "en", n_tokens=n_tokens, depths=DEPTHS, tokenizer=tokenizer, seed=1, per_depth=3)
    assert dataset.name == f"needle.en {n_tokens}" and dataset.counts == {"questions": 12, "answers": 12}
    assert 0.8 * n_tokens < lengths(dataset, tokenizer).min() <= lengths(dataset, tokenizer).max() <= n_tokens
    assert len({example.id for example in dataset.examples}) == 12
    for i, example in enumerate(dataset.examples):
        (answer,) = example.answers
        assert example.context[answer.start :].startswith(answer.text) and example.context.count(answer.text) == 1
        assert (example.depth, example.nominal_tokens, example.slot) == (DEPTHS[i // 3], n_tokens, None)
        # The needle itself is a good part of a short document.
        assert answer.start / len(example.context) == pytest.approx(example.depth, abs=0.06 + 60 / n_tokens)


def test_the_text_around_a_needle_is_the_given_one_cut_between_sentences(unigram):
    dataset = make_needles(PROSE, "en", n_tokens=300, depths=DEPTHS, tokenizer=unigram, seed=2, per_depth=6)
    for example in dataset.examples:
        kinds = ("said that the secret", "guest in room", "came to the village")
        sentences = [part + "." for part in example.context.split(".") if part.strip()]
        own = [sentence for sentence in sentences if any(kind in sentence for kind in kinds)]
        assert len(own) == 1 and example.answers[0].text in own[0]
        rest = "".join(sentence for sentence in sentences if sentence not in own).strip()
        assert any(re.sub(r"\s+", " ", rest) in text for text in PROSE)


def test_the_seed_decides_and_facts_are_the_same_at_every_length(unigram):
    def make(**options):
        given = {"n_tokens": 300, "depths": DEPTHS, "tokenizer": unigram, "seed": 1, "per_depth": 3} | options
        return make_needles(PROSE, "en", **given)

    def asked(dataset):
        return [(example.id, example.question, example.answers[0].text) for example in dataset.examples]

    assert make() == make()
    assert asked(make()) == asked(make(n_tokens=600)) != asked(make(seed=2))
    answers = [answer for _, _, answer in asked(make())]
    assert len(set(answers)) == len(answers), "another fact at every depth"
    assert asked(make(depths=[0.5]))[0] == asked(make())[6]


def test_every_language_has_facts_that_can_be_asked():
    assert set(needle_languages()) >= XQUAD | {"sv"}
    for language, facts in _facts().items():
        assert {field for _, _, field in facts["sentences"]} == {"name", "number", "year"}, language
        assert len(facts["first_names"]) * len(facts["last_names"]) >= 100
        for statement, question, field in facts["sentences"]:
            told = [name for _, name, _, _ in string.Formatter().parse(statement) if name]
            asked = [name for _, name, _, _ in string.Formatter().parse(question) if name]
            assert sorted([*asked, field]) == sorted(told) and len(told) == 2, (language, statement)


@pytest.mark.parametrize("language", ["th", "zh", "el"])
def test_other_scripts_are_cut_and_filled_as_they_are_written(language, unigram):
    sentence = {"th": "แมวนอนบนเตียง หมาวิ่งเล่น ", "zh": "猫在床上睡觉。狗在外面跑。", "el": "Η γάτα κοιμάται. "}[language]
    dataset = make_needles([sentence * 60], language, n_tokens=200, depths=[0, 0.5, 1], tokenizer=unigram)
    for example in dataset.examples:
        assert example.answers[0].text in example.context
        if example.depth == 0.5:
            before, after = example.context.split(sentence[:5])[0], example.context[-20:].strip()
            assert before in sentence and (after in sentence * 9 or after[-8:] in sentence)
        assert "  " not in example.context and (language != "zh" or " " not in example.context)


def test_texts_that_are_too_short_are_repeated_only_if_that_is_said(unigram):
    options = {"n_tokens": 3000, "depths": [0.5], "tokenizer": unigram, "per_depth": 2}
    with pytest.raises(InputError, match=r"in 3000 tokens needs a text of \d+ tokens in 'en', .* has \d+; give"):
        make_needles([PROSE[0][:500]], "en", **options)
    dataset = make_needles([PROSE[0][:500]], "en", repeat=True, **options)
    assert dataset.counts["repeated_texts"] == 2 and lengths(dataset, unigram).min() > 2700
    assert "repeated_texts" not in make_needles(PROSE, "en", repeat=True, **{**options, "n_tokens": 200}).counts


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"language": "xx"}, "no needles in 'xx'; choose one of ar, de"),
        ({"depths": []}, "no depths"),
        ({"depths": [0, 1.5]}, "depth 1.5; depths are from 0 to 1"),
        ({"depths": [0.5, 0.5]}, "given twice"),
        ({"per_depth": 0}, "0 needles at each depth"),
        ({"texts": [" "]}, "no text in 'en'"),
        ({"n_tokens": 20}, "20 tokens leave no room"),
        ({"texts": ["word " * 5000]}, "no sentence of the text"),
    ],
)
def test_what_makes_no_test_is_refused(options, message, unigram):
    given = {"texts": PROSE, "language": "en", "n_tokens": 300, "depths": [0.5], "tokenizer": unigram} | options
    with pytest.raises(InputError, match=message):
        make_needles(given.pop("texts"), given.pop("language"), **given)
