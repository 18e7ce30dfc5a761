"""How often the exact rank tests reject at 5% when nothing differs, in cohorts of 3, 4 and 4 patients.

    python tests/benchmarks/rank_size.py

Simulated: 20,000 sets of 11 log-normal values (sd 1 on the ln scale) from one distribution; of each value 0, 30 or 60%
lies below the limit. Beside the simulated size stands the exact one: the attained size given the number of values
below the limit, weighted by its probability. Two groups are the first two cohorts (3 against 4) and the last two
(4 against 4). "within response" is done within two strata: non-responders are 2, 1 and 0 of the cohorts, as in
``ck.example()``. The test of whole curves has four days of each patient, which share a normal value of sd 1
(correlation 0.8), 2,000 sets; there and within strata the exact size is the mean of the attained sizes. Writes
rank_size.csv.
"""

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from cellkinetics.cohorts.curves import exchanged, standardised
from cellkinetics.statistics.ranks import RankTest, jonckheere, kruskal, wilcoxon
from cellkinetics.statistics.strata import stratified

SEED, SETS, ALPHA = 2020, 20_000, 0.05
TESTS: dict[str, tuple[tuple[int, ...], Callable[[list[np.ndarray]], RankTest]]] = {
    "Wilcoxon, 3 against 4": ((3, 4), lambda groups: wilcoxon(*groups)),
    "Wilcoxon, 4 against 4": ((4, 4), lambda groups: wilcoxon(*groups)),
    "Kruskal-Wallis, 3, 4, 4": ((3, 4, 4), kruskal),
    "Jonckheere-Terpstra, 3, 4, 4": ((3, 4, 4), jonckheere),
}


@cache
def result(name: str, ordered: tuple[int, ...]) -> RankTest:
    """The test of ranks; few different arrangements come up again and again."""
    sizes, test = TESTS[name]
    return test(np.split(np.array(ordered, float), np.cumsum(sizes)[:-1]))


def pattern(values: np.ndarray, hidden: np.ndarray, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """Ranks sorted within each group, hidden values 0: all that the tests see."""
    ranks = np.where(hidden, 0, stats.rankdata(values))
    parts = np.split(ranks.astype(int), np.cumsum(sizes)[:-1])
    return tuple(int(rank) for part in parts for rank in np.sort(part))


rows = []
for name, (sizes, _) in TESTS.items():
    n = sum(sizes)
    for share in (0.0, 0.3, 0.6):
        rng = np.random.default_rng(SEED)
        values = rng.normal(size=(SETS, n))
        hidden = values < stats.norm.ppf(share)
        tests = [result(name, pattern(v, h, sizes)) for v, h in zip(values, hidden, strict=True)]
        untestable = sum(bool(test.reason) for test in tests)
        size = np.mean([test.p <= ALPHA for test in tests])
        mid = np.mean([test.mid_p <= ALPHA for test in tests])
        exact = 0.0
        for k in range(n):
            of_k = result(name, pattern(np.arange(n), np.arange(n) < k, sizes))
            exact += stats.binom.pmf(k, n, share) * (0.0 if of_k.reason else of_k.attained_size)
        error = math.sqrt(max(exact * (1 - exact), 1e-12) / SETS)
        rows.append([name, share, SETS, size, exact, error, mid, untestable, SEED])
        print(rows[-1])


def size_row(name, share, tests):
    """Of tests that are done one by one: the attained size is that of each set's own ties."""
    size, mid = (np.mean([at <= ALPHA for at in ps]) for ps in zip(*((t.p, t.mid_p) for t in tests), strict=True))
    exact = np.mean([0.0 if test.reason else test.attained_size for test in tests])
    untestable = sum(bool(test.reason) for test in tests)
    error = math.sqrt(max(exact * (1 - exact), 1e-12) / len(tests))
    rows.append([name, share, len(tests), size, exact, error, mid, untestable, SEED])
    print(rows[-1])


GROUPS = np.repeat([0, 1, 2], [3, 4, 4])
STRATA = np.array([0, 0, 1, 0, 1, 1, 1, 1, 1, 1, 1])
SOME = 2000


def curves(share, rng):
    """A test of whole curves; a day on which all are hidden is left out."""
    values = rng.normal(size=(11, 1)) + 0.5 * rng.normal(size=(11, 4))
    limit = stats.norm.ppf(share) * math.sqrt(1.25) if share else -np.inf
    days = [standardised(np.exp(np.where(v < limit, -np.inf, v)), np.exp(np.maximum(v, limit))) for v in values.T]
    kept = [(scores, tied) for scores, tied in days if np.ptp(scores) > 0]
    if not kept:
        nan = math.nan
        return RankTest("whole curves", "none", nan, nan, nan, nan, nan, (3, 4, 4), 0, reason="all samples are tied")
    return exchanged(np.column_stack([scores for scores, _ in kept]), (3, 4, 4), sum(tied for _, tied in kept))


for share in (0.0, 0.3, 0.6):
    rng = np.random.default_rng(SEED)
    values = rng.normal(size=(SOME, 11))
    scores = np.where(values < stats.norm.ppf(share), -np.inf, values) if share else values
    size_row(
        "stratified Jonckheere-Terpstra, 3, 4, 4 within response",
        share,
        [stratified(np.where(np.isinf(v), -99.0, v), GROUPS, STRATA, 3, ordered=True) for v in scores],
    )
    responders = np.minimum(STRATA, 1)
    size_row(
        "van Elteren, response within 3, 4, 4",
        share,
        [stratified(np.where(np.isinf(v), -99.0, v), responders, GROUPS, 2, ordered=True) for v in scores],
    )
    rng = np.random.default_rng(SEED)
    size_row("whole curves, 3, 4, 4", share, [curves(share, rng) for _ in range(SOME)])
columns = ["test", "share_below", "sets", "size", "exact_size", "monte_carlo_error", "size_mid_p", "untestable", "seed"]
table = pd.DataFrame(rows, columns=columns)
table.to_csv(Path(__file__).with_suffix(".csv"), index=False, float_format="%.6g")
