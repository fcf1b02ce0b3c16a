"""Multi-hop questions: HotpotQA, 2WikiMultihopQA, MuSiQue and WikiHop; no torch."""

from longspan.data.multihop.catalogue import MULTIHOP_CATALOGUE, MultihopEntry
from longspan.data.multihop.distances import FactDistance, fact_distance
from longspan.data.multihop.examples import (
    Evidence,
    Fact,
    Hop,
    MultihopDataset,
    MultihopExample,
    Paragraph,
    Span,
    WikihopExample,
)
from longspan.data.multihop.load import load_multihop_dataset, load_wikihop_dataset, read_aliases

__all__ = [
    "MULTIHOP_CATALOGUE",
    "Evidence",
    "Fact",
    "FactDistance",
    "Hop",
    "MultihopDataset",
    "MultihopEntry",
    "MultihopExample",
    "Paragraph",
    "Span",
    "WikihopExample",
    "fact_distance",
    "load_multihop_dataset",
    "load_wikihop_dataset",
    "read_aliases",
]
