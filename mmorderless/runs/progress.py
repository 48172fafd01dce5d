"""A progress bar whose line ends with it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.utils import ProgressBar


@contextmanager
def progress_bar(total: int) -> Iterator[ProgressBar]:
    """Show a progress bar for the length of a block; an error begins a new line, too.

    Args:
        total: number of things to do.
    """
    bar = ProgressBar(total, file=sys.stdout)
    try:
        yield bar
    finally:
        print(flush=True)
