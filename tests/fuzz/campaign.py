"""Run damaged files through the readers in child processes, so that a crash names its case."""

import multiprocessing
import random
from collections import Counter
from collections.abc import Iterable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from fuzz.formats import Format
from mmorderless.errors import error_line, is_user_error

TIMEOUT = 120  # seconds for a case on a busy machine


class Result(NamedTuple):
    """What became of a case: refused, right, accepted or wrong."""

    outcome: str
    kind: str
    detail: str = ""


def judge(form: Format, root: Path, kind: str) -> Result:
    """Compare what the package makes of the files with the plain reading.

    A refusal is a user error of one line with the path and, after a semicolon, the remedy. Files
    that the package reads although the plain reader does not are accepted.
    """
    try:
        found = form.read(root)
    except Exception as error:
        line = error_line(error)
        has_path = str(root) in line or line.startswith("/")  # of a file or of one that it names
        is_refusal = is_user_error(error) and has_path and "; " in line
        detail = f"{type(error).__name__}: {line}"
        return Result("refused" if is_refusal else "wrong", kind, detail)
    try:
        truth = form.truth(root)
    except Exception as error:
        return Result("accepted", kind, f"{type(error).__name__}: {error} against {found}")
    return Result("right", kind) if found == truth else Result("wrong", kind, f"{found} != {truth}")


def run_case(form: Format, root: Path, seed: int) -> Result:
    """Damage one of the files, read the set, and restore the file."""
    rng = random.Random(f"{form.name} {seed}")
    file = rng.choice(sorted(path for path in root.rglob("*") if path.is_file()))
    mutation = rng.choice(form.mutations)
    original = file.read_bytes()
    file.write_bytes(mutation(rng, original))
    try:
        return judge(form, root, mutation.__name__)
    finally:
        file.write_bytes(original)


def _work(sender: Connection, form: Format, root: Path, seeds: list[int]) -> None:
    form.write(root)
    for seed in seeds:
        sender.send((seed, run_case(form, root, seed)))
    sender.close()


def run_cases(form: Format, root: Path, seeds: Iterable[int]) -> dict[int, Result]:
    """Run the cases of a format; after a crash another process goes on with the next case."""
    results: dict[int, Result] = {}
    remaining = list(seeds)
    fork = multiprocessing.get_context("fork")
    while remaining:
        receiver, sender = fork.Pipe(duplex=False)
        process = fork.Process(target=_work, args=(sender, form, root, remaining))
        process.start()
        sender.close()
        end = "took too long"
        try:
            while receiver.poll(TIMEOUT):
                seed, result = receiver.recv()
                results[seed] = result
        except EOFError:
            process.join()
            end = f"ended the process (exit code {process.exitcode})"
        process.kill()
        process.join()
        remaining = [seed for seed in remaining if seed not in results]
        if remaining:
            results[remaining.pop(0)] = Result("wrong", "unknown", end)
    return results


def summarize(form: Format, results: dict[int, Result]) -> str:
    """One line: the outcomes, and the kinds of damage that were accepted."""
    outcomes = Counter(result.outcome for result in results.values())
    accepted = Counter(r.kind for r in results.values() if r.outcome == "accepted")
    kinds = ", ".join(f"{kind} ×{number}" for kind, number in accepted.most_common())
    return f"{form.name}: {dict(outcomes)}" + (f"; accepted: {kinds}" if kinds else "")
