"""Run the command line: every command, every way to end."""

from __future__ import annotations

import sys
from io import TextIOWrapper

import cyclopts
from rich.console import Console
from rich.markup import escape

from cellkinetics.cli import check, compare, fit, listing, nca, profile, report, simulate
from cellkinetics.cli.app import BAD, DONE, STOPPED, app
from cellkinetics.cli.remedies import message
from cellkinetics.cli.stopping import ctrl_c
from cellkinetics.errors import ModelError, StudyError

COMMANDS = (
    fit,
    compare,
    nca,
    profile,
    simulate,
    report,
    check,
    listing,
)  # each joins the application when it is imported


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; bad input ends with a message and exit code 2, not with a traceback."""
    for stream in (sys.stdout, sys.stderr):
        # A console that cannot write a name shows a question mark; the work is done all the same.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    errors = Console(stderr=True)
    try:
        with ctrl_c.listening():
            code = app(arguments, exit_on_error=False, print_error=True)
    except cyclopts.CycloptsError:
        sys.exit(BAD)
    except FileNotFoundError as error:
        errors.print(f"[red]cellkinetics:[/red] there is no file {escape(str(error.filename))}.", soft_wrap=True)
        sys.exit(BAD)
    except StudyError as error:
        errors.print(f"[red]cellkinetics:[/red] {escape(message(error))}", soft_wrap=True)
        sys.exit(BAD)
    except (ModelError, ValueError, OSError) as error:
        errors.print(f"[red]cellkinetics:[/red] {escape(str(error))}", soft_wrap=True)
        sys.exit(BAD)
    except KeyboardInterrupt:
        errors.print("Stopped by Ctrl-C: nothing is written.")
        sys.exit(STOPPED)
    sys.exit(STOPPED if ctrl_c.heard else code or DONE)
