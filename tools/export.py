"""Export a trained model to ONNX: python tools/export.py CONFIG CHECKPOINT --out FILE.onnx."""

from mmorderless.commands.export import main
from mmorderless.errors import run_tool

if __name__ == "__main__":
    run_tool(main)
