"""Predict the labels of images: python tools/predict.py CONFIG CHECKPOINT IMAGES..."""

from mmorderless.commands.predict import main
from mmorderless.errors import run_tool

if __name__ == "__main__":
    run_tool(main)
