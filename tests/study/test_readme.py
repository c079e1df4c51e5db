"""The README's tables are those of the repository."""

import re

from conftest import ROOT
from test_dag import RULES

README = (ROOT / "README.md").read_text()


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
        file = ROOT / folder / f"{module.replace('.', '/')}.py"
        if file.is_file():
            assert f"def {function}(" in file.read_text(), name


def test_links_lead_to_files() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert not [link for link in links if not (ROOT / link).exists()]
