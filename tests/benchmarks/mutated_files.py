"""Every row of a file is used, excluded with a reason, or a dose, or the file is refused: tried on mutated files.

    python tests/benchmarks/mutated_files.py 10000

Each file is a small table of samples and doses in which some cells, lines, separators or quotation marks were changed
at random. Prints how many were read, how many refused, and each seed on which a row was lost. Writes mutated_files.csv:
files by what was done to them (one file may stand in several lines).
"""

import csv
import random
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import cellkinetics as ck

CELLS = [
    "",
    "0",
    "<3",
    "BLQ",
    "5",
    "1e4",
    "1,5",
    "5,120",
    '"',
    '"x',
    'y"',
    "NA",
    "-1",
    "7",
    "D7",
    "1e6",
    "P1",
    "#",
    " ",
]


KINDS = ("a cell", "a cell", "a cell", "a row repeated", "a row cut off", "a row shuffled")


def mutated(seed):
    """A file as text, made of a seed, its separator, and what was done to it."""
    draw = random.Random(seed)
    separator = draw.choice([",", ",", ";", "\t"])
    rows = [["subject", "day", "copies_per_ug", "lloq", "dose", "comment"]]
    for subject in ("P1", "P2", "P3"):
        rows.append([subject, "0", "", "3", "1e6", ""])
        rows += [
            [subject, str(day), str(draw.choice(["12", "4e3", "<3", "90"])), "3", "", ""] for day in (3, 7, 14, 28)
        ]
    done = []
    for _ in range(draw.randrange(4)):
        kind, at = draw.randrange(6), draw.randrange(1, len(rows))
        done.append(KINDS[kind])
        if kind <= 2:
            rows[at][draw.randrange(len(rows[at]))] = draw.choice(CELLS)
        elif kind == 3:
            rows.insert(draw.randrange(1, len(rows)), list(rows[at]))
        elif kind == 4:
            rows[at] = rows[at][: draw.randrange(1, 7)]
        else:
            draw.shuffle(rows[at])
    lines = [separator.join(row) for row in rows]
    if draw.random() < 0.1:
        done.append("a line above the header")
        lines.insert(0, draw.choice(["A study", f"sep={separator}", "# a comment", "", '"A title"']))
    if draw.random() < 0.1:
        done.append("an empty line")
        lines.insert(draw.randrange(len(lines)), "")
    return "\n".join(lines) + "\n" * draw.randrange(2), separator, sorted(set(done)) or ["nothing"]


def lost(path, text, separator):
    """The lines of a file that are in no part of its study; None when it is refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            study = ck.read_study(path, progress=False)
        except ck.StudyError:
            return None
    lines = text.split("\n")
    header = next(at for at, line in enumerate(lines) if line.startswith("subject"))
    there = {at + 1 for at, line in enumerate(lines) if at > header and line.strip(separator + ' \t"')}
    empty = {
        at + 1
        for at, line in enumerate(lines)
        if at > header and not any(cell.strip().lower() not in ("", "na", ".") for cell in line.split(separator))
    }
    return sorted(there - empty - set(study.observations["row"]) - set(study.doses["row"]))


def main(number):
    """Try the seeds up to a number; the seeds that lost a row, and how many files ended how."""
    read, bad, table = 0, [], Counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        for seed in range(number):
            text, separator, done = mutated(seed)
            path.write_text(text, encoding="utf-8")
            rows = lost(path, text, separator)
            read += rows is not None
            if rows:
                bad.append((seed, rows))
            for kind in done:
                table[kind, "refused" if rows is None else "lost" if rows else "read"] += 1
    print(f"{number} files: {read} read, {number - read} refused, {len(bad)} lost a row {bad[:10]}")
    return bad, table


def write(table, path):
    """The counts as a table, one line for each thing that is done to a file."""
    with path.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(["what was changed", "files", "read whole", "refused", "a row lost"])
        for kind in sorted({kind for kind, _ in table}):
            counts = [table[kind, end] for end in ("read", "refused", "lost")]
            lines.writerow([kind, sum(counts), *counts])


if __name__ == "__main__":
    bad, table = main(int(sys.argv[1]) if len(sys.argv) > 1 else 10000)
    write(table, Path(__file__).with_suffix(".csv"))
    sys.exit(bool(bad))
