"""files -> labelled texts: tables, folders of classes, Hyperpartisan's XML, 20 Newsgroups, the hub; no torch."""

from longspan.data.classification.examples import LabelledDataset, LabelledText, labels_to_train, require_known_labels
from longspan.data.classification.load import CLASSIFICATION_CATALOGUE, load_labelled_dataset, require_data

__all__ = [
    "CLASSIFICATION_CATALOGUE",
    "LabelledDataset",
    "LabelledText",
    "labels_to_train",
    "load_labelled_dataset",
    "require_data",
    "require_known_labels",
]
