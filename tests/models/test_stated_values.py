"""A value of a config.json that the reading library leaves out is noticed."""

import json
from pathlib import Path

import pytest

from crosslens.io.errors import InputError
from crosslens.models.stated_values import check_stated_values, defaults_taken, unread_values

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 29}
OLD = {"model_type": "qwen3", **SIZES, "rope_theta": 1e6, "rope_scaling": None}
NEW = {
    "model_type": "qwen3",
    **SIZES,
    "rope_parameters": {"rope_theta": 1e6, "rope_type": "default"},
}
SILENT = {"model_type": "qwen3", **SIZES}
# As models of the hub have them; written by transformers 4 or before.
WRITTEN = {
    "pythia": {"model_type": "gpt_neox", "rotary_pct": 0.25, "rotary_emb_base": 500, **SIZES},
    "gpt2": {"model_type": "gpt2", "n_embd": 16, "n_layer": 2, "n_ctx": 1024, "n_head": 2},
    "gemma-2": {
        **{"model_type": "gemma2", "hidden_act": "gelu_pytorch_tanh", "sliding_window": 4096},
        **{"attn_logit_softcapping": 50.0, "cache_implementation": "hybrid", "rope_theta": 1e4},
    },
    "gemma-3": {
        **{"model_type": "gemma3_text", "sliding_window_pattern": 6, "rope_theta": 1000000},
        **{"rope_local_base_freq": 10000, "rope_scaling": None, "_sliding_window_pattern": 6},
    },
    "phi-3": {
        **{"model_type": "phi3", "attention_bias": False, "original_max_position_embeddings": 4096},
        **{"rope_theta": 1e4, "rope_scaling": None, "sliding_window": 2047, "auto_map": {"a": "b"}},
    },
    "llama-3.1": {
        **{"model_type": "llama", "pretraining_tp": 1, "rope_theta": 5e5, "head_dim": 8, **SIZES},
        "rope_scaling": {
            **{"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
            **{"original_max_position_embeddings": 8192, "rope_type": "llama3"},
        },
    },
    "qwen2.5": {
        **{"model_type": "qwen2", "use_mrope": False, "use_sliding_window": False, **SIZES},
        **{"sliding_window": 131072, "max_window_layers": 28, "rope_theta": 1e6, "head_dim": 8},
    },
}


def written(folder: Path, raw: dict) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(raw))
    return folder


@pytest.mark.parametrize("name", WRITTEN)
def test_files_of_the_hub_pass(name: str, tmp_path: Path) -> None:
    check_stated_values(written(tmp_path / name, WRITTEN[name]))


@pytest.mark.parametrize("raw", [OLD, NEW])
def test_both_ways_to_write_rotary_positions_are_read(raw: dict) -> None:
    assert unread_values(raw) == {}
    assert defaults_taken(raw, OLD) == defaults_taken(raw, NEW) == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [("rope_base_frequency", 1e6), ("rotary_emb_base", 1e6), ("embedding_multiplier", 12.0)],
)
def test_a_value_that_is_not_read_is_refused(name: str, value: float, tmp_path: Path) -> None:
    raw = SILENT | {name: value}
    assert unread_values(raw) == {name: value}
    with pytest.raises(InputError, match=f"does not read {name}: {value} in config.json"):
        check_stated_values(written(tmp_path / "model", raw))


def test_what_decides_nothing_is_printed_only(tmp_path: Path, capsys) -> None:
    check_stated_values(written(tmp_path / "model", SILENT | {"unsloth_version": "1"}))
    assert "values not read from config.json: unsloth_version" in capsys.readouterr().err


@pytest.mark.parametrize(("base", "key"), [(OLD, "rope_theta"), (NEW, "rope_parameters")])
def test_a_default_in_the_place_of_bases_value_is_refused(
    base: dict, key: str, tmp_path: Path
) -> None:
    paths = [written(tmp_path / name, raw) for name, raw in (("sft", SILENT), ("base", base))]
    with pytest.raises(InputError, match=f"config.json lacks {key}, which is "):
        check_stated_values(*paths)


def test_a_descendant_may_state_another_value(tmp_path: Path) -> None:
    """Some are trained on longer texts with another base of their rotary positions."""
    for raw in (OLD | {"rope_theta": 3e5}, NEW | {"rope_parameters": {"rope_theta": 3e5}}):
        assert defaults_taken(raw, OLD) == defaults_taken(raw, NEW) == {}
