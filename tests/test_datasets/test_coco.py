import json
import tracemalloc

import pytest

from mmorderless.datasets import coco
from mmorderless.datasets.coco import CocoMultiLabel, collect_label_sets
from mmorderless.datasets.faults import collect_faults

CLASS_OF_ID = {3: 0, 18: 1, 90: 2}


def instances(**changed):
    """The official layout, with ids that have gaps and do not follow the file's order."""
    objects = [(7, 18, 0), (7, 3, 0), (7, 18, 0), (2, 90, 1), (5, 3, 0)]
    return {
        "info": {"year": 2014},
        "licenses": [{"id": 1, "name": "CC"}],
        "images": [
            {"id": i, "file_name": f"COCO_train2014_{i:012d}.jpg", "height": 4, "width": 4}
            for i in (7, 2, 9, 5)
        ],
        "categories": [
            {"id": 90, "name": "toothbrush", "supercategory": "indoor"},
            {"id": 3, "name": "car", "supercategory": "vehicle"},
            {"id": 18, "name": "dog", "supercategory": "animal"},
        ],
        "annotations": [
            {
                "id": k,
                "image_id": image,
                "category_id": category,
                "iscrowd": crowd,
                "bbox": [0, 0, 1, 1],
                "segmentation": {"counts": [16], "size": [4, 4]} if crowd else [[0.5, 1, 2, 3]],
            }
            for k, (image, category, crowd) in enumerate(objects)
        ],
        **changed,
    }


@pytest.fixture
def load(tmp_path):
    def load(content=None, **options):
        (tmp_path / "annotations").mkdir(exist_ok=True)
        path = tmp_path / "annotations" / "instances_train2014.json"
        path.write_text(json.dumps(instances() if content is None else content))
        return CocoMultiLabel(
            ann_file="annotations/instances_train2014.json",
            data_root=str(tmp_path),
            data_prefix={"img_path": "train2014/"},
            **options,
        )

    return load


def labels_of(dataset):
    return [dataset.get_cat_ids(i) for i in range(len(dataset))]


def test_supercategories_group_the_classes(load):
    dataset = load()
    assert dataset.metainfo["classes"] == ("car", "dog", "toothbrush")
    assert dataset.metainfo["groups"] == {"vehicle": [0], "animal": [1], "indoor": [2]}
    chosen = load(metainfo=dict(classes=["dog", "car"]))
    assert chosen.metainfo["groups"] == {"animal": [0], "vehicle": [1]}
    plain = [{"id": i, "name": name} for i, name in ((90, "toothbrush"), (3, "car"), (18, "dog"))]
    assert load(instances(categories=plain)).metainfo["groups"] == {}


def test_label_sets_count_crowds_and_drop_the_unlabeled(load, tmp_path):
    dataset = load()
    assert labels_of(dataset) == [[0, 1], [2], [0]]
    assert dataset.dropped == {"without a label": 1}
    path = tmp_path / "train2014" / "COCO_train2014_000000000002.jpg"
    assert dataset.get_data_info(1)["img_path"] == str(path)


def test_unlabeled_images_can_stay(load):
    assert labels_of(load(keep_unlabeled=True)) == [[0, 1], [2], [], [0]]


def test_classes_select_categories(load):
    dataset = load(classes=["toothbrush", "car"])
    assert dataset.metainfo["classes"] == ("toothbrush", "car")
    assert labels_of(dataset) == [[1], [0], [1]]
    with pytest.raises(ValueError, match=r"\['cat'\], which .* does not have; choose from"):
        load(classes=["car", "cat"])


def test_grouping_does_not_depend_on_the_order_of_objects():
    content = instances()
    pairs = [(a["image_id"], a["category_id"], 0) for a in content["annotations"]]
    forward = collect_label_sets(content["images"], pairs, CLASS_OF_ID, "x")
    assert collect_label_sets(content["images"], pairs[::-1], CLASS_OF_ID, "x") == forward


@pytest.mark.parametrize(
    "changed, rule",
    [
        ({"categories": []}, "no class names"),
        ({"categories": [{"id": 3, "name": "car"}] * 2}, r"category ids \[3\] occur twice"),
        ({"categories": [{"id": i, "name": "car"} for i in (3, 18)]}, r"\['car'\] occur twice"),
        (
            {"categories": [{"id": 3, "name": "car"}]},
            r"category_id of annotations\[0\] .* is 18, which the file does not",
        ),
        ({"categories": [{"id": 3}]}, r"categories\[0\] of .* lacks name"),
        (
            {"images": [{"id": 7, "file_name": "7.jpg"}]},
            r"image_id of annotations\[3\] .* is 2, which the file does not",
        ),
        ({"images": [{"id": 7, "file_name": "7.jpg"}] * 2}, r"image ids \[7\] occur twice"),
        ({"images": [{"id": 7}]}, r"images\[0\] .* lacks file_name; give an instances file"),
        ({"annotations": [{"image_id": 7}]}, r"annotations\[0\] of .* lacks category_id"),
        ({"annotations": []}, "lists 4 images, none of them to use; set keep_unlabeled"),
    ],
)
def test_wrong_files(load, changed, rule):
    with pytest.raises(ValueError, match=rule) as error:
        load(instances(**changed))
    assert "instances_train2014.json" in str(error.value)
    assert "\n" not in str(error.value)


def test_polygons_are_not_kept(load, tmp_path):
    """Parsed they would take five times the file's size; its text is held, as bytes and decoded."""
    content = instances()
    polygon = [x + 0.25 for x in range(1000, 3000)]
    content["annotations"] = [
        {**annotation, "segmentation": [polygon]} for annotation in content["annotations"] * 20
    ]
    load(content)  # what is made once, by the first call
    tracemalloc.start()
    try:
        dataset = CocoMultiLabel("annotations/instances_train2014.json", data_root=str(tmp_path))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    size = (tmp_path / "annotations/instances_train2014.json").stat().st_size
    assert len(dataset) == 3
    assert peak < 3 * size


NO_LIST = (None, 5, "text", {}, True)
ODD_IDS = (None, 7.0, True, "7", [7], {}, float("nan"), float("inf"))


@pytest.mark.parametrize("section", ["images", "annotations", "categories"])
def test_sections_that_are_no_lists(load, section):
    for value in NO_LIST:
        with pytest.raises(ValueError, match=rf"^{section} of .*2014.json must be a list, got"):
            load(instances(**{section: value}))
    for entry in (*NO_LIST, []):
        content = instances()
        content[section][1] = entry
        with pytest.raises(ValueError, match=r"2014.json (must be a JSON object|lacks)"):
            load(content)


@pytest.mark.parametrize("section, key", [("images", "file_name"), ("categories", "name")])
def test_names_that_are_no_text(load, section, key):
    for value in (None, 5, True, [], {}, "", "a\0b", "a\ud800"):
        content = instances()
        content[section][1][key] = value
        with pytest.raises(ValueError, match=rf"^{key} of .*2014.json must be non-blank"):
            load(content)


@pytest.mark.parametrize(
    "section, key",
    [
        ("images", "id"),
        ("categories", "id"),
        ("annotations", "image_id"),
        ("annotations", "category_id"),
    ],
)
def test_ids_of_a_wrong_type(load, section, key):
    for value in ODD_IDS:
        content = instances()
        content[section][1][key] = value
        with pytest.raises(
            ValueError, match=rf"^{key} of {section}\[1\] of .*2014.json must be an integer"
        ):
            load(content)


def test_a_text_id_among_integers_is_named_as_such(load):
    content = instances()
    content["annotations"][3]["category_id"] = "90"
    with pytest.raises(
        ValueError, match=r"^category_id of .*2014.json must be .* got '90', which is text; write"
    ) as error:
        load(content)
    assert "download" not in str(error.value)


def test_text_ids_throughout_are_read(load):
    content = instances()
    for image in content["images"]:
        image["id"] = str(image["id"])
    for annotation in content["annotations"]:
        annotation["image_id"] = str(annotation["image_id"])
    assert labels_of(load(content)) == labels_of(load())


def test_wrong_entries_are_collected_and_the_others_read(load):
    content = instances()
    content["images"][2]["file_name"] = None
    content["annotations"][0]["category_id"] = "18"
    content["annotations"].append(None)
    with collect_faults() as faults:
        dataset = load(content)
    assert labels_of(dataset) == [[0, 1], [2], [0]]
    assert len(faults) == 3


def roboflow(name="animals", annotated=False):
    """A project's export: the root groups the classes."""
    categories = [
        {"id": 0, "name": name, "supercategory": "none"},
        {"id": 1, "name": "car", "supercategory": name},
        {"id": 2, "name": "dog", "supercategory": name},
    ]
    images = [{"id": i, "file_name": f"{i}.jpg"} for i in range(2)]
    annotations = [{"image_id": i, "category_id": c} for i, c in ((0, 2), (1, 1), (1, 2))]
    if annotated:
        annotations.append({"image_id": 0, "category_id": 0})
    return {"images": images, "categories": categories, "annotations": annotations}


@pytest.mark.parametrize("name", ["animals", "dog"])
def test_a_category_that_only_groups_others_is_left_out(load, name, monkeypatch):
    lines = []
    monkeypatch.setattr(coco, "print_log", lambda line, **_: lines.append(line))
    for chosen in (None, ["car", "dog"]):
        dataset = load(roboflow(name), classes=chosen)
        assert dataset.metainfo["classes"] == ("car", "dog")
        assert dataset.metainfo["groups"] == {name: [0, 1]}
        assert f"left out the categories ['{name}'], which group others" in lines[0]
        assert labels_of(dataset) == [[1], [0, 1]]


def test_a_group_stays_if_it_is_annotated_or_chosen(load):
    annotated = load(roboflow(annotated=True))
    assert annotated.metainfo["classes"] == ("animals", "car", "dog")
    assert labels_of(annotated) == [[0, 2], [1, 2]]
    chosen = load(roboflow(), classes=["dog", "animals"])
    assert chosen.metainfo["classes"] == ("dog", "animals")
    with pytest.raises(ValueError, match=r"\['dog'\] occur twice"):
        load(roboflow("dog", annotated=True))
    assert labels_of(load(roboflow("dog", annotated=True), classes=["car"])) == [[0]]


def test_a_category_that_is_its_own_group_stays(load):
    """As COCO's person."""
    categories = [{"id": i, "name": n, "supercategory": n} for i, n in ((3, "car"), (18, "dog"))]
    content = instances(categories=categories, annotations=[{"image_id": 7, "category_id": 3}])
    assert load(content).metainfo["classes"] == ("car", "dog")


def test_ignored_objects_are_not_judged_unless_another_makes_a_label(load):
    content = instances()
    for annotation, ignore in zip(content["annotations"], (0, 1, 1, False, True)):
        annotation["ignore"] = ignore
    dataset = load(content, keep_unlabeled=True)
    assert labels_of(dataset) == [[1], [2], [], []]
    ignored = [dataset.get_data_info(i).get("gt_ignore") for i in range(4)]
    assert ignored == [[0], None, None, [0]]
    content["annotations"][0]["ignore"] = "no"
    with pytest.raises(
        ValueError, match=r"ignore of annotations\[0\] of .*2014.json must be 0 or 1, got 'no'"
    ):
        load(content)


def test_windows_paths_and_urls(load, tmp_path):
    (tmp_path / "train2014/a").mkdir(parents=True)
    (tmp_path / "train2014/a/7.jpg").touch()
    content = instances()
    content["images"][0]["file_name"] = "a\\7.jpg"
    content["images"][1]["file_name"] = "https://example.com/2.jpg"
    dataset = load(content)
    assert dataset.get_data_info(0)["img_path"] == str(tmp_path / "train2014/a/7.jpg")
    assert dataset.get_data_info(1)["img_path"] == "https://example.com/2.jpg"


def test_classes_follow_the_ids_not_the_names(load):
    categories = [{"id": i, "name": name} for i, name in ((90, "ant"), (3, "car"), (18, "bee"))]
    assert load(instances(categories=categories)).metainfo["classes"] == ("car", "bee", "ant")


def test_not_an_instances_file(load):
    with pytest.raises(ValueError, match="lacks annotations, categories; give an instances file"):
        load({"images": []})


def test_missing_annotation_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"val2014\.json does not exist; set data_root"):
        CocoMultiLabel("instances_val2014.json", data_root=str(tmp_path))


def test_real_photos_equal_a_plain_reader(shared_data):
    dataset = CocoMultiLabel(
        ann_file="annotations/instances_val.json",
        data_root=str(shared_data / "coco_sub"),
        data_prefix="images",
        pipeline=[{"type": "LoadImage"}, {"type": "PackInputs"}],
        keep_unlabeled=True,
    )
    content = json.loads((shared_data / "coco_sub/annotations/instances_val.json").read_text())
    names = {category["id"]: category["name"] for category in content["categories"]}
    expected = [
        {names[a["category_id"]] for a in content["annotations"] if a["image_id"] == image["id"]}
        for image in content["images"]
    ]
    classes = dataset.metainfo["classes"]
    assert len(classes) == 80
    assert [{classes[c] for c in labels} for labels in labels_of(dataset)] == expected
    assert dataset[0]["inputs"].shape[0] == 3
