from collections import Counter
from itertools import combinations
from math import comb

import numpy as np
import pytest
from scipy.sparse import csr_array

from mmorderless.labels.label_lists import ragged_labels
from mmorderless.metrics import order_statistics as statistics

NUM_CLASSES = 6


@pytest.fixture
def sequences():
    rng = np.random.default_rng(0)
    return [rng.integers(NUM_CLASSES, size=rng.integers(7)).tolist() for _ in range(60)]


def pair_order_counts(sequences):
    return statistics.pair_order_counts(sequences, NUM_CLASSES).toarray()


def test_cooccurrence_equals_counting():
    label_sets = np.random.default_rng(0).random((30, 5)) < 0.4
    counts = statistics.cooccurrence(label_sets)
    assert (counts != statistics.cooccurrence(csr_array(label_sets))).nnz == 0
    for a, b in np.ndindex(5, 5):
        assert counts[a, b] == (0 if a == b else sum(row[a] and row[b] for row in label_sets))


def test_counts_at_step_equal_counting(sequences):
    counts = statistics.counts_at_step(sequences, NUM_CLASSES)
    assert counts.shape == (6, NUM_CLASSES)
    expected = Counter((t, c) for labels in sequences for t, c in enumerate(labels))
    for t, c in np.ndindex(*counts.shape):
        assert counts[t, c] == expected[t, c]


def test_shares_of_a_step_sum_to_100(sequences):
    share = statistics.share_at_step(statistics.counts_at_step(sequences, NUM_CLASSES))
    assert share.sum(axis=1) == pytest.approx(np.full(len(share), 100))


def test_pair_order_counts_equal_counting(sequences):
    before = np.zeros((NUM_CLASSES, NUM_CLASSES), dtype=int)
    for labels in sequences:
        for a, b in combinations(dict.fromkeys(labels), 2):  # repeats removed, the first kept
            before[a, b] += 1
    assert (pair_order_counts(sequences) == before).all()


def test_pairs_do_not_cross_images():
    assert not pair_order_counts([[0], [1], [], [2]]).any()


def test_a_fixed_order_is_rigid(sequences):
    before = pair_order_counts([sorted(labels) for labels in sequences])
    assert statistics.order_rigidness(before) == 100
    assert statistics.random_order_rigidness(before) < 100


@pytest.mark.parametrize("n", [*range(1, 12), 500, 501])
def test_random_rigidness_of_one_pair_is_the_binomial_mean(n):
    expected = sum(comb(n, k) * max(k, n - k) for k in range(n + 1)) / (2**n * n)
    before = np.array([[0, n], [0, 0]])
    assert statistics.random_order_rigidness(before) == pytest.approx(100 * expected)
    # Only the sum of both orders matters.
    before = np.array([[0, n - n // 2], [n // 2, 0]])
    assert statistics.random_order_rigidness(before) == pytest.approx(100 * expected)


def test_nothing_emitted():
    counts = statistics.counts_at_step([[], []], 3)
    assert counts.shape == statistics.share_at_step(counts).shape == (0, 3)
    before = pair_order_counts([[], []])
    assert not before.any()
    assert np.isnan(statistics.order_rigidness(before))
    assert np.isnan(statistics.random_order_rigidness(before))


def test_rigidness_of_sparse_counts_equals_that_of_dense_ones(sequences):
    dense, sparse = pair_order_counts(sequences), csr_array(pair_order_counts(sequences))
    assert statistics.order_rigidness(sparse) == statistics.order_rigidness(dense)
    assert statistics.random_order_rigidness(sparse) == statistics.random_order_rigidness(dense)


def test_ragged_labels_count_as_the_lists_do(sequences):
    ragged = ragged_labels(sequences)
    assert len(ragged) == len(sequences)
    assert (pair_order_counts(ragged) == pair_order_counts(sequences)).all()
    counts = statistics.counts_at_step(ragged, NUM_CLASSES)
    assert (counts == statistics.counts_at_step(sequences, NUM_CLASSES)).all()


def test_ragged_labels_of_some_images(sequences):
    images = np.array([7, 0, 7, 59, 3])
    taken = ragged_labels(sequences).take(images)
    expected = ragged_labels([sequences[i] for i in images])
    assert taken.label.tolist() == expected.label.tolist()
    assert taken.length.tolist() == expected.length.tolist()
    assert len(taken.take(np.array([], dtype=int))) == 0


def test_pair_table_lists_each_pair_that_occurs_once():
    before = pair_order_counts([[0, 2], [2, 0], [2, 0], [3, 1]])
    for counts in (before, csr_array(before)):
        pairs, both_orders = statistics.pair_table(counts, counts.T)
        assert pairs.tolist() == [[0, 2], [1, 3]]
        assert both_orders.tolist() == [[1, 2], [0, 1]]
    pairs, counts = statistics.pair_table(csr_array((5, 5), dtype=np.int64))
    assert pairs.shape == (0, 2)
    assert counts.shape == (0, 1)
