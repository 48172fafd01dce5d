"""Statistics of label sets and of the order in which labels are emitted (NumPy and SciPy).

N images, C classes, T steps of the longest sequence, P pairs of labels. A *sequence* holds the
labels of one image in order of emission, without END, as ints or an int array.

Counts of pairs are sparse arrays of shape (C, C): at C = 5,000 a dense one takes 200 MB, and few
pairs ever occur. Functions that read such counts take dense arrays too.
"""

import numpy as np
from scipy.sparse import csr_array

from mmorderless.labels.label_lists import LabelLists, Matrix, drop_repeats, flatten_labels


def cooccurrence(label_sets: Matrix) -> csr_array:
    """Count in how many images two classes occur together: Σ_i l_iᵀ l_i without its diagonal.

    Args:
        label_sets: boolean, shape (N, C), dense or sparse.

    Returns:
        Image counts, int64, shape (C, C), symmetric.

    >>> cooccurrence(np.array([[True, True, False], [True, True, True]])).toarray()
    array([[0, 2, 1],
           [2, 0, 1],
           [1, 1, 0]])
    """
    ones = csr_array(label_sets).astype(np.int64)
    counts = (ones.T @ ones).tocoo()
    off_diagonal = counts.row != counts.col
    entries = counts.data[off_diagonal], (counts.row[off_diagonal], counts.col[off_diagonal])
    return csr_array(entries, shape=counts.shape)


def counts_at_step(sequences: LabelLists, num_classes: int) -> np.ndarray:
    """Count in how many images each label is emitted at each step.

    Args:
        sequences: the sequences of N images, repeats included.
        num_classes: number of classes C.

    Returns:
        Image counts, int64, shape (T, C). T is 0 when nothing was emitted.

    Raises:
        ValueError: a class index is not in 0 … C − 1.

    >>> counts_at_step([[0, 2], [2], []], num_classes=3)
    array([[1, 0, 1],
           [0, 0, 1]])
    """
    label, image = flatten_labels(sequences, num_classes, "sequence")
    step = np.arange(len(label)) - np.searchsorted(image, image)  # since the image's first label
    num_steps = int(step.max()) + 1 if step.size else 0
    counts = np.bincount(step * num_classes + label, minlength=num_steps * num_classes)
    return counts.reshape(num_steps, num_classes)


def share_at_step(counts: np.ndarray) -> np.ndarray:
    """Turn the counts of each step into shares of the labels emitted at this step, in percent.

    Args:
        counts: image counts from `counts_at_step`, shape (T, C).

    Returns:
        Percentages, shape (T, C); every row sums to 100.
    """
    return 100 * counts / counts.sum(axis=1, keepdims=True)


def pair_order_counts(sequences: LabelLists, num_classes: int) -> csr_array:
    """Count in how many images one label was emitted before another.

    Repeats of a label are removed first, keeping the first one (paper, section 4.1).

    Args:
        sequences: the sequences of N images.
        num_classes: number of classes C.

    Returns:
        before, int64, shape (C, C): entry [a, b] is the number of images that emit a before b.

    Raises:
        ValueError: a class index is not in 0 … C − 1.

    >>> pair_order_counts([[1, 0], [1, 0, 1], [0, 1]], num_classes=2).toarray()
    array([[0, 1],
           [2, 0]])
    """
    label, image = flatten_labels(sequences, num_classes, "sequence")
    label, image = drop_repeats(label, image, num_classes)
    nothing = np.empty(0, dtype=np.int64)
    firsts, seconds = [nothing], [nothing]
    # All pairs that are `gap` steps apart together; the longest sequence bounds the gap.
    for gap in range(1, len(label)):
        same_image = image[gap:] == image[:-gap]
        if not same_image.any():
            break
        firsts.append(label[:-gap][same_image])
        seconds.append(label[gap:][same_image])
    pairs = np.concatenate(firsts), np.concatenate(seconds)
    ones = np.ones(len(pairs[0]), dtype=np.int64)
    return csr_array((ones, pairs), shape=(num_classes, num_classes))  # duplicate pairs are summed


def pair_table(*counts: Matrix) -> tuple[np.ndarray, np.ndarray]:
    """List the pairs of classes that have a count, each pair once.

    Args:
        counts: arrays of shape (C, C), dense or sparse; only entries above the diagonal are read.

    Returns:
        pairs, classes a < b in ascending order, int64, shape (P, 2), and their entries [a, b] in
        each of the arrays, int64, shape (P, number of arrays).
    """
    num_classes = counts[0].shape[0]
    keys, values = [], []
    for matrix in counts:
        entries = csr_array(matrix).tocoo()
        above = (entries.row < entries.col) & (entries.data != 0)
        keys.append(entries.row[above].astype(np.int64) * num_classes + entries.col[above])
        values.append(entries.data[above])
    pair_keys = np.unique(np.concatenate(keys))
    table = np.zeros((len(pair_keys), len(counts)), dtype=np.int64)
    for i in range(len(counts)):
        table[np.searchsorted(pair_keys, keys[i]), i] = values[i]
    return np.stack(np.divmod(pair_keys, num_classes), axis=1), table


def order_rigidness(before: Matrix) -> float:
    """Compute the order-rigidness of all pairs of labels (paper, section 4.1), in percent.

    Σ_{a<b} max(before[a, b], before[b, a]) / Σ_{a<b} (before[a, b] + before[b, a]). A fixed order
    gives 100. A pair seen only once contributes 100, so a small data set looks rigid; compare with
    `random_order_rigidness`.

    Args:
        before: counts from `pair_order_counts`, shape (C, C).

    Returns:
        The percentage; NaN when no image has two labels.

    >>> order_rigidness(np.array([[0, 1], [3, 0]]))
    75.0
    """
    _, both_orders = pair_table(before, before.T)
    if not both_orders.size:
        return float("nan")
    return float(100 * both_orders.max(axis=1).sum() / both_orders.sum())


def random_order_rigidness(before: Matrix) -> float:
    """Compute the expected order-rigidness of the same label sets in uniformly random order.

    A pair that co-occurs n times contributes E[max(K, n − K)] with K ~ Bin(n, ½). With m = ⌈n/2⌉
    this is n/2 + m · C(2m, m) / 4^m (de Moivre's mean absolute deviation).

    Args:
        before: counts from `pair_order_counts`, shape (C, C); only the sums of the two orders of a
            pair matter.

    Returns:
        The percentage; NaN when no image has two labels.

    >>> random_order_rigidness(np.array([[0, 1], [1, 0]]))  # expected maximum 1.5, out of 2
    75.0
    """
    _, both_orders = pair_table(before, before.T)
    if not both_orders.size:
        return float("nan")
    together = both_orders.sum(axis=1)
    half = (together + 1) // 2
    # C(2m, m) / 4^m for m = 0, 1, … is the running product of 1 − 1/(2m).
    factors = 1 - 0.5 / np.arange(1, half.max() + 1)
    central = np.concatenate([[1.0], np.cumprod(factors)])
    expected = together / 2 + half * central[half]
    return float(100 * expected.sum() / together.sum())
