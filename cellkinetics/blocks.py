"""What the file of a model may be built from, beside `Parameter` and `Model`: the one documented place.

`decline`, `faster_first`, `from_peak`
    The biexponential decline that most published curves share, the label of its rates, and start values.
`structured`, `mesh`, `panels`
    The structured solve of ``il15_persistence`` and its panels.
"""

from cellkinetics.modelling.biexponential import decline, faster_first, from_peak
from cellkinetics.solving import structured
from cellkinetics.solving.mesh import mesh, panels

__all__ = ["decline", "faster_first", "from_peak", "mesh", "panels", "structured"]
