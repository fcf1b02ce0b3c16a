"""Speed and memory of tokenising a corpus, beside the tokenizer's own batches; one record each.

Examples:
  python benchmarks/corpora.py speed corpus.txt --tokenizer folder --n_processes 2 --out record.json
  python benchmarks/corpora.py memory corpus.txt --tokenizer folder --n_processes 2 --out record.json

`speed` takes turns between the tokenizer's batches of 2,000 characters on as many threads (the result is not used),
these batches with their ids as lists, and shards written by threads and by processes. `memory` tokenises the whole file
with an empty cache, and adds up the memory of all processes twice per second (PSS, Linux).
"""

import argparse
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from longspan.records import BenchmarkRecord, Timing, hash_file, made_now, write_record

OWN = "the tokenizer's own batches"


def speed(args: argparse.Namespace) -> BenchmarkRecord:
    """Seconds to tokenise the first `--characters` of a file, measured in turns for all ways."""
    os.environ["RAYON_NUM_THREADS"] = str(args.n_processes)
    from longspan.data.corpora import pool
    from longspan.data.corpora.cutting import Cutter, Piece
    from longspan.data.corpora.encoder import Encoder
    from longspan.data.corpora.fragments import Fragment

    encoder = Encoder(load_tokenizer(args.tokenizer))
    backend = encoder._loaded
    with args.corpus.open(encoding="utf-8") as file:
        text = file.read(args.characters)
    texts = [text[i : i + 2_000] for i in range(0, len(text), 2_000)]
    n_shards = 8

    def own(with_ids: bool) -> None:
        os.environ["TOKENIZERS_PARALLELISM"] = "true"
        for i in range(0, len(texts), 512):
            found = backend.encode_batch(texts[i : i + 512], add_special_tokens=False)
            if with_ids:
                _ = [encoding.ids for encoding in found]

    def shards(max_threads: int) -> None:
        pool.MAX_THREADS = max_threads
        for _ in pool.write_shards(jobs(), encoder, args.n_processes):
            pass

    def jobs() -> Iterator[pool.ShardJob]:
        """Split into documents while shards are written, as `load_corpus` does."""
        some: list[Piece] = []
        n_jobs = 0
        for piece in Cutter(encoder.ids).pieces([Fragment(text, True)]):
            some.append(piece)
            if sum(len(piece.text) for piece in some) >= len(text) / n_shards:
                yield pool.ShardJob(folder / f"{n_jobs}.arrow", some, 0)
                some, n_jobs = [], n_jobs + 1
        if some:
            yield pool.ShardJob(folder / f"{n_jobs}.arrow", some, 0)

    ways: dict[str, Callable[[], None]] = {
        OWN: lambda: own(False),
        f"{OWN}, with ids": lambda: own(True),
        "longspan, threads": lambda: shards(args.n_processes),
    }
    if args.processes:  # their start is in the figure: choose enough text
        ways["longspan, processes"] = lambda: shards(0)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    folder = Path(tempfile.mkdtemp(prefix="longspan-"))
    try:
        for _ in range(args.repeats):
            for name, way in ways.items():
                start = time.perf_counter()
                way()
                seconds[name].append(time.perf_counter() - start)
    finally:
        shutil.rmtree(folder)
    n_tokens = sum(len(ids) for ids in encoder.ids(texts))
    own_seconds = median(seconds[OWN])
    timings = [
        timing(name, some, n_tokens, ratio_to={} if name == OWN else {OWN: median(some) / own_seconds})
        for name, some in seconds.items()
    ]
    settings = {
        "characters": len(text),
        "characters_per_second": {t.system: len(text) / t.median_seconds for t in timings},
    }
    return record(args, "corpora-speed", settings, timings)


def memory(args: argparse.Namespace) -> BenchmarkRecord:
    """Peak memory of all processes while a file is tokenised with an empty cache."""
    from longspan.data import load_corpus

    tokenizer = load_tokenizer(args.tokenizer)
    before = held()
    watch = Watch()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="longspan-", dir=args.cache) as folder, watch:
        corpus = load_corpus([str(args.corpus)], tokenizer, cache_dir=folder, n_processes=args.n_processes)
        seconds = time.perf_counter() - start
        summary = corpus.summary()
    settings = {
        "bytes_of_text": args.corpus.stat().st_size,
        "gigabytes_before": before / 1e9,
        "gigabytes_at_peak": watch.peak / 1e9,
        "of_each_process_at_peak": [round(n / 1e9, 3) for n in watch.each],
        "n_documents": summary["n_documents"],
        "n_unsafe_cuts": summary["sources"][0]["n_unsafe_cuts"],
    }
    done = timing("longspan", [seconds], summary["n_tokens"], peak_memory_bytes=watch.peak)
    return record(args, "corpora-memory", settings, [done])


class Watch:
    """A context that records the memory of this process and its descendants."""

    def __init__(self) -> None:
        self.peak, self.each = 0, list[int]()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._end.wait(0.5):
            each = sorted((proportional(pid) for pid in family()), reverse=True)
            if sum(each) > self.peak:
                self.peak, self.each = sum(each), each


def held() -> int:
    """Bytes of memory of this process and its descendants."""
    return sum(proportional(pid) for pid in family())


def family() -> set[int]:
    """The ids of this process and its descendants."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            told = path.read_text()
        except OSError:
            continue  # it has ended
        children.setdefault(int(told.rsplit(")", 1)[1].split()[1]), []).append(int(told.split(" ", 1)[0]))
    found, left = set[int](), [os.getpid()]
    while left:
        pid = left.pop()
        found.add(pid)
        left += children.get(pid, [])
    return found


def proportional(pid: int) -> int:
    """The PSS of a process in bytes: its own memory, and its share of shared memory."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0  # it has ended
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def timing(system: str, seconds: list[float], n_tokens: int, **fields: Any) -> Timing:
    """One timing of the record."""
    ordered = sorted(seconds)
    return Timing(
        what="tokenising",
        system=system,
        n_tokens=n_tokens,
        dtype="int32",
        median_seconds=median(ordered),
        q20_seconds=ordered[round(0.2 * (len(ordered) - 1))],
        q80_seconds=ordered[round(0.8 * (len(ordered) - 1))],
        repeats=len(ordered),
        **fields,
    )


def record(args: argparse.Namespace, name: str, settings: dict[str, Any], timings: list[Timing]) -> BenchmarkRecord:
    """The record of a run."""
    settings = {"tokenizer": Path(args.tokenizer).name, "n_processes": args.n_processes} | settings
    options = f"--n_processes {args.n_processes}" + " --processes" * args.processes
    if args.what == "speed":
        options += f" --characters {args.characters} --repeats {args.repeats}"
    command = f"python benchmarks/corpora.py {args.what} {args.corpus.name} --tokenizer {Path(args.tokenizer).name} "
    made = made_now(data={args.corpus.name: hash_file(args.corpus)}, command=command + options)
    return BenchmarkRecord(made=made, name=name, settings=settings, timings=timings)


def load_tokenizer(path: str) -> Any:
    """A tokenizer of transformers from a folder."""
    import torch  # noqa: F401  (a training process has loaded it, so that its memory counts)
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(path)


def main() -> int:
    """Make one record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "memory"])
    parser.add_argument("corpus", type=Path, help="a UTF-8 text file")
    parser.add_argument("--tokenizer", required=True, help="folder of a fast tokenizer")
    parser.add_argument("--n_processes", type=int, default=2)
    parser.add_argument("--characters", type=int, default=4_000_000, help="of the file, for speed")
    parser.add_argument("--processes", action="store_true", help="time processes too")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cache", type=Path, help="folder for the cache, which is removed; the system's where None")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    done = {"speed": speed, "memory": memory}[args.what](args)
    print(write_record(done, args.out))
    for row in done.timings:
        print(f"{row.system}: {row.median_seconds:.2f} s", dict(row.ratio_to))
    return 0


if __name__ == "__main__":
    sys.exit(main())
