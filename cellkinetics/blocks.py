"""What the file of a model may be built from, beside `Parameter` and `Model`: the one documented place.

`decline`, `faster_first`, `from_peak`
    The biexponential decline that most published curves share, the label of its rates, and start values.
`two_parts`, `from_fold`
    The same decline as an ODE, alone and after a rise by a fold, for ``Model(equations=...)``.
`switches`, `two_phases`, `one_phase`, `after_a_drop`, `lines`, `seen`
    Further start values, for ``Model(alternatives=...)``.
`structured`
    The structured solve of ``il15_persistence``: ``structured.persistence``, for ``Model(structure=...)``.
"""

from cellkinetics.modelling.biexponential import (
    after_a_drop,
    decline,
    faster_first,
    from_fold,
    from_peak,
    lines,
    one_phase,
    seen,
    switches,
    two_parts,
    two_phases,
)
from cellkinetics.solving import structured

__all__ = [
    "after_a_drop", "decline", "faster_first", "from_fold", "from_peak", "lines", "one_phase", "seen", "structured",
    "switches", "two_parts", "two_phases",
]  # fmt: skip
