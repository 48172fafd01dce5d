import numpy as np
import pytest

from mmorderless.comparison.evaluation.gallery import (
    AttentionMaps,
    choose_gallery,
    read_gallery_attention,
    save_gallery_attention,
)


@pytest.fixture
def truth() -> list[list[int]]:
    """500 images; class c is on about one of 2^c, so that the last are rare."""
    generator = np.random.default_rng(0)
    rates = 0.5 ** np.arange(1, 9)
    return [np.flatnonzero(generator.random(8) < rates).tolist() for _ in range(500)]


@pytest.mark.parametrize("seed", range(5))
def test_the_gallery_covers_all_classes(truth, seed):
    chosen = choose_gallery(truth, 10, size=8, seed=seed)
    assert len(set(chosen.tolist())) == 8
    assert set().union(*(truth[i] for i in chosen)) == set().union(*truth)


def test_a_smaller_gallery_is_a_prefix_of_a_larger_one(truth):
    large = choose_gallery(truth, 8, size=60)
    assert large.tolist()[:20] == choose_gallery(truth, 8, size=20).tolist()
    assert sorted(choose_gallery(truth, 8, size=1000)) == list(range(500))


def test_the_gallery_depends_on_the_seed(truth):
    first, again, other = (choose_gallery(truth, 8, 30, seed).tolist() for seed in (0, 0, 1))
    assert first == again != other


def test_images_without_labels_also_give_a_gallery():
    assert sorted(choose_gallery([[], [], []], 4, size=2)) in ([0, 1], [0, 2], [1, 2])


def test_saved_attention_is_read_unchanged(tmp_path):
    generator = np.random.default_rng(0)
    sequences = [[3, 1, 3], [], [2]]
    saved = [AttentionMaps(s, generator.random((len(s), 2, 5))) for s in sequences]
    save_gallery_attention(tmp_path, [7, 2, 40], saved)
    read = read_gallery_attention(tmp_path)
    assert list(read) == [7, 2, 40]
    for before, after in zip(saved, read.values(), strict=True):
        assert after.sequence == before.sequence
        np.testing.assert_allclose(after.maps, before.maps, atol=1e-3)
    assert read_gallery_attention(tmp_path / "no run") == {}


def test_attention_maps_of_different_sizes_are_an_error(tmp_path):
    maps = [AttentionMaps([1], np.ones((1, 2, 2))), AttentionMaps([1], np.ones((1, 3, 2)))]
    with pytest.raises(ValueError, match=r"same size, got \[\(2, 2\), \(3, 2\)\]"):
        save_gallery_attention(tmp_path, [0, 1], maps)
