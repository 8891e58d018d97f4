"""The directions of imports, looked at in fresh interpreters."""

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "app.py", *sorted(ROOT.glob("pages/*.py"))]
RECIPE = ROOT / "cifar_core" / "recipe.py"  # a script: the only file outside of training/ that imports Keras
CORE = sorted(
    {file for file in ROOT.glob("cifar_core/**/*.py") if "training" not in file.relative_to(ROOT).parts} - {RECIPE}
)
TRAINING = sorted((ROOT / "cifar_core" / "training").glob("*.py"))


@cache
def imported(file: Path) -> set[str]:
    """Every module that `file` imports anywhere in it, "a.b" for `from a import b` as well."""
    return _names(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))


def imported_at_once(file: Path) -> set[str]:
    """Every module that `file` imports when it is imported itself."""
    return _names(ast.parse(file.read_text(encoding="utf-8")).body)


def _names(nodes: Iterable[ast.AST]) -> set[str]:
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{name.name}" for name in node.names}
    return found


def breaches(files: Iterable[Path], forbidden: tuple[str, ...]) -> list[str]:
    """Return "file: module" for each import of a module in `forbidden` or below it."""
    return [
        f"{file.relative_to(ROOT)}: {name}"
        for file in files
        for name in sorted(imported(file))
        if any(name == module or name.startswith(f"{module}.") for module in forbidden)
    ]


def loaded_by(code: str) -> set[str]:
    """The modules that a new interpreter has after `code`."""
    command = [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"]
    return set(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split())


def importable(names: set[str]) -> str:
    """Code that imports those of `names` that are modules; `from a import b` may name a function."""
    return "import importlib.util\n" + "\n".join(
        f"if importlib.util.find_spec({name!r}): importlib.import_module({name!r})"
        for name in sorted(names)
        if (ROOT / (name.replace(".", "/") + ".py")).exists() or "." not in name
    )


def test_nothing_that_a_page_imports_reaches_tensorflow() -> None:
    names = set().union(*map(imported, PAGES))
    loaded = loaded_by(importable(names))
    assert {"streamlit", "cifar_core.jobs", "cifar_core.inference.classifier"} <= loaded
    assert not loaded & {"tensorflow", "keras", "jax", "torch", "optuna"}


def test_the_core_reaches_neither_tensorflow_nor_streamlit() -> None:
    names = {".".join(file.relative_to(ROOT).with_suffix("").parts) for file in CORE if file.stem != "__main__"}
    loaded = loaded_by("\n".join(f"import {name}" for name in sorted(names)))
    assert {name for name in names if not name.endswith("__init__")} <= loaded
    assert not loaded & {"tensorflow", "keras", "jax", "torch", "streamlit"}


def test_the_core_imports_nothing_from_training_or_above() -> None:
    forbidden = ("streamlit", "pages", "app", "tensorflow", "keras", "cifar_core.training")
    assert not breaches(CORE, forbidden)


def test_training_imports_no_page() -> None:
    assert ROOT / "cifar_core" / "training" / "fit.py" in TRAINING
    assert not breaches(TRAINING, ("streamlit", "pages", "app"))


def test_no_test_module_imports_another() -> None:
    """Shared helpers are modules that hold no tests, shared fixtures are in conftest.py."""
    modules = sorted(ROOT.glob("tests/**/*.py"))
    assert not breaches(modules, tuple(module.stem for module in modules if module.stem.startswith("test_")))


def test_the_recipe_is_imported_by_training_alone_and_knows_nothing_of_ours() -> None:
    assert not [file for file in [*CORE, *PAGES] if "cifar_core.recipe" in imported(file)]
    assert not {name for name in imported(RECIPE) if name.split(".")[0] in ("cifar_core", "tensorflow", "streamlit")}


def test_a_worker_that_queues_has_not_loaded_tensorflow() -> None:
    loaded = loaded_by("import cifar_core.training.worker, cifar_core.training.inputs")
    assert not loaded & {"tensorflow", "keras", "streamlit"}


def test_model_and_fit_need_keras_alone() -> None:
    """So that another of Keras's backends can train where there is no TensorFlow; the tutorials' recipe cannot.

    What feeds `fit` imports it where it is the backend, inside of a function.
    """
    for file in TRAINING:
        names = imported(file) if file.stem != "batches" else imported_at_once(file)
        assert "tensorflow" not in {name.split(".")[0] for name in names}


def test_training_imports_keras_without_packages_that_it_does_not_need() -> None:
    code = "import cifar_core.training.fit, cifar_core.training.finish, sys\nbefore = set(sys.modules)\n"
    code += "import sklearn.manifold\nassert 'keras' in before and not before & {'sklearn', 'pandas'}"
    assert "sklearn" in loaded_by(code)  # only Keras does without it
    for file in TRAINING:
        names = {name.split(".")[0] for name in _names(_executed(ast.parse(file.read_text(encoding="utf-8"))))}
        assert "keras" not in names or file.stem == "keras_import"


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes below `tree` but what is for the type checker."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield node
            yield from _executed(node)


def test_what_is_counted_and_told_needs_no_figures() -> None:
    loaded = loaded_by(
        "import cifar_core.runs.curves, cifar_core.lessons.experiments, cifar_core.evaluation.phase_summary"
    )
    assert not loaded & {"plotly", "pandas"}


def package(file: Path) -> str:
    """The package of a file of cifar_core, or its own name at the top."""
    parts = file.relative_to(ROOT / "cifar_core").with_suffix("").parts
    return parts[0]


def test_no_two_packages_import_each_other() -> None:
    edges = set()
    for file in ROOT.glob("cifar_core/**/*.py"):
        names = {name.split(".")[1] for name in imported(file) if name.startswith("cifar_core.")}
        edges |= {(package(file), name) for name in names if name != package(file)}
    assert {(a, b) for a, b in edges if a < b and (b, a) in edges} == set()


def test_no_modules_import_each_other_in_a_circle() -> None:
    files = {".".join(file.relative_to(ROOT).with_suffix("").parts): file for file in [*CORE, *TRAINING]}
    modules = {name.removesuffix(".__init__"): file for name, file in files.items()}
    graph = {name: {other for other in imported(file) if other in modules} for name, file in modules.items()}
    packages = {name for name in graph if any(other.startswith(f"{name}.") for other in graph)}
    TopologicalSorter({name: others - packages for name, others in graph.items()}).prepare()  # raises CycleError
