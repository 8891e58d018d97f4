"""The documentation names what is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def modules_on_disk() -> set[str]:
    found = [ROOT / "app.py", *ROOT.glob("pages/**/*.py"), *ROOT.glob("cifar_core/**/*.py")]
    return {path.relative_to(ROOT).as_posix() for path in found}


def modules_in_the_tree() -> list[str]:
    """The paths in the tree of architecture.md: two spaces of indentation for each folder, then what it is."""
    tree = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").split("```")[1]
    folders: list[str] = []
    paths = []
    for line in tree.strip("\n").splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        folders = [*folders[:depth], name]
        if name.endswith(".py"):
            paths.append("".join(folders))
    return paths


def test_the_tree_of_the_architecture_is_that_of_the_disk() -> None:
    named = modules_in_the_tree()
    assert len(named) == len(set(named))
    assert sorted(named) == sorted(modules_on_disk()), "docs/architecture.md: one line for each module"


def test_the_paths_of_a_setting_and_of_a_picture_have_nine_stations_at_most() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for title in ("## The path of one setting", "## The path of one picture"):
        stations = re.findall(r"^\d+\. ", text.split(title)[1].split("\n## ")[0], flags=re.MULTILINE)
        assert 1 < len(stations) <= 9


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_a_document_names_exists(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w./]+\.py)`", text))
    on_disk = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("**/*.py")}
    missing = {name for name in named if not any(f"/{path}".endswith(f"/{name}") for path in on_disk)}
    assert not missing
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (document.parent / link).exists(), link


def test_the_readme_fits_a_screen_and_has_the_commands_that_ci_runs() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 150
    assert [line for line in lines if re.fullmatch(r"pip install .* && streamlit run app\.py", line)]
    assert [line for line in lines if re.fullmatch(r"pip install .* && pytest", line)]
