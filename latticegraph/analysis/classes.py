"""Classes for text that has none: clusters of the teacher's embeddings.

Legend: N training rows, S samples, D teacher width, K clusters.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from latticegraph.analysis.null import Codes
from latticegraph.evaluation.arrays import Floats

MOST_ROWS = 4000
_WORD = re.compile(r"[^\W\d_]{3,}")


def clusters(train_ND: Floats, rows_SD: Floats, count: int, seed: int = 0) -> Codes:
    """The cluster of every row, of k-means on other rows.

    Clusters follow from the embedding, so a lattice that only passes the embedding on has states
    that differ between them. What such classes can show is how a trained lattice differs from an
    untrained one.

    Args:
        train_ND: rows that the means are fitted to; of more than :data:`MOST_ROWS` evenly spaced
            ones.
        rows_SD: rows to be given a cluster.
        count: K.
        seed: of the first means.

    Shapes:
        train_ND: [N, D]; rows_SD: [S, D]; result: [S].
    """
    from sklearn.cluster import KMeans

    every = -(-len(train_ND) // MOST_ROWS)
    fitted = KMeans(min(count, len(train_ND)), n_init=3, random_state=seed).fit(train_ND[::every])
    code_S: Codes = fitted.predict(rows_SD).astype(np.int64)
    return code_S


def cluster_names(texts: Sequence[str], code_S: Codes, words: int = 3) -> list[str]:
    """Names of clusters: words that are most frequent in them, compared with all text.

    Args:
        texts: of the samples.
        code_S: their clusters.
        words: of every name.

    Returns:
        A name by cluster number; ``cluster 2: file path name``.
    """
    held = [set(_WORD.findall(text.lower())) for text in texts]
    everywhere = Counter(word for found in held for word in found)
    names = []
    for cluster in range(int(code_S.max(initial=0)) + 1):
        inside = [
            found for found, code in zip(held, code_S.tolist(), strict=True) if code == cluster
        ]
        here = Counter(word for found in inside for word in found)
        share = {
            word: (count + 1)
            / (len(inside) + 2)
            * np.log((count / max(len(inside), 1)) / (everywhere[word] / len(texts)))
            for word, count in here.items()
        }
        best = sorted(share, key=lambda word: (-share[word], word))[:words]
        names.append(f"cluster {cluster + 1}: {' '.join(best)}")
    return names
