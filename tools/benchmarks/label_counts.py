"""Label counts of the benchmark's images: one fixed table, distributed as in COCO.

COCO's training images have 2.9 labels on average and at most 18, and their number falls roughly
geometrically. The table holds 1,024 quantiles, k / 1,023, of the geometric distribution on 1 … 18
with mean 2.9. Their order is drawn with seed 0; every 32 consecutive images have one of each 32nd
of the quantiles, so that small batches resemble COCO, too. A batch of B images takes the first B;
the image with 18 labels comes first, so that T = 19 in every batch.
"""

from functools import cache

import numpy as np

MEAN = 2.9
MOST = 18
SIZE = 1024
GROUP = 32
SEED = 0


@cache
def _table() -> np.ndarray:
    """Return all counts, shape (1,024,)."""
    counts = np.arange(1, MOST + 1)
    low, high = 0.0, 1.0  # the mean grows with the ratio of the geometric distribution
    for _ in range(60):
        ratio = (low + high) / 2
        weights = ratio**counts
        if weights @ counts / weights.sum() < MEAN:
            low = ratio
        else:
            high = ratio
    cumulated = weights.cumsum() / weights.sum()
    quantiles = np.linspace(0, cumulated[-1], SIZE)
    table = 1 + np.searchsorted(cumulated, quantiles)  # ascending
    generator = np.random.default_rng(SEED)
    strata = generator.permuted(table.reshape(GROUP, -1), axis=1)  # a row: one 32nd
    table = generator.permuted(strata.T, axis=1).reshape(-1)
    largest = int(table.argmax())
    table[[0, largest]] = table[[largest, 0]]
    return table


def label_counts(batch: int) -> list[int]:
    """Return the label counts n_i of a batch's images.

    Args:
        batch: number of images B.

    Raises:
        ValueError: the table is shorter than the batch.
    """
    if not 1 <= batch <= SIZE:
        raise ValueError(f"the batch must have 1 to {SIZE} images, got {batch}")
    return _table()[:batch].tolist()
