"""Render the page that a reader opens first: all findings, figures and tables of a study."""

import base64
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from crosslens.analysis.hypotheses import NOT_SUPPORTED, SUPPORTED, UNDECIDED
from crosslens.config.figure_list import CURVES, DRAWINGS, FIGURES, TABLES
from crosslens.io.records import read_jsonl, sha256
from crosslens.reporting.feature_page import examples, number, percent, segments, strongest
from crosslens.reporting.findings import about_gap, findings
from crosslens.reporting.summary import Study
from crosslens.reporting.tables import NOTHING, VARIANTS, row_name, task_title
from crosslens.reporting.verdict_texts import RULE
from crosslens.reporting.verdicts import ARTIFACT


def picture(path: Path) -> dict[str, Any]:
    """Return a PNG as a data URI, and its display width at 100 pixels per inch."""
    data = path.read_bytes()
    width = int.from_bytes(data[16:20], "big")  # of the header chunk
    uri = "data:image/png;base64," + base64.b64encode(data).decode()
    return {"uri": uri, "width": width // 2}


VERDICT_CLASSES = {
    SUPPORTED: "supported",
    NOT_SUPPORTED: "not-supported",
    UNDECIDED: "undecided",
    ARTIFACT: "not-supported",
}


def is_numbered(name: str) -> bool:
    """Return whether a figure is one of the paper's."""
    return name.startswith("figure")


def distinct_figures(study: Study) -> Iterable[dict[str, Any]]:
    """Return each distinct picture of the paper's figures, with all its figure numbers."""
    seen: dict[str, dict[str, Any]] = {}
    for name in filter(is_numbered, FIGURES):
        path = study.root / "figures" / f"{name}.png"
        entry = {"numbers": [], "figure": FIGURES[name], "path": path}
        same = seen.setdefault(sha256(path), entry)
        same["numbers"].append(name.removeprefix("figure"))
    for item in seen.values():
        numbers = item["numbers"]
        yield {
            "name": f"Figure{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}",
            "numbers": numbers,
            "title": item["figure"].title,
            "picture": picture(item["path"]),
            "caption": DRAWINGS[item["figure"].drawing].caption,
        }


def own_figures(study: Study) -> Iterable[dict[str, Any]]:
    """Return our figures, which have no number in the paper."""
    for name, figure in FIGURES.items():
        if not is_numbered(name):
            yield {
                "name": name,
                "title": figure.title,
                "picture": picture(study.root / "figures" / f"{name}.png"),
                "caption": DRAWINGS[figure.drawing].caption,
            }


def reference(name: str) -> str:
    """Return the name of a figure or table as text: figure1 is Figure 1."""
    kind = name.rstrip("0123456789")
    number = name[len(kind) :]
    return f"{kind.capitalize()} {number}" if number else kind.replace("-", " ")


def render_report(
    study: Study, summary: dict[str, Any], template: str, script: str, paper: dict[str, Any]
) -> str:
    """Return the report: one self-contained page.

    `script` enlarges figures and sorts tables. `paper` has the paper's numbers.
    """
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    environment.filters |= {"number": number, "title_of": task_title, "reference": reference}
    environment.filters |= {"percent": percent, "about_gap": about_gap, "sentences": sentences}
    return environment.from_string(template).render(
        study=study,
        summary=summary,
        script=script,
        paper=paper,
        findings=findings(summary),
        figures=list(distinct_figures(study)),
        titles={n: table.title for n, table in TABLES.items()},
        curve_captions={name: curves.caption for name, curves in CURVES.items()},
        variants=VARIANTS,
        tables={n: pd.read_csv(study.root / "tables" / f"table{n}.csv") for n in TABLES},
        row_name=row_name,
        nothing=NOTHING,
        own_figures=list(own_figures(study)),
        rule=RULE,
        cards={f: examples(read_jsonl(study.root / f"features/{f}.jsonl")) for f in study.families},
        segments=segments,
        strongest=strongest,
        verdict_classes=VERDICT_CLASSES,
        curves={
            p.stem: picture(p)
            for p in (path.with_suffix(".png") for path in study.matching("figures/*.csv"))
            if p.stem in CURVES
        },
        config=yaml.safe_dump(study.config.plain(), sort_keys=False),
        repeated=len(set(study.config.figures.families)) < 3,
    )


def sentences(text: str) -> list[str]:
    """Return the sentences of a text, with minus signs before negative numbers."""
    text = re.sub(r"(?<![\w.])-(?=\d)", "\N{MINUS SIGN}", text)
    return re.split(r"(?<=[.!?])\s+(?=[A-Z\d])", text) if text else []
