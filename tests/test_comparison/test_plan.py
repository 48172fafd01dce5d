import json

import numpy as np
import pytest

from mmorderless.comparison.plan import (
    METHODS,
    RECORD,
    RESULT,
    expand,
    merge_records,
    read_arrays,
    read_comparison_record,
    read_finished_results,
    read_result,
    run_in,
)
from mmorderless.runs.records import write_json

OPTIONS = {"method_options": {}}
NOW = {"methods": ["pla", "bce"], "seeds": [0, 1], "options": OPTIONS, "settings": {}}


def test_the_methods_are_those_of_the_configs(repository):
    fragments = {file.stem for file in (repository / "configs/_base_/methods").glob("*.py")}
    assert fragments == set(METHODS)
    assert len(METHODS) == len(fragments)


def test_all_methods_of_a_seed_come_before_the_next_seed(tmp_path):
    runs = expand(tmp_path, ["pla", "bce", "pla"], [1, 0, 1])
    assert [str(run) for run in runs] == [
        "pla seed 1",
        "bce seed 1",
        "pla seed 0",
        "bce seed 0",
    ]
    assert runs[1].folder == tmp_path / "bce/seed_1"
    assert [run_in(run.folder) for run in runs] == runs


def test_methods_and_seeds_are_added(tmp_path):
    before = merge_records(None, NOW, [], tmp_path)
    assert before == NOW
    record = merge_records(
        before, {**NOW, "methods": ["mine", "mla"], "seeds": [4, 1]}, [], tmp_path
    )
    assert record["methods"] == ["bce", "pla", "mla", "mine"]  # the order of the tables
    assert record["seeds"] == [0, 1, 4]


def test_methods_keep_their_options(tmp_path):
    own = {"options": {"method_options": {"mla": {"a": 1}}}}
    record = merge_records(NOW, {**NOW, **own, "methods": ["mla"]}, [], tmp_path)
    assert record["options"] == own["options"]
    merge_records(record, {**NOW, "methods": ["bce"]}, [], tmp_path)  # the others are not checked
    with pytest.raises(ValueError, match=r"options of mla: \{'a': 1\} → \{\}"):
        merge_records(record, {**NOW, "methods": ["mla"]}, [], tmp_path)


def test_changed_settings_are_refused_and_named(tmp_path):
    changes = ["train_cfg.max_epochs: 6 → 12", "b: 1 → 2", "c: 1 → 2", "d: 1 → 2"]
    with pytest.raises(ValueError) as refused:
        merge_records(NOW, NOW, changes, tmp_path)
    assert str(refused.value) == (
        f"{tmp_path} holds a comparison with other settings (train_cfg.max_epochs: 6 → 12; "
        "b: 1 → 2; c: 1 → 2 and 1 more); undo the change, or choose another --work-dir"
    )


def test_a_run_is_finished_if_its_own_result_is_complete(tmp_path):
    [run] = expand(tmp_path, ["pla"], [3])
    file = run.folder / RESULT
    assert read_result(run) is None
    write_json(file, {"method": "pla", "seed": 3, "x": 1})
    assert read_result(run) == {"version": 1, "method": "pla", "seed": 3, "x": 1}
    assert [path.name for path in run.folder.iterdir()] == [RESULT]
    complete = file.read_text()
    for text in (complete[:-9], complete.replace('"seed": 3', '"seed": 2'), '{"version": 0}', "[]"):
        file.write_text(text)
        assert read_result(run) is None


def test_results_are_in_the_order_of_the_methods_without_unfinished_runs(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no comparison\.json"):
        read_finished_results(tmp_path)
    write_json(tmp_path / RECORD, NOW)
    for run in expand(tmp_path, NOW["methods"], NOW["seeds"])[1:]:
        write_json(run.folder / RESULT, {"method": run.method, "seed": run.seed})
    found = [(result["method"], result["seed"]) for result in read_finished_results(tmp_path)]
    assert found == [("pla", 1), ("bce", 0), ("bce", 1)]


def test_a_damaged_record_is_refused(tmp_path):
    (tmp_path / RECORD).write_text(json.dumps({"version": 1})[:-1])
    with pytest.raises(ValueError, match="damaged"):
        read_comparison_record(tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-30],
        lambda data: b"version https://git-lfs",
        lambda data: data[:200] + bytes([data[200] ^ 1]) + data[201:],
    ],
    ids=["empty", "truncated", "another file", "flipped bit"],
)
def test_damaged_arrays_are_an_error(tmp_path, damage):
    file = tmp_path / "predictions.npz"
    np.savez_compressed(file, truth=np.random.default_rng(0).integers(99, size=300))
    assert len(read_arrays(file)["truth"]) == 300
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(
        ValueError, match=rf"^{file} is missing or damaged .*; remove {tmp_path}/result\.json"
    ):
        read_arrays(file)
