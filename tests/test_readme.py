import runpy
import shlex
from pathlib import Path

from longspan.cli.main import VERBS

ROOT = Path(__file__).parents[1]


def test_the_tables_are_what_the_records_say():
    tables = runpy.run_path(str(ROOT / "benchmarks" / "tables.py"))
    assert "<!-- table: attention" in (ROOT / "README.md").read_text(encoding="utf-8")
    for name in tables["PAPERS"]:
        text = (ROOT / name).read_text(encoding="utf-8")
        own = {
            "benchmarks/novels.md": "<!-- table: languages",
            "benchmarks/answers.md": "<!-- bars: answers -->",
            "docs/grid.md": "<!-- table: runs",
        }
        assert own.get(name, "<!-- bars: cpu -->") in text
        assert tables["filled"](text) == text, "run: python benchmarks/tables.py"


def test_every_verb_is_in_the_readme_and_the_other_way_round():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = {shlex.split(part)[1] for part in text.split("`") if part.startswith("longspan ") and len(part.split()) > 1}
    assert set(VERBS) <= named
    assert named <= set(VERBS)


def test_every_file_the_papers_point_to_is_there():
    for paper in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        for link in paper.read_text(encoding="utf-8").split("](")[1:]:
            target = link.split(")")[0].split("#")[0]
            if target and "://" not in target:
                assert (paper.parent / target).exists(), f"{paper.name}: {target}"
