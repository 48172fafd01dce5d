import json
from types import SimpleNamespace

import pytest
import torch
from mmengine.dataset import ConcatDataset, RepeatDataset
from mmpretrain.registry import MODELS

from mmorderless.datasets import JsonMultiLabel
from mmorderless.hooks import LabelOrderHook

CLASSES = ["zebra", "ant", "cow"]
SETS = [[0, 2], [2], [], [2, 1], [0]]


def dataset_of(tmp_path, sets=SETS, name="train.json"):
    items = [{"img_path": f"{i}.jpg", "gt_label": labels} for i, labels in enumerate(sets)]
    annotation = {"metainfo": {"classes": CLASSES}, "data_list": items}
    (tmp_path / name).write_text(json.dumps(annotation))
    return JsonMultiLabel(ann_file=str(tmp_path / name))


def runner_of(dataset, strategy, seed=0, rank=0, epoch=0):
    head = MODELS.build(
        dict(
            type="OrderlessRNNHead",
            num_classes=3,
            in_channels=4,
            max_steps=4,
            hidden_size=4,
            attention_size=4,
            strategy=strategy,
        )
    )
    loader = SimpleNamespace(dataset=dataset)
    return SimpleNamespace(
        model=torch.nn.Sequential(head),
        train_dataloader=loader,
        seed=seed,
        rank=rank,
        epoch=epoch,
    )


def order_of(runner):
    """The order in which the loss puts all three labels."""
    loss = runner.model[0].loss_module
    return loss.align(torch.zeros(1, 4, 4), [torch.tensor([0, 1, 2])])[0, :3].tolist()


@pytest.mark.parametrize(
    "strategy, names",
    [
        ("frequent_first", ["cow", "zebra", "ant"]),
        ("rare_first", ["ant", "zebra", "cow"]),
        ("dictionary", ["ant", "cow", "zebra"]),
    ],
)
def test_order_comes_from_the_training_set_in_use(tmp_path, strategy, names):
    runner = runner_of(dataset_of(tmp_path), strategy)
    LabelOrderHook().before_train(runner)
    assert [CLASSES[c] for c in order_of(runner)] == names


def test_frequencies_change_with_the_training_set(tmp_path):
    runner = runner_of(dataset_of(tmp_path, [[1], [1, 0], [1]]), "frequent_first")
    LabelOrderHook().before_train(runner)
    assert [CLASSES[c] for c in order_of(runner)] == ["ant", "zebra", "cow"]


def test_dataset_wrappers_are_counted_as_they_are_trained_on(tmp_path):
    first = dataset_of(tmp_path, [[0], [2], [0]])
    second = dataset_of(tmp_path, [[1], [1], [0, 1]], "more.json")
    for dataset in (ConcatDataset([first, second]), RepeatDataset(second, times=3)):
        runner = runner_of(dataset, "frequent_first")
        LabelOrderHook().before_train(runner)
        assert [CLASSES[c] for c in order_of(runner)] == ["ant", "zebra", "cow"]


def test_random_order_depends_on_seed_rank_and_epoch(tmp_path):
    dataset, drawn = dataset_of(tmp_path), set()
    for seed, rank, epoch in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]:
        runner = runner_of(dataset, "random", seed, rank, epoch)
        LabelOrderHook().before_train(runner)
        orders = []
        for _ in range(2):  # the same epoch again gives the same orders: a resumed run agrees
            LabelOrderHook().before_train_epoch(runner)
            orders.append(tuple(tuple(order_of(runner)) for _ in range(20)))
        assert orders[0] == orders[1]
        drawn.add(orders[0])
    assert len(drawn) == 4


def test_models_without_an_order_need_no_class_names():
    runner = runner_of(SimpleNamespace(metainfo={}), "pla")
    LabelOrderHook().before_train(runner)
    LabelOrderHook().before_train_epoch(runner)


def test_errors():
    with pytest.raises(ValueError, match="has no class names to order labels by"):
        LabelOrderHook().before_train(runner_of(SimpleNamespace(metainfo={}), "rare_first"))

    class MultiTask:
        metainfo = {"classes": CLASSES}

        def __len__(self):
            return 1

        def get_data_info(self, index):
            return {"gt_label": {"objects": [0], "scenes": [1]}}

    with pytest.raises(ValueError, match="labels of several tasks; give each FixedOrderLoss"):
        LabelOrderHook().before_train(runner_of(MultiTask(), "rare_first"))
