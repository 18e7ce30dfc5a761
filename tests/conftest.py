import jax
import matplotlib

matplotlib.use("Agg")

# A silent broadcast of (n,) with (n, 1) is a wrong answer, not a convenience. 64 bits come from the library.
jax.config.update("jax_numpy_rank_promotion", "raise")

# Scripts that made the numbers beside them: run by hand, not collected.
collect_ignore_glob = ["benchmarks/*", "reference/*"]
