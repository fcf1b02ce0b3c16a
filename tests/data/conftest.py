"""Tiny tokenizers of the kinds people use: WordPiece framed as BERT, Unigram as XLM-R, byte-level BPE as RoBERTa.

The pieces of WordPiece and Unigram are counted here: the trainers of `tokenizers` break ties by the order of a hash
map, and so learn other pieces in every process.
"""

import math
from collections import Counter

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

TEXTS = [
    "Where does Anna live? Anna lives in Oslo, the capital of Norway; it is big.",
    "Ζει στην Αθήνα. 北京是首都。 नई दिल्ली भारत की राजधानी है। Ünïcödé ﬁne ½ cup",
    "question answer document window token context paragraph one two three 1234567890",
]


def _pieces(backend, continues=""):
    """Counts of the characters and words of `TEXTS` and of 40 frequent parts of words, in a fixed order."""
    counts, words = Counter(), set()
    for text in TEXTS:
        for word, _ in backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(text)):
            words.add(word)
            for start in range(len(word)):
                for end in range(start + 1, len(word) + 1):
                    counts[(continues if start else "") + word[start:end]] += 1
    characters = {start + character for word in words for character in word for start in ("", continues)}
    whole = sorted(words | characters)
    parts = sorted(counts.keys() - set(whole), key=lambda piece: (-counts[piece], piece))
    return {piece: max(counts[piece], 1) for piece in [*whole, *parts[:40]]}


def _wordpiece():
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pieces = [*special, *_pieces(backend, continues="##")]
    backend.model = models.WordPiece(vocab={piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]")
    backend.add_special_tokens(special)
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def _unigram():
    backend = Tokenizer(models.Unigram())
    backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("  ", " ")])
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    backend.decoder = decoders.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    counts = _pieces(backend)
    scores = [(piece, math.log(count / sum(counts.values()))) for piece, count in counts.items()]
    backend.model = models.Unigram([*((piece, 0.0) for piece in special), *scores], unk_id=3)
    backend.add_special_tokens(special)
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return _framed_as_roberta(backend)


def _byte_level():
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(TEXTS, trainer)
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=False)
    return _framed_as_roberta(backend)


def _framed_as_roberta(backend):
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        cls_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        sep_token="</s>",
        unk_token="<unk>",
        model_input_names=["input_ids", "attention_mask"],
    )


_MAKERS = {"wordpiece": _wordpiece, "unigram": _unigram, "byte-level": _byte_level}


@pytest.fixture(scope="session")
def tokenizers():
    return {kind: make() for kind, make in _MAKERS.items()}


@pytest.fixture(params=sorted(_MAKERS))
def tokenizer(tokenizers, request):
    return tokenizers[request.param]
