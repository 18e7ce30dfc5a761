"""Checkpoints: what is finished is kept, what is another's is refused, and a killed run goes on to the same result."""

import json
import signal
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.optimising import chunks, uncertainty
from cellkinetics.running.checkpoint import Checkpoint
from cellkinetics.running.run import Run

# Patients whose problems have one shape.
STUDY = ck.example().select(["P05", "P06", "P07", "P08", "P09", "P10"])
DECLINE = models.load("nk_decline")
POWER = """
import cellkinetics as ck
from cellkinetics import models
def power(checkpoint):
    return ck.power(
        models.load("nk_decline"), [1e5, 1e7], [3, 3], [1, 7, 14, 28], between={"F": 0.5}, lloq=3, studies=10_000,
        patients=[6, 12], progress=False, checkpoint=checkpoint)
"""


def same(one, other):
    """Two tables, to the last bit."""
    pd.testing.assert_frame_equal(one, other, check_exact=True)


@pytest.fixture
def counted(monkeypatch):
    """How many problems were given to the engine."""
    seen = []
    for name in ("optima", "climbed"):
        whole = getattr(chunks, name)

        def counting(problems, *others, whole=whole, **options):
            seen.extend(problems)
            return whole(problems, *others, **options)

        monkeypatch.setattr(chunks, name, counting)
    return seen


def chunks_in(folder):
    return sum(len(json.loads(f.read_text().split("\n")[0])["chunks"]) for f in folder.glob("studies-*.json"))


def times_ten(number):
    return {"value": np.array([10.0 * number, np.nan, -0.0]), "words": (str(number), None)}


def test_what_is_kept_is_not_computed_again(tmp_path):
    run = Run.of(tmp_path / "kept", 1, lambda: {"verb": "test"})
    first = dict(run.each("work", times_ten, [(1,), (2,), (3,)]))
    again = Run.of(tmp_path / "kept", 1, lambda: {"verb": "test"})
    seen = []
    for number, found in again.each("work", lambda n: seen.append(n) or times_ten(n), [(3,), (4,), (1,)]):
        np.testing.assert_array_equal(found["value"], times_ten([3, 4, 1][number])["value"])
        assert found["words"] == (str([3, 4, 1][number]), None)
    assert seen == [4]
    assert list(first) == [0, 1, 2]
    assert np.signbit(first[0]["value"][2])


def test_what_was_finished_before_an_interruption_is_on_disk(tmp_path):
    def second_time(number):
        if number == 2:
            raise KeyboardInterrupt
        return times_ten(number)

    run = Run.of(tmp_path / "kept", 1, lambda: {"verb": "test"})
    with pytest.raises(KeyboardInterrupt):
        list(run.each("work", second_time, [(0,), (1,), (2,), (3,)]))
    assert len(Checkpoint(tmp_path / "kept", {"verb": "test"}).found()) == 2
    assert not list((tmp_path / "kept").glob(".*"))


def test_a_damaged_or_cut_file_is_left_out(tmp_path):
    run = Run.of(tmp_path / "kept", 1, lambda: {"verb": "test"})
    list(run.each("work", times_ten, [(0,)]))
    (file,) = (tmp_path / "kept").glob("work-*.json")
    whole = file.read_bytes()
    for content in (whole.replace(b"10.0", b"11.0") if b"10.0" in whole else whole[::-1], whole[:50], b"", b"\xff\xfe"):
        file.write_bytes(content)
        assert Checkpoint(tmp_path / "kept", {"verb": "test"}).found() == {}
    file.write_bytes(whole)
    assert len(Checkpoint(tmp_path / "kept", {"verb": "test"}).found()) == 1


def test_another_question_at_the_same_place_is_refused_with_what_differs(tmp_path):
    ck.fit_each(DECLINE, STUDY.select("P05"), starts=1, progress=False, checkpoint=tmp_path / "kept")
    for change, said in (
        ({"seed": 3}, "seed is 2020 there and 3 here"),
        ({"tie": {"beta": lambda alpha: alpha / 50}}, "tie is not the same"),
        ({"fixed": {"alpha": 0.2}}, "fixed is {} there and {'alpha': 0.2} here"),
    ):
        with pytest.raises(ValueError, match=said):
            ck.fit_each(
                DECLINE, STUDY.select("P05"), progress=False, checkpoint=tmp_path / "kept", **{"starts": 1, **change}
            )
    with pytest.raises(ValueError, match="run: data is not the same"):
        ck.fit_each(DECLINE, STUDY.select("P07"), starts=1, progress=False, checkpoint=tmp_path / "kept")
    with pytest.raises(ValueError, match="verb is 'fit_each' there and 'bootstrap' here"):
        ck.fit(DECLINE, STUDY.select("P05"), starts=1).bootstrap(20, checkpoint=tmp_path / "kept")


def test_no_other_folder_or_file_is_taken_for_one(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "table.csv").write_text("1")
    for path, said in (
        (tmp_path / "mine", "other files in it"),
        (tmp_path / "mine" / "table.csv", "is a file"),
    ):
        with pytest.raises(ValueError, match=said):
            Checkpoint(path, {})
    with pytest.raises(FileNotFoundError, match="Make it first"):
        Checkpoint(tmp_path / "none" / "kept", {})
    (tmp_path / "mine" / "checkpoint.json").write_text("{}")
    with pytest.raises(ValueError, match="damaged"):
        Checkpoint(tmp_path / "mine", {})


def test_an_interrupted_study_goes_on_where_it_was(tmp_path, monkeypatch, counted):
    options = {"starts": 1, "progress": False, "chunk": 2}
    whole = ck.fit_each(DECLINE, STUDY, **options)
    whole.outcomes  # noqa: B018
    engine, begun = chunks.optima, []

    def interrupted(*given, **more):
        begun.append(given)
        if len(begun) > 2:
            raise KeyboardInterrupt
        return engine(*given, **more)

    with monkeypatch.context() as patched:
        patched.setattr(chunks, "optima", interrupted)
        some = ck.fit_each(DECLINE, STUDY, **options, checkpoint=tmp_path / "kept")
    assert some.outcomes["outcome"].str.startswith("not fitted: interrupted").sum() == 2
    counted.clear()
    rest = ck.fit_each(DECLINE, STUDY, **options, checkpoint=tmp_path / "kept")
    same(rest.parameters, whole.parameters)
    same(rest.outcomes, whole.outcomes)
    assert [fit.solved_implicitly for fit in rest.values()] == [fit.solved_implicitly for fit in whole.values()]
    assert [fit.one_by_one for fit in rest.values()] == [fit.one_by_one for fit in whole.values()]
    counted.clear()
    again = ck.fit_each(DECLINE, STUDY, **options, checkpoint=tmp_path / "kept")
    same(again.outcomes, whole.outcomes)
    assert not counted


def test_one_by_one_too(tmp_path, counted):
    study = ck.read_study(
        pd.DataFrame(
            {
                "subject": np.repeat(["A", "B"], 8),
                "day": [1, 2, 3, 5, 7, 10, 14, 21] * 2,
                "copies_per_ug": [900, 700, 400, 200, 100, 60, 30, 12, 800, 720, 380, 210, 90, 70, 28, 14],
                "dna_ug": 0.3,
                "dose": 1e6,
            }
        ),
        lloq=3,
    )
    options = {"error": "counting", "starts": 1, "progress": False}
    first = ck.fit_each(DECLINE, study, **options, checkpoint=tmp_path / "kept")
    again = ck.fit_each(DECLINE, study, **options, checkpoint=tmp_path / "kept")
    same(again.parameters, first.parameters)
    assert first["A"].fitted
    assert len(list((tmp_path / "kept").glob("fits-*.json"))) >= 1


@pytest.fixture(scope="module")
def fit():
    return ck.fit(DECLINE, STUDY.select("P06"), starts=1)


def test_a_bootstrap_goes_on_and_more_refits_are_added(tmp_path, fit, monkeypatch, counted):
    monkeypatch.setattr(chunks, "PATIENTS_AT_ONCE", 16)
    whole = fit.bootstrap(40)
    counted.clear()
    few = fit.bootstrap(32, checkpoint=tmp_path / "kept")
    assert len(counted) == 32
    counted.clear()
    more = fit.bootstrap(40, checkpoint=tmp_path / "kept")
    assert len(counted) == 8
    same(more.draws, whole.draws)
    same(more.intervals, whole.intervals)
    assert (few.note, more.note, more.failed) == ("", "", whole.failed)


def test_a_bootstrap_of_all_patients_goes_on(tmp_path, counted):
    fits = ck.fit_each(DECLINE, STUDY.select(["P06", "P08"]), starts=1, progress=False)
    counted.clear()
    whole = fits.bootstrap(20)
    assert len(counted) >= 40
    kept = fits.bootstrap(20, checkpoint=tmp_path / "kept")
    same(kept, whole)
    counted.clear()
    same(fits.bootstrap(20, checkpoint=tmp_path / "kept"), whole)
    assert counted == []
    with pytest.raises(ValueError, match="seed of the draws is 2020 there and 7 here"):
        fits.bootstrap(20, seed=7, checkpoint=tmp_path / "kept")


def test_an_interrupted_bootstrap_gives_what_is_finished_and_says_so(fit, monkeypatch):
    monkeypatch.setattr(chunks, "PATIENTS_AT_ONCE", 16)
    whole, engine, begun = fit.bootstrap(48), chunks.climbed, []

    def interrupted(*given, **more):
        begun.append(given)
        if len(begun) > 2:
            raise KeyboardInterrupt
        return engine(*given, **more)

    monkeypatch.setattr(chunks, "climbed", interrupted)
    some = fit.bootstrap(48)
    assert some.note == "interrupted after 32 of 48 refits"
    assert len(some.draws) + some.failed == 32
    same(some.draws, whole.draws.head(len(some.draws)))
    with pytest.raises(KeyboardInterrupt):
        fit.bootstrap(48)


def test_a_profile_goes_on(tmp_path, fit, counted):
    whole = fit.profile()
    counted.clear()
    first = fit.profile(checkpoint=tmp_path / "kept")
    asked = len(counted)
    files = sorted((tmp_path / "kept").glob("[!c]*.json"), key=lambda file: file.stat().st_mtime_ns)
    for file in files[len(files) // 2 :]:
        file.unlink()
    counted.clear()
    again = fit.profile(checkpoint=tmp_path / "kept")
    assert len(counted) < asked
    for found in (first, again):
        same(found.table, whole.table)
        same(found.intervals, whole.intervals)


def test_an_interrupted_profile_has_no_end_that_was_not_found(fit, monkeypatch):
    engine, begun = chunks.climbed, []

    def interrupted(*given, **more):
        begun.append(given)
        if len(begun) > 1:
            raise KeyboardInterrupt
        return engine(*given, **more)

    whole = fit.profile()
    monkeypatch.setattr(chunks, "optima", lambda *given, **more: iter([dict.fromkeys(range(len(given[0])))]))
    monkeypatch.setattr(chunks, "climbed", interrupted)
    some = fit.profile()
    early = some.intervals["shape"].str.startswith("interrupted")
    assert early.any()
    assert some.intervals.loc[early, ["lower", "upper"]].isna().any(axis=1).all()
    assert list(some.intervals.index) == list(whole.intervals.index)
    monkeypatch.setattr(chunks, "climbed", lambda *given, **more: (_ for _ in ()).throw(KeyboardInterrupt))
    nothing = fit.profile()
    assert (nothing.intervals["shape"] == "interrupted before the lower and the upper end").all()
    assert nothing.intervals[["lower", "upper"]].isna().all(axis=None)


def test_a_process_that_was_killed_goes_on_to_the_same_result(tmp_path):
    """tests/benchmarks/killed.py does it for each verb at ten moments."""
    folder, result = tmp_path / "kept", tmp_path / "power.json"

    def started():
        return subprocess.Popen([sys.executable, "-c", f"{POWER}power({str(folder)!r}).save({str(result)!r})"])

    process, until = started(), time.monotonic() + 120
    while chunks_in(folder) < 1 and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    kept = chunks_in(folder)
    assert 1 <= kept < 40
    assert started().wait() == 0
    assert chunks_in(folder) == 40
    here: dict[str, Any] = {}
    exec(POWER, here)
    found, whole = ck.load(result), here["power"](None)
    same(found.table, whole.table)
    same(found.needed, whole.needed)
    same(found.truth, whole.truth)


def test_numbers_that_go_wrong_after_the_fit_cost_nobody_else_theirs(monkeypatch, tmp_path):
    whole, first = uncertainty._alike, STUDY.select("P06").used["day"].min()

    def wrong(problems, optimums):
        if any(problem.samples.day[0] == first for problem in problems):
            raise np.linalg.LinAlgError("Eigenvalues did not converge")
        return whole(problems, optimums)

    monkeypatch.setattr(uncertainty, "_alike", wrong)
    fits = ck.fit_each(DECLINE, STUDY, starts=1, progress=False)
    outcomes = fits.outcomes["outcome"]
    lost = outcomes == "not fitted: Eigenvalues did not converge"
    assert lost["P06"] and not lost.all()
    fits.save(tmp_path / "fits.json")
    assert ck.load(tmp_path / "fits.json").outcomes["outcome"].equals(outcomes)
