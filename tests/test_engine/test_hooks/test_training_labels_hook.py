"""The labels of the whole training set are checked before training."""

import json
from types import SimpleNamespace

import pytest
import torch
from mmengine.dataset import RepeatDataset
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmpretrain.registry import DATASETS

from mmorderless.engine.hooks.training_labels_hook import TrainingLabelsHook, label_set

CLASSES = ["ant", "bee", "cow", "dog"]


@pytest.fixture
def dataset(tmp_path):
    """Make a dataset of images with given labels."""

    def make(*label_sets, wrapper=None):
        images = [dict(img_path=f"{i}.jpg", gt_label=s) for i, s in enumerate(label_sets)]
        file = tmp_path / "train.json"
        file.write_text(json.dumps(dict(metainfo=dict(classes=CLASSES), data_list=images)))
        config = dict(type="JsonMultiLabel", ann_file=str(file))
        wrapper = wrapper or (lambda config: config)
        init_default_scope("mmpretrain")
        return DATASETS.build(wrapper(config))

    return make


def check(dataset, max_steps=None):
    model = torch.nn.Module()
    model.head = torch.nn.Module()
    model.head.max_steps = max_steps
    runner = SimpleNamespace(model=model, train_dataloader=SimpleNamespace(dataset=dataset))
    TrainingLabelsHook().before_train(runner)


@pytest.fixture
def warnings():
    """Warnings of mmengine's log, in a list."""
    logger, found = MMLogger.get_current_instance(), []
    handler = SimpleNamespace(level=30, handle=lambda record: found.append(record.getMessage()))
    logger.handlers.append(handler)
    yield found
    logger.handlers.remove(handler)


WRAPPERS = {
    "none": lambda config: config,
    "repeat": lambda config: dict(type="RepeatDataset", dataset=config, times=3),
    "part": lambda config: dict(type="DatasetPart", dataset=config, num_splits=2),
    "concat": lambda config: dict(type="ConcatDataset", datasets=[config, config]),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_training_set_without_any_label_is_an_error(name, dataset):
    text = r"no image of the training set \(JsonMultiLabel \S*train\.json.* has one of the 4 labels"
    with pytest.raises(ValueError, match=text):
        check(dataset([], [], wrapper=WRAPPERS[name]))


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_label_set_that_does_not_fit_is_an_error_with_its_path(name, dataset):
    data = dataset([0], [1, 3, 2], [2], [0, 1, 2], wrapper=WRAPPERS[name])
    check(data, max_steps=4)
    check(data)  # a head without steps
    with pytest.raises(ValueError, match=r"\d\.jpg has 3 labels, .*max_steps=3; set .* to 4 or m"):
        check(data, max_steps=3)


def test_classes_without_a_training_image_are_a_warning(dataset, warnings):
    check(dataset([0], [1, 3, 2], []))
    assert warnings == []
    check(dataset([0], [3], []))
    assert warnings == [
        "2 of 4 classes have no training image: bee, cow; a model cannot learn them"
    ]


def test_other_datasets():
    """Single labels are counted; what is no list of class indices is not checked."""
    for labels, expected in [(2, [2]), ([0, 1], [0, 1]), ({"task": 1}, None), (None, None)]:
        assert label_set(labels) == expected
    assert label_set(torch.tensor([1, 2]).numpy()) == [1, 2]
    check([torch.zeros(1)])  # no records


def test_label_sets_are_read_once(dataset):
    """A repeated dataset is not read again for every repetition."""
    data, calls = dataset([0, 1, 2, 3]), []
    read = data.get_data_info
    data.get_data_info = lambda i: calls.append(i) or read(i)
    check(RepeatDataset(data, times=100))
    assert calls == [0]
