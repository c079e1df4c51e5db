"""The reference of all keys is made from the section classes, and belongs to them."""

import re

from conftest import ROOT

from crosslens.config import reference


def test_the_page_and_the_schema_are_those_of_the_classes() -> None:
    assert reference.PAGE.read_text() == reference.render_reference(), "make reference"
    assert reference.SCHEMA.read_text() == reference.json_schema(), "make reference"


def test_every_rule_that_a_description_names_exists() -> None:
    """Names of rules stand in parentheses behind what a key means."""
    scripts = {path.stem for path in (ROOT / "scripts").glob("*.py")}
    groups = re.findall(r"\(([a-z]+_[a-z_]+(?:, [a-z]+_[a-z_]+)*)\)", reference.render_reference())
    assert len(groups) > 50
    assert {name for names in groups for name in names.split(", ")} <= scripts
