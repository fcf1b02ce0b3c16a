"""Mermaid's flowcharts as plain HTML, because Mermaid's own script is several megabytes from another host."""

import html
import re

_BLOCK = re.compile(r"^```mermaid\n(?P<text>.*?)^```$", re.M | re.S)
_NODE = re.compile(r'(?P<name>\w+)\["(?P<label>[^"]+)"\]')
_EDGES = re.compile(r"(?P<sources>\w+(?: & \w+)*) --> (?P<targets>\w+(?: & \w+)*)")


def replace_flowcharts(markdown: str) -> str:
    """The text with every flowchart as HTML; one that has more than `_NODE` and `_EDGES` stays as code."""
    return _BLOCK.sub(lambda block: _as_html(block["text"]) or block[0], markdown)


def _as_html(text: str) -> str | None:
    head, *lines = [line.strip() for line in text.splitlines() if line.strip()]
    labels: dict[str, str] = {}
    targets: dict[str, list[str]] = {}
    for line in lines:
        if node := _NODE.fullmatch(line):
            labels[node["name"]] = node["label"]
            targets.setdefault(node["name"], [])
        elif edges := _EDGES.fullmatch(line):
            for source in edges["sources"].split(" & "):
                targets.setdefault(source, []).extend(edges["targets"].split(" & "))
        else:
            return None
    floors = _floors(targets)
    if not head.startswith("flowchart") or floors is None or set().union(*targets.values()) - set(labels):
        return None
    rows = [
        "".join(_box(labels[name], [_title(labels[to]) for to in targets[name]]) for name in floor) for floor in floors
    ]
    return '<div class="flowchart">' + "".join(f"<div>{row}</div>" for row in rows) + "</div>"


def _floors(targets: dict[str, list[str]]) -> list[list[str]] | None:
    """The nodes by their longest way from a node that no arrow leads to; None for a circle."""
    floor_of = dict.fromkeys(targets, 0)
    for _ in targets:
        for source, ends in targets.items():
            for end in ends:
                floor_of[end] = max(floor_of.get(end, 0), floor_of[source] + 1)
    if max(floor_of.values()) >= len(targets):
        return None
    return [[name for name in targets if floor_of[name] == floor] for floor in range(max(floor_of.values()) + 1)]


def _title(label: str) -> str:
    return label.split("<br/>", maxsplit=1)[0]


def _box(label: str, ends: list[str]) -> str:
    title, *rest = (html.escape(part) for part in label.split("<br/>"))
    arrows = f"<em>↓ {html.escape(', '.join(ends))}</em>" if ends else ""
    return f"<p><strong>{title}</strong>{''.join(f'<span>{part}</span>' for part in rest)}{arrows}</p>"
