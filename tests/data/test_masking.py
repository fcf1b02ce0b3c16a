import numpy as np
import pytest
import tokenizers
import torch
from tokenizers import decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from longspan.data.masking import IGNORED, LONGEST_WORD, MaskedLmCollator, Masker
from longspan.data.vocabulary import special_token_mask, word_starts
from longspan.errors import InputError

TEXT = "Anna was born in Lund in 1901. Later Anna moved away, and wrote 2 books about bees. "


def tokens(tokenizer, n=20_000):
    """Ordinary pieces with special ones among them."""
    stream = np.random.default_rng(0)
    ids = stream.choice(np.flatnonzero(~special_token_mask(tokenizer)), n)
    ids[::50] = tokenizer.sep_token_id
    ids[0] = tokenizer.cls_token_id
    return ids


def test_shares_are_those_asked_for(tiny_tokenizer):
    ids = tokens(tiny_tokenizer)
    inputs, labels = Masker(tiny_tokenizer, probability=0.15).mask(ids, epoch=0, index=0)
    chosen = labels != IGNORED
    assert chosen.mean() == pytest.approx(0.15, abs=0.01)
    assert (labels[chosen] == ids[chosen]).all()
    assert (inputs[~chosen] == ids[~chosen]).all()
    assert (inputs[chosen] == tiny_tokenizer.mask_token_id).mean() == pytest.approx(0.8, abs=0.03)
    assert (inputs[chosen] == ids[chosen]).mean() == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize("whole_words", [False, True])
def test_special_tokens_are_never_chosen_and_never_put_in_place(tiny_tokenizer, whole_words):
    ids = tokens(tiny_tokenizer)
    is_special = special_token_mask(tiny_tokenizer)
    inputs, labels = Masker(tiny_tokenizer, probability=0.9, whole_words=whole_words).mask(ids, epoch=0, index=0)
    assert (labels[is_special[ids]] == IGNORED).all()
    put = inputs[(inputs != ids) & (inputs != tiny_tokenizer.mask_token_id)]
    assert len(put) and not is_special[put].any()
    assert len(set(put)) > 0.9 * (~is_special).sum()


def test_the_choice_follows_from_seed_epoch_index_and_purpose(tiny_tokenizer):
    ids = tokens(tiny_tokenizer, 500)

    def labels(seed=1, epoch=2, index=3, purpose="training"):
        masker = Masker(tiny_tokenizer, seed=seed, purpose=purpose)
        masker.mask(ids, epoch=9, index=9)  # what was masked before does not count
        return tuple(masker.mask(ids, epoch=epoch, index=index)[1])

    assert labels() == labels()
    others = [labels(seed=2), labels(epoch=3), labels(index=4), labels(purpose="evaluation")]
    assert len({labels(), *others}) == 5


def test_words_are_asked_for_whole(tiny_tokenizer):
    ids = np.array(tiny_tokenizer(TEXT * 40)["input_ids"])
    starts = word_starts(tiny_tokenizer)
    _, labels = Masker(tiny_tokenizer, probability=0.3, whole_words=True).mask(ids, epoch=0, index=0)
    chosen = labels != IGNORED
    word = np.cumsum(starts[ids] | special_token_mask(tiny_tokenizer)[ids])
    for one in range(word.max() + 1):
        pieces = chosen[(word == one) & ~special_token_mask(tiny_tokenizer)[ids]]
        assert len(pieces) > LONGEST_WORD or pieces.all() or not pieces.any()
    assert chosen.mean() == pytest.approx(0.3, abs=0.05)


def test_what_is_longer_than_a_word_is_asked_for_by_token(tiny_tokenizer):
    """A sentence without spaces."""
    middle = np.flatnonzero(~word_starts(tiny_tokenizer) & ~special_token_mask(tiny_tokenizer))
    ids = np.concatenate([[0], np.random.default_rng(0).choice(middle, 1000), [2]])
    _, labels = Masker(tiny_tokenizer, whole_words=True).mask(ids, epoch=0, index=0)
    assert (labels != IGNORED).mean() == pytest.approx(0.15, abs=0.04)


def make_tokenizer(kind):
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    if kind == "wordpiece":
        letters = sorted(set(TEXT) - {" "})  # by hand: its trainer learns other pieces in every process
        pieces = [*special, *letters, *(f"##{letter}" for letter in letters), "##nn", "19", "moved", "##ook", "##ees"]
        vocabulary = {piece: i for i, piece in enumerate(pieces)}
        backend = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="<unk>"))
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        backend.add_special_tokens(special)
    else:
        backend = tokenizers.Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=300, special_tokens=special, show_progress=False, initial_alphabet=alphabet
        )
        backend.train_from_iterator([TEXT], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<unk>", pad_token="<pad>", mask_token="<mask>", bos_token="<s>",
        eos_token="</s>",
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["wordpiece", "byte level"])
def test_other_vocabularies_say_where_words_begin(kind):
    tokenizer = make_tokenizer(kind)
    pieces = tokenizer.tokenize("Anna wrote books about bees")
    begins = word_starts(tokenizer)[tokenizer.convert_tokens_to_ids(pieces)]
    assert begins.sum() == 5 - (kind == "byte level")  # the first word of a text has no mark there


def test_a_vocabulary_without_marks_is_refused(tiny_tokenizer):
    backend = tokenizers.Tokenizer(models.WordLevel({"a": 0, "<unk>": 1, "<mask>": 2}, unk_token="<unk>"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", mask_token="<mask>")
    with pytest.raises(InputError, match="whole_words: false"):
        Masker(tokenizer, whole_words=True)
    with pytest.raises(InputError, match="between 0 and 1"):
        Masker(tiny_tokenizer, probability=1.0)
    with pytest.raises(InputError, match="no mask token"):
        Masker(PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>"))
    with pytest.raises(InputError, match="no padding token"):
        MaskedLmCollator(tokenizer)


def test_rows_of_packed_documents_keep_documents_and_positions(tiny_tokenizer):
    rows = [
        {"input_ids": [0, 5, 2, 0, 7, 2], "labels": [-100, 5, -100, -100, -100, -100], "block_id": 4,
         "document_ids": [0, 0, 0, 1, 1, 1], "position_ids": [2, 3, 4, 2, 3, 4]},
        {"input_ids": [0, 5, 2], "labels": [-100] * 3, "block_id": 9,
         "document_ids": [0] * 3, "position_ids": [2, 3, 4]},
    ]  # fmt: skip
    batch = MaskedLmCollator(tiny_tokenizer)(rows)
    assert all(tensor.dtype == torch.int64 for tensor in batch.values())
    assert batch["input_ids"].tolist() == [[0, 5, 2, 0, 7, 2], [0, 5, 2, 1, 1, 1]]
    assert batch["attention_mask"].tolist() == [[1] * 6, [1, 1, 1, 0, 0, 0]]
    assert batch["labels"][1].tolist() == [-100] * 6
    assert batch["document_ids"][1].tolist() == [0, 0, 0, -1, -1, -1]
    assert batch["position_ids"][1].tolist() == [2, 3, 4, 1, 1, 1]
    assert batch["block_ids"].tolist() == [4, 9]
