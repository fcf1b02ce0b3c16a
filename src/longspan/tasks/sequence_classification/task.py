"""Sequence classification as a task: one label (or several, or a number) for a whole document."""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from longspan.errors import InputError
from longspan.records import Metric
from longspan.tasks.sequence_classification.fields import ClassificationFields
from longspan.tasks.task import FeatureSet, FineTuningTask, ListedData, PredictorOptions, Rows, Scored

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from longspan.data.classification import LabelledDataset
    from longspan.tasks.sequence_classification.batch import WindowCollator
    from longspan.tasks.sequence_classification.evaluation_data import Documents
    from longspan.tasks.sequence_classification.predictor import LabelPredictor


class SequenceClassification(FineTuningTask):
    """Labels, or a number, for whole documents."""

    name = "sequence_classification"
    title = "sequence classification"
    head = "sequence_classification"
    item_noun = "document"
    metrics = (
        Metric(name="accuracy", label="Accuracy"),
        Metric(name="f1_macro", label="Macro F1"),
        Metric(name="f1_micro", label="Micro F1"),
        Metric(name="matthews", label="Matthews correlation", unit=""),
        Metric(name="mse", label="Mean squared error", unit="", higher_is_better=False),
        Metric(name="pearson", label="Pearson correlation", unit=""),
        Metric(name="spearman", label="Spearman correlation", unit=""),
    )
    count_labels: ClassVar[Mapping[str, str]] = {"truncated": "Not read to the end"}
    global_tokens = "<s>"
    fields = ClassificationFields
    head_keys = ("id2label", "label2id", "problem_type")
    training_metrics = ("accuracy", "f1_macro", "mse", "pearson")
    counts_worth_saying: ClassVar[Mapping[str, str]] = {
        "labels_stripped": "rows had white space around a label, which was taken off",
        "documents_cut": "documents were trained on with their first window only; windows: all trains on all",
    }

    def read(self, entry: str, fields: Any, *, for_training: bool) -> "LabelledDataset":
        """Read labelled documents."""
        from longspan.tasks.sequence_classification.training_data import read_documents

        return read_documents(entry, fields, for_training=for_training)

    def listed_data(self) -> Sequence[ListedData]:
        """Return the data sets of labelled texts by name, and the formats."""
        from longspan.tasks.sequence_classification.catalogue_lines import listed_texts

        return listed_texts()

    def data_lines(self, dataset: Any) -> list[tuple[str, str]]:
        """Return the kind of labels, how many texts have each, and the lengths of the texts."""
        from longspan.tasks.sequence_classification.catalogue_lines import lines_about

        return lines_about(dataset)

    def missing_data(self, entries: Sequence[str], languages: Sequence[str] | None = None) -> Iterator[str]:
        """Yield a sentence for each entry that is not here."""
        from longspan.data.classification import require_data

        del languages
        for entry in entries:
            try:
                require_data(entry)
            except InputError as error:
                yield str(error)

    def head_config(self, training: Sequence[Any] | None, fields: Any) -> dict[str, Any]:
        """Return the labels of the training data.

        Raises:
            InputError: the data sets are of several problem types, there is only one label, or one has no text.
        """
        from longspan.tasks.sequence_classification.training_data import head_config

        del fields
        return head_config(training) if training else {}

    def keeps_head(self, config: Any, wanted: Mapping[str, Any]) -> bool:
        """Return whether the head has the wanted labels, or gives a number as wanted."""
        from longspan.tasks.sequence_classification.training_data import keeps_head

        return keeps_head(config, wanted)

    def check_training(self, training: Sequence[Any], evaluation: Sequence[Any]) -> None:
        """Refuse a label without a text to train on, and one of a text to evaluate on that none to train on has."""
        from longspan.tasks.sequence_classification.training_data import check_data

        check_data(training, evaluation)

    def check_evaluation(self, dataset: Any, predictor: Any) -> None:
        """Refuse labels that the model does not have, and data of another problem type."""
        from longspan.tasks.sequence_classification.scoring import require_fit

        require_fit(dataset, predictor)

    def features(
        self,
        examples: Sequence[Any],
        tokenizer: "PreTrainedTokenizerBase",
        fields: Any,
        *,
        max_length: int,
        overlap: int,
        for_training: bool,
        config: Any,
    ) -> FeatureSet:
        """Return windows with the document's label."""
        from longspan.tasks.sequence_classification.training_data import target_of
        from longspan.tasks.sequence_classification.windows import DocumentWindows

        rows = DocumentWindows(
            examples,
            tokenizer,
            max_length=max_length,
            overlap=overlap,
            first_only=for_training and fields.windows == "first",
            target_of=target_of(config),
        )
        if not for_training:
            rows.sort_longest_first()
        return rows

    def collator(self, model: Any, tokenizer: "PreTrainedTokenizerBase", fields: Any) -> "WindowCollator":
        """Return what pads windows and makes `<s>` global."""
        from longspan.tasks.sequence_classification.batch import WindowCollator

        del fields
        return WindowCollator(model, tokenizer)

    def training_scores(
        self,
        examples: Sequence[tuple[Any, str]],
        rows: FeatureSet,
        logits: Sequence[Any],
        tokenizer: "PreTrainedTokenizerBase",
        fields: Any,
        config: Any,
    ) -> dict[str, float]:
        """Return the scores over documents, their windows merged."""
        from longspan.tasks.sequence_classification.scoring import score_windows

        del tokenizer
        return score_windows(examples, rows, logits, fields.merge, config)

    def predictor(
        self, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", options: PredictorOptions, fields: Any
    ) -> "LabelPredictor":
        """Return a `LabelPredictor`."""
        from longspan.tasks.sequence_classification.predictor import LabelPredictor

        return LabelPredictor(model, tokenizer, options, getattr(fields, "merge", None) or "mean")

    def prediction_type(self) -> Any:
        """Return `LabelPrediction`."""
        from longspan.tasks.sequence_classification.predictor import LabelPrediction

        return LabelPrediction

    def score(self, system: str, dataset: Any, predictor: Any, predictions: Sequence[Any]) -> Scored:
        """Score labels or numbers; a document without a prediction has none of the labels, or the number 0."""
        from longspan.tasks.sequence_classification.scoring import score_predictions

        return score_predictions(system, dataset, predictor, predictions, self.metrics)

    def is_askable(self, example: Any) -> bool:
        """Return whether the document has any text."""
        return bool(example.text.strip())

    def identity(self, example: Any) -> list[Any]:
        """Return everything of a document that decides its prediction and its score."""
        return [example.id, example.text, example.pair, list(example.labels), example.value]

    def add_evaluate_options(self, parser: argparse.ArgumentParser) -> None:
        """Add the columns of tables and the merging of windows."""
        from longspan.tasks.sequence_classification.evaluation_data import add_options

        add_options(parser)

    def evaluation_data(self, arguments: argparse.Namespace) -> "Documents":
        """Return the documents to label."""
        from longspan.tasks.sequence_classification.evaluation_data import Documents

        return Documents(arguments)

    def add_predict_options(self, parser: argparse.ArgumentParser) -> None:
        """Add the merging of windows."""
        from longspan.tasks.sequence_classification.evaluation_data import add_merge

        add_merge(parser)

    def predict_rows(self, arguments: argparse.Namespace, load: Callable[[], tuple[Any, Any]]) -> Rows:
        """Label every document."""
        from longspan.tasks.sequence_classification.label_rows import label_rows

        return label_rows(arguments, load)
