"""`load_multihop_dataset` and `load_wikihop_dataset`: a file, a folder or a name -> questions."""

import logging
from pathlib import Path

from longspan.data.json_records import JsonRecords
from longspan.data.multihop.collector import MultihopCollector
from longspan.data.multihop.examples import MultihopDataset, MultihopExample, WikihopExample
from longspan.data.multihop.paragraph_records import multihop_record
from longspan.data.multihop.sources import Source, find_source
from longspan.data.multihop.wikihop import WikihopCollector
from longspan.data.record_checker import RecordChecker
from longspan.errors import InputError
from longspan.records import hash_file

logger = logging.getLogger(__name__)


def load_multihop_dataset(
    name: str | Path,
    *,
    split: str | None = None,
    aliases: str | Path | None = None,
    name_in_tables: str | None = None,
) -> MultihopDataset[MultihopExample]:
    """Read questions of HotpotQA, 2WikiMultihopQA, MuSiQue, or of your own in one of their layouts.

    Args:
        name: one of

            - a file: a JSON list, JSON lines or Parquet, the first two maybe compressed. What layout a record has is
              known by its fields;
            - a folder with the files of a set as released, or one that `datasets` saved;
            - `NAME.SPLIT@PATH` with a name of `MULTIHOP_CATALOGUE`: `hotpotqa.train@data/hotpot_train_v1.1.json`;
            - `NAME` or `NAME.SPLIT`: from the folder NAME of the working directory if there is one, else from the hub;
            - `OWNER/NAME` or `OWNER/NAME:CONFIGURATION` on the hub or in its local cache.
        split: "train" or "validation"; the one for evaluation if None. The name's own split comes first. If records of
            a file have a field `split`, only those of the split are read; without a split, all.
        aliases: 2WikiMultihopQA's id_aliases.json, with further names of answers and evidences; the file of that name
            in the data's folder if None.
        name_in_tables: the data set's name in tables; made from `name` if None.

    Raises:
        InputError: nothing of that name, no such split, a broken or cut file, or a record that is not as it should be
            (the message names file, record and field).
    """
    source = find_source(str(name), "paragraphs", split=split, name_in_tables=name_in_tables)
    collector = MultihopCollector(source.told)
    path = Path(aliases) if aliases is not None else source.aliases
    names = None if path is None else read_aliases(path)
    sha256 = source.sha256 | ({} if path is None else {path.name: hash_file(path)})
    for where, record in source.records(collector.counts, allow_cut=False):
        collector.add(multihop_record(collector, record, where, names))
    _require_questions(source, collector)
    return collector.dataset(source.name, source.language, sha256)


def load_wikihop_dataset(
    name: str | Path, *, split: str | None = None, name_in_tables: str | None = None
) -> MultihopDataset[WikihopExample]:
    """Read questions of WikiHop, MedHop, or of your own in QAngaroo's layout.

    A list that was cut gives the records before the cut; this is warned of, and `counts` has `cut_files`.

    Args:
        name: as in `load_multihop_dataset`, with `wikihop` or `medhop` for the names.
        split: as in `load_multihop_dataset`.
        name_in_tables: the data set's name in tables; made from `name` if None.

    Raises:
        InputError: nothing of that name, no such split, a broken file, one that was cut within its first record or
            within its compressed data, or a record that is not as it should be (the message names file, record and
            field).
    """
    source = find_source(str(name), "candidates", split=split, name_in_tables=name_in_tables)
    collector = WikihopCollector(source.told)
    for where, record in source.records(collector.counts, allow_cut=True):
        collector.add(record, where)
    n_read = len(collector.examples) + collector.counts["questions_of_other_splits"]
    if collector.counts["cut_files"]:
        if not n_read:
            raise InputError(f"{source.told} is cut within its first record; fetch the file again")
        logger.warning(
            "%s is cut: its %s whole records are read, what stood behind them is missing",
            source.told,
            f"{n_read:,}",
        )
    _require_questions(source, collector)
    return collector.dataset(source.name, source.language, source.sha256)


def read_aliases(path: str | Path) -> dict[str, tuple[str, ...]]:
    """Further names by Wikidata's id, from 2WikiMultihopQA's id_aliases.json: its aliases, then its demonyms.

    Raises:
        InputError: the file is missing or broken, or a record lacks `Q_id`, `aliases` or `demonyms`.
    """
    checker = RecordChecker(str(path))
    names: dict[str, tuple[str, ...]] = {}
    for number, record in JsonRecords(path):
        where = f"record {number}"
        texts = [
            checker.text(text, f"{where}.{key}[{i}]")
            for key in ("aliases", "demonyms")
            for i, text in enumerate(checker.list_of(record, key, where))
        ]
        names[checker.text_of(record, "Q_id", where)] = tuple(dict.fromkeys(texts))
    return names


def _require_questions(source: Source, collector: MultihopCollector | WikihopCollector) -> None:
    n_others = collector.counts["questions_of_other_splits"]
    if not collector.examples and n_others:
        raise InputError(f"{source.told} holds no questions of the split {source.split}; {n_others:,} are of others")
