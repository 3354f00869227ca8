"""Static embeddings: the mean of the vectors of a text's tokens, from weights that come with an installed package."""

import importlib.util
import itertools
import pathlib
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import tokenizers
from safetensors import numpy as tensors

from contracts.errors import FactoryError

Vectors = npt.NDArray[np.float32]

_BATCH = 256
_REMEMBERED = 100_000
"""Words whose tokens are remembered, some 20 MB."""

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
        self._tokens: dict[str, list[int]] = {}

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One row for each text, zero where a text has no token; not normalised.

        No token of the packaged tokenizer reaches over a space, so that each word is tokenized once and remembered.
        """
        rows = np.zeros((len(texts), self._table.shape[1]), np.float32)
        for start in range(0, len(texts), _BATCH):
            batch = [text.split() for text in texts[start : start + _BATCH]]
            tokens_of = self._learnt(itertools.chain.from_iterable(batch))
            for row, words in enumerate(batch, start):
                tokens = list(itertools.chain.from_iterable(map(tokens_of.__getitem__, words)))
                if tokens:
                    rows[row] = np.take(self._table, tokens, axis=0).mean(axis=0)
        return rows

    def _learnt(self, words: Iterable[str]) -> dict[str, list[int]]:
        """The tokens of each word, and of words of before; one that other threads may extend but none takes from."""
        wanted = dict.fromkeys(words)
        tokens_of = self._tokens if len(self._tokens) < _REMEMBERED else {}
        unknown = [word for word in wanted if word not in tokens_of]
        encodings = self._tokenizer.encode_batch_fast(unknown, add_special_tokens=False)
        tokens_of.update(zip(unknown, (encoding.ids for encoding in encodings), strict=True))
        self._tokens = tokens_of
        return tokens_of


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
