import itertools
import random
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.errors import InputError
from longspan.metrics import RULES, aggregate, best_over_gold, exact_match, f1, normalize_answer, score_answer

LANGUAGES = ["en", "es", "hi", "vi", "de", "ar", "zh", "th", "ja", "km", "el", "ru", "tr", "ro", "sv"]

# Worked out by hand from the rules of evaluate-v1.1.py (squad), mlqa_evaluation_v1.py (mlqa) and triviaqa_evaluation.py
# (trivia_qa); the languages that the MLQA script refuses follow longspan.metrics.unicode.
NORMALISED = [
    ("squad", "en", "The  Cat, a dog!", "cat dog"),
    ("squad", "en", "a an the", ""),
    ("squad", "en", "another theme", "another theme"),
    ("squad", "en", "U.S.A.", "usa"),
    ("squad", "en", "the-end", "theend"),
    ("squad", "en", "10–15", "10–15"),
    ("squad", "en", "«Vie»", "«vie»"),
    ("squad", "en", "\ttab\nline\u00a0nbsp ", "tab line nbsp"),
    ("squad", "de", "Der Hund", "der hund"),
    ("squad", "zh", "北京,上海", "北京上海"),
    ("mlqa", "en", "The “Cat” – a dog…", "cat dog"),
    ("mlqa", "en", "10–15", "1015"),
    ("mlqa", "en", "$5 + 5", "5 5"),
    ("mlqa", "es", "¿La casa de los Reyes?", "casa de reyes"),
    ("mlqa", "es", "El Niño", "niño"),
    ("mlqa", "de", "Die Straße des 17. Juni", "straße 17 juni"),
    ("mlqa", "de", "eine Katze", "katze"),
    ("mlqa", "de", "dessen", "dessen"),
    ("mlqa", "vi", "những Cái bàn của Nam", "bàn nam"),
    ("mlqa", "vi", "chiếc xe là", "xe"),
    ("mlqa", "hi", "नई दिल्ली।", "नई दिल्ली"),
    ("mlqa", "hi", "the दिल्ली", "the दिल्ली"),
    ("mlqa", "ar", "القاهرة، مصر", "قاهرة مصر"),
    ("mlqa", "ar", "في القاهرة", "في قاهرة"),
    ("mlqa", "ar", "مقالة", "مق ة"),
    ("mlqa", "zh", "北京。", "北 京"),
    ("mlqa", "zh", "iPhone手机 4S", "iphone 手 机 4s"),
    ("mlqa", "zh", "1990年代", "1990 年 代"),
    ("mlqa", "zh-CN", "北京", "北 京"),
    ("mlqa", "zh", "㐀丁", "㐀 丁"),
    ("mlqa", "th", "ที่นี่ 2019", "ที่ นี่ 2019"),
    ("mlqa", "ja", "東京タワーABC", "東 京 タ ワ ー abc"),
    ("mlqa", "km", "ភ្នំ", "ភ្ នំ"),
    ("mlqa", "el", "Η «Αθήνα»·", "η αθήνα"),
    ("mlqa", "ru", "«Война и мир»", "война и мир"),
    ("mlqa", "tr", "Ankara’da", "ankarada"),
    ("mlqa", "sv", "en bil, den röda", "en bil den röda"),
    ("mlqa", "el", "ΟΔΟΣ της Αθήνας", "οδοσ τησ αθήνασ"),
    ("mlqa", "sv", "Straße i 東京", "strasse i 東 京"),
    ("mlqa", "ro", "„Țară”", "țară"),
    ("mlqa", "ko", "서울에서", "서울에서"),
    ("unicode", "en", "The “Cat” ﬁn", "the cat fin"),
    ("unicode", "zh", "北京。", "北 京"),
    ("trivia_qa", "en", "Rock_n_Roll", "rock n roll"),
    ("trivia_qa", "en", "The Smith-Jones’s", "smith jones s"),
    ("trivia_qa", "en", "U.S.A.", "u s"),
    ("trivia_qa", "en", "10–15", "10–15"),
]


@pytest.mark.parametrize(("rules", "language", "text", "expected"), NORMALISED)
def test_normalises_as_worked_out_by_hand(rules, language, text, expected):
    assert normalize_answer(text, language, rules) == expected


# (rules, language, prediction, gold, exact match, F1)
SCORED = [
    ("squad", "en", "", "", 1, 0),
    ("squad", "en", "", "cat", 0, 0),
    ("squad", "en", "the", "", 1, 0),
    ("squad", "en", "the cat", "cat", 1, 1),
    ("squad", "en", "big cat", "cat", 0, 2 / 3),
    ("squad", "en", "cat cat", "cat", 0, 2 / 3),
    ("squad", "en", "cat cat dog", "cat cat bird", 0, 2 / 3),
    ("squad", "en", "10–15", "1015", 0, 0),
    ("squad", "zh", "北京市", "北京", 0, 0),
    ("mlqa", "en", "10–15", "1015", 1, 1),
    ("mlqa", "zh", "北京市", "北京", 0, 4 / 5),
    ("mlqa", "zh", "在2008年", "2008年", 0, 4 / 5),
    ("mlqa", "es", "la casa roja", "una casa", 0, 2 / 3),
    ("mlqa", "de", "im Jahr 1990", "1990", 0, 1 / 2),
    ("mlqa", "vi", "của Hà Nội", "Hà Nội", 1, 1),
    ("mlqa", "ar", "القاهرة", "قاهرة", 1, 1),
    ("mlqa", "ar", "في القاهرة", "القاهرة", 0, 2 / 3),
    ("mlqa", "hi", "दिल्ली।", "दिल्ली", 1, 1),
    ("mlqa", "hi", "नई दिल्ली", "दिल्ली", 0, 2 / 3),
    ("mlqa", "th", "ในปี 2019", "ปี 2019", 0, 4 / 6),
]


@pytest.mark.parametrize(("rules", "language", "prediction", "gold", "exact", "overlap"), SCORED)
def test_scores_as_worked_out_by_hand(rules, language, prediction, gold, exact, overlap):
    assert exact_match(prediction, gold, language, rules) == exact
    assert f1(prediction, gold, language, rules) == pytest.approx(overlap)


@given(st.text(max_size=20), st.text(max_size=20), st.sampled_from(LANGUAGES), st.sampled_from(RULES))
def test_scores_are_between_0_and_1_and_symmetric(one, other, language, rules):
    for metric in (exact_match, f1):
        score = metric(one, other, language, rules)
        assert 0 <= score <= 1
        assert score == pytest.approx(metric(other, one, language, rules))
    assert exact_match(one, one, language, rules) == 1


@given(st.text(max_size=30), st.sampled_from([language for language in LANGUAGES if language not in ("ar",)]))
def test_case_and_blanks_around_do_not_matter(text, language):
    assert normalize_answer(f"  {text}\n", language, "mlqa") == normalize_answer(text, language, "mlqa")


def test_a_language_without_rules_is_said_once(caplog):
    for _ in range(3):
        normalize_answer("Ja, tak", "xx", "mlqa")
        normalize_answer("Yes, please", "en", "mlqa")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "no rules for answers in 'xx' (MLQA has some for ar, de, en" in caplog.text


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_gold_answer_itself_scores_100(language, rules):
    golds = ["北京 Ελλάδα ปี दिल्ली 42", "x"]
    scores = [score_answer(gold, golds, language, rules) for gold in golds]
    assert aggregate(scores) == {"exact_match": 100, "f1": pytest.approx(100)}


def test_the_best_gold_counts_in_any_order():
    golds = ["big cat", "cat", "dog"]
    assert {best_over_gold(f1, "cat", list(order)) for order in itertools.permutations(golds)} == {1}


def test_a_question_without_gold_answers_wants_an_empty_one():
    assert best_over_gold(f1, "", []) == 1
    assert best_over_gold(exact_match, "cat", []) == 0


def test_a_missing_prediction_counts_as_wrong():
    assert aggregate([score_answer("cat", ["cat"]), score_answer(None, ["cat"])])["exact_match"] == 50


def test_the_order_of_questions_does_not_matter():
    rows = [score_answer(p, ["a b c d"]) for p in ("b", "b c", "b c d", "x")]
    shuffled = random.Random(0).sample(rows, len(rows))
    assert aggregate(rows) == pytest.approx(aggregate(shuffled))


def test_unknown_rules_and_no_questions_are_refused():
    with pytest.raises(InputError, match=r"no rules 'trivia'.*squad, mlqa"):
        normalize_answer("x", "en", "trivia")
    with pytest.raises(InputError, match="no questions"):
        aggregate([])


def test_metrics_need_no_torch():
    code = "import longspan.metrics, sys; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
