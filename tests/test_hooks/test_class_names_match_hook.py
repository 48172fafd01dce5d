from types import SimpleNamespace

import pytest

from mmorderless.datasets import CsvMultiLabel
from mmorderless.hooks import ClassNamesMatchHook


def runner_of(train=None, val=None, test=None, resume=False):
    loaders = {"train": train, "val": val, "test": test}
    return SimpleNamespace(
        val_loop=None if val is None else object(),
        _resume=resume,
        **{f"{k}_dataloader": SimpleNamespace(dataset=v) for k, v in loaders.items()},
    )


def dataset_of(*classes):
    return SimpleNamespace(metainfo={"classes": classes})


def test_a_validation_csv_that_sorts_its_own_names_is_refused(tmp_path):
    """Every label would be scored as another class, without any other sign of it."""
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
    hook.before_test(runner_of(test=dataset_of("ant")))  # no checkpoint: nothing to compare with
    hook.after_load_checkpoint(None, {"meta": {"dataset_meta": {"classes": ["ant", "bee"]}}})
    hook.before_test(runner_of(test=dataset_of("ant", "bee")))
    hook.before_test(runner_of(test=SimpleNamespace(metainfo={})))
    with pytest.raises(ValueError, match=r"test set has 3 .* class 2 is 'cow' instead of No"):
        hook.before_test(runner_of(test=dataset_of("ant", "bee", "cow")))
    with pytest.raises(ValueError, match="class 0 is 'bee' instead of 'ant'"):
        hook.before_test(runner_of(test=dataset_of("bee", "ant")))


def test_a_run_is_not_resumed_with_other_classes():
    hook = ClassNamesMatchHook()
    hook.after_load_checkpoint(None, {"meta": {"dataset_meta": {"classes": ["ant", "bee"]}}})
    hook.before_train(runner_of(dataset_of("cow", "dog")))  # load_from: other classes are meant
    hook.before_train(runner_of(dataset_of("ant", "bee"), resume=True))
    with pytest.raises(ValueError, match=r"training set to resume with .* class 0 is 'cow' ins"):
        hook.before_train(runner_of(dataset_of("cow", "dog"), resume=True))
