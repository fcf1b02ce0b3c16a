from typing import Any, cast

import pytest

from longspan.data.corpora import load_corpus
from longspan.errors import InputError
from longspan.training.pretrain.data import make_blocks


@pytest.fixture
def corpus(tmp_path, tiny_tokenizer, tiny_text):
    return load_corpus(
        cast(Any, [str(tiny_text)]), tiny_tokenizer, cache_dir=tmp_path / "cache", n_processes=1, progress=False
    )


@pytest.mark.parametrize("layout", ["continuous", "documents"])
def test_a_text_that_fills_one_block_is_enough_and_one_token_less_is_not(tiny_pretrain, corpus, layout):
    recipe = tiny_pretrain(layout=layout)
    n_framing = len(corpus.frame.before) + len(corpus.frame.after)
    assert n_framing
    whole = corpus.n_tokens + n_framing * (corpus.n_documents if layout == "documents" else 1)
    assert len(make_blocks(recipe, corpus, whole)) >= 1
    with pytest.raises(InputError, match="less than one block"):
        make_blocks(recipe, corpus, whole + 1)


def test_data_seed_zero_is_a_seed(tiny_pretrain, corpus):
    assert make_blocks(tiny_pretrain(data_seed=0), corpus, 32).seed == 0
    assert make_blocks(tiny_pretrain(), corpus, 32).seed == 42
