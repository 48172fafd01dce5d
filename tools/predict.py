"""Predict the labels of images: python tools/predict.py CONFIG CHECKPOINT IMAGES... --out-dir DIR.

Writes DIR/predictions.json (its form: see tools/README.md) and, in DIR/pictures,
every image with its labels. An image that cannot be read is reported, the others are predicted,
and the exit code is 1.

A model that was trained on boxes cut out of photos (WIDER Attribute) is given the crops.
"""

from mmorderless.commands.predict import main
from mmorderless.errors import run_tool

if __name__ == "__main__":
    run_tool(main)
