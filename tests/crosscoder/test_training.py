"""Schedules, exact resume, and quality of a crosscoder, on activations with known features."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_shards import make_shard

from crosslens.activations.shard_reader import ShardReader
from crosslens.config.sections import BatchTopKConfig, CrosscoderConfig
from crosslens.crosscoder.heldout import evaluate
from crosslens.crosscoder.kernels.train_step import Moments, TrainStep
from crosslens.crosscoder.model import Crosscoder
from crosslens.crosscoder.schedules import make_plan
from crosslens.crosscoder.threshold import calibrate
from crosslens.crosscoder.training import (
    first_pass,
    load_state,
    load_trained,
    save_state,
    start_training,
    take_step,
    train_shard,
    variance,
)
from crosslens.crosscoder.training_log import read_log
from crosslens.io.errors import InputError
from crosslens.io.records import read_json

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import evaluate_crosscoder  # noqa: E402
import train_crosscoders  # noqa: E402

D, FEATURES, ROWS = 8, 12, 2000
SETTINGS = CrosscoderConfig(
    d_sparse=24,
    beta=0.5,
    learning_rate=5e-3,
    batch_size=100,
    epochs=2,
    adam_betas=[0.9, 0.999],
    gradient_clip=1.0,
    sparsity_warmup=0.05,
    lr_decay=0.2,
    decoder_norm=0.08,
    dtype="float32",
    kernel="auto",
    extra_seeds=0,
)
TOPK = BatchTopKConfig(k=2, auxiliary_weight=0.03, auxiliary_features=0.5, dead_after=0.1)
MODELS = ["base", "rl-5"]
NAME = "rl-5-r0"


def planted(seed, rows=ROWS):
    """Activations of two models: one or two of twelve directions at a time, shared by both."""
    generator = torch.Generator().manual_seed(7)
    directions = torch.randn(2, FEATURES, D, generator=generator)
    generator.manual_seed(seed)
    on = torch.rand(rows, FEATURES, generator=generator) < 0.12
    f = on * (1 + torch.rand(rows, FEATURES, generator=generator))
    return [f @ directions[i] + 0.1 for i in range(2)]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Two training shards and a held-out one of both models."""
    folder = tmp_path_factory.mktemp("activations")
    for seed, shard in enumerate(["0", "1", "heldout"]):
        mask = (np.arange(ROWS) % 50 != 3).astype(int).tolist()
        for model, x in zip(MODELS, planted(seed), strict=True):
            make_shard(shard_file(folder, model, shard), x, shard=shard, mask=mask, variant=model)
    return folder


def shard_file(world, model, shard):
    """Return the file of a model in the directory of the shard that it was extracted to."""
    return world / model / f"shard-{shard}" / f"{model}.h5"


def shards(world, shard):
    return [shard_file(world, model, shard) for model in MODELS]


def plan(batch_topk=None, reference=(), **changes):
    settings = SETTINGS.model_copy(update=changes)
    return make_plan(
        settings, rows=ROWS, shards=2, seed=0, batch_topk=batch_topk, reference=reference
    )


def arguments(world, folder, shard, references=(), **changes):
    """Return the arguments of the script's main for one shard; changes are of the design."""
    design = {
        "models": MODELS,
        "inputs": "activations",
        "activation": "relu_l1",
        "reference": None,
        "seed": 0,
        "in_order": True,
    }
    return {
        "designs": {NAME: design | changes},
        "activations": [file.parent for file in shards(world, shard)],
        "previous": folder / f"states-{shard - 1}" if shard else None,
        "references": list(references),
        "settings": SETTINGS,
        "shards": 2,
        "states": folder / f"states-{shard}",
        "history": folder / f"history-{shard}.csv",
    }


def state_file(folder, shard):
    """Return the file of the crosscoder's state after a shard."""
    return folder / f"states-{shard}" / f"{NAME}.safetensors"


def train(world, folder, shard, **changes):
    """Run the script's main for one shard; `changes` are of the design."""
    train_crosscoders.main(**arguments(world, folder, shard, **changes))


@pytest.fixture(scope="module")
def trained(world, tmp_path_factory):
    """Return a crosscoder trained on both shards without interruption."""
    folder = tmp_path_factory.mktemp("trained")
    train(world, folder, 0)
    train(world, folder, 1)
    return folder


def finish(world, trained, folder, **changes):
    """Run the script that measures a trained crosscoder."""
    given = {
        "name": NAME,
        "states": trained / "states-1",
        "variants": MODELS,
        "heldout": [file.parent for file in shards(world, "heldout")],
        "histories": [trained / "history-0.csv", trained / "history-1.csv"],
        "reference": None,
        "settings": SETTINGS,
        "threshold": 1e-5,
        "crosscoder": folder / "crosscoder.safetensors",
        "quality": folder / "quality.json",
        "features": folder / "features.csv",
        "training": folder / "training.csv",
    }
    evaluate_crosscoder.main(**given | changes)


def test_plan_counts_the_steps_of_all_shards():
    made = plan()
    assert made.steps_per_shard == 2 * (ROWS // 100) == 40
    assert made.steps == 80


def test_learning_rate_falls_to_zero_over_the_last_fifth():
    made = plan()
    assert made.rate_at(0) == made.rate_at(64) == 5e-3
    assert made.rate_at(72) == pytest.approx(5e-3 * 8 / 16)
    assert made.rate_at(79) == pytest.approx(5e-3 / 16)
    assert made.rate_at(80) == 0


def test_beta_rises_over_the_first_twentieth():
    made = plan()
    assert [made.beta_at(s) for s in range(5)] == pytest.approx([0.125, 0.25, 0.375, 0.5, 0.5])


def test_beta_and_rate_are_constant_without_warmup_and_decay():
    made = plan(sparsity_warmup=0.0, lr_decay=0.0)
    assert made.beta_at(0) == 0.5 and made.rate_at(79) == 5e-3


def test_shard_smaller_than_a_batch_is_refused():
    with pytest.raises(InputError, match="crosscoder.batch_size: 3000 is more than the 2000"):
        plan(batch_size=3000)


def test_step_is_adam_on_the_clipped_gradient():
    """Against PyTorch's plain Adam; the gradient here is far longer than 1."""
    made = plan()
    x = 100 * torch.randn(10, 2, D)
    ours, theirs = Crosscoder(2, D, 24), Crosscoder(2, D, 24)
    take_step(TrainStep(ours, Moments.zero(ours), 10, made.step_settings(D)), x, made, 0)
    plain = torch.optim.Adam(theirs.parameters(), lr=5e-3, betas=(0.9, 0.999))
    theirs.loss(x, 0.125).total.backward()
    norm = torch.stack([p.grad.norm() for p in theirs.parameters()]).norm()
    assert norm > 10
    for p in theirs.parameters():
        p.grad /= norm + 1e-6
    plain.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_variance_of_worked_numbers():
    """Around the means 2 and 4: sums of squares 2 and 8 over two rows."""
    x = torch.tensor([[[1.0], [2.0]], [[3.0], [6.0]]])
    torch.testing.assert_close(variance(x), torch.tensor([1.0, 4.0]))


def test_crosscoder_learns_planted_features(trained, world):
    crosscoder, step = load_trained(state_file(trained, 1))
    assert step == 80
    with ShardReader(shards(world, "heldout")) as reader:
        before = evaluate(Crosscoder(2, D, 24, metadata={"models": MODELS}), reader, 256, 0.5)
        after = evaluate(crosscoder, reader, 256, 0.5)
    assert max(before.fve.values()) < 0.2 and min(after.fve.values()) > 0.6
    assert after.rows == ROWS - ROWS // 50
    assert after.loss < before.loss
    assert after.rate.sum().item() == pytest.approx(after.l0, rel=1e-4)


def test_resuming_between_shards_is_exact(world, trained):
    made = plan()
    with ShardReader(shards(world, "0")) as first, ShardReader(shards(world, "1")) as second:
        state = start_training(MODELS, first, SETTINGS, made)
        state, _ = train_shard(state, first, made, "training")
        state, _ = train_shard(state, second, made, "training")
    resumed = load_state(state_file(trained, 1))
    assert resumed.step == state.step
    for name, value in state.crosscoder.state_dict().items():
        assert torch.equal(resumed.crosscoder.state_dict()[name], value)


KILLED = """
import sys
from pathlib import PosixPath
from crosslens.config.sections import BatchTopKConfig, CrosscoderConfig
sys.path.insert(0, {scripts!r})
import crosslens.crosscoder.training as training
step = training.take_step
def announced(*arguments):
    print(arguments[-1], flush=True)
    return step(*arguments)
training.take_step = announced
import train_crosscoders
train_crosscoders.main(**{arguments!r})
"""


@pytest.mark.slow
def test_run_killed_within_a_shard_ends_with_the_same_bytes(world, trained, tmp_path):
    shutil.copytree(trained / "states-0", tmp_path / "states-0")
    code = KILLED.format(scripts=str(ROOT / "scripts"), arguments=arguments(world, tmp_path, 1))
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line.strip() == "60":  # the first step of shard 1 is number 40
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir() if path.name[0] != "."] == ["states-0"]
    train(world, tmp_path, 1)
    assert state_file(tmp_path, 1).read_bytes() == state_file(trained, 1).read_bytes()
    ours, theirs = (pd.read_csv(p / "history-1.csv").drop(columns="waiting_share")
                    for p in (tmp_path, trained))  # fmt: skip
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True)


def test_a_group_trains_each_crosscoder_as_it_would_be_alone(world, trained, tmp_path):
    """The same bytes, and a log without the columns of the other's models."""
    given = arguments(world, tmp_path, 0)
    alone = {"models": MODELS[:1], "inputs": "activations", "activation": "relu_l1"}
    given["designs"] = {
        "base-r1": alone | {"reference": None, "seed": 1, "in_order": False},
        **given["designs"],
    }
    train_crosscoders.main(**given)
    assert state_file(tmp_path, 0).read_bytes() == state_file(trained, 0).read_bytes()
    logs = [read_log([tmp_path / "history-0.csv"], name) for name in (NAME, "base-r1")]
    assert [len(log) for log in logs] == [40, 40]
    assert set(logs[0].columns) - set(logs[1].columns) == {"fve_rl-5"}


def test_scales_of_the_first_shard_are_kept(world, trained):
    crosscoder, _ = load_trained(state_file(trained, 1))
    with ShardReader(shards(world, "0")) as reader:
        assert torch.equal(crosscoder.scales, reader.scales)
        x = torch.cat(list(reader.batches(100, drop_last=False))) * crosscoder.scales[:, None]
    torch.testing.assert_close(
        x.norm(dim=2).mean(dim=0), torch.full((2,), D**0.5), rtol=1e-2, atol=0
    )


def test_distinct_tokens_are_counted(trained):
    """1,960 rows are kept of each shard, of which a pass sees 19 batches of 100."""
    assert first_pass(1960, plan()) == 1900
    crosscoder, _ = load_trained(state_file(trained, 1))
    assert crosscoder.metadata["distinct_tokens"] == 3800


def test_training_log_has_losses_and_schedules(trained):
    log = pd.concat([pd.read_csv(trained / f"history-{s}.csv") for s in (0, 1)])
    assert log["step"].tolist() == list(range(1, 81))
    assert log["tokens"].iloc[-1] == 8000
    total = log["reconstruction"] + log["beta"] * log["sparsity"]
    np.testing.assert_allclose(log["loss"], total, rtol=1e-5)
    assert log["learning_rate"].iloc[0] == 5e-3
    assert {"fve_base", "fve_rl-5", "l0", "dead_share"} <= set(log.columns)
    assert log["dead_share"].between(0, 1).all() and log["waiting_share"].between(0, 1).all()


def test_seed_changes_initial_weights(world, tmp_path):
    for seed in (0, 1):
        train(world, tmp_path / str(seed), 0, seed=seed)
    a, b = (load_trained(state_file(tmp_path / s, 0))[0] for s in ("0", "1"))
    assert not torch.allclose(a.W_dec, b.W_dec, atol=1e-2)


def test_another_order_of_rows_alone_gives_another_crosscoder(world, tmp_path):
    """Check it of one pass: 1,960 rows are kept, so all but the last of 20 batches are of it."""
    settings = SETTINGS.model_copy(update={"epochs": 1})
    for in_order in (True, False):
        given = arguments(world, tmp_path / str(in_order), 0, in_order=in_order)
        train_crosscoders.main(**given | {"settings": settings})
    a, b = (load_trained(state_file(tmp_path / s, 0)) for s in ("True", "False"))
    assert a[1] == b[1] == 20
    assert not torch.allclose(a[0].W_dec, b[0].W_dec, atol=1e-4)


def test_state_of_another_corpus_is_refused(trained, tmp_path):
    for model, x in zip(MODELS, planted(1), strict=True):
        make_shard(shard_file(tmp_path, model, 1), x, shard="1", corpus_hash="other", variant=model)
    with pytest.raises(InputError, match=f"{NAME}.safetensors: this training state belongs to a"):
        train(tmp_path, trained, 1)


def test_diverging_run_is_a_one_line_error(world, tmp_path):
    settings = SETTINGS.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(InputError, match="the loss is .* Lower crosscoder.learning_rate"):
        train_crosscoders.main(**arguments(world, tmp_path, 0) | {"settings": settings})
    assert not list(tmp_path.iterdir())


def test_damaged_state_is_a_one_line_error(trained, tmp_path):
    path = tmp_path / f"{NAME}.safetensors"
    path.write_bytes(state_file(trained, 0).read_bytes()[:-1])
    with pytest.raises(InputError, match=f"{NAME}.safetensors: this file cannot be loaded"):
        load_state(path)


def test_final_files_agree_with_the_state(world, trained, tmp_path):
    finish(world, trained, tmp_path)
    crosscoder = Crosscoder.load(tmp_path / "crosscoder.safetensors")
    assert crosscoder.models == MODELS
    assert crosscoder.metadata["tokens_seen"] == 8000
    assert crosscoder.metadata["config"]["beta"] == 0.5
    features = pd.read_csv(tmp_path / "features.csv")
    assert {"firings", "pattern", "probe", "share_base", "nu_error_rl-5"} <= set(features.columns)
    decoded = features["r2_base"][features["firings"] > 500]
    assert len(decoded) and decoded.between(0.3, 1.01).all()
    assert ((features["rate"] > 1e-5) == features["alive"]).all()
    quality = pd.read_json(tmp_path / "quality.json", typ="series")
    assert quality["alive"] == features["alive"].sum()
    assert quality["distinct_tokens"] == 3800 and quality["heldout_rows"] == 1960
    assert len(pd.read_csv(tmp_path / "training.csv")) == 80


@pytest.mark.slow
def test_batch_topk_has_the_l0_of_the_crosscoder_that_it_follows(world, trained, tmp_path):
    """In training up to each shard, and then on held-out rows, by its threshold."""
    finish(world, trained, tmp_path)
    wanted = read_json(tmp_path / "quality.json")
    folder = tmp_path / "topk"
    folder.mkdir()
    for shard in (0, 1):
        references = [trained / f"history-{i}.csv" for i in (shard - 1, shard) if i >= 0]
        changes = {"activation": "batch_topk", "reference": NAME}
        train(world, folder, shard, references=references, **changes)
    logs = (pd.read_csv(place / "history-1.csv")["l0"] for place in (trained, folder))
    np.testing.assert_allclose(*logs, rtol=0.02)
    finish(world, folder, folder, reference=tmp_path / "quality.json")
    found = read_json(folder / "quality.json")
    assert found["l0"] == pytest.approx(wanted["l0"], abs=1e-3)
    assert Crosscoder.load(folder / "crosscoder.safetensors").threshold > 0


@pytest.mark.parametrize("inputs", ["swapped", "noise", "self", "differences"])
def test_a_control_is_trained_and_measured_as_any_crosscoder(world, tmp_path, inputs):
    for shard in (0, 1):
        train(world, tmp_path, shard, inputs=inputs)
    finish(world, tmp_path, tmp_path)
    crosscoder = Crosscoder.load(tmp_path / "crosscoder.safetensors")
    fve = read_json(tmp_path / "quality.json")["fve"]
    assert list(fve) == crosscoder.models
    assert all(0.3 < value < 1 for value in fve.values())
    if inputs == "self":
        base, other = crosscoder.W_dec.detach()[:, crosscoder.W_dec.norm(dim=(0, 2)) > 0.1]
        assert torch.nn.functional.cosine_similarity(base, other).min() > 0.9


def test_features_kept_fall_from_half_of_them_to_k_over_the_warmup():
    made = plan(TOPK, sparsity_warmup=0.5)
    assert [made.topk.keep_at(step, 100) for step in (0, 40, 79)] == [1200, 200, 200]
    assert made.topk.keep_at(20, 100) == round(100 * (12 * 2) ** 0.5)
    assert made.beta_at(79) == 0


def test_features_kept_follow_the_reference_where_k_is_matched():
    matched = TOPK.model_copy(update={"k": "matched"})
    made = plan(matched, reference=[(10, 8.0), (20, 2.0)])
    assert [made.topk.keep_at(step, 100) for step in (0, 10, 15, 99)] == [800, 800, 400, 200]
    with pytest.raises(InputError, match="crosscoder.batch_topk.k: matched requires a crosscoder"):
        plan(matched)


def test_the_logs_of_two_shards_give_a_shard_the_features_kept_of_all_logs():
    """The rule gives a job the logs of its shard and of the one before it."""
    matched = TOPK.model_copy(update={"k": "matched"})
    log = [(step, 9.0 - step / 12) for step in (9, 19, 29, 39, 49, 59)]  # 20 steps a shard
    whole, last_two = plan(matched, reference=log), plan(matched, reference=log[2:])
    steps = range(40, 60)
    assert [whole.topk.keep_at(step, 1000) for step in steps] == [
        last_two.topk.keep_at(step, 1000) for step in steps
    ]


def test_batch_topk_learns_planted_features_and_resumes_exactly(world, tmp_path):
    made = plan(TOPK)
    with ShardReader(shards(world, "0")) as first, ShardReader(shards(world, "1")) as second:
        half, _ = train_shard(
            start_training(MODELS, first, SETTINGS, made), first, made, "training"
        )
        save_state(half, tmp_path / "state.safetensors")
        whole, log = train_shard(half, second, made, "training")
        again, _ = train_shard(load_state(tmp_path / "state.safetensors"), second, made, "training")
    for name, value in whole.crosscoder.state_dict().items():
        assert torch.equal(again.crosscoder.state_dict()[name], value)
    assert torch.equal(again.last_kept, whole.last_kept) and whole.last_kept.max() == 80
    assert {line["l0"] for line in log} == {2.0} and log[-1]["threshold"] > 0
    crosscoder = whole.crosscoder
    with ShardReader(shards(world, "heldout")) as reader:
        crosscoder.metadata["threshold"] = calibrate(crosscoder, reader, 300, l0=2)
        quality = evaluate(crosscoder, reader, 256, 0.5)
    assert quality.l0 == 2 and min(quality.fve.values()) > 0.6
    assert crosscoder.metadata["threshold"] == pytest.approx(log[-1]["threshold"], rel=0.3)
