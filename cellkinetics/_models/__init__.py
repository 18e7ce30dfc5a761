"""Where the model library lies: beside the package in a checkout, inside this folder in a wheel.

With this package `models/` can be a plain folder of files at the top of the repository, and a model still has
one importable name, `cellkinetics._models.<name>`, wherever the library is installed. Read models through
`cellkinetics.models`.
"""

from pathlib import Path

_here = Path(__file__).parent
FOLDER = _here if any(_here.glob("[!_]*.py")) else _here.parents[1] / "models"
__path__ = [str(FOLDER)]
