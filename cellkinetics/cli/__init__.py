"""The command line: a file a command, and what the commands share.

It may import everything; nothing imports it.
"""

from cellkinetics.cli.running import main as main
