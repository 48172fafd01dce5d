"""Run a tool: python -m mmorderless COMMAND, such as train, test or predict."""

import sys
from importlib import import_module

from mmorderless.errors import run_tool

COMMANDS = {
    "train": ("train", "train"),
    "test": ("test", "evaluate"),
    "predict": ("predict", "main"),
    "export": ("export", "main"),
    "tag": ("tag", "main"),
    "stages": ("train_stages", "train_stages"),
    "compare": ("compare", "compare"),
    "complete": ("complete", "complete"),
    "visualize": ("visualize", "main"),
    "check": ("check_dataset", "main"),
    "cache": ("cache_features", "main"),
    "summarize": ("summarize", "main"),
}
"""Module of mmorderless.commands, which has the name of its script in tools, and its function."""


def main() -> None:
    """Run the tool that the first argument names with the others."""
    name, *arguments = sys.argv[1:] or [""]
    usage = f"python -m mmorderless COMMAND --help, with a command of {', '.join(COMMANDS)}"
    if name in ("-h", "--help"):
        print(f"usage: {usage}")
        return
    if name not in COMMANDS:
        sys.exit(f"error: there is no command {name!r}; use {usage}")
    module, function = COMMANDS[name]
    sys.argv = [f"python -m mmorderless {name}", *arguments]  # what argparse calls the program
    run_tool(getattr(import_module(f"mmorderless.commands.{module}"), function))


if __name__ == "__main__":
    main()
