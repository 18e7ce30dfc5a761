"""Make sobol.npz, the points that `cellkinetics.statistics.sobol` reads: ``python make_sobol.py`` beside it."""

from pathlib import Path

import numpy as np

from cellkinetics.statistics import sobol

if __name__ == "__main__":
    made = {str(size): sobol.drawn(size, sobol.KEPT_POINTS, sobol.KEPT_SEED) for size in range(1, sobol.KEPT_SIZES + 1)}
    np.savez(Path(__file__).with_name("sobol.npz"), **made)  # pyright: ignore[reportArgumentType]
