"""The private names of other libraries that we touch, one by one: a new version that renames them is met here."""

import ast
from pathlib import Path

import jax

ROOT = Path(__file__).parents[1]
# Where, and what for.
NAMES = {"_src": "readiness.py: whether JAX has started its threads, jax._src.xla_bridge.backends_are_initialized"}
# Of named tuples, which Python documents.
PUBLIC = {"_asdict", "_fields", "_replace"}


def private(name):
    return name.startswith("_") and not name.endswith("__") and name.strip("_")


def touched(tree):
    """Private names after a dot, in getattr and in imports; and those that the file defines."""
    used, own = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            (own if isinstance(node.ctx, ast.Store) else used).add(node.attr)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("getattr", "hasattr"):
            used |= {each.value for each in node.args[1:2] if isinstance(each, ast.Constant)}
        elif isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None) or ""
            used |= {part for each in node.names for part in f"{module}.{each.name}".split(".")}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            own.add(node.name)
        elif isinstance(node, ast.AnnAssign | ast.Assign):
            targets = [node.target] if isinstance(node, ast.AnnAssign) else node.targets
            own |= {each.id for each in targets if isinstance(each, ast.Name)}
    return {name for name in used if private(name)}, own


def test_no_other_private_name_is_touched():
    used, own = set(), {"_models"}
    for path in [*ROOT.glob("cellkinetics/**/*.py"), *ROOT.glob("models/*.py")]:
        some, defined = touched(ast.parse(path.read_text(encoding="utf-8")))
        used, own = used | some, own | defined
    assert used - own - PUBLIC == set(NAMES)


def test_jax_says_whether_it_has_started():
    assert callable(jax._src.xla_bridge.backends_are_initialized)
    jax.numpy.zeros(1).block_until_ready()
    assert jax._src.xla_bridge.backends_are_initialized()


def test_jax_tells_of_its_compilations_under_the_name_that_is_listened_to():
    # The event of a miss in the cache of files, and their names, are tried by test_cache.py.
    heard = []
    jax.monitoring.register_event_duration_secs_listener(lambda event, *_, **__: heard.append(event))
    jax.jit(lambda x: x * 3.0 + 19.0)(jax.numpy.arange(7.0))
    assert "/jax/core/compile/backend_compile_duration" in heard
