"""Writes a report's sections as Markdown: the same sentences and tables, without plots."""

from collections.abc import Iterable, Sequence

from longspan.report.blocks import Block, Cell, Examples, Facts, Section, Table, Text

# Characters that could start markup or HTML are escaped.
_ESCAPES = {ord(character): f"\\{character}" for character in "\\`*_[]|~$"} | {
    ord("<"): "&lt;",
    ord(">"): "&gt;",
    ord("&"): "&amp;",
}


def to_markdown(title: str, sections: Sequence[Section]) -> str:
    """The whole document, ending with a line break."""
    parts = [f"# {_plain(title)}"]
    for section in sections:
        parts.append(f"## {_plain(section.title)}")
        parts += _blocks(section.blocks)
        for summary, blocks in section.details:
            parts += [f"### {_plain(summary)}", *_blocks(blocks)]
    return "\n\n".join(parts) + "\n"


def _blocks(blocks: Iterable[Block]) -> list[str]:
    parts = []
    for block in blocks:
        if isinstance(block, Text):
            text = f"*{_plain(block.text)}*" if block.is_note else _plain(block.text)
            parts.append(f"**{_plain(block.lead)}** {text}" if block.lead else text)
        elif isinstance(block, Table):
            parts.append(_table(block))
        elif isinstance(block, Examples):
            parts += [f"### {_plain(block.title)}", *(_example_lines(block))]
        elif isinstance(block, Facts):
            lines = [f"- {_plain(name)}: {_plain(value)}" for name, value in block.facts]
            link = f" ([record](<{_address(block.link)}>))" if block.link else ""
            parts.append(f"**{_plain(block.title)}**{link}\n\n" + "\n".join(lines))
    return parts


def _table(table: Table) -> str:
    aligned = ["---:" if _is_number_column(table, index) else "---" for index in range(len(table.columns))]
    lines = [_row(map(_plain, table.columns)), _row(aligned)]
    lines += [_row(_cell(cell) for cell in row) for row in table.rows]
    return (f"{_plain(table.caption)}\n\n" if table.caption else "") + "\n".join(lines)


def _is_number_column(table: Table, index: int) -> bool:
    return bool(table.rows) and all(row[index].is_number for row in table.rows)


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(cell: Cell) -> str:
    text = _plain(cell.text)
    return f"**{text}**" if cell.is_best and text else text


def _example_lines(block: Examples) -> list[str]:
    lines = []
    for number, example in enumerate(block.examples, start=1):
        gold = " / ".join(map(_plain, example.gold)) or "(no answer in the text)"
        context = (
            f"… {_plain(example.before)}**{_plain(example.prediction) or '(no answer)'}**{_plain(example.after)} …"
        )
        lines.append(
            f"{number}. {_plain(example.question)} ({_plain(', '.join(example.facts))})\n"
            f"   - answered: {context}\n   - gold: {gold}"
        )
    return lines


def _plain(text: str) -> str:
    """Text on one line in which nothing is markup."""
    return " ".join(text.split()).translate(_ESCAPES)


def _address(link: str) -> str:
    """A link's target in angle brackets."""
    return link.replace("<", "%3C").replace(">", "%3E")
