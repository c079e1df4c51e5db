"""The README's tree and tables are those of the repository."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from conftest import ROOT
from test_dag import RULES

README = (ROOT / "README.md").read_text()


def tree() -> Iterator[str]:
    """The paths of the tree under "Files", indentation resolved."""
    folders: list[str] = []
    for line in README.split("## Files\n```\n")[1].split("```")[0].splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        name = line.split()[0]
        folders[depth:] = [name]
        yield str(PurePosixPath(*folders))


def test_the_tree_names_what_is_there_and_leaves_no_module_out() -> None:
    named = set(tree()) - {"results/<study>"}
    assert not [path for path in named if not (ROOT / path).exists()]
    there = {
        str(path.relative_to(ROOT))
        for pattern in ("scripts/*.py", "crosslens/**/*.py", "rules/*.smk", "envs/*.yaml")
        for path in ROOT.glob(pattern)
        if path.name != "__init__.py"
    }
    assert there <= named


def test_every_rule_that_draws_is_in_the_table() -> None:
    drawing = {rule for rule in RULES if rule.startswith(("draw_", "tabulate_"))}
    table = README.split("## From a figure to its code")[1].split("## Files")[0]
    assert drawing == set(re.findall(r"`((?:draw|tabulate)_\w+)`", table)) & set(RULES)
    for number in range(1, 14):
        assert re.search(rf"Figures? (?:\d+, )*{number}\b", table)


def test_the_functions_in_the_table_exist() -> None:
    table = README.split("## From a figure to its code")[1].split("## Files")[0]
    for row in table.partition("|---")[2].splitlines():
        cells = row.split(" | ")
        if len(cells) < 6 or "`" not in cells[3]:
            continue
        for cell, folder in ((cells[3], "crosslens/reporting/plotting"), (cells[5], "crosslens")):
            check_functions(cell.strip(" |`"), folder)


def check_functions(cell: str, folder: str) -> None:
    """`module.one, two, other.three`: each is defined in its module."""
    module = ""
    for name in cell.split(", "):
        module, _, function = name.rpartition(".") if "." in name else (module, "", name)
        if module:
            assert f"def {function}(" in (ROOT / folder / f"{module}.py").read_text(), name


def test_links_lead_to_files() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert not [link for link in links if not (ROOT / link).exists()]
