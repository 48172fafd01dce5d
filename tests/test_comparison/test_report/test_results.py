import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from mmorderless.comparison.report.results import (
    caveats,
    load_comparison,
    mean_and_deviation,
    paired_differences,
    timing_note,
    value_at,
)


def test_a_comparison_is_read_in_the_order_of_its_methods(comparison_folder):
    comparison = load_comparison(comparison_folder)
    assert list(comparison.results) == ["bce", "pla", "frequent_first"]
    assert all(list(by_seed) == [0, 1] for by_seed in comparison.results.values())
    assert comparison.results["pla"][1]["seed"] == 1
    assert len(comparison.attention["pla"]) == 12
    assert comparison.attention["bce"] == {}


def test_classes_are_grouped_if_the_dataset_has_groups(comparison_folder, tmp_path):
    assert load_comparison(comparison_folder).groups == {}
    folder = shutil.copytree(comparison_folder, tmp_path / "comparison")
    for file in folder.glob("*/seed_0/predictions.npz"):
        with np.load(file) as arrays:
            names = ["", *["x", "y"] * len(arrays["classes"])][: len(arrays["classes"])]
            changed = {**arrays, "groups": np.array(names)}
        np.savez(file, **changed)
    groups = load_comparison(folder).groups
    assert groups["x"][:2] == [1, 3]
    assert sorted([*groups["x"], *groups["y"]]) == list(range(1, len(names)))
    assert list(groups) == ["x", "y", "other"]
    assert groups["other"] == [0]  # no class is lost


def test_unfinished_runs_are_left_out(comparison_folder, tmp_path):
    folder = shutil.copytree(comparison_folder, tmp_path / "comparison")
    (folder / "bce" / "seed_0" / "result.json").unlink()
    shutil.rmtree(folder / "pla")
    results = load_comparison(folder).results
    assert {method: list(by_seed) for method, by_seed in results.items()} == {
        "bce": [1],
        "frequent_first": [0, 1],
    }


def test_a_comparison_without_results_is_refused(comparison_folder, tmp_path):
    shutil.copy(comparison_folder / "comparison.json", tmp_path)
    with pytest.raises(ValueError, match=r"no run in .* is finished; run tools/compare.py"):
        load_comparison(tmp_path)
    with pytest.raises(FileNotFoundError):
        load_comparison(tmp_path / "nothing")


def test_methods_tested_on_different_images_are_refused(comparison_folder, tmp_path):
    folder = shutil.copytree(comparison_folder, tmp_path / "comparison")
    file = folder / "pla" / "seed_0" / "predictions.npz"
    with np.load(file) as arrays:
        changed = {**arrays, "img_path": arrays["img_path"][::-1]}
    np.savez(file, **changed)
    with pytest.raises(ValueError, match="bce and pla differ in the img_path"):
        load_comparison(folder)


def test_a_value_that_is_not_a_number_is_none():
    result = json.loads('{"default": {"CF1": 1, "mAP": NaN, "OF1": null}, "tuned": null}')
    assert value_at(result, ("default", "CF1")) == 1.0
    for keys in (("default", "mAP"), ("default", "OF1"), ("default", "CP"), ("tuned", "CF1", "x")):
        assert value_at(result, keys) is None


def test_the_deviation_is_the_sample_standard_deviation():
    assert mean_and_deviation([1.0, 3.0]) == (2.0, pytest.approx(2**0.5))
    assert mean_and_deviation([5.0]) == (5.0, None)


def test_differences_are_paired_by_seed():
    assert paired_differences({0: 3.0, 2: 5.0, 9: 1.0}, {2: 4.0, 0: 3.5}) == {0: -0.5, 2: 1.0}


def test_the_note_on_times_states_their_conditions():
    cached = {"batch": 64, "threads": 1, "machine": "CPU", "backbone": "FeaturePassThrough"}
    note = "Batch 64, 1 thread, CPU, cached features: the backbone is not included."
    assert timing_note({"pla": cached, "bce": dict(cached)}) == note
    assert timing_note({}) == ""
    views = "Batch 64, 1 thread. ACfs is trained on 4 views of each image."
    once, four = ({"batch": 64, "threads": 1, "views": number} for number in (1, 4))
    assert timing_note({"pla": once, "acfs": four}) == views
    assert timing_note({"pla": {"batch": 64, "threads": 2}}) == "Batch 64, 2 threads."
    on_cpu, on_gpu = ({"machine": "CPU", "device": device} for device in ("cpu", "a GPU"))
    assert timing_note({"pla": on_gpu}) == "A GPU, CPU."
    assert timing_note({"pla": on_cpu, "bce": on_gpu}).endswith(" pla: CPU; bce: a GPU, CPU.")
    whole = {"batch": 64, "threads": 1, "backbone": "ResNet"}
    assert timing_note({"pla": cached, "bce": cached, "mla": whole, "ocd": {}}) == (
        "These times were measured under different conditions and are not comparable. pla, bce: "
        "batch 64, 1 thread, CPU, cached features: the backbone is not included; mla: batch 64, "
        "1 thread, with the backbone, ResNet; ocd: unknown."
    )


def test_caveats_name_initial_weights_and_different_versions(comparison_folder):
    comparison = load_comparison(comparison_folder)
    assert caveats(comparison) == []
    options = {"method_options": {"bce": {"load_from": "b.pth"}}}
    results = {"pla": {s: {"versions": {"a": "1", "torch": f"2.{s}"}} for s in range(2)}}
    changed = replace(comparison, config={"options": options}, results=results)
    cached = {"settings": {"model": {"backbone": {"type": "FeaturePassThrough"}}}}
    assert caveats(replace(comparison, config=cached)) == [
        "Left out, because cached features are not images: ACf, ACfs."
    ]
    assert caveats(changed) == [
        "Weights from b.pth (bce): if they were trained on the held-out images, the chosen "
        "operating points are optimistic.",
        "The runs used different versions: torch 2.0, 2.1.",
    ]
