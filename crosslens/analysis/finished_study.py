"""Open the results of a study: its crosscoders, features, models and held-out texts."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from jaxtyping import UInt32

from crosslens.activations.extract import load_truncated
from crosslens.analysis.feature_table import rows_of
from crosslens.config.crosscoder_design import TRIO, TRIO_MODELS, base_name, parts_of
from crosslens.crosscoder.model import Crosscoder
from crosslens.data.corpus import HELDOUT, read_shard
from crosslens.io.errors import InputError
from crosslens.models.loading import load_network
from crosslens.models.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

CROSSCODER_FILE = "crosscoder.safetensors"


class FinishedStudy:
    """One family of a study, read from `results/<study>`; nothing is computed or written.

    `family` may be left out where there is only one. Raises InputError when the folder holds no
    crosscoders of the family.
    """

    def __init__(self, folder: str | Path, family: str | None = None) -> None:
        self.folder = Path(folder)
        families = names_in(self.folder / "crosscoders")
        if family is None and len(families) == 1:
            family = families[0]
        if family not in families:
            listed = ", ".join(families) or "none"
            raise InputError(f"{self.folder}: unknown family {family}. Choose from {listed}.")
        self.family = family

    @property
    def crosscoders(self) -> list[str]:
        """Return the names of all crosscoders that are trained, such as sft-5-r0 or trio-r0."""
        folder = self.folder / "crosscoders" / self.family
        return sorted(path.parent.name for path in folder.glob(f"*/{CROSSCODER_FILE}"))

    @property
    def variants(self) -> list[str]:
        """Return the names of all models, such as base or rl-5."""
        return names_in(self.folder / "models" / self.family)

    def crosscoder(self, name: str = TRIO) -> Crosscoder:
        """Load a crosscoder on the CPU. Raises InputError when its file does not load."""
        path = self.folder / "crosscoders" / self.family / name / CROSSCODER_FILE
        return Crosscoder.load(path).requires_grad_(False)

    def features(self, name: str = TRIO) -> pd.DataFrame:
        """Return a row for each feature of a crosscoder, indexed by feature.

        Columns are those of its features.csv (`feature_table`), with nrn of a pair or mas_base,
        mas_sft and mas_rl of three models, whatever their activation and inputs; other crosscoders
        have neither.
        """
        table = pd.read_csv(self.folder / "crosscoders" / self.family / name / "features.csv")
        scores = "mas" if parts_of(base_name(name))[0] == TRIO_MODELS else "nrn"
        of_all = pd.read_csv(self.folder / "metrics" / self.family / f"{scores}.csv")
        score_rows = rows_of(of_all, name)
        if score_rows.empty:
            return table.set_index("feature")
        columns = ["feature", *(c for c in score_rows if c.startswith(scores))]
        return table.merge(score_rows[columns], on="feature").set_index("feature")

    def model(self, variant: str) -> Path:
        """Return a model's directory."""
        return self.folder / "models" / self.family / variant

    def network(self, variant: str) -> "PreTrainedModel":
        """Load a language model, ready to answer."""
        from transformers import AutoModelForCausalLM

        return load_network(self.model(variant), AutoModelForCausalLM)

    def truncated(self, crosscoder: Crosscoder) -> list[torch.nn.Module]:
        """Load the models of a crosscoder up to its layer, in its order."""
        layer = crosscoder.metadata["layer"]
        return [load_truncated(self.model(name), layer)[0] for name in crosscoder.models]

    def tokenizer(self) -> "PreTrainedTokenizerBase":
        """Load base's tokenizer, whose ids all variants read."""
        return load_tokenizer(self.model("base"))

    def heldout_rows(self) -> UInt32[np.ndarray, "sequences sequence_length"]:
        """Return the token ids of the held-out texts, uint32 [sequences, sequence_length]."""
        return read_shard(self.folder / "activations" / self.family / "corpus.h5", HELDOUT)[0]


def names_in(folder: Path) -> list[str]:
    """Return the names of the directories in a folder, sorted; none where it is missing."""
    return sorted(path.name for path in folder.glob("*") if path.is_dir())
