"""Build the docs site (mkdocs.yml) and check it: `make docs`.

The pages are the repository's own Markdown files. README.md, docs/ and every file that they link to are copied to
`build/docs` in the same tree, so that relative links work in the repository and on the site. Each README.md becomes
the start page of its folder, `index.md`, and a link to a folder leads there.

The build fails on a warning, on a dead link and on a page that loads something from another host. It also fails on a
list without an empty line before it: GitHub shows a list, Python-Markdown shows one paragraph.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from flowchart import replace_flowcharts

ROOT = Path(__file__).resolve().parents[2]
PAGES = Path("build/docs")  # `docs_dir` of mkdocs.yml
SITE = Path("build/site")  # `site_dir`

_CODE = re.compile(r"^(?P<fence>`{3,}|~{3,})[^\n]*\n.*?^(?P=fence)[ \t]*$|(?P<ticks>`+)(?!`).*?(?P=ticks)", re.M | re.S)
_LINK = re.compile(r"(?<=\]\()(?P<target>[^)\s#]+)")
_LIST_IN_PARAGRAPH = re.compile(r"\n(?:[-*+]|\d+\.)\s")
_LOADING = {("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("link", "href")}
_LIBRARIES = ("griffe", "mkdocstrings", "mkdocs_autorefs")  # what their log lines begin with
_NOT_LOADED = {"canonical", "next", "prev", "alternate", "edit"}  # kinds of <link> that a browser does not fetch


def main() -> int:
    """Build and check the site; return the exit code."""
    os.chdir(ROOT)
    shutil.rmtree(PAGES, ignore_errors=True)
    shutil.rmtree(SITE, ignore_errors=True)
    faults = copy_pages(ROOT, PAGES)
    if not faults:
        faults = build() or check_site(SITE)
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"{SITE}/index.html" if not faults else f"faults: {len(faults)}")
    return min(len(faults), 1)


def build() -> list[str]:
    """Build the site; return griffe's warnings about docstrings, which `--strict` lets through."""
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    built = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8", check=False
    )
    warnings = [line for line in built.stdout.splitlines() if line.startswith(_LIBRARIES)]
    if built.returncode or not warnings:
        print(built.stdout)
    return warnings or ["zensical failed"] * bool(built.returncode)


def copy_pages(root: Path, destination: Path) -> list[str]:
    """Copy README.md, docs/ and what they link to; return the links that lead nowhere."""
    root = root.resolve()
    waiting = [
        root / "README.md",
        *sorted((root / "docs").rglob("*.md")),
        *(root / "docs" / "site" / "assets").glob("*"),
    ]
    copied: set[Path] = set()
    faults = []
    while waiting:
        source = waiting.pop()
        if source in copied:
            continue
        copied.add(source)
        target = destination / _place_on_site(source.relative_to(root))
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix != ".md":
            shutil.copyfile(source, target)
            continue
        text, linked = _rewrite_links(source, root)
        target.write_text(replace_flowcharts(text), encoding="utf-8")
        for name, path in linked.items():
            if path is None:
                faults.append(f"{source.relative_to(root)}: the link {name} leads to nothing in the repository")
            else:
                waiting.append(path)
    return faults


def check_site(site: Path) -> list[str]:
    """Return what is wrong with the built pages: dead links, requests to other hosts, lists read as text."""
    pages = {path.resolve(): _Page(path) for path in sorted(site.rglob("*.html")) if path.name != "404.html"}
    faults = []
    for path, page in pages.items():
        name = path.relative_to(site.resolve())
        faults += [f"{name}: loads {url}" for url in page.loaded if urlsplit(url).netloc]
        faults += [f"{name}: a list without an empty line before it: {text[:60]!r}" for text in page.broken_lists]
        for url in [*page.links, *page.loaded]:
            parts = urlsplit(url)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file():
                faults.append(f"{name}: dead link {url}")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
                faults.append(f"{name}: no such heading: {url}")
    return faults


def _place_on_site(path: Path) -> Path:
    return path.with_name("index.md") if path.name == "README.md" else path


def _rewrite_links(source: Path, root: Path) -> tuple[str, dict[str, Path | None]]:
    """The text with the links of the site, and the file of every link; None if there is none."""
    linked: dict[str, Path | None] = {}

    def rewrite(match: re.Match[str]) -> str:
        target = match["target"]
        if urlsplit(target).scheme:
            return target
        path = (source.parent / unquote(target)).resolve()
        path = path / "README.md" if path.is_dir() else path
        linked[target] = path if path.is_file() and path.is_relative_to(root) else None
        if linked[target] is None:
            return target
        return os.path.relpath(root / _place_on_site(path.relative_to(root)), source.parent).replace(os.sep, "/")

    text = source.read_text(encoding="utf-8")
    return "".join(part if is_code else _LINK.sub(rewrite, part) for part, is_code in _parts(text)), linked


def _parts(text: str) -> Iterator[tuple[str, bool]]:
    """The text in pieces, and whether each is code."""
    at = 0
    for match in _CODE.finditer(text):
        yield text[at : match.start()], False
        yield match[0], True
        at = match.end()
    yield text[at:], False


class _Page(HTMLParser):
    """The ids, links and loaded files of a page, and the paragraphs in which a list was not read as one."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.broken_lists: list[str] = []
        self._paragraph: str | None = None
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect ids, links and what is loaded."""
        of = {name: value or "" for name, value in attrs}
        self.ids.add(of.get("id", ""))
        if tag == "a" and of.get("href"):
            self.links.append(of["href"])
        is_fetched = tag != "link" or not _NOT_LOADED & set(of.get("rel", "").split())
        self.loaded += [of[name] for name in ("src", "href") if (tag, name) in _LOADING and is_fetched and of.get(name)]
        if tag == "p":
            self._paragraph = ""

    def handle_endtag(self, tag: str) -> None:
        """Look at a paragraph when it ends."""
        if tag == "p" and self._paragraph is not None:
            if match := _LIST_IN_PARAGRAPH.search(self._paragraph):
                self.broken_lists.append(self._paragraph[match.start() + 1 :])
            self._paragraph = None

    def handle_data(self, data: str) -> None:
        """Collect a paragraph's text."""
        if self._paragraph is not None:
            self._paragraph += data


if __name__ == "__main__":
    sys.exit(main())
