"""Work shared among processes is the work of one process, to the last bit, and a killed worker loses nothing."""

import os
import signal

import joblib
import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.optimising import chunks
from cellkinetics.running import workers
from cellkinetics.running.workers import by_workers

# Patients whose problems have one shape, in chunks of two.
STUDY = ck.example().select(["P05", "P06", "P07", "P08", "P09", "P10"])
OPTIONS = {"starts": 1, "progress": False, "chunk": 2}
DECLINE = models.load("nk_decline")


def same(one, other):
    """Two tables, to the last bit."""
    pd.testing.assert_frame_equal(one, other, check_exact=True)


@pytest.fixture(scope="module")
def alone():
    return ck.fit_each(DECLINE, STUDY, **OPTIONS)


def test_two_processes_give_the_fits_of_one(alone, tmp_path):
    two = ck.fit_each(DECLINE, STUDY, **OPTIONS, n_jobs=2, checkpoint=tmp_path / "kept")
    same(two.parameters, alone.parameters)
    same(two.outcomes, alone.outcomes)
    assert [fit.solved_implicitly for fit in two.values()] == [fit.solved_implicitly for fit in alone.values()]
    assert [fit.one_by_one for fit in two.values()] == [fit.one_by_one for fit in alone.values()]
    # What workers finished is kept, and one process goes on with it.
    again = ck.fit_each(DECLINE, STUDY, **OPTIONS, checkpoint=tmp_path / "kept")
    same(again.outcomes, alone.outcomes)


def test_two_processes_give_the_bootstrap_and_the_power_of_one(alone, monkeypatch):
    """tests/benchmarks/workers.py asks the same of every verb."""
    monkeypatch.setattr(chunks, "PATIENTS_AT_ONCE", 16)
    one, two = (alone["P06"].bootstrap(32, n_jobs=n_jobs) for n_jobs in (1, 2))
    same(two.draws, one.draws)
    same(two.intervals, one.intervals)
    design = ([1e5, 1e7], [3, 3], [1, 7, 14, 28])
    options = {"between": {"F": 0.5}, "lloq": 3, "studies": 500, "patients": [6], "progress": False}
    one, two = (ck.power(DECLINE, *design, **options, n_jobs=n_jobs) for n_jobs in (1, 2))
    same(two.table, one.table)
    same(two.truth, one.truth)


def test_joblib_decides_where(alone):
    with joblib.parallel_config(backend="threading"):
        there = ck.fit_each(DECLINE, STUDY, **OPTIONS, n_jobs=2)
    same(there.outcomes, alone.outcomes)


def test_the_chunk_of_a_killed_worker_is_done_again(tmp_path):
    flag = tmp_path / "killed"

    def work(number):
        if number == 3 and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return number**2

    found = dict(by_workers(2, work, [(n,) for n in range(6)], [0, 1, 3, 5]))
    assert flag.exists()
    assert found == {0: 0, 1: 1, 3: 9, 5: 25}


def test_workers_that_are_killed_again_and_again_end_with_the_remedy(monkeypatch):
    monkeypatch.setattr(workers, "MOST_BREAKS", 1)

    def work(number):
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(RuntimeError, match=r"(?s)killed 1 times in a row, 2 chunks to go .* fewer n_jobs="):
        list(by_workers(2, work, [(n,) for n in range(2)], [0, 1]))


def test_what_is_wrong_in_a_worker_is_raised_here():
    def work(number):
        raise ValueError(f"chunk {number} is wrong")

    with pytest.raises(ValueError, match="chunk 1 is wrong"):
        list(by_workers(2, work, [(n,) for n in range(2)], [1]))


@pytest.mark.parametrize("n_jobs", [0, -2, 1.5, "two"])
def test_a_number_of_processes_is_1_or_more_or_minus_1(n_jobs):
    with pytest.raises(ValueError, match="n_jobs="):
        ck.fit_each(DECLINE, STUDY, progress=False, n_jobs=n_jobs)


def test_a_cluster_of_dask_gives_the_fits_of_one_process(alone, tmp_path):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, local_directory=str(tmp_path),
        ) as cluster,
        distributed.Client(cluster) as client,
    ):  # fmt: skip
        pids = client.run(os.getpid)
        assert len(set(pids.values()) - {os.getpid()}) == 2
        with joblib.parallel_config(backend="dask"):
            there = ck.fit_each(DECLINE, STUDY, **OPTIONS, n_jobs=-1)
    same(there.parameters, alone.parameters)
    same(there.outcomes, alone.outcomes)
