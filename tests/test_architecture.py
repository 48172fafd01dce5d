"""Imports go downwards only and never in a circle; `import mmorderless` offers the public names."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import mmorderless

ROOT = Path(mmorderless.__file__).parent
BASE = {"labels", "errors", "version"}
LOWER = BASE | {"datasets", "models", "metrics", "figures", "runs"}
MAY_IMPORT = {
    "labels": set(),
    "sets": set(),
    "errors": set(),
    "alignment": {"labels"},
    "metrics": {"labels"},
    "figures": {"labels", "metrics"},
    "datasets": BASE,
    "models": BASE | {"alignment", "sets"},
    "runs": BASE | {"datasets", "models.weights"},
    "engine": LOWER,
    "inference": LOWER,
    "comparison": LOWER | {"engine", "inference"},
    "commands": LOWER | {"engine", "inference", "comparison"},
    "__main__": {"errors"},  # and commands, by name: each imports much
}
MM = {"mmengine", "mmcv", "mmpretrain"}
SAMPLES = {"mmengine.structures", "mmpretrain.structures"}
MAY_NOT_IMPORT = {
    "": {"tools", "benchmarks"},
    "labels": MM | {"torch.nn"},
    "alignment": MM | {"torch.nn"},
    "sets": MM,
    "metrics": MM,
    "figures": MM | {"torch", "pathlib"},
    "models.decoders": SAMPLES | {"mmorderless.models.losses", "mmorderless.models.heads"},
    "models.decoding": SAMPLES | {"mmorderless.models.losses", "mmorderless.models.heads"},
    "models.losses": SAMPLES | {"mmorderless.models.heads"},
    "models.backbones": {"mmorderless.models.losses", "mmorderless.models.heads"},
    "comparison.evaluation": {"mmorderless.comparison.report"},
    "inference.onnx_inferencer": MM | {"torch", "cv2", "mmorderless"},
}
ONLY_IN = {"argparse": {"runs.options", "commands"}, "matplotlib": {"figures"}}
FUNCTIONS = {"torch.nn.functional", "torch.nn.utils", "matplotlib.figure.Figure"}  # allowed


def read_imports() -> dict[str, set[str]]:
    """Return the names that each module imports anywhere in it; `from a import b` is `a.b`."""
    imports = {}
    for file in sorted(ROOT.rglob("*.py")):
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        names = imports.setdefault(module, set())
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert not node.level or module == "__init__", f"{module}: relative import"
                source = f"mmorderless.{node.module}" if node.level else node.module
                names.update(f"{source}.{alias.name}" for alias in node.names)
    del imports["__init__"]
    return imports


IMPORTS = read_imports()


def within(name: str, packages: set[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def is_allowed(module: str, name: str) -> bool:
    if within(name, FUNCTIONS) or (module == "metrics.label_set_metric" and within(name, MM)):
        return True
    if any(within(name, {top}) and not within(module, ONLY_IN[top]) for top in ONLY_IN):
        return False
    if any(within(name, MAY_NOT_IMPORT[p]) for p in MAY_NOT_IMPORT if not p or within(module, {p})):
        return False
    if not within(name, {"mmorderless"}):
        return True
    package = module.partition(".")[0]
    below = MAY_IMPORT.get(package, set())
    return within(name.removeprefix("mmorderless."), below | {package})


def test_modules_import_only_what_lies_below_them():
    wrong = {f"{m}: {name}" for m in IMPORTS for name in IMPORTS[m] if not is_allowed(m, name)}
    assert not wrong


def test_no_modules_import_each_other_in_a_circle():
    def module_of(name: str) -> str:
        name = name.removeprefix("mmorderless.")
        return name if name in IMPORTS else name.rpartition(".")[0]

    graph = {m: {module_of(name) for name in IMPORTS[m]} & IMPORTS.keys() for m in IMPORTS}
    tuple(TopologicalSorter(graph).static_order())  # raises CycleError


def test_files_stay_short():
    lines = {file: len(file.read_text().splitlines()) for file in ROOT.rglob("*.py")}
    assert not {f.relative_to(ROOT).as_posix() for f in lines if lines[f] > 300}
    assert len(list(ROOT.glob("*.py"))) <= 5  # __init__.py, __main__.py and three more


def test_public_names():
    assert set(mmorderless.__all__) == {
        *("alignment", "datasets", "engine", "inference", "labels", "metrics", "models", "runs"),
        *("OrderlessInferencer", "OrderlessRNNHead", "PLALoss", "MLALoss", "FixedOrderLoss"),
        *("LabelSetMetric", "align_min_loss", "align_predicted", "read_config", "__version__"),
    }
    assert all(hasattr(mmorderless, name) for name in mmorderless.__all__)


def test_import_does_not_load_matplotlib():
    code = "import sys, mmorderless; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
