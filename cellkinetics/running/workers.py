"""Chunks of work done by other processes, wherever joblib has them: on this machine, a cluster of dask or ray."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from cellkinetics.progress import log
from cellkinetics.words import count

MOST_BREAKS = 3  # times in a row that workers may be killed without a chunk finished in between
A_WORKER = 4  # chunks a worker in one round, where a backend gives results only when all are there


def by_workers(
    n_jobs: int, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], numbers: Iterable[int]
) -> Iterator[tuple[int, Any]]:
    """(number, result) of each chunk as it is finished; what a killed worker had is done again.

    Raises
    ------
    RuntimeError
        Workers were killed again and again without a result, with what it may be.
    """
    left, breaks = list(numbers), 0
    while left:
        try:
            for number, result in _round(n_jobs, function, arguments, tuple(left)):
                left.remove(number)
                breaks = 0
                yield number, result
        except BrokenProcessPool as error:
            breaks += 1
            if breaks >= MOST_BREAKS:
                text = f"worker processes were killed {breaks} times in a row, {count(len(left), 'chunk')} to go"
                remedy = "They may need more memory than there is: give fewer n_jobs=, or a smaller chunk=."
                raise RuntimeError(f"{text} ({error}). {remedy}") from error
            log.info("a worker was killed: %s of work done again", count(len(left), "chunk"))


def _round(
    n_jobs: int, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], numbers: Sequence[int]
) -> Iterator[tuple[int, Any]]:
    import joblib
    from joblib.parallel import get_active_backend

    backend, _ = get_active_backend()
    streams = bool(getattr(backend, "supports_return_generator", False))
    size = len(numbers) if streams else A_WORKER * joblib.effective_n_jobs(n_jobs)
    # joblib's annotations know of no number for batch_size.
    options: dict[str, Any] = {"batch_size": 1, "return_as": "generator_unordered" if streams else "list"}
    for begin in range(0, len(numbers), size):
        some = numbers[begin : begin + size]
        tasks = (joblib.delayed(_numbered)(number, function, arguments[number]) for number in some)
        done: Any = joblib.Parallel(n_jobs=n_jobs, **options)(tasks)
        yield from done


def _numbered(number: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[int, Any]:
    # Functions of this library are found by the module that they are in, which switches 64 bits on.
    return number, function(*arguments)
