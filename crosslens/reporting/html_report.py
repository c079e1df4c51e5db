"""The one page that a reader opens first: all findings, figures and tables of a study."""

import base64
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from crosslens.io.records import sha256
from crosslens.reporting.findings import findings
from crosslens.reporting.summary import Study
from crosslens.reporting.tables import NOTHING, SETS, control, task_title

FIGURES = {
    1: "NRN of the final SFT and RL models against base",
    2: "Overlap of the most model-specific features between checkpoints",
    3: "MAS over base, SFT and RL",
    4: "Overlap of generalization features between tasks",
    5: "MAS over base, SFT and RL, second family",
    6: "NRN of the final SFT and RL models against base, third family",
    7: "Overlap between checkpoints, third family",
    8: "Rank shifts during SFT",
    9: "Rank shifts during RL",
    10: "Rank shifts during SFT, second family",
    11: "Rank shifts during RL, second family",
    12: "Rank shifts during SFT, third family",
    13: "Rank shifts during RL, third family",
}

CAPTIONS = {"draw_nrn": (1, 6), "draw_overlap": (2, 7), "draw_mas": (3, 5)}
CAPTIONS |= {"draw_feature_overlap": (4,), "draw_rank_shifts": tuple(range(8, 14))}


def picture(path: Path) -> dict[str, Any]:
    """A PNG as a data URI, and the width it is shown at: 100 pixels an inch."""
    data = path.read_bytes()
    width = int.from_bytes(data[16:20], "big")  # of the header chunk
    uri = "data:image/png;base64," + base64.b64encode(data).decode()
    return {"uri": uri, "width": width // 2}


def caption(number: int, captions: dict[str, str]) -> str:
    """The caption of a figure: that of the rule that draws it."""
    return next(captions[rule] for rule, numbers in CAPTIONS.items() if number in numbers)


def distinct_figures(study: Study, captions: dict[str, str]) -> Iterable[dict[str, Any]]:
    """Each different picture once, with all figure numbers it stands for."""
    seen: dict[str, dict[str, Any]] = {}
    for number, title in FIGURES.items():
        path = study.root / "figures" / f"figure{number}.png"
        same = seen.setdefault(sha256(path), {"numbers": [], "title": title, "path": path})
        same["numbers"].append(number)
    for found in seen.values():
        numbers = [str(n) for n in found["numbers"]]
        yield {
            "name": f"Figure{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}",
            "title": found["title"],
            "picture": picture(found["path"]),
            "caption": caption(found["numbers"][0], captions),
        }


def page(
    study: Study, summary: dict[str, Any], template: str, captions: dict[str, str], paper: dict
) -> str:
    """The report: one page without outside references. `paper`: content of report/paper.json."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters |= {"number": number, "title_of": task_title}
    return environment.from_string(template).render(
        study=study,
        summary=summary,
        paper=paper,
        findings=findings(summary),
        figures=list(distinct_figures(study, captions)),
        tables={n: pd.read_csv(study.root / "tables" / f"table{n}.csv") for n in range(1, 6)},
        names=SETS,
        control=control,
        nothing=NOTHING,
        curves={
            p.stem: picture(p)
            for p in (path.with_suffix(".png") for path in study.matching("figures/*.csv"))
            if not p.stem.startswith("figure")
        },
        config=yaml.safe_dump(study.config, sort_keys=False),
        repeated=len(set(study.config["figures"]["families"])) < 3,
    )


def number(value: Any, digits: int = 1, signed: bool = False) -> str:
    """A number as text, with a true minus; a dash where there is none."""
    if value is None or pd.isna(value):
        return "–"
    return f"{value:{'+' if signed else ''}z.{digits}f}".replace("-", "\N{MINUS SIGN}")
