"""A model is copied into the study if it is complete and gives the residual stream it had."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import tiny_model
from transformers import AutoModelForCausalLM

from crosslens.activations.extract import load_truncated, residual_stream
from crosslens.config.model_compatibility import check_same_tokenizer_and_shape
from crosslens.evaluation.harness import load_model
from crosslens.io.errors import InputError
from crosslens.models.tokenizer import load_tokenizer, require_chat_template

ROOT = Path(__file__).resolve().parents[2]
IDS = torch.arange(20)[None] + 3


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_model(tmp_path / "model")


@pytest.fixture
def import_model(monkeypatch):
    """Return the script's `main`."""
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return __import__("import_model").main


def edit_json(path: Path, **changes: object) -> None:
    """Set keys of a JSON file, or remove those that are None."""
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


def stream(path: Path) -> torch.Tensor:
    return residual_stream(load_truncated(path, 1)[0], IDS)


def test_files_are_copied_not_links(import_model, model: Path, tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    for file in model.iterdir():
        (tmp_path / "hub" / file.name).symlink_to(file)
    (tmp_path / "hub" / "consolidated.safetensors").write_bytes(b"a second copy of the weights")
    import_model(model=tmp_path / "hub", out=tmp_path / "base")
    copies = list((tmp_path / "base").iterdir())
    assert {file.name for file in copies} == {file.name for file in model.iterdir()}
    assert not any(file.is_symlink() for file in copies)


@pytest.mark.parametrize(
    ("lost", "message"),
    [("config.json", "no config.json"), ("model.safetensors", "no weights")],
)
def test_what_is_not_a_model_is_refused(
    import_model, model: Path, tmp_path: Path, lost: str, message: str
) -> None:
    (model / lost).unlink()
    with pytest.raises(InputError, match=message):
        import_model(model=model, out=tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("release", [4, 5])
def test_checkpoints_of_both_releases(
    import_model, model: Path, tmp_path: Path, release: int
) -> None:
    """The same model, its rotary base stated and its tokenizer saved as each release does."""
    theta, base = 1e6, tiny_model(tmp_path / "given")
    for path in (model, base):
        edit_json(path / "config.json", rope_parameters={"rope_theta": theta})
    if release == 4:
        names = {"rope_parameters": None, "rope_theta": theta, "rope_scaling": None}
        edit_json(model / "config.json", **names, dtype=None, torch_dtype="float32")
        template = (model / "chat_template.jinja").read_text()
        (model / "chat_template.jinja").unlink()
        settings = {"chat_template": template, "extra_special_tokens": {}, "backend": None}
        edit_json(model / "tokenizer_config.json", **settings, added_tokens_decoder={})
    else:
        edit_json(model / "tokenizer_config.json", extra_special_tokens=["<bos>"])
    import_model(model=base, out=tmp_path / "base")
    import_model(model=model, out=tmp_path / "sft", base=tmp_path / "base")
    assert torch.equal(stream(tmp_path / "sft"), stream(base))
    require_chat_template(load_tokenizer(tmp_path / "sft"), model)
    network, _ = load_truncated(tmp_path / "sft", 1)
    head = network.config.head_dim
    expected = theta ** -(torch.arange(0, head, 2) / head)
    torch.testing.assert_close(network.rotary_emb.inv_freq, expected)


@pytest.mark.parametrize("tied", [True, False])
def test_a_head_may_be_stored_or_tied(
    import_model, model: Path, tmp_path: Path, tied: bool
) -> None:
    """Tied models may store their head all the same; untied ones have another."""
    weights = load_file(model / "model.safetensors")
    head = weights["model.embed_tokens.weight"].clone()
    head = head if tied else head.flip(0)
    save_file(weights | {"lm_head.weight": head}, model / "model.safetensors", {"format": "pt"})
    edit_json(model / "config.json", tie_word_embeddings=tied)
    import_model(model=model, out=tmp_path / "base")
    loaded = load_model(tmp_path / "base", batch_size=1).model
    assert torch.equal(loaded.lm_head.weight, head)
    body = loaded.model(input_ids=IDS, output_hidden_states=True)
    torch.testing.assert_close(stream(tmp_path / "base"), body.hidden_states[1])


def test_a_tied_head_that_differs_is_refused(import_model, model: Path, tmp_path: Path) -> None:
    """Libraries would compute with different heads."""
    weights = load_file(model / "model.safetensors")
    head = weights["model.embed_tokens.weight"].flip(0)
    save_file(weights | {"lm_head.weight": head}, model / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        InputError, match=r"model: its config\.json ties .* lm_head\.weight differs"
    ):
        import_model(model=model, out=tmp_path / "base")
    assert not (tmp_path / "base").exists()


def test_a_descendant_may_have_added_tokens(import_model, model: Path, tmp_path: Path) -> None:
    tuned = tmp_path / "tuned"
    tokenizer = load_tokenizer(model)
    network = AutoModelForCausalLM.from_pretrained(model)
    before = len(tokenizer)
    tokenizer.add_tokens("<think>", special_tokens=True)
    network.resize_token_embeddings(len(tokenizer))
    tokenizer.save_pretrained(tuned)
    network.save_pretrained(tuned)
    import_model(model=model, out=tmp_path / "base")
    import_model(model=tuned, out=tmp_path / "sft-5", base=tmp_path / "base")
    assert load_tokenizer(tmp_path / "sft-5").convert_tokens_to_ids("<think>") == before
    torch.testing.assert_close(stream(tmp_path / "sft-5"), stream(tmp_path / "base"))
    with pytest.raises(InputError, match="the tokenizers of .* differ"):
        check_same_tokenizer_and_shape("own", [tuned, model])


def test_a_chat_template_is_asked_for_where_it_is_used(
    import_model, model: Path, tmp_path: Path
) -> None:
    (model / "chat_template.jinja").unlink()
    import_model(model=model, out=tmp_path / "base")
    with pytest.raises(InputError, match="its tokenizer has no chat template"):
        require_chat_template(load_tokenizer(tmp_path / "base"), tmp_path / "base")


def test_a_model_without_an_end_of_text_token_is_refused(
    import_model, model: Path, tmp_path: Path
) -> None:
    edit_json(model / "tokenizer_config.json", eos_token=None)
    with pytest.raises(InputError, match="no end-of-text token"):
        import_model(model=model, out=tmp_path / "base")
