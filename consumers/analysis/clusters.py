"""Average-link clustering of a matrix of similarities, and in one pass where the matrix would not fit."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Similarities = npt.NDArray[np.float32] | npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]


def average_link(similarities: Similarities, threshold: float, sizes: Sequence[int] | None = None) -> list[int]:
    """A cluster number for each row, such that merged clusters were at least so similar on average.

    A row counts for as many texts as ``sizes`` says, one each if it says nothing. Rows whose similarity is minus
    infinity never come together. Clusters are numbered by falling number of rows, then by their first row.
    Nearest-neighbour chains (Murtagh 1983) give the exact hierarchy in quadratic time; merges below the threshold are
    not made.
    """
    matrix = similarities.astype(np.float64)
    np.fill_diagonal(matrix, -np.inf)
    weights = np.array(sizes if sizes is not None else [1] * len(matrix), np.float64)
    members = {row: [row] for row in range(len(matrix))}
    alive = np.ones(len(matrix), dtype=bool)
    chain: list[int] = []
    while alive.any():
        if not chain:
            chain.append(int(np.flatnonzero(alive)[0]))
        last = chain[-1]
        nearest = int(np.argmax(matrix[last]))
        if len(chain) > 1 and matrix[last, nearest] <= matrix[last, chain[-2]]:
            nearest = chain[-2]
        if matrix[last, nearest] < threshold:
            # Nothing may join this one any more: average link only ever lowers its best similarity.
            _retire(matrix, alive, last)
            chain.pop()
        elif len(chain) > 1 and nearest == chain[-2]:
            _merge(matrix, alive, weights, members, (last, nearest))
            del chain[-2:]
        else:
            chain.append(nearest)
    return numbered(members, len(matrix))


def _retire(matrix: Matrix, alive: npt.NDArray[np.bool_], row: int) -> None:
    alive[row] = False
    matrix[row, :] = -np.inf
    matrix[:, row] = -np.inf


def _merge(
    matrix: Matrix,
    alive: npt.NDArray[np.bool_],
    weights: Matrix,
    members: dict[int, list[int]],
    pair: tuple[int, int],
) -> None:
    kept, gone = min(pair), max(pair)
    combined = (matrix[kept] * weights[kept] + matrix[gone] * weights[gone]) / (weights[kept] + weights[gone])
    combined[[kept, gone]] = -np.inf
    combined[~alive] = -np.inf
    weights[kept] += weights[gone]
    members[kept] += members.pop(gone)
    _retire(matrix, alive, gone)
    matrix[kept, :] = combined
    matrix[:, kept] = combined


def numbered(members: dict[int, list[int]], size: int) -> list[int]:
    """A number for each row from the rows of each cluster: the largest cluster is 0, then by the first row."""
    labels = [0] * size
    ordered = sorted(members.values(), key=lambda rows: (-len(rows), min(rows)))
    for number, rows in enumerate(ordered):
        for row in rows:
            labels[row] = number
    return labels


def one_pass(vectors: npt.NDArray[np.float32], threshold: float) -> list[int]:
    """A cluster number for each row, each row joining the nearest centroid so far or founding a cluster."""
    sums = np.zeros_like(vectors)
    members: dict[int, list[int]] = {}
    for row, vector in enumerate(vectors):
        centroids = sums[: len(members)]
        lengths = np.maximum(np.linalg.norm(centroids, axis=1), 1e-9)
        nearness = centroids @ vector / lengths
        nearest = int(np.argmax(nearness)) if len(members) else 0
        chosen = nearest if len(members) and nearness[nearest] >= threshold else len(members)
        members.setdefault(chosen, []).append(row)
        sums[chosen] += vector
    return numbered(members, len(vectors))
