"""End a DataLoader's workers when the process that started them is killed."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial

from torch.utils.data import DataLoader

PR_SET_PDEATHSIG = 1
"""From Linux's sys/prctl.h: send a signal to this process when its parent ends."""


def bind_workers(loader: DataLoader) -> DataLoader:
    """Make a loader's workers end with this process, however it ends (Linux; elsewhere no change).

    A killed process cannot stop its workers. Those that wait to hand over a batch never notice;
    they keep memory, the GPU's included, and inherited locks.

    Linux ends a worker with the thread that started it. Loaders of other threads than the main one,
    which may end before the workers, are left as they are, and so are workers of a fork server.

    Args:
        loader: a loader whose workers have not started; changed in place. Its own `worker_init_fn`
            is still called.
    """
    method = (loader.multiprocessing_context or multiprocessing).get_start_method(allow_none=True)
    is_main = threading.current_thread() is threading.main_thread()
    if sys.platform == "linux" and is_main and method != "forkserver":
        loader.worker_init_fn = partial(_start_worker, loader.worker_init_fn)
    return loader


def _start_worker(initialize: Callable[[int], None] | None, worker_id: int) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = multiprocessing.parent_process()
    if parent and os.getppid() != parent.pid:  # it ended before the call
        os._exit(1)
    if initialize is not None:
        initialize(worker_id)
