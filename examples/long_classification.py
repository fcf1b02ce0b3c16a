"""Train a classifier on documents whose label depends on tokens far beyond 512, with transformers' Trainer.

The words that determine the label of each made-up document are near its end. A model that stops at 512 tokens can only
guess. The same model, extended by `longspan.extend`, learns the label, because its first token is global and sees all
tokens.

Example:
  python examples/long_classification.py
"""

import tempfile

import torch
import transformers

import longspan

N_TOKENS, VOCABULARY, FIRST_WORD = 600, 64, 8
LABEL_WORDS = (5, 6)


def documents(n: int, seed: int) -> list[dict[str, list[int] | int]]:
    """Make `n` random documents of 600 tokens; the label word occurs 20 times in the last 80 tokens."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for _ in range(n):
        ids = torch.randint(FIRST_WORD, VOCABULARY, (N_TOKENS,), generator=generator)
        label = int(torch.randint(2, (), generator=generator))
        ids[0], ids[-1] = 0, 2  # <s>, </s>
        places = N_TOKENS - 2 - torch.randperm(80, generator=generator)[:20]
        ids[places] = LABEL_WORDS[label]
        rows.append({"input_ids": ids.tolist(), "labels": label})
    return rows


def accuracy(model: transformers.PreTrainedModel, rows: list[dict[str, list[int] | int]], max_tokens: int) -> float:
    """Share of `rows` that the model labels correctly from the first `max_tokens` tokens."""
    model.eval()
    ids = torch.tensor([row["input_ids"] for row in rows])[:, :max_tokens]
    labels = torch.tensor([row["labels"] for row in rows])
    with torch.inference_mode():
        return (model(ids).logits.argmax(-1) == labels).float().mean().item()


def train(model: transformers.PreTrainedModel, rows: list[dict[str, list[int] | int]], max_tokens: int) -> None:
    """Train for a few epochs with transformers' Trainer."""
    data = [{"input_ids": row["input_ids"][:max_tokens], "labels": row["labels"]} for row in rows]
    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=8,
            num_train_epochs=4,
            learning_rate=3e-3,
            report_to="none",
            save_strategy="no",
            seed=0,
            disable_tqdm=True,
            use_cpu=True,
        )
        transformers.Trainer(model, arguments, train_dataset=data).train()  # pyright: ignore[reportArgumentType]


def main() -> None:
    """Train the short model and its long version on the same documents, and compare their accuracy."""
    transformers.set_seed(0)
    config = transformers.RobertaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=514,
        type_vocab_size=1,
        num_labels=2,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    short = transformers.RobertaForSequenceClassification(config)
    long = longspan.extend(short, max_tokens=1024, attention_window=32).model

    training, held_out = documents(160, seed=1), documents(100, seed=2)
    train(short, training, max_tokens=512)
    train(long, training, max_tokens=N_TOKENS)
    print(f"short model, first 512 tokens: accuracy {accuracy(short, held_out, 512):.2f}")
    print(f"long model, all {N_TOKENS} tokens:  accuracy {accuracy(long, held_out, N_TOKENS):.2f}")


if __name__ == "__main__":
    main()
