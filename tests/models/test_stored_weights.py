"""What is read of a checkpoint's files without loading the model."""

import json
from pathlib import Path

import pytest

from crosslens.models.stored_weights import is_tied


@pytest.mark.parametrize(
    ("config", "tied"),
    [
        ({"model_type": "gemma2"}, True),
        ({"model_type": "gpt2"}, True),
        ({"model_type": "llama"}, False),
        ({"model_type": "llama", "tie_word_embeddings": True}, True),
        ({"model_type": "gpt2", "tie_word_embeddings": False}, False),
    ],
)
def test_a_head_is_tied_by_the_file_or_by_the_architecture(
    tmp_path: Path, config: dict, tied: bool
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert is_tied(tmp_path) == tied
