"""What the file of a model may be built from, beside `Parameter` and `Model`: the one documented place.

`decline`, `faster_first`, `from_peak`
    The biexponential decline that most published curves share, the label of its rates, and start values.
`structured`
    The structured solve of ``il15_persistence``: ``structured.persistence``, for ``Model(structure=...)``.
"""

from cellkinetics.modelling.biexponential import decline, faster_first, from_peak
from cellkinetics.solving import structured

__all__ = ["decline", "faster_first", "from_peak", "structured"]
