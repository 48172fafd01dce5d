import numpy as np
import pytest
from benchmarks.label_counts import label_counts


def test_the_table_resembles_coco():
    table = np.array(label_counts(1024))
    assert table.mean() == pytest.approx(2.9, abs=0.02)
    assert (table.min(), table.max()) == (1, 18)
    numbers = np.bincount(table)[1:11]
    assert (np.diff(numbers) < 0).all()  # the more labels, the fewer images


@pytest.mark.parametrize("batch", [1, 8, 32])
def test_every_batch_has_the_same_number_of_steps(batch):
    assert max(label_counts(batch)) == 18


@pytest.mark.parametrize("batch", [32, 64, 128])
def test_small_batches_resemble_the_table(batch):
    counts = label_counts(batch)
    assert np.mean(counts) == pytest.approx(2.9, abs=0.5)
    assert counts == label_counts(1024)[:batch]


@pytest.mark.parametrize("batch", [0, 1025])
def test_a_batch_outside_the_table(batch):
    with pytest.raises(ValueError, match=f"must have 1 to 1024 images, got {batch}"):
        label_counts(batch)
