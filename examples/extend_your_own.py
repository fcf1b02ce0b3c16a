"""Extend an encoder of your own, print the proof, and load the result with stock transformers.

Example:
  python examples/extend_your_own.py                            # a small RoBERTa with random weights
  python examples/extend_your_own.py --model xlm-roberta-base   # a real model, from the hub or a folder
"""

import argparse
import tempfile

import torch
import transformers

import longspan


def small_roberta() -> transformers.PreTrainedModel:
    """Return a RoBERTa for sequence classification with random weights: 512 tokens, two layers."""
    torch.manual_seed(0)
    config = transformers.RobertaConfig(
        vocab_size=1000,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=514,
        type_vocab_size=1,
        num_labels=3,
    )
    return transformers.RobertaForSequenceClassification(config).eval()


def main() -> None:
    """Extend, print the proof, save, load with transformers' own classes, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a folder or a name on the hub; a small random model by default")
    parser.add_argument("--max_tokens", type=int, default=2000)
    arguments = parser.parse_args()

    source = arguments.model or small_roberta()
    model, tokenizer, proof = longspan.extend(source, max_tokens=arguments.max_tokens, attention_window=256)
    for check in proof.checks:
        print(f"{'ok ' if check.passed else 'BAD'} {check.statement}: largest error {check.largest_error:.1e}")

    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        if tokenizer is not None:
            tokenizer.save_pretrained(folder)
        # transformers' own Longformer loads the same folder, also without longspan.
        stock = getattr(transformers, type(model).__name__).from_pretrained(folder).eval()

    input_ids = torch.randint(5, 1000, (1, arguments.max_tokens))
    input_ids[:, -1] = model.config.sep_token_id
    with torch.inference_mode():
        ours, theirs = model(input_ids)[0], stock(input_ids)[0]
    print(f"{arguments.max_tokens} tokens, transformers against longspan: {(ours - theirs).abs().max():.1e}")


if __name__ == "__main__":
    main()
