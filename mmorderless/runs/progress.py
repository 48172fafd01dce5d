"""A progress bar for the command line."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.utils import ProgressBar


@contextmanager
def progress_bar(total: int) -> Iterator[ProgressBar]:
    """Show a progress bar within a block, and end its line afterwards.

    Args:
        total: number of items.
    """
    bar = ProgressBar(total, file=sys.stdout)
    try:
        yield bar
    finally:
        print(flush=True)
