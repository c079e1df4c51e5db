"""The tables, trees and links of the README and of docs/ are those of the repository."""

import re
from pathlib import Path

import pytest
from conftest import ROOT
from test_dag import RULES

import crosslens

README = (ROOT / "README.md").read_text()
TABLE = README.split("## From a figure to its code")[1].split("\n## ")[0]
ROWS = [row.strip("|").split(" | ") for row in TABLE.partition("|---")[2].splitlines()[1:] if row]
LAYOUT = (ROOT / "docs" / "layout.md").read_text().split("```")[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_readme_is_short() -> None:
    assert 800 <= len(README.split()) <= 1000


def test_every_rule_that_draws_is_in_the_table() -> None:
    drawing = {rule for rule in RULES if rule.startswith(("draw_", "tabulate_"))}
    named = {rule for row in ROWS for rule in re.findall(r"`(\w+)`", row[2])}
    assert drawing <= named <= set(RULES)
    for number in range(1, 14):
        assert re.search(rf"Figures? (?:\d+, )*{number}\b", TABLE)
    for number in range(1, 6):
        assert re.search(rf"Tables? (?:\d+, )*{number}\b", TABLE)


def test_the_functions_in_the_table_exist() -> None:
    names = {name for row in ROWS for name in re.findall(r"`([\w.]+)`", row[3])}
    assert len(names) > 10
    for name in names:
        module, _, function = name.rpartition(".")
        file = ROOT / "crosslens" / f"{module.replace('.', '/')}.py"
        assert f"def {function}(" in file.read_text(), name


def test_the_layout_lists_the_packages_and_folders() -> None:
    packages = {path.parent.name for path in (ROOT / "crosslens").glob("*/__init__.py")}
    assert set(re.findall(r"^  (\w+)/ ", LAYOUT, re.MULTILINE)) == packages
    listed = re.findall(r"^(\S+)", LAYOUT, re.MULTILINE)
    assert not [name for name in listed if not (ROOT / name).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", page.read_text())
    assert links or page.name != "README.md"
    assert not [link for link in links if not (page.parent / link).exists()]


def test_the_index_and_the_navigation_name_every_page() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    linked = set(re.findall(r"\]\(([^)#:]+)\)", index))
    pages = {str(page.relative_to(ROOT / "docs")) for page in PAGES[1:]}
    assert linked == pages - {"index.md"}
    navigation = (ROOT / "mkdocs.yml").read_text().split("\nnav:\n")[1]
    assert set(re.findall(r"[\w/-]+\.md", navigation)) == pages


def test_the_reference_has_every_public_name() -> None:
    page = (ROOT / "docs" / "reference" / "api.md").read_text()
    listed = re.findall(r"^::: (\S+)$", page, re.MULTILINE)
    assert sorted(listed) == sorted(f"{crosslens.MODULES[n]}.{n}" for n in crosslens.__all__)
