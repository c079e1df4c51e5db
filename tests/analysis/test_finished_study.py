"""The tables of a finished study, from files as the workflow writes them."""

from pathlib import Path

import pandas as pd

from crosslens.analysis.finished_study import FinishedStudy


def test_features_have_the_scores_of_their_crosscoder(tmp_path: Path) -> None:
    """A pair has NRN, three models have MAS, and a crosscoder of all checkpoints has neither."""
    for name in ("rl-5-r0", "trio-topk-r0", "rl-checkpoints-r0"):
        folder = tmp_path / "crosscoders" / "tiny" / name
        folder.mkdir(parents=True)
        pd.DataFrame({"feature": [0, 1], "rate": [0.1, 0.2]}).to_csv(folder / "features.csv")
    (tmp_path / "metrics" / "tiny").mkdir(parents=True)
    nrn = {"crosscoder": "rl-5", "replicate": 0, "feature": [0, 1], "nrn": [0.4, 0.9]}
    pd.DataFrame(nrn).to_csv(tmp_path / "metrics" / "tiny" / "nrn.csv")
    mas = {"crosscoder": "trio-topk", "replicate": 0, "feature": [0, 1], "mas_rl": [0.2, 0.6]}
    pd.DataFrame(mas).to_csv(tmp_path / "metrics" / "tiny" / "mas.csv")
    study = FinishedStudy(tmp_path)
    assert study.features("trio-topk-r0")["mas_rl"].tolist() == [0.2, 0.6]
    assert study.features("rl-5-r0")["nrn"].tolist() == [0.4, 0.9]
    without = study.features("rl-checkpoints-r0")
    assert without["rate"].tolist() == [0.1, 0.2] and "nrn" not in without
