"""Table of the encoder families that can be extended, with the names of their parameters and configuration keys.

An entry is data without code: `docs/how-to-add-a-family.md` adds one in ten lines.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from longspan.errors import InputError
from longspan.models.heads import HEADS

Kind = str  # a key of HEADS


class NameMap:
    """An ordered table of pairs of parameter names, (source, Longformer), that translates in both directions.

    `*` stands for the same text on both sides. The first row that matches the whole name is used. The translation is
    None if no row matches.
    """

    def __init__(self, rows: tuple[tuple[str, str], ...]) -> None:
        self.rows = rows
        self._forward = [(_compile(old), new) for old, new in rows]
        self._backward = [(_compile(new), old) for old, new in rows]

    def to_longformer(self, name: str) -> str | None:
        """The Longformer's name of the source's parameter `name`."""
        return _translate(name, self._forward)

    def from_longformer(self, name: str) -> str | None:
        """The source's name of the Longformer's parameter `name`."""
        return _translate(name, self._backward)


def _compile(template: str) -> re.Pattern[str]:
    return re.compile("(.*?)".join(re.escape(part) for part in template.split("*")))


def _translate(name: str, rules: list[tuple[re.Pattern[str], str]]) -> str | None:
    for pattern, template in rules:
        if match := pattern.fullmatch(name):
            carried = iter(match.groups())
            return "".join(next(carried) if part == "*" else part for part in re.split(r"(\*)", template))
    return None


@dataclass(frozen=True)
class Head:
    """A task head of a family.

    Attributes:
        names: rows of the name map for the head's own parameters; they come before the encoder's rows.
        activation: activation between the two layers of a classification head (tanh in the Longformer).
        follows_hidden_act: whether the head uses `hidden_act`; the Longformer's always uses gelu.
        dropout: the configuration key of the head's own dropout; None if it has none.
    """

    names: tuple[tuple[str, str], ...] = ()
    activation: str = "tanh"
    follows_hidden_act: bool = False
    dropout: str | None = None


@dataclass(frozen=True)
class Family:
    """A family of encoders.

    Attributes:
        name: its usual name.
        model_type: transformers' `model_type`.
        class_prefix: first part of its class names (`BertForMaskedLM`: `Bert`).
        base: the attribute that holds the encoder in a model with a head, transformers' `base_model_prefix`.
        heads: the kinds of head that can be extended.
        reserves_rows: whether position rows 0 .. pad id are reserved and the first token reads row pad id + 1
            (RoBERTa); otherwise the first token reads row 0 (BERT).
        encoder: rows of the name map for the encoder.
        renamed: the Longformer's configuration key -> the family's, if they differ.
        fixed: configuration keys that the family lacks -> the value that its code uses.
        pre_training: the kind that `...ForPreTraining` becomes.
        left_behind: parameters (name templates) without a place in a Longformer -> the reason.
        refused_heads: kinds of head that cannot be extended -> the reason.
    """

    name: str
    model_type: str
    class_prefix: str
    base: str
    heads: Mapping[Kind, Head]
    reserves_rows: bool = False
    encoder: tuple[tuple[str, str], ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    pre_training: Kind | None = None
    left_behind: Mapping[str, str] = field(default_factory=dict)
    refused_heads: Mapping[Kind, str] = field(default_factory=dict)

    def names(self, kind: Kind) -> NameMap:
        """The name map of a model of this family with a head of `kind`."""
        return NameMap((*self.heads[kind].names, *self.encoder, (f"{self.base}.*", "longformer.*")))

    def kind_of_class(self, class_name: str) -> Kind | None:
        """The kind of head of a class of this family; None if longspan does not know the class."""
        if self.pre_training and class_name == f"{self.class_prefix}ForPreTraining":
            return self.pre_training
        for kind, head in HEADS.items():
            if class_name == self.class_prefix + head.class_ending:
                return kind
        return None

    def require_head(self, kind: Kind) -> Head:
        """Return the head of `kind`.

        Raises:
            InputError: no Longformer head computes the same as this family's head of that kind.
        """
        if kind in self.heads:
            return self.heads[kind]
        reason = self.refused_heads.get(kind, "longspan has no map for it")
        raise InputError(
            f"{self.class_prefix}{HEADS[kind].class_ending} cannot be extended with its head: {reason}. "
            f"Extend its encoder (`longspan.extend(model.{self.base})`) and train a new head"
        )


_ANY = ("classifier.*", "classifier.*")
_QA = Head((("qa_outputs.*", "qa_outputs.*"),))

_ROBERTA_HEADS: dict[Kind, Head] = {
    "base": Head(),
    "masked_lm": Head((("lm_head.*", "lm_head.*"),)),
    "question_answering": _QA,
    "sequence_classification": Head((_ANY,), dropout="classifier_dropout"),
    "token_classification": Head((_ANY,), dropout="classifier_dropout"),
    "multiple_choice": Head((_ANY,)),
}

_NO_NEXT_SENTENCE = "the next-sentence head of pre-training"

FAMILIES: tuple[Family, ...] = (
    Family("RoBERTa", "roberta", "Roberta", "roberta", _ROBERTA_HEADS, reserves_rows=True),
    Family("XLM-R", "xlm-roberta", "XLMRoberta", "roberta", _ROBERTA_HEADS, reserves_rows=True),
    Family("CamemBERT", "camembert", "Camembert", "roberta", _ROBERTA_HEADS, reserves_rows=True),
    Family(
        "BERT",
        "bert",
        "Bert",
        "bert",
        {
            "base": Head(),
            "masked_lm": Head(
                (
                    ("cls.predictions.transform.dense.*", "lm_head.dense.*"),
                    ("cls.predictions.transform.LayerNorm.*", "lm_head.layer_norm.*"),
                    ("cls.predictions.*", "lm_head.*"),
                ),
                follows_hidden_act=True,
            ),
            "question_answering": _QA,
            # BERT's pooler is the first layer of its classification head; the Longformer's head has its own.
            "sequence_classification": Head(
                (("bert.pooler.dense.*", "classifier.dense.*"), ("classifier.*", "classifier.out_proj.*")),
                dropout="classifier_dropout",
            ),
            "token_classification": Head((_ANY,), dropout="classifier_dropout"),
            "multiple_choice": Head((_ANY,), dropout="classifier_dropout"),
        },
        pre_training="masked_lm",
        left_behind={"cls.seq_relationship.*": _NO_NEXT_SENTENCE},
    ),
    Family(
        "DistilBERT",
        "distilbert",
        "DistilBert",
        "distilbert",
        {
            "base": Head(),
            "masked_lm": Head(
                (
                    ("vocab_transform.*", "lm_head.dense.*"),
                    ("vocab_layer_norm.*", "lm_head.layer_norm.*"),
                    ("vocab_projector.*", "lm_head.decoder.*"),
                ),
                follows_hidden_act=True,
            ),
            "question_answering": Head(_QA.names, dropout="qa_dropout"),
            "sequence_classification": Head(
                (("pre_classifier.*", "classifier.dense.*"), ("classifier.*", "classifier.out_proj.*")),
                activation="relu",
                dropout="seq_classif_dropout",
            ),
            "token_classification": Head((_ANY,)),
        },
        encoder=tuple(
            (f"distilbert.transformer.layer.*.{old}.*", f"longformer.encoder.layer.*.{new}.*")
            for old, new in (
                ("attention.q_lin", "attention.self.query"),
                ("attention.k_lin", "attention.self.key"),
                ("attention.v_lin", "attention.self.value"),
                ("attention.out_lin", "attention.output.dense"),
                ("sa_layer_norm", "attention.output.LayerNorm"),
                ("ffn.lin1", "intermediate.dense"),
                ("ffn.lin2", "output.dense"),
                ("output_layer_norm", "output.LayerNorm"),
            )
        ),
        renamed={
            "intermediate_size": "hidden_dim",
            "hidden_act": "activation",
            "hidden_dropout_prob": "dropout",
            "attention_probs_dropout_prob": "attention_dropout",
        },
        fixed={"type_vocab_size": 1, "layer_norm_eps": 1e-12},
        refused_heads={"multiple_choice": "it applies ReLU to its first token where the Longformer's pooler has tanh"},
    ),
    Family(
        "ELECTRA",
        "electra",
        "Electra",
        "electra",
        {
            "base": Head(),
            "masked_lm": Head(
                (
                    ("generator_predictions.dense.*", "lm_head.dense.*"),
                    ("generator_predictions.LayerNorm.*", "lm_head.layer_norm.*"),
                    ("generator_lm_head.*", "lm_head.decoder.*"),
                )
            ),
            "question_answering": _QA,
            "sequence_classification": Head((_ANY,), activation="gelu", dropout="classifier_dropout"),
            "token_classification": Head((_ANY,), dropout="classifier_dropout"),
        },
        pre_training="base",
        left_behind={"discriminator_predictions.*": "the discriminator's head of pre-training"},
        refused_heads={"multiple_choice": "it applies GELU to its first token where the Longformer's pooler has tanh"},
    ),
)

FAMILY_OF_TYPE: dict[str, Family] = {family.model_type: family for family in FAMILIES}

_RELATIVE = "its attention uses relative positions, so there are no position rows to repeat"
_ROTARY = "its positions are rotary (RoPE), so there are no position rows to repeat; it may take long inputs already"
_LONG = "it has sparse attention for long inputs already"
_SEQ2SEQ = "it is an encoder-decoder with relative positions"
_DECODER = "it is a decoder: its tokens see the left side only"
_PRE_NORM = "it normalises before attention, the Longformer after it"

REFUSED_TYPES: dict[str, tuple[str, str]] = {
    "albert": ("ALBERT", "its layers share one set of weights and its embeddings are narrower than its layers"),
    "deberta": ("DeBERTa", _RELATIVE),
    "deberta-v2": ("DeBERTa-v2/v3 (mDeBERTa)", _RELATIVE),
    "mpnet": ("MPNet", _RELATIVE),
    "xlnet": ("XLNet", _RELATIVE),
    "funnel": ("Funnel", _RELATIVE),
    "modernbert": ("ModernBERT", _ROTARY),
    "modernbert-decoder": ("ModernBERT decoder", _DECODER),
    "eurobert": ("EuroBERT", _ROTARY),
    "nomic_bert": ("NomicBERT", _ROTARY),
    "neobert": ("NeoBERT", _ROTARY),
    "roformer": ("RoFormer", _ROTARY),
    "gte": ("GTE", _ROTARY),
    "new": ("GTE", _ROTARY),
    "jina_embeddings_v3": ("jina-embeddings-v3", _ROTARY),
    "esm": ("ESM", _ROTARY),
    "t5": ("T5", _SEQ2SEQ),
    "mt5": ("mT5", _SEQ2SEQ),
    "umt5": ("UMT5", _SEQ2SEQ),
    "longt5": ("LongT5", _SEQ2SEQ),
    "bart": ("BART", "it is an encoder-decoder"),
    "mbart": ("mBART", "it is an encoder-decoder"),
    "longformer": ("Longformer", "it is a Longformer already"),
    "led": ("LED", "it is a Longformer encoder-decoder already"),
    "big_bird": ("BigBird", _LONG),
    "nystromformer": ("Nyströmformer", _LONG),
    "roberta-prelayernorm": ("RoBERTa-PreLayerNorm", _PRE_NORM),
    "xlm-roberta-xl": ("XLM-R XL", _PRE_NORM),
    "gpt2": ("GPT-2", _DECODER),
    "llama": ("Llama", _ROTARY),
}


def find_family(config: Any, *, needs_padding: bool = True) -> Family:
    """Return the family of a model with this configuration.

    Args:
        config: the model's configuration.
        needs_padding: refuse any configuration without padding id; if False, a tokenizer may supply it.

    Raises:
        InputError: the family, or this member of it, cannot be extended; the message names it and the reason.
    """
    model_type = str(getattr(config, "model_type", "") or "")
    if model_type not in FAMILY_OF_TYPE:
        name, reason = REFUSED_TYPES.get(
            model_type, (f"model_type {model_type!r}", "longspan has no name map for this family")
        )
        raise refuse(name, reason)
    family = FAMILY_OF_TYPE[model_type]
    kind_of_position = str(getattr(config, "position_embedding_type", None) or "absolute")
    if kind_of_position != "absolute":
        raise refuse(family.name, f"position_embedding_type is {kind_of_position!r}: {_RELATIVE}")
    for key, meaning in (
        ("is_decoder", "it is a decoder: its tokens see the left side only"),
        ("add_cross_attention", "it has cross attention, which a Longformer lacks"),
        ("is_encoder_decoder", "it is an encoder-decoder"),
    ):
        if getattr(config, key, False):
            raise refuse(family.name, f"{key} is set: {meaning}")
    width = getattr(config, "embedding_size", config.hidden_size)
    if width != config.hidden_size:
        raise refuse(
            family.name,
            f"its embeddings are {width} wide and its layers {config.hidden_size}, and a Longformer has one width",
        )
    act = getattr(config, family.renamed.get("hidden_act", "hidden_act"))
    if not isinstance(act, str):
        raise refuse(family.name, "its activation is a function without a name, which no configuration can save")
    if (needs_padding or family.reserves_rows) and not isinstance(getattr(config, "pad_token_id", None), int):
        raise InputError(
            f"the {family.name} model's configuration has no pad_token_id, which says where positions start; "
            "set config.pad_token_id"
        )
    return family


def refuse(name: str, reason: str) -> InputError:
    """Return the error for a model that cannot be extended, with the reason and the supported families."""
    supported = ", ".join(family.name for family in FAMILIES)
    return InputError(f"{name} cannot be extended: {reason}. Supported are {supported} with learned absolute positions")
