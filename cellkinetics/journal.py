"""The one log of the library, silent where nobody listens."""

import logging

# logging.basicConfig(level="INFO") shows what is fitted and compiled, and how long it takes.
log = logging.getLogger("cellkinetics")
log.addHandler(logging.NullHandler())
