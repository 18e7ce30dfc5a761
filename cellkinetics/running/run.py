"""How a long piece of work is done: a chunk after the other or by several processes, kept on disk or not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cellkinetics import domains, readiness
from cellkinetics.progress import log
from cellkinetics.running.checkpoint import Checkpoint
from cellkinetics.running.digest import digest
from cellkinetics.running.workers import by_workers
from cellkinetics.words import count

Numbered = Iterator[tuple[int, Any]]


@dataclass(frozen=True, eq=False)
class Run:
    """What becomes of chunks of work.

    checkpoint : where finished ones are kept; None for nowhere.
    n_jobs : processes that they are shared among; 1 for this one alone, -1 for as many as there are.
    """

    checkpoint: Checkpoint | None = None
    n_jobs: int = 1

    @classmethod
    def of(cls, checkpoint: str | Path | None, n_jobs: int, asked: Callable[[], Mapping[str, Any]]) -> Run:
        """The run of a verb's arguments; ``asked`` gives what a checkpoint is of."""
        readiness.refuse()
        n_jobs = domains.jobs(n_jobs)
        return cls(None if checkpoint is None else Checkpoint(checkpoint, asked()), n_jobs)

    def each(
        self,
        stage: str,
        function: Callable[..., Any],
        arguments: Sequence[tuple[Any, ...]],
        here: Callable[[Sequence[int]], Iterable[tuple[int, Any]]] | None = None,
    ) -> Numbered:
        """(number, result) of each chunk, in whatever order they are finished.

        Parameters
        ----------
        stage : a word for the work, by which files are named.
        function : of a module, which workers import; what it returns can be written to a file.
        arguments : of each chunk.
        here : does the chunks of these numbers in this process, where that is better than one after the other.
        """
        missing, keys = list(range(len(arguments))), list[str]()
        kept = self.checkpoint
        if kept is not None:
            keys = [digest((stage, given)) for given in arguments]
            known = kept.found()
            missing = [number for number, key in enumerate(keys) if key not in known]
            if len(missing) < len(keys):
                log.info("%s: %s of %d from %s", stage, count(len(keys) - len(missing), "chunk"), len(keys), kept.path)
            for number, key in enumerate(keys):
                if key in known:
                    yield number, kept.value(key)
        if not missing:
            return
        if self.n_jobs != 1:
            work = by_workers(self.n_jobs, function, arguments, missing)
        elif here is not None:
            work = here(missing)
        else:
            work = ((number, function(*arguments[number])) for number in missing)
        try:
            for number, result in work:
                if kept is not None:
                    kept.add(stage, keys[number], result)
                yield number, result
        finally:
            if kept is not None:
                kept.write(stage)


HERE = Run()
