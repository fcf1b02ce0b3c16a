"""Which package is missing where a tokenizer cannot be loaded: transformers names the one it tried last."""

import re
from pathlib import Path

from huggingface_hub import try_to_load_from_cache
from transformers.utils import is_protobuf_available, is_sentencepiece_available

# Names that SentencePiece models have in checkpoints.
_FILES = ("sentencepiece.bpe.model", "spiece.model", "spm.model", "sentencepiece.model", "tokenizer.model")
_WORDS = ("tiktoken", "sentencepiece", "protobuf")


def explain_missing_package(name: str, error: BaseException) -> str | None:
    """What to install, or what is wrong, where `error` is of reading a SentencePiece model; None where it is not.

    transformers reads such a model with sentencepiece and protobuf; where one is missing or the file is damaged, it
    goes on to tiktoken, and asks for that.

    Args:
        name: folder or hub name of the checkpoint.
        error: what its tokenizer's loader raised.
    """
    said = ""
    cause: BaseException | None = error
    while cause is not None:
        said += str(cause).lower()
        cause = cause.__cause__ or cause.__context__
    if not any(word in said for word in _WORDS):
        return None
    file = _sentencepiece_file(name)
    if file is None:
        return None
    available = {"sentencepiece": is_sentencepiece_available(), "protobuf": is_protobuf_available()}
    missing = [package for package, is_available in available.items() if not is_available]
    if missing:
        return (
            f"{file.name} is a SentencePiece model, which needs {' and '.join(missing)}; "
            f"pip install {' '.join(missing)}, or save the tokenizer as tokenizer.json beside it"
        )
    return f"{file.name} is no SentencePiece model that can be read; copy or download it again"


def _sentencepiece_file(name: str) -> Path | None:
    """The checkpoint's SentencePiece model; a file of tiktoken is text."""
    folder = Path(name)
    if folder.is_dir():
        files = [folder / file for file in _FILES if (folder / file).is_file()] or sorted(folder.glob("*.model"))
    elif not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        return None
    else:
        files = [Path(found) for file in _FILES if isinstance(found := try_to_load_from_cache(name, file), str)]
    for file in files:
        with file.open("rb") as opened:
            start = opened.read(64)
        # tiktoken's lines are base64, a blank and a number; SentencePiece's first field is a line feed in bytes.
        if not start or b"\0" in start or start[:1] == b"\n" or not start.isascii():
            return file
    return None
