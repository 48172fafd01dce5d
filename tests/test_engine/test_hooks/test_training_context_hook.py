import json
from types import SimpleNamespace

import pytest
import torch
from mmengine.dataset import ClassBalancedDataset, ConcatDataset, RepeatDataset
from mmpretrain.datasets import MultiTaskDataset
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from mmorderless.datasets.json_labels import JsonMultiLabel
from mmorderless.engine.hooks.training_context_hook import TrainingContextHook

CLASSES = ["zebra", "ant", "cow"]
SETS = [[0, 2], [2], [], [2, 1], [0]]
CONFIGURED = dict(type="FixedOrderLoss", order="rare_first", classes=CLASSES, counts=[1, 2, 3])


def dataset_of(tmp_path, sets=SETS, name="train.json"):
    items = [{"img_path": f"{i}.jpg", "gt_label": labels} for i, labels in enumerate(sets)]
    annotation = {"metainfo": {"classes": CLASSES}, "data_list": items}
    (tmp_path / name).write_text(json.dumps(annotation))
    return JsonMultiLabel(ann_file=str(tmp_path / name))


def runner_of(dataset, strategy, seed=0, rank=0, epoch=0, iteration=0, loss=None):
    head = MODELS.build(
        dict(
            type="OrderlessRNNHead",
            num_classes=3,
            in_channels=4,
            max_steps=4,
            decoder=dict(hidden_size=4, attention_size=4),
            strategy=strategy,
            loss=loss,
        )
    )
    loader = SimpleNamespace(dataset=dataset)
    return SimpleNamespace(
        model=torch.nn.Sequential(head),
        train_dataloader=loader,
        seed=seed,
        rank=rank,
        epoch=epoch,
        iter=iteration,
    )


def order_of(runner):
    """Return the order of all three labels in the loss."""
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
    TrainingContextHook().before_train(runner)
    assert [CLASSES[c] for c in order_of(runner)] == names


def test_the_images_of_wrapped_datasets_are_counted_once(tmp_path):
    first = dataset_of(tmp_path, [[0], [2], [0]])
    second = dataset_of(tmp_path, [[1], [1], [0, 1]], "more.json")
    for dataset in (ConcatDataset([first, second]), RepeatDataset(second, times=3)):
        runner = runner_of(dataset, "frequent_first")
        TrainingContextHook().before_train(runner)
        assert [CLASSES[c] for c in order_of(runner)] == ["ant", "zebra", "cow"]
    head = MODELS.build(dict(type="KnownSetsHead", num_classes=3, in_channels=4))
    runner.model = torch.nn.Sequential(head)
    repeated = ClassBalancedDataset(second, oversample_thr=1.0)
    runner.train_dataloader.dataset = repeated
    assert len(repeated) > 3
    TrainingContextHook().before_train(runner)
    assert head.known_sets.tolist() == [[0, 1, 0], [1, 1, 0]]
    assert head.set_counts.tolist() == [2, 1]


def test_random_order_depends_on_seed_rank_and_progress(tmp_path):
    dataset, drawn = dataset_of(tmp_path), set()
    # A loop that counts iterations stays in epoch 0: a resumed run must not repeat its orders.
    progress = [(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 4)]
    for key in progress:
        runner = runner_of(dataset, "random", *key)
        TrainingContextHook().before_train(runner)
        orders = []
        for _ in range(2):  # the same epoch gives the same orders, so that a resumed run is equal
            TrainingContextHook().before_train_epoch(runner)
            orders.append(tuple(tuple(order_of(runner)) for _ in range(20)))
        assert orders[0] == orders[1]
        drawn.add(orders[0])
    assert len(drawn) == len(progress)


@pytest.mark.parametrize("name", ["OrderSearchLoss", "OCDLoss"])
def test_random_losses_are_reseeded(name):
    """Epochs, processes and runs get different random numbers; a repeated epoch gets the same."""
    feats = (torch.ones(8, 4, 2, 2),)
    truth = [DataSample().set_gt_label(torch.tensor([0, 1, 2])) for _ in range(8)]
    drawn = set()
    for key in [(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 4)]:
        torch.manual_seed(0)  # the weights
        runner = runner_of(None, None, *key, loss=dict(type=name))
        runner.model.eval()  # no dropout: only the loss is random
        draws = []
        for _ in range(2):
            TrainingContextHook().before_train_epoch(runner)
            draws.append(
                tuple(float(runner.model[0].loss(feats, truth)["loss"].detach()) for _ in range(3))
            )
        assert draws[0] == draws[1]
        assert len(set(draws[0])) > 1
        drawn.add(draws[0])
    assert len(drawn) == 5


def test_the_training_set_in_use_replaces_the_order_of_another_runs_checkpoint(tmp_path):
    before, runner = (runner_of(dataset_of(tmp_path), "frequent_first") for _ in range(2))
    TrainingContextHook().before_train(before)
    runner.model.load_state_dict(before.model.state_dict())
    assert order_of(runner) == order_of(before) == [2, 0, 1]
    runner.train_dataloader.dataset = dataset_of(tmp_path, [[1], [1, 0], [1]])
    TrainingContextHook().before_train(runner)
    assert order_of(runner) == [1, 0, 2]


def test_the_epoch_is_that_of_the_run():
    loss = MODELS.build(dict(type="SPLCLoss"))
    for epoch in (0, 3):
        runner = runner_of(dataset=None, strategy="pla", epoch=epoch)
        runner.model.append(loss)
        TrainingContextHook().before_train_epoch(runner)
        assert loss.epoch == epoch


def test_models_without_an_order_need_no_class_names():
    for strategy in ("pla", "random"):
        runner = runner_of(SimpleNamespace(metainfo={}), strategy)
        TrainingContextHook().before_train(runner)
        TrainingContextHook().before_train_epoch(runner)


def test_configured_counts_are_kept(tmp_path):
    runner = runner_of(dataset_of(tmp_path), None, loss=CONFIGURED)
    TrainingContextHook().before_train(runner)
    assert order_of(runner) == [0, 1, 2]


def multi_task_dataset(tmp_path):
    task_labels = {"objects": [0, 1], "scenes": [1]}
    annotation = {
        "metainfo": {"tasks": ["objects", "scenes"]},
        "data_list": [{"img_path": "0.jpg", "gt_label": task_labels}],
    }
    (tmp_path / "tasks.json").write_text(json.dumps(annotation))
    return MultiTaskDataset(ann_file="tasks.json", data_root=str(tmp_path))


def test_a_dataset_of_several_tasks_needs_counts_in_the_config(tmp_path):
    dataset = multi_task_dataset(tmp_path)
    with pytest.raises(ValueError, match=r"MultiTaskDataset cannot be counted .*; give Fixed"):
        TrainingContextHook().before_train(runner_of(dataset, "rare_first"))
    runner = runner_of(dataset, None, loss=CONFIGURED)  # the remedy in the message
    TrainingContextHook().before_train(runner)
    TrainingContextHook().before_train(runner_of(dataset, "random"))


def test_errors(tmp_path):
    dataset = dataset_of(tmp_path)
    dataset._metainfo.pop("classes")
    with pytest.raises(ValueError, match="has no class names to count labels by"):
        TrainingContextHook().before_train(runner_of(dataset, "rare_first"))
    single = dataset_of(tmp_path)
    single.get_data_info = lambda index: {"gt_label": 1}  # like a single-label dataset
    with pytest.raises(ValueError, match="does not give one list of labels per image"):
        TrainingContextHook().before_train(runner_of(single, "rare_first"))
    runner = runner_of(single, "pla")
    runner.model.append(MODELS.build(dict(type="KnownSetsHead", num_classes=3, in_channels=4)))
    with pytest.raises(ValueError, match="one list of labels per image; choose another head"):
        TrainingContextHook().before_train(runner)
