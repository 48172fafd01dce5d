"""Parts are disjoint, together the whole, and equal in size up to one image."""

import json

import numpy as np
import pytest
from mmpretrain.registry import DATASETS

from mmorderless.datasets.partition import DatasetPart


@pytest.fixture
def part(tmp_path):
    """Build a part of a dataset of `size` images."""

    def part(size, step=len, **options):
        records = [{"img_path": f"{i}.png", "gt_label": [i % 2]} for i in range(size)]
        content = {"metainfo": {"classes": ["ant", "bee"]}, "data_list": records}
        (tmp_path / "a.json").write_text(json.dumps(content))
        whole = dict(type="JsonMultiLabel", ann_file=str(tmp_path / "a.json"), pipeline=[step])
        whole["serialize_data"] = False  # which collects garbage, at a fifth of a second
        return DATASETS.build(dict(type="DatasetPart", dataset=whole, **options))

    return part


def numbers(dataset):
    images = (dataset.get_data_info(i)["img_path"] for i in range(len(dataset)))
    return [int(image.removesuffix(".png")) for image in images]


@pytest.mark.parametrize("size, num_splits", [(20, 10), (23, 5), (7, 7), (3, 2)])
@pytest.mark.parametrize("seed", [0, 4, None])
def test_the_parts_make_up_the_whole(part, size, num_splits, seed):
    held_out = []
    for fold in range(num_splits):
        options = dict(num_splits=num_splits, fold=fold, seed=seed)
        test = numbers(part(size, test_mode=True, **options))
        train = numbers(part(size, **options))
        assert sorted(train + test) == list(range(size))
        assert len(test) in (size // num_splits, -(-size // num_splits))
        assert (train, test) == (sorted(train), sorted(test))
        held_out += test
    assert sorted(held_out) == list(range(size))


def test_the_order_depends_only_on_the_seed(part):
    first, again, other = (numbers(part(40, num_splits=4, seed=s)) for s in (0, 0, 1))
    assert first == again != other
    # Pinned, so that a run which is resumed years later validates on the same images.
    assert numbers(part(20, num_splits=10, seed=0, test_mode=True)) == [3, 11]


def test_each_part_keeps_its_own_transforms(part):
    """The original mmengine's `get_subset` mixes them up once a dataset it copied is gone."""
    for i in range(20):
        kept = part(10, lambda _, i=i: i, num_splits=10, seed=0)
        held_out = part(10, lambda _, i=i: -i, num_splits=10, seed=0, test_mode=True)
        assert (kept[0], held_out[0]) == (i, -i)


def test_labels_and_class_names_are_those_of_the_whole(part):
    dataset = part(10, num_splits=5, seed=0)
    assert isinstance(dataset, DatasetPart)
    assert dataset.metainfo["classes"] == ("ant", "bee")
    parity = np.array(numbers(dataset)) % 2
    assert [dataset.get_cat_ids(i) for i in range(len(dataset))] == [[p] for p in parity]


@pytest.mark.parametrize("fold, num_splits", [(5, 5), (-1, 5), (0, 0)])
def test_a_fold_that_there_is_not_is_an_error(part, fold, num_splits):
    """Training would take all images."""
    with pytest.raises(ValueError, match=rf"got fold={fold} and num_splits={num_splits}; correct"):
        part(10, fold=fold, num_splits=num_splits)


@pytest.mark.parametrize("test_mode, num_splits", [(True, 11), (False, 1)])
def test_an_empty_part_is_an_error(part, test_mode, num_splits):
    with pytest.raises(ValueError, match=rf"10 images, too few for {num_splits} parts: one would"):
        part(10, num_splits=num_splits, test_mode=test_mode)
