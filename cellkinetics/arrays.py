"""Names of the arrays that signatures use.

Shapes stand beside a name as jaxtyping writes them, ``Float[Numeric, "patients columns"]``: read, not checked at run
time. Inside compiled code an array is JAX's and outside numpy's, with one set of operators.
"""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Numeric: TypeAlias = Any

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
