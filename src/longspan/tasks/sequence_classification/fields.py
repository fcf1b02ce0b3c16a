"""The recipe fields of sequence classification."""

from typing import Literal

from pydantic import Field

from longspan.tasks.sequence_classification.merging import Merge
from longspan.tasks.task import TaskFields


class ClassificationFields(TaskFields):
    """Recipe fields of sequence classification."""

    text_column: str | None = Field(None, description="of a table; null: text, sentence, document, ...")
    pair_column: str | None = Field(None, description="with a second text; null: there is none")
    label_column: str | None = Field(None, description="null: label, labels, class, ...")
    label_separator: str | None = Field(None, description="between the labels of one row, if it may have several")
    problem_type: Literal["single_label_classification", "multi_label_classification", "regression"] | None = Field(
        None, description="null: what the labels look like"
    )
    windows: Literal["first", "all"] = Field(
        "first", description="of a long document, train on the first window, or on all of them with its label"
    )
    merge: Merge = Field("mean", description="of the windows of a document: mean or maximum of log-probabilities")
