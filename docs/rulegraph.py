"""Write the graph of rules into docs/workflow-graph.md; see `make rulegraph`."""

import re
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parent / "workflow-graph.md"
BEGIN, END = "<!-- rule graph -->\n", "<!-- end of the rule graph -->\n"


def edges(mermaid: str) -> set[tuple[str, str]]:
    """Pairs of rules of which the second needs the first; not what `all` and the report need."""
    names = dict(re.findall(r"(id\d+)\[(\w+)\]", mermaid))
    pairs = re.findall(r"(id\d+) --> (id\d+)", mermaid)
    found = {(names[a], names[b]) for a, b in pairs}
    return {(a, b) for a, b in found if a != b and b not in ("all", "write_report")}


def direct(pairs: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those pairs that no way through other rules connects: the others follow from them."""
    after: dict[str, set[str]] = {}
    for a, b in pairs:
        after.setdefault(a, set()).add(b)

    def reached(rule: str, seen: set[str]) -> set[str]:
        for later in after.get(rule, set()) - seen:
            seen.add(later)
            reached(later, seen)
        return seen

    roundabout = {
        (a, b)
        for a, b in pairs
        for c in after[a] - {b}
        if a not in (r := reached(c, set())) and b in r
    }
    return pairs - roundabout


def drawing(mermaid: str) -> str:
    """Return the graph in Mermaid, with rules by name."""
    lines = "".join(f"  {a} --> {b}\n" for a, b in sorted(direct(edges(mermaid))))
    return f"```mermaid\nflowchart TB\n{lines}```\n"


def placed(page: str, graph: str) -> str:
    """Return the page with the graph between its marks."""
    before, rest = page.split(BEGIN)
    return before + BEGIN + graph + END + rest.split(END)[1]


if __name__ == "__main__":
    PAGE.write_text(placed(PAGE.read_text(), drawing(sys.stdin.read())))
