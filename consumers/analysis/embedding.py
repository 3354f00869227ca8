"""Static embeddings: the mean of the vectors of a text's tokens, from weights that come with an installed package."""

import importlib.util
import pathlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import tokenizers
from safetensors import numpy as tensors

from contracts.errors import FactoryError

Vectors = npt.NDArray[np.float32]

_BATCH = 256
_PACKAGE = "wordllama"
_WEIGHTS = pathlib.Path("weights", "l2_supercat_256.safetensors")
_TOKENIZER = pathlib.Path("tokenizers", "l2_supercat_tokenizer_config.json")


class Embedder(Protocol):
    """Anything that turns texts into vectors; put another in its place to use other weights."""

    name: str

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One row for each text, zero where a text has no token; not normalised."""
        ...


class StaticEmbedder:
    """A table of token vectors held in memory, about 32 MB for the packaged one."""

    def __init__(self, name: str, tokenizer: tokenizers.Tokenizer, table: Vectors) -> None:
        self.name = name
        self._tokenizer = tokenizer
        self._table = table

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One row for each text, zero where a text has no token; not normalised."""
        rows = np.zeros((len(texts), self._table.shape[1]), np.float32)
        for start in range(0, len(texts), _BATCH):
            batch = list(texts[start : start + _BATCH])
            for offset, encoding in enumerate(self._tokenizer.encode_batch_fast(batch, add_special_tokens=False)):
                if encoding.ids:
                    rows[start + offset] = self._table[encoding.ids].mean(axis=0)
        return rows


def packaged() -> StaticEmbedder:
    """The embedder whose weights the wordllama package ships; reads its files only, and never the network.

    The package's own loader is not used: it looks for the tokenizer on the network and sets up logging when imported.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise FactoryError(f"the package '{_PACKAGE}' is missing; install it, or give LocalAnalyst another embedder")
    folder = pathlib.Path(spec.origin).parent
    for name in (_WEIGHTS, _TOKENIZER):
        if not (folder / name).is_file():
            raise FactoryError(f"the installed '{_PACKAGE}' lacks {name}; install the version in requirements.txt")
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / _TOKENIZER))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    table = tensors.load_file(folder / _WEIGHTS)["embedding.weight"].astype(np.float32)
    return StaticEmbedder(f"{_PACKAGE}-256", tokenizer, table)


def normalised(vectors: Vectors) -> Vectors:
    """The vectors at length one; zero vectors stay zero."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, np.float32(1e-9)), np.float32)


def centred(vectors: Vectors, mean: Vectors) -> Vectors:
    """Unit vectors relative to the mean of their collection, which takes away what all its texts share."""
    unit = normalised(vectors)
    return np.where(np.any(unit != 0, axis=-1, keepdims=True), normalised(unit - mean), np.float32(0))
