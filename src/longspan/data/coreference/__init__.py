"""files -> documents with coreference clusters, and clusters -> CoNLL columns; no torch."""

from longspan.data.coreference.catalogue import COREFERENCE_CATALOGUE
from longspan.data.coreference.conll_writer import conll_of_document, write_conll
from longspan.data.coreference.documents import CoreferenceDataset, CoreferenceDocument
from longspan.data.coreference.load import load_coreference_dataset, require_coreference_data
from longspan.data.coreference.merging import merge_window_clusters

__all__ = [
    "COREFERENCE_CATALOGUE",
    "CoreferenceDataset",
    "CoreferenceDocument",
    "conll_of_document",
    "load_coreference_dataset",
    "merge_window_clusters",
    "require_coreference_data",
    "write_conll",
]
