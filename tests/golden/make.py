"""Golden values of the models: `python tests/golden/make.py` writes them anew.

They say that a model computes today what it computed when they were written. A change of them needs a line in
CHANGELOG.md that says why.

logits.txt   head, then the first eight scores of each of two rows
losses.txt   step, then the loss of masked language modelling on one batch, AdamW, 20 steps
"""

from pathlib import Path

import numpy as np
import torch

import longspan

HERE = Path(__file__).parent

HEADS = {
    "masked lm": longspan.LongformerForMaskedLM,
    "question answering": longspan.LongformerForQuestionAnswering,
    "sequence classification": longspan.LongformerForSequenceClassification,
    "token classification": longspan.LongformerForTokenClassification,
    "multiple choice": longspan.LongformerForMultipleChoice,
}


def make_model(head: str) -> longspan.models.LongformerPreTrainedModel:
    """A tiny model whose weights depend on nothing but their names and NumPy's frozen random stream."""
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
        # Each row beside itself turned round.
        return {name: torch.stack([x, x.flip(0)], dim=1) for name, x in inputs.items()}
    return inputs


def make_logits() -> dict[str, np.ndarray]:
    """Some scores of every head, [2, 8] or fewer."""
    found = {}
    for head in HEADS:
        with torch.no_grad():
            output = make_model(head)(**make_inputs(head))
        scores = output[0].reshape(2, -1)[:, :8]
        found[head] = scores.numpy()
    return found


def make_losses(n_steps: int = 20) -> list[float]:
    """Losses of the first steps of training."""
    model = make_model("masked lm")
    inputs = make_inputs("masked lm")
    labels = inputs["input_ids"].masked_fill(torch.arange(30) % 4 != 1, -100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(n_steps):
        loss = model(**inputs, labels=labels, global_attention_mask=inputs["input_ids"] == 0).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return losses


def main() -> None:
    """Write both files."""
    lines = [f"{head}: {' '.join(f'{x:.5f}' for x in scores.ravel())}" for head, scores in make_logits().items()]
    (HERE / "logits.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    lines = [f"{step} {loss:.5f}" for step, loss in enumerate(make_losses(), start=1)]
    (HERE / "losses.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
