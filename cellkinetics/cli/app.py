"""The application that every command joins, and its exit codes."""

from __future__ import annotations

import cyclopts

import cellkinetics

DONE, NONE_FITTED, BAD, STOPPED = 0, 1, 2, 130
EPILOGUE = (
    f"Exit codes: {DONE} done, {NONE_FITTED} no patient could be fitted or the table has problems (check), {BAD} bad "
    f"input, {STOPPED} stopped by Ctrl-C: what was finished is written and marked, and the command says what that is."
)

app = cyclopts.App(
    name="cellkinetics",
    help="Fit the cellular kinetics of CAR-NK and CAR-T cells to qPCR curves, with the limit as censoring.",
    help_epilogue=EPILOGUE,
    version=cellkinetics.__version__,
    suppress_keyboard_interrupt=False,
)
