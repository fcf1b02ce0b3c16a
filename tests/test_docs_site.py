import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PAGE = '<html><body><h1 id="top">A</h1>{}</body></html>'


@pytest.fixture
def build_site(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs" / "site")
    return importlib.import_module("build_site")


def write(folder, **texts):
    for name, text in texts.items():
        path = folder / f"{name.replace('__', '/')}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def test_every_link_of_the_repository_leads_somewhere(build_site, tmp_path):
    assert build_site.copy_pages(ROOT, tmp_path) == []
    for name in ("index.md", "docs/adr/index.md", "benchmarks/answers.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        assert (tmp_path / name).is_file()


@pytest.mark.parametrize(
    "room", ["longspan", "longspan.attention", "longspan.models", "longspan.extend", "longspan.records"]
)
def test_the_reference_has_every_public_name(room):
    pages = [page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "api").glob("*.md")]
    documented = {line.rsplit(".", 1)[1] for page in pages for line in page.splitlines() if line.startswith("::: ")}
    assert {name for name in importlib.import_module(room).__all__ if not name.isupper()} <= documented


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in [*ROOT.glob("docs/*.md"), *ROOT.glob("docs/api/*.md"), *ROOT.glob("benchmarks/*.md")]:
        assert f": {page.relative_to(ROOT).as_posix().replace('README', 'index')}\n" in navigation, page.name
    decisions = (ROOT / "docs" / "adr" / "README.md").read_text(encoding="utf-8")
    for page in ROOT.glob("docs/adr/0*.md"):
        title = page.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        assert f"- [{title}]({page.name})" in decisions


def test_a_dead_link_is_named_with_its_page(build_site, tmp_path):
    write(tmp_path, README="[a](docs/a.md)", docs__a="[gone](b.md) [outside](../../x.md) `[code](c.md)`")
    faults = build_site.copy_pages(tmp_path, tmp_path / "build")
    assert [fault.split(" leads")[0] for fault in faults] == [
        "docs/a.md: the link b.md",
        "docs/a.md: the link ../../x.md",
    ]


def test_links_follow_readmes_to_start_pages(build_site, tmp_path):
    write(
        tmp_path,
        README="[folder](docs/adr) [a](docs/a.md#top)",
        docs__adr__README="[home](../../README.md)",
        docs__a="A",
    )
    assert build_site.copy_pages(tmp_path, tmp_path / "build") == []
    assert (tmp_path / "build/index.md").read_text() == "[folder](docs/adr/index.md) [a](docs/a.md#top)"
    assert (tmp_path / "build/docs/adr/index.md").read_text() == "[home](../../index.md)"


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ('<a href="b.html">b</a>', "a.html: dead link b.html"),
        ('<img src="b.png">', "a.html: dead link b.png"),
        ('<a href="#below">b</a>', "a.html: no such heading: #below"),
        ('<script src="https://cdn.example/x.js"></script>', "a.html: loads https://cdn.example/x.js"),
        ('<link rel="stylesheet" href="//fonts.example/x.css">', "a.html: loads //fonts.example/x.css"),
        ("<p>Two:\n- one</p>", "a.html: a list without an empty line before it: '- one'"),
    ],
)
def test_a_faulty_page_is_named(build_site, tmp_path, body, fault):
    (tmp_path / "a.html").write_text(PAGE.format(body), encoding="utf-8")
    assert build_site.check_site(tmp_path) == [fault]


def test_a_right_page_has_no_faults(build_site, tmp_path):
    body = '<a href="#top">a</a> <a href="https://example.org">b</a> <link rel="canonical" href="https://example.org">'
    (tmp_path / "a.html").write_text(PAGE.format(body), encoding="utf-8")
    assert build_site.check_site(tmp_path) == []


def test_a_flowchart_becomes_floors(build_site):
    chart = '```mermaid\nflowchart TD\n  a["top<br/>x → y"]\n  b["left"]\n  c["low"]\n  a --> b & c\n  b --> c\n```'
    assert build_site.replace_flowcharts(chart) == (
        '<div class="flowchart"><div><p><strong>top</strong><span>x → y</span><em>↓ left, low</em></p></div>'
        "<div><p><strong>left</strong><em>↓ low</em></p></div><div><p><strong>low</strong></p></div></div>"
    )


@pytest.mark.parametrize("line", ["a --> a", "a -.-> b", "a --> gone"])
def test_other_flowcharts_stay_as_code(build_site, line):
    chart = f'```mermaid\nflowchart TD\n  a["top"]\n  b["left"]\n  {line}\n```'
    assert build_site.replace_flowcharts(chart) == chart


def test_the_flowcharts_of_the_docs_are_drawn(build_site):
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert "```mermaid" in text
    assert "```mermaid" not in build_site.replace_flowcharts(text)
