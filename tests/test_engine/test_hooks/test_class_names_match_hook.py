import re
from types import SimpleNamespace

import pytest
import torch

from mmorderless.datasets.csv_labels import CsvMultiLabel
from mmorderless.engine.hooks import class_names_match_hook as module
from mmorderless.engine.hooks.class_names_match_hook import ClassNamesMatchHook


def runner_of(train=None, val=None, test=None, resume=False, num_classes=None, head=None):
    head = head or torch.nn.Identity()
    if num_classes is not None:
        head.num_classes = num_classes
    loaders = {"train": train, "val": val, "test": test}
    return SimpleNamespace(
        val_loop=None if val is None else object(),
        _resume=resume,
        _load_from="start.pth",
        model=torch.nn.ModuleDict(dict(head=head)),
        **{f"{k}_dataloader": SimpleNamespace(dataset=v) for k, v in loaders.items()},
    )


def dataset_of(*classes):
    return SimpleNamespace(metainfo={"classes": classes})


def test_validation_set_with_other_class_order_is_rejected(tmp_path):
    """Every label would be scored as another class without an error."""
    (tmp_path / "train.csv").write_text("image,labels\na.jpg,ant;bee\nb.jpg,cow\n")
    (tmp_path / "val.csv").write_text("image,labels\nc.jpg,bee;cow\n")
    train = CsvMultiLabel("train.csv", data_root=str(tmp_path))
    own = CsvMultiLabel("val.csv", data_root=str(tmp_path))
    reused = CsvMultiLabel("val.csv", data_root=str(tmp_path), classes_from="train.csv")
    with pytest.raises(
        ValueError,
        match=r"validation set has 2 classes, training had 3, and class 0 is 'bee' instead of "
        r"'ant'; .*classes_from=TRAIN\.csv",
    ):
        ClassNamesMatchHook().before_train(runner_of(train, own))
    ClassNamesMatchHook().before_train(runner_of(train, reused))
    ClassNamesMatchHook().before_train(runner_of(train))  # training without validation


def test_a_test_set_is_compared_with_the_checkpoint():
    hook = ClassNamesMatchHook()
    hook.before_test(runner_of(test=dataset_of("ant")))  # without a checkpoint nothing is compared
    hook.after_load_checkpoint(None, {"meta": {"dataset_meta": {"classes": ["ant", "bee"]}}})
    hook.before_test(runner_of(test=dataset_of("ant", "bee")))
    hook.before_test(runner_of(test=SimpleNamespace(metainfo={})))
    with pytest.raises(ValueError, match=r"test set has 3 .* class 2 is 'cow' instead of No"):
        hook.before_test(runner_of(test=dataset_of("ant", "bee", "cow")))
    with pytest.raises(ValueError, match="class 0 is 'bee' instead of 'ant'"):
        hook.before_test(runner_of(test=dataset_of("bee", "ant")))


def test_resuming_with_other_classes_is_rejected():
    hook = ClassNamesMatchHook()
    hook.after_load_checkpoint(None, {"meta": {"dataset_meta": {"classes": ["ant", "bee"]}}})
    hook.before_train(runner_of(dataset_of("cow", "dog")))  # load_from may have other classes
    hook.before_train(runner_of(dataset_of("ant", "bee"), resume=True))
    with pytest.raises(ValueError, match=r"training set to resume with .* class 0 is 'cow' ins"):
        hook.before_train(runner_of(dataset_of("cow", "dog"), resume=True))


@pytest.mark.parametrize("num_classes", [2, 4])
def test_head_with_another_number_of_classes_is_rejected(num_classes):
    dataset, hook = dataset_of("ant", "bee", "cow"), ClassNamesMatchHook()
    line = rf"the model has {num_classes} classes, the {{}} set has 3; set model.head.num_classes=3"
    with pytest.raises(ValueError, match=line.format("training")):
        hook.before_train(runner_of(dataset, num_classes=num_classes))
    with pytest.raises(ValueError, match=line.format("test")):
        hook.before_test(runner_of(test=dataset, num_classes=num_classes))


def test_matching_heads_and_heads_without_num_classes_are_accepted():
    dataset, hook = dataset_of("ant", "bee", "cow"), ClassNamesMatchHook()
    for runner in (
        runner_of(dataset, test=dataset, num_classes=3),
        runner_of(dataset, test=dataset),  # as MultiTaskHead
        runner_of(*[SimpleNamespace(metainfo={})] * 3, num_classes=5),
    ):
        hook.before_train(runner)
        hook.before_test(runner)


@pytest.mark.parametrize(
    "before, rows, is_warned",
    [
        (["ant", "bee"], 2, False),
        (["ant", "cow"], 2, True),
        (["bee", "ant"], 2, True),
        (["ant", "cow", "bee"], 3, False),  # mmengine leaves its rows out and says so
        (["ant", "cow"], 5, False),  # another head
        (None, 2, False),
    ],
)
def test_weights_of_as_many_other_classes_are_a_warning(before, rows, is_warned, monkeypatch):
    logged = []
    monkeypatch.setattr(module, "print_log", lambda text, **options: logged.append(text))
    state = {"head.weight": torch.zeros(rows, 3), "backbone.weight": torch.zeros(1)}
    hook = ClassNamesMatchHook()
    meta = {"dataset_meta": {"classes": before}}
    hook.after_load_checkpoint(None, {"state_dict": state, "meta": meta})
    hook.before_train(runner_of(dataset_of("ant", "bee"), head=torch.nn.Linear(3, 2)))
    assert bool(logged) == is_warned
    if before == ["ant", "cow"] and is_warned:
        found = r"those of start\.pth: class 1 is 'bee' instead of 'cow'; .*init_cfg"
        assert re.search(found, *logged)
