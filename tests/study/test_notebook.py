"""The notebook runs on a finished study, and the one in the repository has been run."""

import json
import os
import re
import subprocess

from conftest import ROOT
from given import PYTHON, Finished

NOTEBOOK = ROOT / "examples" / "finished_study.ipynb"


def test_the_notebook_runs_from_the_study_to_a_changed_answer(undisturbed: Finished) -> None:
    study = undisturbed.study.folder / "results" / "tiny"
    done = subprocess.run(
        [PYTHON, ROOT / "examples" / "run_notebook.py", NOTEBOOK, f"folder={study}"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr[-5000:]
    assert "models: base rl-5 sft-5" in done.stdout
    assert "crosscoders: rl-5-r0 sft-5-r0 trio-r0\n" in done.stdout
    features = re.findall(r"^feature (\d+)$", done.stdout, re.MULTILINE)
    assert len(features) == 3
    scores = (study / "metrics" / "own" / "mas.csv").read_text().splitlines()
    assert {row.split(",")[2] for row in scores[1:]} >= set(features)
    assert re.search(r"the answer changed at \[\d", done.stdout), done.stdout


def test_the_notebook_is_stored_with_its_outputs() -> None:
    cells = [c for c in json.loads(NOTEBOOK.read_text())["cells"] if c["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == [*range(1, len(cells) + 1)]
    assert all(cell["outputs"] for cell in cells[1:])
