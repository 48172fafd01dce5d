import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from mmorderless.comparison.report.page import file_stems, write_page
from mmorderless.comparison.report.rendering import TEMPLATES
from mmorderless.comparison.report.results import load_comparison
from mmorderless.comparison.report.tables import ALL_TABLES, SIZE_TABLE


class Page(HTMLParser):
    """The page's attributes, texts and tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.data = ""
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = dict(attrs).get("id") or tag

    def handle_data(self, data: str) -> None:
        if self._inside == "data":
            self.data += data
        elif self._inside not in ("script", "style"):
            self.texts.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def values(self, table: str) -> dict[str, list[float]]:
        """Means of a table by method, as used for sorting."""
        found: dict[str, list[float]] = {}
        inside, method = False, ""
        for tag, attributes in self.tags:
            if tag == "table":
                inside = attributes.get("id") == table
            elif inside and tag == "tr" and "data-method" in attributes:
                method = attributes["data-method"]
                found[method] = []
            elif inside and "data-value" in attributes:
                found[method].append(float(attributes["data-value"]))
        return found


def text_of(folder):
    """Write the page of a comparison, and return its text."""
    return write_page(load_comparison(folder)).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def text(report: Path) -> str:
    return report.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_the_page_is_self_contained(page, text):
    for _, attributes in page.tags:
        for name in ("src", "href"):
            assert (attributes.get(name) or "#").startswith(("data:", "#"))
    assert not re.search(r"https?://|@import|url\(", text)
    assert "default-src 'none'" in text
    assert len(text) < 1_000_000


def test_names_are_not_read_as_templates(text):
    # The name of a class stays as it is.
    assert set(re.findall(r"\{\{.*?\}\}|\{%", text)) == {"{{data}}"}


def test_names_cannot_become_elements(page, text):
    assert not [a for tag, a in page.tags if any(name.startswith("on") for name in a)]
    assert len([tag for tag, _ in page.tags if tag == "script"]) == 2
    assert not [tag for tag, _ in page.tags if tag == "b"]
    assert "<script>alert" not in text
    assert "</script><img" not in text


def test_names_arrive_unchanged(page, comparison_folder):
    with np.load(comparison_folder / "pla" / "seed_0" / "predictions.npz") as arrays:
        classes = arrays["classes"].tolist()
        names = [Path(path).name for path in arrays["img_path"]]
    assert json.loads(page.data)["classes"] == classes
    assert set(names) <= set(page.texts)
    options = "".join(page.texts)
    assert all(f"{name} (" in options for name in classes)


def test_json_cannot_leave_its_script():
    value = {"</script><!--": "<script>\u2028"}
    text = TEMPLATES.from_string("{{ value|tojson }}").render(value=value)
    assert "<" not in text
    assert json.loads(text) == value


def test_numbers_are_those_of_the_results(page, comparison_folder):
    """Every mean of every table that has them from the JSON files."""
    runs = [json.loads(file.read_text()) for file in comparison_folder.glob("*/*/result.json")]
    compared = 0
    for i, table in enumerate(ALL_TABLES):
        if table is SIZE_TABLE:
            continue
        columns = [column.keys for column in table.columns]
        columns = [table.parameter, *columns] if table.parameter else columns
        for method, means in page.values(f"table-{i}").items():
            if method == "label prior":
                continue
            of_method = [run for run in runs if run["method"] == method]
            expected = []
            for keys in columns:
                values = [_at(run, keys) for run in sorted(of_method, key=lambda r: r["seed"])]
                if None not in values:
                    once = keys[0] == "times_ms_per_image"
                    expected.append(values[0] if once else np.mean(values))
            assert means == pytest.approx(expected, rel=1e-12)
            compared += len(means)
    assert compared > 60


def _at(value, keys):
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def test_the_best_of_each_column_is_marked(text):
    [table] = re.findall(r'<table id="table-1".*?</table>', text, re.S)
    cell = re.compile(r'<td( class=best)? data-value="([\d.]+)"')
    rows = re.findall(r'data-method="(\w+)(.*?)</tr>', table, re.S)
    cells = [cell.findall(row)[:7] for _, row in rows]  # the scores; the prior has no cost
    values = np.array([[float(value) for _, value in row] for row in cells])
    best = np.array([[bool(mark) for mark, _ in row] for row in cells])
    assert rows[-1][0] == "label"
    assert (values[-1] > values[:-1]).any()
    assert not best[-1].any()  # the label prior is not a method
    values, best = values[:-1], best[:-1]
    assert (best == (values == values.max(axis=0))).all()


def test_differences_are_paired_with_pla(text, comparison_folder):
    f1 = {
        method: [
            json.loads((comparison_folder / method / f"seed_{s}" / "result.json").read_text())[
                "default"
            ]["CF1"]
            for s in (0, 1)
        ]
        for method in ("bce", "pla")
    }
    difference = np.subtract(f1["bce"], f1["pla"])
    written = f"{difference.mean():+.2f} ± {difference.std(ddof=1):.2f}".replace("-", "−")
    assert f'<span class="difference">{written}</span>' in text


def test_photos_have_alternative_texts_and_missing_ones_are_named(page, text):
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert all(attributes.get("alt") for attributes in images)
    assert all(attributes["width"] and attributes["height"] for attributes in images)
    assert len([a for a in images if a["src"].startswith("data:image/jpeg")]) == 11
    assert text.count("(not found)") == 1


def test_the_gallery_holds_each_methods_predictions(page, comparison_folder):
    data = json.loads(page.data)
    assert [method["name"] for method in data["methods"]] == ["bce", "pla", "frequent_first"]
    assert [method["ordered"] for method in data["methods"]] == [False, True, True]
    for method in data["methods"]:
        with np.load(comparison_folder / method["name"] / "seed_0" / "predictions.npz") as arrays:
            name = "sequence" if method["ordered"] else "predicted"
            ends = np.cumsum(arrays[f"{name}_length"])[:-1]
            emitted = [labels.tolist() for labels in np.split(arrays[name], ends)]
        assert [photo["labels"] for photo in method["predictions"]] == emitted
        for photo, truth in zip(method["predictions"], data["truth"], strict=True):
            assert set(photo["missing"]) == set(truth) - set(photo["labels"])
            assert ("maps" in photo) == (method["name"] == "pla" and bool(photo["labels"]))


def test_results_without_predictions_give_tables_only(comparison_folder, tmp_path):
    folder = shutil.copytree(comparison_folder, tmp_path / "comparison")
    for file in folder.glob("*/*/*.npz"):
        file.unlink()
    shutil.rmtree(folder / "pla" / "seed_1")
    (folder / "label_prior.json").unlink()
    text = text_of(folder)
    assert "No run has written predictions" in text
    assert "5 of 6 runs are finished" in text
    assert '<table id="table-1"' in text


def edit_json(file, **changes):
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_groups_may_have_any_name(comparison_folder, tmp_path):
    folder = shutil.copytree(comparison_folder, tmp_path / "comparison")
    groups = ["cats/dogs", "cats/dogs", "cats dogs", "cats dogs", "../<b>", "../<b>", "one", ""]
    for file in folder.glob("*/seed_0/predictions.npz"):
        with np.load(file) as arrays:
            changed = {**arrays, "groups": np.array(groups)}
        np.savez(file, **changed)
    page = write_page(load_comparison(folder))
    stems = {file.stem for file in (page.parent / "figures").glob("cooccurrence*")}
    start = "cooccurrence_difference"
    ends = ("", "_cats_dogs", "_cats_dogs_2", "__b_")
    assert stems == {f"{start}{end}" for end in ends}
    text = page.read_text(encoding="utf-8")
    for name in ("cats/dogs", "cats dogs", "../&lt;b&gt;"):
        assert f"within the group {name}, first seeds." in text
    assert "within the group one" not in text  # a class has no pairs


def test_file_names_are_distinct_and_short():
    names = ["a/b", "a b", "A_B", "a_b_2", "日" * 300, "日" * 301, "\udc80"]
    stems = file_stems(names)
    assert len({stem.casefold() for stem in stems}) == len(names)
    assert all(re.fullmatch(r"[\w-]+", stem) for stem in stems)
    assert max(len(stem.encode()) for stem in stems) < 250
    assert stems[0] == "a_b"


@pytest.mark.slow
def test_caveats_are_shown(comparison_folder, tmp_path):
    folder = shutil.copytree(comparison_folder, tmp_path / "comparison")
    assert "Weights from" not in text_of(folder)
    settings = {"train_cfg": {"max_epochs": 16}, "load_from": "<mine>.pth"}
    edit_json(folder / "comparison.json", settings=settings)
    for seed in (0, 1):
        edit_json(folder / "pla" / f"seed_{seed}" / "result.json", versions={"torch": f"2.{seed}"})
    conditions = {"batch": 64, "threads": 2, "machine": "A & B", "backbone": "FeaturePassThrough"}
    for method in ("pla", "bce"):
        (folder / method / "times.json").write_text(json.dumps({"version": 1, **conditions}))
    text = text_of(folder)
    assert "Weights from &lt;mine&gt;.pth: if they were trained on the held-out images" in text
    assert "The runs used different versions: torch 2.0, 2.1." in text
    note = "Batch 64, 2 threads, A &amp; B, cached features: the backbone is not included."
    assert f'<p class="note">{note}</p>' in text.split('id="table-4"')[1].split("</section>")[0]


def test_captions_name_the_seed(text):
    starts = ("Error of the number of", "Co-occurrence of labels:", "Precision against recall")
    for start in starts:
        [caption] = re.findall(f"</strong> ({start}.*?)</figcaption>", text)
        assert "first seed" in caption
    assert "Predictions are those of each method&#39;s first seed." in text
    assert "share of each label at each step, first seed." in text


@pytest.mark.slow
def test_the_number_of_seeds_is_shown_if_it_differs(comparison_folder, tmp_path, text):
    folder = shutil.copytree(comparison_folder, tmp_path / "comparison")
    shutil.rmtree(folder / "bce" / "seed_1")
    assert '<th scope="row">BCE (n=1)</th>' in text_of(folder)
    assert '<th scope="row">BCE</th>' in text
