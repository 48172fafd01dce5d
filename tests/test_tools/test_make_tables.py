"""Metafiles, and what tools/make_tables.py makes of them."""

import runpy
from types import SimpleNamespace

import pytest
import yaml
from modelindex.load_model_index import load

METAFILE = """
Collections:
  - Name: c
    Metadata: {Measured Here: not run}
Models:
  - Name: a
    In Collection: c
    Config: configs/data/a.py
    Metadata: {Table: results, Paper Source: Table 9, Paper: {C-F1: 50.0, mAP: 60.25}}
  - Name: b
    In Collection: c
    Config: configs/data/a.py
    Metadata: {Table: results, Options: method=b, Measured Here: 3 epochs}
    Results:
      - Metrics: {C-F1: 70.5, O-F1: 80.25, mAP: 90.0}
"""
README = "before\n<!-- begin table: results -->\nold\n<!-- end table -->\nafter\n"
TABLE = """<!-- begin table: results -->
| config | options | in the paper | C-F1 | mAP | here |
| --- | --- | --- | ---: | ---: | --- |
| [a](a.py) |  | Table 9 | 50.00 | 60.25 | not run |
| [a](a.py) | `method=b` |  | – | – | C-F1 70.50, O-F1 80.25 (3 epochs) |
<!-- end table -->
"""


@pytest.fixture(scope="module")
def tool(repository):
    return SimpleNamespace(**runpy.run_path(str(repository / "tools/make_tables.py")))


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "configs/data"
    folder.mkdir(parents=True)
    (folder / "metafile.yml").write_text(METAFILE)
    (folder / "README.md").write_text(README)
    (folder / "a.py").write_text('"""A config.\n\nPaper: 1. Here: 2.\n"""\n')
    return tmp_path


def test_what_is_committed_is_what_is_generated(tool, repository):
    generated = tool.generate(repository)
    changed = [path for path, text in generated.items() if path.read_text("utf-8") != text]
    assert not changed, "run python tools/make_tables.py"


def test_a_table_and_a_record_come_from_the_metafile(tool, root):
    readme, config = root / "configs/data/README.md", root / "configs/data/a.py"
    assert tool.generate(root) == {
        readme: f"before\n{TABLE}after\n",
        config: '"""A config.\n\nPaper: C-F1 50.00 (Table 9). Here: not run.\n"""\n',
    }


def test_the_runs_of_a_comparison_are_averaged_over_seeds(tool, tmp_path):
    runs = tmp_path / "runs.csv"
    runs.write_text(
        "method,seed,default.OF1,default.duplicates\n"
        "unknown,0,70,\npla,0,80,1\npla,1,84,2\nbce,0,82,\n"
    )
    assert tool.run_table(runs, tool.RUN_TABLES["runs"]) == (
        "|  | seeds | O-F1 | duplicates |\n"
        "| --- | ---: | ---: | ---: |\n"
        "| BCE | 1 | **82.00** | – |\n"
        "| PLA | 2 | **82.00** ± 2.83 | 1.50 ± 0.71 |\n"
        "| unknown | 1 | 70.00 | – |\n"
    )
    assert tool.run_table(runs, {"duplicates": "default.duplicates"}).count("\n") == 3


def test_measured_numbers_are_shown_where_the_paper_has_none(tool, root):
    (_, model) = tool.read_models(root / "configs/data/metafile.yml")
    assert tool.table([model]).splitlines()[::2] == [
        "| config | options | C-F1 | O-F1 | mAP |",
        "| [a](a.py) | `method=b` | 70.50 | 80.25 | 90.00 |",
    ]
    assert tool.record(model) == "Paper: no number. Here: C-F1 70.50, O-F1 80.25 (3 epochs)."


def test_numbers_of_another_paper_have_a_source(tool):
    shared = {"Measured Here": "not run", "Paper": {"mAP": 60.25}}
    own, other = (dict(shared, **{"Paper Source": x}) for x in ("Table 9", "Liu et al. 2018"))
    models = [dict(Config="a.py", Metadata=metadata) for metadata in (own, other)]
    assert tool.table(models[:1]).startswith("| config | in the paper | mAP |")
    assert tool.table(models).startswith("| config | source | mAP |")
    assert tool.record(models[1]) == "Paper: mAP 60.25 (Liu et al. 2018). Here: not run."


def test_a_missing_marker_or_record_is_refused(tool, root):
    (root / "configs/data/README.md").write_text("no marker")
    with pytest.raises(ValueError, match=r"README\.md needs the markers of: results"):
        tool.generate(root)
    (root / "configs/data/a.py").write_text('"""A config."""\n')
    with pytest.raises(ValueError, match=r"a\.py needs one line 'Paper: …'"):
        tool.generate(root)


def test_every_config_is_in_the_metafile_of_its_folder_and_says_how_to_run_it(repository):
    for folder in (repository / "configs").glob("[!_]*/"):
        assert (folder / "README.md").read_text("utf-8").splitlines()[2].startswith("For those who")
        configs = {path.relative_to(repository).as_posix() for path in folder.glob("*.py")}
        for config in configs:
            assert f"python tools/train.py {config}" in (repository / config).read_text("utf-8")
        if folder.name == "examples":  # not models with results
            continue
        content = yaml.safe_load((folder / "metafile.yml").read_text("utf-8"))
        assert {model["Config"] for model in content["Models"]} == configs
        names = {model["Name"] for model in content["Models"]}
        assert {path.stem for path in folder.glob("*.py")} <= names


def test_openmmlabs_reader_understands_the_model_index(repository):
    index = load(str(repository / "model-index.yml"))
    index.build_models_with_collections()
    names = [model.name for model in index.models]
    assert len(set(names)) == len(names)  # mmpretrain's ModelHub refuses a name given twice
    folders = {path.parent for path in repository.glob("configs/*/metafile.yml")}
    assert {(repository / model.config).parent for model in index.models} == folders
