import pytest
import torch

from mmorderless.labels.checks import check_fits, check_labels


def test_lists_and_multi_hot_matrices_give_the_same_checked_labels():
    lists = [torch.tensor([4, 0, 2]), torch.tensor([], dtype=torch.long), torch.tensor([3])]
    hot = torch.zeros(3, 5)
    for image, labels in enumerate(lists):
        hot[image, labels] = 1
    for label_sets in (lists, [labels.int() for labels in lists], hot, hot.bool(), hot.long()):
        checked = check_labels(label_sets, num_classes=5)
        assert checked.labels.tolist() == [[0, 2, 4], [5, 5, 5], [3, 5, 5]]
        assert checked.num_labels.tolist() == [3, 0, 1]
        assert torch.equal(checked.mask(), hot.bool())


def test_images_without_labels():
    empty = torch.tensor([])  # float, as torch makes an empty tensor
    for label_sets in ([empty, empty], torch.zeros(2, 4)):
        checked = check_labels(label_sets, num_classes=4)
        assert checked.labels.shape == (2, 0)
        assert checked.num_labels.tolist() == [0, 0]
        assert checked.mask().tolist() == [[False] * 4] * 2


def test_a_huge_index_is_out_of_range():
    for wrong in (2**40, -(2**40), 2**24 + 1):
        with pytest.raises(ValueError, match=r"image 1 .* outside 0 … 3"):
            check_labels([torch.tensor([0]), torch.tensor([1, wrong])], num_classes=4)


def test_a_mask_among_index_sets_is_an_error():
    with pytest.raises(ValueError, match=r"must be integers, got torch.bool"):
        check_labels([torch.tensor([2]), torch.tensor([True, False])], num_classes=4)


def test_labels_and_end_must_fit():
    check_fits(19, max_steps=20)
    with pytest.raises(ValueError, match=r"place 20 labels in 20 .* max_steps to at least 21"):
        check_fits(20, max_steps=20)
