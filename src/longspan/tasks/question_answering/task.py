"""Extractive question answering as a task: an answer is a span of the document."""

import argparse
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from longspan.errors import InputError
from longspan.records import EvaluationRecord, Item, Place, older
from longspan.tasks.task import FeatureSet, FineTuningTask, ListedData, PredictorOptions, Rows, Scored, TaskFields

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from longspan.data.qa import QaDataset
    from longspan.tasks.question_answering.predictor import QaPredictor

logger = logging.getLogger(__name__)


class QuestionFields(TaskFields):
    """Recipe fields of question answering."""

    needed_by: ClassVar[dict[str, set[str]]] = {"n_concat": {"separator", "concat_seed", "first_question_only"}}

    n_concat: int | None = Field(None, gt=0, description="join that many paragraphs into one document; null: do not")
    separator: str = Field("", description="between joined paragraphs")
    concat_seed: int | None = Field(None, description="shuffles the paragraphs before they are joined")
    first_question_only: bool = Field(True, description="joined documents ask the first question of each paragraph")
    global_tokens: Literal["question", "none"] = Field("question", description="which tokens see the whole document")
    no_answer_windows: float = Field(
        1.0, ge=0, le=1, description="share of the windows without the answer, of answered questions, trained on"
    )
    max_answer_tokens: int = Field(30, gt=0, description="longest answer in evaluation during training")

    def implied_fields(self) -> set[str]:
        """Return `n_concat` if an entry of the data says how many paragraphs it joins."""
        from longspan.tasks.question_answering.training_data import split_entry

        entries = [*getattr(self, "train_data", ()), *getattr(self, "eval_data", ())]
        return {"n_concat"} if any(split_entry(entry)[1] is not None for entry in entries) else set()


class QuestionAnswering(FineTuningTask):
    """Questions about a document, answered with a span of it."""

    name = "question_answering"
    title = "question answering"
    head = "question_answering"
    item_noun = older.ITEM_NOUN
    metrics = older.METRICS
    count_labels = older.COUNT_LABELS
    global_tokens = "question"
    fields = QuestionFields
    training_metrics = ("exact_match", "f1")
    has_places = True
    predict_example = ' --question "..."'
    counts_worth_saying: ClassVar[Mapping[str, str]] = {
        "questions_without_label": "questions were not trained on: no gold answer is in their document",
        "answers_without_window": "answers stand in no window whole; a larger overlap would help",
        "repaired_offsets": "answers had wrong offsets and were repaired",
        "unlocatable_answers": "answers are not in their document",
    }

    def read(self, entry: str, fields: Any, *, for_training: bool) -> "QaDataset":
        """Read questions; answers that are not in their document are named in a warning."""
        from longspan.tasks.question_answering.training_data import read_questions

        dataset = read_questions(entry, fields, for_training=for_training)
        if dataset.unlocatable_ids:
            logger.warning(
                "%s: answers that are not in their document, of the questions %s",
                dataset.name,
                ", ".join(dataset.unlocatable_ids),
            )
        return dataset

    def listed_data(self) -> Sequence[ListedData]:
        """Return the catalogue, needles, and the formats of files and of the hub."""
        from longspan.tasks.question_answering.catalogue_lines import listed_questions

        return listed_questions()

    def data_lines(self, dataset: Any) -> list[tuple[str, str]]:
        """Return the lengths of the documents, and every question whose answer is not in its document."""
        from longspan.tasks.question_answering.catalogue_lines import lines_about

        return lines_about(dataset)

    def missing_data(self, entries: Sequence[str], languages: Sequence[str] | None = None) -> Iterator[str]:
        """Yield a sentence for each entry that is no file here and in no catalogue."""
        from longspan.data.qa import expand_name, require_data
        from longspan.tasks.question_answering.evaluation_data import NEEDLE
        from longspan.tasks.question_answering.training_data import split_entry

        for entry in entries:
            try:
                for name, _ in [] if entry == NEEDLE else expand_name(split_entry(entry)[0], languages):
                    require_data(name)
            except InputError as error:
                yield str(error)

    def keeps_head(self, config: Any, wanted: Mapping[str, Any]) -> bool:
        """Return whether the head has two outputs, start and end."""
        del wanted
        return config.num_labels == 2

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
        """Return overlapping windows with the answers' positions."""
        from longspan.tasks.question_answering.training_data import make_evaluation_windows, make_training_windows

        del config
        if for_training:
            return make_training_windows(examples, fields, tokenizer, max_length, overlap)
        return make_evaluation_windows(examples, tokenizer, max_length, overlap)

    def collator(self, model: Any, tokenizer: "PreTrainedTokenizerBase", fields: Any) -> Callable[..., Any]:
        """Return what pads windows and makes the question global."""
        from longspan.tasks.question_answering.batch import ModelCollator

        return ModelCollator(model, tokenizer, global_tokens=fields.global_tokens)

    def training_scores(
        self,
        examples: Sequence[tuple[Any, str]],
        rows: FeatureSet,
        logits: Sequence[Any],
        tokenizer: "PreTrainedTokenizerBase",
        fields: Any,
        config: Any,
    ) -> dict[str, float]:
        """Return exact match and F1 in per cent, by each language's rules."""
        from longspan.tasks.question_answering.scoring import score_windows

        del tokenizer, config
        return score_windows(examples, rows, logits, max_answer_tokens=fields.max_answer_tokens)

    def predictor(
        self, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", options: PredictorOptions, fields: Any
    ) -> "QaPredictor":
        """Return a `QaPredictor`."""
        from longspan.tasks.question_answering.predictor import QaPredictor

        has_global = options.has_global and getattr(fields, "global_tokens", "question") == "question"
        return QaPredictor(
            model,
            tokenizer,
            max_length=options.max_length,
            overlap=options.overlap,
            truncate=options.truncate,
            global_tokens="question" if has_global else "none",
            batch_size=options.batch_size,
            max_answer_tokens=getattr(fields, "max_answer_tokens", 30),
            device=options.device,
            dtype=options.dtype,
        )

    def score(self, system: str, dataset: Any, predictor: Any, predictions: Sequence[Any]) -> Scored:
        """Score answers by each language's rules, by SQuAD's, and by the thesis' protocol."""
        from longspan.tasks.question_answering.scoring import score_answers

        return score_answers(system, dataset, predictor, predictions)

    def prediction_type(self) -> Any:
        """Return `QaPrediction`."""
        from longspan.tasks.question_answering.predictor import QaPrediction

        return QaPrediction

    def is_askable(self, example: Any) -> bool:
        """Return whether question and document hold any text."""
        return bool(example.question.strip() and example.context.strip())

    def places(self, dataset: Any, items: Sequence[Item]) -> list[Place]:
        """Return scores by the length of the document and the place of the answer."""
        from longspan.tasks.question_answering.places import places_of

        return places_of(dataset, items)

    def data_settings(self, datasets: Sequence[Any]) -> dict[str, Any]:
        """Return the questions whose gold answers are not in their document."""
        from longspan.tasks.question_answering.windows_read import has_lost_its_gold

        lost = {
            dataset.name: ids
            for dataset in datasets
            if (ids := [example.id for example in dataset.examples if has_lost_its_gold(example)])
        }
        return {"gold_not_in_document": lost} if lost else {}

    def identity(self, example: Any) -> list[Any]:
        """Return everything of a question that decides its answer and its score."""
        own = [example.id, example.question, example.context, example.golds, example.slot, example.n_slots]
        return [*own, example.depth, example.nominal_tokens, example.rules]

    def add_evaluate_options(self, parser: argparse.ArgumentParser) -> None:
        """Add joining, needles and the longest answer."""
        from longspan.tasks.question_answering.evaluation_data import add_options

        add_options(parser)

    def check_evaluate_options(self, arguments: argparse.Namespace) -> None:
        """Refuse options that do not go together."""
        from longspan.tasks.question_answering.evaluation_data import check_questions

        check_questions(arguments)

    def evaluation_data(self, arguments: argparse.Namespace) -> Any:
        """Return the questions: read at once, needles made later."""
        from longspan.tasks.question_answering.evaluation_data import Questions

        return Questions(arguments)

    def terminal_lines(self, record: EvaluationRecord) -> list[str]:
        """Return the scores by the thesis' protocol."""
        from longspan.tasks.question_answering.thesis import thesis_lines

        return thesis_lines(record)

    def add_predict_options(self, parser: argparse.ArgumentParser) -> None:
        """Add the questions and what an answer may be."""
        from longspan.tasks.question_answering.answer_rows import add_options

        add_options(parser)

    def predict_rows(self, arguments: argparse.Namespace, load: Callable[[], tuple[Any, Any]]) -> Rows:
        """Answer every question over one document."""
        from longspan.tasks.question_answering.answer_rows import answer_rows

        return answer_rows(arguments, load)
