"""Golden values of the models: `python tests/golden/make.py` writes them again.

They show that a model computes today what it computed when they were written. A change of a value needs a line in
CHANGELOG.md with the reason.

logits.txt   head: the first eight scores of each of two rows
losses.txt   step: the loss of masked language modelling on one batch, AdamW, 20 steps
"""

import sys
from pathlib import Path

import numpy as np
import torch

import longspan

sys.path.insert(0, str(Path(__file__).parent))
import golden_file

HEADS = {
    "masked lm": longspan.LongformerForMaskedLM,
    "question answering": longspan.LongformerForQuestionAnswering,
    "sequence classification": longspan.LongformerForSequenceClassification,
    "token classification": longspan.LongformerForTokenClassification,
    "multiple choice": longspan.LongformerForMultipleChoice,
}


def make_model(head: str) -> longspan.models.LongformerPreTrainedModel:
    """A tiny model whose weights depend only on their names and NumPy's frozen random stream."""
    config = longspan.LongformerConfig(
        vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=66, attention_window=[6, 8], attention_dilation=[1, 2], type_vocab_size=1,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, num_labels=2 if head == "question answering" else 3,
    )  # fmt: skip
    model = HEADS[head](config).eval()
    stream = np.random.RandomState(0)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            parameter.copy_(torch.from_numpy(stream.standard_normal(tuple(parameter.shape)) * 0.3))
            if name.lower().endswith(("layernorm.weight", "layer_norm.weight")):
                parameter.add_(1)
    return model


def make_inputs(head: str) -> dict[str, torch.Tensor]:
    """Two rows, the second padded, with the separators of a pair."""
    ids = torch.from_numpy(np.random.RandomState(1).randint(5, 40, (2, 30)))
    ids[:, 0], ids[:, [6, 7]], ids[0, 29], ids[1, 22], ids[1, 23:] = 0, 2, 2, 2, 1
    inputs = {"input_ids": ids, "attention_mask": (ids != 1).long()}
    if head == "multiple choice":
        # Each row, and the two rows in reverse order, as choices.
        return {name: torch.stack([x, x.flip(0)], dim=1) for name, x in inputs.items()}
    return inputs


@golden_file.one_thread()
def make_logits() -> dict[str, list[float]]:
    """Some scores of every head, up to eight of each row."""
    found = {}
    for head in HEADS:
        with torch.no_grad():
            output = make_model(head)(**make_inputs(head))
        found[head] = output[0].reshape(2, -1)[:, :8].flatten().tolist()
    return found


@golden_file.one_thread()
def make_losses(n_steps: int = 20) -> dict[str, list[float]]:
    """The loss of each of the first steps of training."""
    model = make_model("masked lm")
    inputs = make_inputs("masked lm")
    labels = inputs["input_ids"].masked_fill(torch.arange(30) % 4 != 1, -100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = {}
    for step in range(1, n_steps + 1):
        loss = model(**inputs, labels=labels, global_attention_mask=inputs["input_ids"] == 0).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses[str(step)] = [float(loss.detach())]
    return losses


def main() -> None:
    """Write both files."""
    golden_file.write_golden("logits.txt", make_logits())
    golden_file.write_golden("losses.txt", make_losses())


if __name__ == "__main__":
    main()
