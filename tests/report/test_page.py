import re
import subprocess
import sys
from html.parser import HTMLParser

import matplotlib as mpl
import pytest

from longspan.errors import InputError
from longspan.report import write_report

SECTIONS = ["summary", "overview", "languages", "places", "lengths", "differences", "answers"]
SECTIONS += ["proof", "training", "timings", "made"]
HOSTILE = '<script>alert("1")</script>|`*_ $\\frac{1}{2}$ </mark>'


class Page(HTMLParser):
    """Tags, ids and what is loaded from elsewhere."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.sources, self.texts, self.open = [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append(tag)
        self.ids += [given["id"]] if tag == "section" else []
        self.sources += [given[key] for key in ("src", "href", "xlink:href") if given.get(key)]
        self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in self.open:
            while self.open.pop() != tag:
                pass

    def handle_data(self, data):
        if not {"style", "defs"} & set(self.open):
            self.texts.append(data)


def read(path):
    return Page(path.read_text(encoding="utf-8"))


def test_every_section_once_and_nothing_from_elsewhere(records, tmp_path):
    path = write_report(records, tmp_path / "report", "A title")
    page = read(path)
    assert page.ids == SECTIONS
    assert path.name == "report.html" and (path.parent / "report.md").exists()
    assert all(source.startswith("#") for source in page.sources), "anchors and marks of plots only"
    assert "script" not in page.tags and "img" not in page.tags and "link" not in page.tags
    assert "@import" not in path.read_text() and page.tags.count("svg") >= 6
    text = " ".join(page.texts)
    for wanted in ("4 min", "Greek (el)", "30 questions", "needs 31 GiB", "f" * 64, "abc123"):
        assert wanted in text
    assert "minutes instead of the hours" in text


def test_texts_of_every_script_stand_on_the_page_and_go_their_own_way(evaluation, tmp_path):
    text = write_report([evaluation()], tmp_path, "T").read_text(encoding="utf-8")
    for word in ("القاهرة", "Αθήνα", "दिल्ली", "กรุงเทพ", "北京"):
        assert word in text
    assert '<p class="question" dir="auto" lang="ar">' in text


def test_what_people_wrote_is_text_and_never_markup(evaluation, training, proof, benchmark_record, tmp_path):
    def poison(value):
        if isinstance(value, str):
            return HOSTILE
        if isinstance(value, list):
            return [poison(item) for item in value]
        return value

    found = evaluation()
    answers = [
        answer.model_copy(
            update={name: poison(getattr(answer, name)) for name in ("input", "gold", "prediction", "id", "unit")}
            | {"extra": {name: poison(value) for name, value in answer.extra.items()}}
        )
        for answer in found.items
    ]
    scores = [score.model_copy(update={"system": HOSTILE}) for score in found.scores]
    answers = [answer.model_copy(update={"system": HOSTILE}) for answer in answers]
    made = found.made.model_copy(update={"command": HOSTILE, "data": {HOSTILE: "0"}})
    update = {
        "items": answers,
        "scores": scores,
        "name": HOSTILE,
        "protocol": HOSTILE,
        "model": HOSTILE,
        "made": made,
    }
    records = [found.model_copy(update=update), training().model_copy(update={"name": HOSTILE})]
    records.append(proof().model_copy(update={"source": HOSTILE, "family": HOSTILE}))
    timings = [t.model_copy(update={"system": HOSTILE, "what": HOSTILE}) for t in benchmark_record().timings]
    records.append(benchmark_record().model_copy(update={"timings": timings, "name": HOSTILE}))
    path = write_report(records, tmp_path, HOSTILE)
    page, text = read(path), path.read_text(encoding="utf-8")
    assert "script" not in page.tags and "<script" not in text
    assert HOSTILE in "".join(page.texts)
    assert "<script" not in (tmp_path / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kept", range(4))
def test_sections_without_records_are_left_out(records, tmp_path, kept):
    page = read(write_report([records[kept]], tmp_path, "T"))
    own = (SECTIONS[1:7], ["training"], ["proof"], ["timings"])[kept]
    assert page.ids == ["summary", *own, "made"]


def test_an_evaluation_of_scores_alone_has_no_empty_plot(evaluation, tmp_path):
    found = evaluation()
    bare = found.model_copy(update={"items": [], "differences": [], "scores": found.scores[:1]})
    page = read(write_report([bare], tmp_path, "T"))
    assert page.ids == ["summary", "overview", "made"] and "svg" not in page.tags


def test_by_depth_where_there_are_no_slots(evaluation, tmp_path):
    text = write_report([evaluation(slots=False)], tmp_path, "T").read_text()
    assert "By the depth of the answer" in text and "80–90 %" in text


def test_figures_are_the_records_own(evaluation, tmp_path):
    found = evaluation()
    write_report([found], tmp_path, "T")
    table = (tmp_path / "report.md").read_text(encoding="utf-8")
    means = {
        system: sum(s.metrics["f1"] for s in found.scores if s.system == system) / 5
        for system in ("truncate 512", "window + global question")
    }
    assert f"| truncate 512 | {means['truncate 512']:.1f} |" in table
    assert f"| window + global question | **{means['window + global question']:.1f}** |" in table


def test_seeds_give_mean_and_deviation(evaluation, tmp_path):
    write_report([evaluation(seed=1), evaluation(seed=2, shift=-2.0)], tmp_path, "T")
    table = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "± 1.4 |" in table and "over 2 seeds" in table
    write_report([evaluation(seed=1), evaluation(seed=1, shift=-2.0)], tmp_path, "T")
    assert "±" not in (tmp_path / "report.md").read_text(encoding="utf-8"), "one seed twice is not two seeds"


def test_a_failed_check_is_not_to_be_overlooked(proof, tmp_path):
    text = write_report([proof(passed=False)], tmp_path, "T").read_text()
    assert text.count("FAILED") >= 2


def test_long_training_gets_no_excuse(evaluation, training, tmp_path):
    text = write_report([evaluation(shift=30), training(seconds=40_000.0)], tmp_path, "T").read_text()
    assert "not the hours" not in text and "11 h 7 min" in text


def test_the_same_records_give_the_same_bytes_and_settings_stay(records, tmp_path):
    before = dict(mpl.rcParams), mpl.get_backend()
    one = write_report(records, tmp_path / "one", "T").read_bytes()
    assert one == write_report(records, tmp_path / "two", "T").read_bytes()
    assert (dict(mpl.rcParams), mpl.get_backend()) == before


def test_links_are_relative(records, tmp_path):
    files = [tmp_path / "runs" / f"a record {i}.json" for i in range(4)]
    text = write_report(records, tmp_path / "report", "T", files=files).read_text()
    assert 'href="../runs/a%20record%200.json"' in text and str(tmp_path) not in text


def test_the_newer_kinds_have_their_sections(make, tmp_path):
    records = [make.run("long", 1, 60.0, thesis=True), *make.places(), make.comparison(make.difference())]
    records += [make.grid(), make.pretraining("p", 2.0)]
    path = write_report(records, tmp_path, "T")
    page, text = read(path), path.read_text(encoding="utf-8")
    own = ["e1-overview", "e1-protocols", "e1-languages", "e2-overview", "e2-where"]
    assert page.ids == ["summary", "runs", *own, "comparisons", "grid", "training", "language-model", "made"]
    assert "script" not in page.tags and all(source.startswith("#") for source in page.sources)
    summary = text[text.index('id="summary"') : text.index('id="runs"')]
    for told in ("1 FAILED", "+3.0 F1 (95 % interval +1.0 to +5.0, 200 questions)", "10.00 before, 2.00 after"):
        assert told in summary
    # Each evaluation is one entry of the contents, and every plot says in words what it shows.
    assert text.count('<li><a href="#e') == 2
    assert len(re.findall(r'<div class="scroll" role="img" aria-label="[^"]+"><svg', text)) == text.count("<svg")
    table = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "| run failed | **FAILED** | 42 |" in table and "Every place in numbers" in table


def test_what_people_wrote_in_the_newer_kinds_is_text(make, tmp_path):
    grid = make.grid()
    runs = [run.model_copy(update={"name": HOSTILE, "error": HOSTILE, "command": HOSTILE}) for run in grid.runs]
    difference = make.difference().model_copy(update={"system": HOSTILE, "baseline": HOSTILE})
    (places,) = make.places()
    update = {"system": HOSTILE}
    places = places.model_copy(
        update={
            "run": HOSTILE,
            "places": [place.model_copy(update=update) for place in places.places],
            "scores": [score.model_copy(update=update) for score in places.scores],
        }
    )
    pretraining = make.pretraining(HOSTILE, 2.0, sources=((HOSTILE, HOSTILE),))
    records = [
        grid.model_copy(update={"runs": runs, "name": HOSTILE}),
        make.comparison(difference),
        places,
        pretraining,
    ]
    path = write_report(records, tmp_path, "T")
    assert "script" not in read(path).tags and "<script" not in path.read_text(encoding="utf-8")
    assert "<script" not in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_a_record_given_twice_is_counted_once_and_said(evaluation, tmp_path):
    records = [evaluation(), evaluation()]
    path = write_report(records, tmp_path, "T", files=[tmp_path / "a.json", tmp_path / "b.json"])
    assert read(path).ids.count("overview") == 1
    told = "The evaluation record “xquad” was given twice (a.json and b.json): it is counted once."
    assert told in path.read_text(encoding="utf-8")


def test_one_seed_evaluated_twice_is_said(evaluation, tmp_path):
    write_report([evaluation(seed=1), evaluation(seed=1, shift=-2.0)], tmp_path, "T")
    table = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "with seed 1 is here more than once" in table


def test_the_headline_has_its_interval_and_number_of_questions(evaluation, tmp_path):
    write_report([evaluation()], tmp_path, "T")
    told = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert re.search(r"between \d+\.\d and \d+\.\d \(95 % interval over 30 questions\)", told)
    assert "+40.0 over truncate 512 (95 % interval +30.0 to +50.0)" in told


def test_a_page_of_another_name(proof, tmp_path):
    page = write_report([proof()], tmp_path / "new" / "ours.html", "T")
    assert page == tmp_path / "new" / "ours.html" and (tmp_path / "new" / "ours.md").exists()
    (tmp_path / "report" / "report.html").mkdir(parents=True)
    with pytest.raises(InputError, match="is a folder"):
        write_report([proof()], tmp_path / "report", "T")


def test_a_page_where_a_link_leads(proof, tmp_path):
    (tmp_path / "ours.html").symlink_to(tmp_path / "site" / "index.html")
    (tmp_path / "folder").symlink_to(tmp_path / "elsewhere" / "folder")
    write_report([proof()], tmp_path / "ours.html", "T")
    write_report([proof()], tmp_path / "folder", "T")
    assert (tmp_path / "ours.html").is_symlink() and "<title>T" in (tmp_path / "site" / "index.html").read_text()
    assert (tmp_path / "elsewhere" / "folder" / "report.html").exists() and (tmp_path / "folder").is_symlink()
    with pytest.raises(InputError, match="is a pipe or a device"):
        write_report([proof()], "/dev/null", "T")


def test_refuses_nothing_and_a_file_for_a_folder(records, tmp_path):
    with pytest.raises(InputError, match="no record"):
        write_report([], tmp_path, "T")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        write_report(records, tmp_path / "file", "T")


def test_markdown_tables_have_their_columns(records, tmp_path):
    write_report(records, tmp_path, "T")
    lines = (tmp_path / "report.md").read_text(encoding="utf-8").splitlines()
    heads = [i for i, line in enumerate(lines) if re.fullmatch(r"\|( -+:? \|)+", line)]
    assert len(heads) >= 9
    for i in heads:
        for line in [lines[i - 1], lines[i + 1]]:
            assert len(re.findall(r"(?<!\\)\|", line)) == lines[i].count("|")


def test_no_torch_is_needed():
    code = "import sys, longspan.report.page, longspan.report.find; print({'torch', 'transformers'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
