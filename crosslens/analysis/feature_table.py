"""Tabulate what was measured of each feature of a crosscoder on held-out activations."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float

from crosslens.analysis.latent_scaling import Scaling, debiased, patterns


def rows_of(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the rows of one crosscoder, such as trio-r0, in a table of several."""
    crosscoder, _, replicate = name.rpartition("-r")
    return table[(table["crosscoder"] == crosscoder) & (table["replicate"] == int(replicate))]


def alive_features(directory: Path) -> Bool[np.ndarray, " k"]:
    """Return which features of the crosscoder in a directory are alive, by its features.csv."""
    return (pd.read_csv(directory / "features.csv")["alive"] == 1).to_numpy()


def feature_table(
    models: Sequence[str],
    rate: Float[torch.Tensor, " k"],
    scaling: Scaling,
    r_squared: Float[torch.Tensor, "n k"],
    alive_threshold: float,
) -> pd.DataFrame:
    """Return one row for each feature.

    Columns: feature; rate, of rows on which it fires; alive (0 or 1), above the threshold; firings;
    pattern, of the models that have it; probe, the model with its longest decoder vector; and for
    each model m share_m (MAS*), beta_error_m with its standard error stderr_m, nu_error_m,
    nu_reconstruction_m and nu_activation_m (`latent_scaling`), r2_m (`decodability`).
    """
    by_model = {
        "share": debiased(scaling.beta_error),
        "beta_error": scaling.beta_error,
        "stderr": scaling.stderr,
        "nu_error": scaling.nu_error,
        "nu_reconstruction": scaling.nu_reconstruction,
        "nu_activation": scaling.nu_activation,
        "r2": r_squared,
    }
    columns = {
        "feature": range(len(rate)),
        "rate": rate.numpy(),
        "alive": (rate > alive_threshold).int().numpy(),
        "firings": scaling.firings.numpy(),
        "pattern": patterns(scaling, models),
        "probe": [models[i] for i in scaling.probe.tolist()],
    }
    for name, values in by_model.items():
        for model, row in zip(models, values.float().numpy(), strict=True):
            columns[f"{name}_{model}"] = row
    return pd.DataFrame(columns)
