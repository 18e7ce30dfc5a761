"""What the house of the library measures: modules a room, import cycles, lengths of files, `Any`.

    python tests/house.py [folder of a package]

Imports inside functions count as imports; those for type checkers do not. A delegation that is listed in the layers
contract of pyproject.toml, a room that calls one above it by name, is left out of the cycles.
"""

from __future__ import annotations

import ast
import statistics
import sys
import tomllib
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "cellkinetics"


def modules(package: Path = PACKAGE) -> dict[str, Path]:
    """Every module by its dotted name; a room by that of its folder."""
    found = {}
    for file in sorted(package.rglob("*.py")):
        parts = [package.name, *file.relative_to(package).with_suffix("").parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return {name: file for name, file in found.items() if "._data" not in name and "._models" not in name}


def imports(file: Path, known: dict[str, Path], *, inside: bool = True) -> set[str]:
    """Modules of the package that a file imports; without those inside functions where not ``inside``."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if not inside and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if isinstance(child, ast.ImportFrom) and child.module:
                names = [f"{child.module}.{alias.name}" for alias in child.names]
                found.update(name if name in known else child.module for name in names)
            elif isinstance(child, ast.Import):
                found.update(alias.name for alias in child.names)
            visit(child)

    visit(ast.parse(file.read_text(encoding="utf-8")))
    return found & known.keys()


def delegations() -> set[tuple[str, str]]:
    """Imports that may go up, one by one, as pyproject.toml lists them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    listed = [line for contract in settings["contracts"] for line in contract.get("ignore_imports", [])]
    return {(one.strip(), other.strip()) for one, _, other in (line.partition("->") for line in listed)}


def knots(package: Path = PACKAGE, left_out: set[tuple[str, str]] | None = None) -> list[list[str]]:
    """Modules that import each other, in a ring or a knot of rings (Tarjan 1972)."""
    known, left_out = modules(package), left_out or set()
    # Importing the package imports everything that is public: who needs its version is no part of a knot.
    graph = {
        name: {other for other in imports(file, known) - {package.name, name} if (name, other) not in left_out}
        for name, file in known.items()
        if name != package.name
    }
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(name: str) -> None:
        number[name] = lowest[name] = len(number)
        stack.append(name)
        for other in graph[name]:
            if other not in number:
                visit(other)
                lowest[name] = min(lowest[name], lowest[other])
            elif other in stack:
                lowest[name] = min(lowest[name], number[other])
        if lowest[name] == number[name]:
            ring = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(ring) > 1:
                found.append(sorted(ring))

    sys.setrecursionlimit(10_000)
    for name in graph:
        if name not in number:
            visit(name)
    return found


def lengths(package: Path = PACKAGE) -> dict[str, int]:
    """Lines of each module."""
    return {name: len(file.read_text(encoding="utf-8").splitlines()) for name, file in modules(package).items()}


def anys(package: Path = PACKAGE) -> int:
    """How often `Any` stands in annotations and elsewhere, imports aside."""
    trees = (ast.parse(file.read_text(encoding="utf-8")) for file in modules(package).values())
    return sum(isinstance(node, ast.Name) and node.id == "Any" for tree in trees for node in ast.walk(tree))


def twins(package: Path = PACKAGE) -> dict[str, list[str]]:
    """Names of classes that two modules use."""
    where: dict[str, list[str]] = {}
    for name, file in modules(package).items():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                where.setdefault(node.name, []).append(name)
    return {name: places for name, places in where.items() if len(places) > 1}


def homonyms(package: Path = PACKAGE) -> dict[str, list[str]]:
    """Names of constants that two modules define, each with its own value."""
    where: dict[str, list[str]] = {}
    for name, file in modules(package).items():
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            names = {n.id for target in targets if target for n in ast.walk(target) if isinstance(n, ast.Name)}
            for one in names if isinstance(node, ast.Assign | ast.AnnAssign) else ():
                where.setdefault(one, []).append(name)
    return {name: places for name, places in where.items() if len(places) > 1 and name != "__all__"}


def rooms(package: Path = PACKAGE) -> Counter[str]:
    """Files of each folder, its ``__init__`` among them."""
    files = modules(package).values()
    return Counter("." if file.parent == package else str(file.parent.relative_to(package)) for file in files)


def main(package: Path) -> None:
    """Print what there is."""
    known = modules(package)
    top = sum(len(imports(file, known, inside=False)) for file in known.values())
    every = sum(len(imports(file, known)) for file in known.values())
    lines = lengths(package)
    print("files a room:", ", ".join(f"{room} {count}" for room, count in rooms(package).items()))
    print(f"modules imported: {top} at the top of files, {every - top} more inside functions")
    for title, left_out in (("all imports", set()), ("without listed delegations", delegations())):
        rings = knots(package, left_out)
        sizes = ", ".join(str(len(ring)) for ring in rings)
        print(f"cycles, {title}: {len(rings)}" + (f", of {sizes} modules" if rings else ""))
        for ring in rings:
            print("   ", " ".join(name.removeprefix(f"{package.name}.") for name in ring))
    longest = max(lines, key=lambda name: lines[name])
    print(f"lines: longest {lines[longest]} ({longest}), median {statistics.median(lines.values()):.0f}")
    print(f"Any: {anys(package)}")
    print("classes of one name:", twins(package) or "none")
    print("constants of one name:", homonyms(package) or "none")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else PACKAGE)
