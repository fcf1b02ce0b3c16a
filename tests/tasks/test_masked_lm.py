import numpy as np
import pytest
import torch
import torch.nn.functional as F

import longspan
from longspan.data.corpora import load_corpus
from longspan.data.masking import Masker
from longspan.errors import InputError
from longspan.tasks.masked_lm.scoring import MaskedLmScorer, hold_out


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = longspan.LongformerConfig(
        vocab_size=200, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=130, attention_window=16, type_vocab_size=1, pad_token_id=1, bos_token_id=0,
        eos_token_id=2, sep_token_id=2, initializer_range=0.3,
    )  # fmt: skip
    return longspan.LongformerForMaskedLM(config).eval()


@pytest.fixture(scope="module")
def texts(tiny_tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    for name in ("one", "two"):
        sentences = [f"Anna was born in Lund in {1900 + i} and wrote {i} books." for i in range(40)]
        (folder / f"{name}.txt").write_text("\n\n".join(sentences), encoding="utf-8")
    sources = [{"path": str(folder / f"{name}.txt"), "name": name, "language": "en"} for name in ("one", "two")]
    corpus = load_corpus(sources, tiny_tokenizer, cache_dir=folder / "cache", n_processes=1, progress=False)
    masker = Masker(tiny_tokenizer, seed=1, purpose="evaluation")
    return corpus, masker, hold_out(corpus, masker, max_tokens=128, max_blocks=3)


def test_every_length_asks_for_the_same_tokens(model, texts, tiny_tokenizer):
    found = MaskedLmScorer(tiny_tokenizer, [32, 64, 128], batch_tokens=256).score(model, texts[2])
    assert set(found) == {(i, length) for i in (0, 1) for length in (32, 64, 128)}
    for i in (0, 1):
        sums = [found[i, length] for length in (32, 64, 128)]
        assert len({(of.n_tokens, of.n_characters) for of in sums}) == 1
        assert sums[0].n_tokens > 20
    assert model.training is False


def test_losses_are_those_of_the_dense_logits(model, texts, tiny_tokenizer):
    text = texts[2][0]
    found = MaskedLmScorer(tiny_tokenizer, [128], batch_tokens=1).score(model, [text])[0, 128]
    nats = []
    for ids, labels, _ in text.blocks:
        framed = torch.tensor(np.concatenate([text.before, ids, text.after]))
        asked = torch.tensor(np.pad(labels, 1, constant_values=-100))
        with torch.no_grad():
            logits = model(framed[None]).logits[0]
        nats.append(F.cross_entropy(logits[asked != -100], asked[asked != -100], reduction="none"))
    expected = torch.cat(nats)
    assert found.n_tokens == len(expected)
    assert found.loss == pytest.approx(expected.mean().item(), abs=1e-5)


def test_shares_of_processes_sum_to_the_whole(model, texts, tiny_tokenizer):
    options = {"batch_tokens": 64}
    whole = MaskedLmScorer(tiny_tokenizer, [32, 128], **options).score(model, texts[2])
    shares = [
        MaskedLmScorer(tiny_tokenizer, [32, 128], **options, rank=rank, n_processes=2).score(model, texts[2])
        for rank in (0, 1)
    ]
    for key, of_whole in whole.items():
        shares[0][key].merge(shares[1][key])
        assert shares[0][key].n_tokens == of_whole.n_tokens
        assert shares[0][key].loss == pytest.approx(of_whole.loss)


def test_a_text_shorter_than_a_block_is_named(texts):
    corpus, masker, _ = texts
    with pytest.raises(InputError, match=r"one has .* tokens, less than one block of 100,000"):
        hold_out(corpus, masker, max_tokens=100_000, max_blocks=1)
