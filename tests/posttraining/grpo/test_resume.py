"""GRPO by verl: a killed run resumes and ends with the results of an uninterrupted one."""

import re
from pathlib import Path

import pandas as pd
import pytest
from safetensors.torch import load_file
from tiny_models import tiny_problems, tiny_solver
from verl_runs import SETTINGS, STEPS, Run, arguments, train_grpo

from crosslens.data.traces import grpo_rows
from crosslens.io import atomic
from crosslens.io.errors import InputError
from crosslens.io.records import write_json, write_jsonl
from crosslens.posttraining import resumable_run
from crosslens.posttraining.grpo import verl_run_state
from crosslens.workflow.provenance import installed

WEIGHTS = "model.safetensors"


def test_killed_run_resumes_to_identical_weights(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    undisturbed, killed = world / "undisturbed", world / "killed"
    runs = [Run(world, models, models.name) for models in (undisturbed, killed)]
    runs[1].wait_for(5)
    runs[1].kill()
    run = killed / ".grpo-verl"
    reached = resumable_run.last_complete_checkpoint(run)
    assert resumable_run.checkpoint_step(reached) == 4
    assert [path.name for path in killed.iterdir()] == [run.name]
    check_another_run_is_refused(world, killed)

    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # sums would round differently
    again = Run(world, killed, "again")
    again.finish()
    runs[0].finish()
    assert "1 thread(s), with which the run was started, instead of 2" in again.log.read_text()
    assert "resuming from global_step_4" in again.log.read_text()
    assert runs[0].steps() == [*range(1, STEPS + 1)]
    assert again.steps() == [*range(5, STEPS + 1)]

    for models in (undisturbed, killed):
        names = {path.name for path in models.iterdir()}
        assert names == {f"rl-{k}" for k in range(1, 6)} | {"grpo-curves.csv", "versions.json"}
    ours, theirs = (pd.read_csv(path / "grpo-curves.csv") for path in (killed, undisturbed))
    assert [*ours["step"]] == [*range(1, STEPS + 1)]
    assert (ours["grad_norm"] > 0).any()
    pd.testing.assert_frame_equal(
        ours.drop(columns="seconds"), theirs.drop(columns="seconds"), check_exact=True
    )
    before = (world / "base" / WEIGHTS).read_bytes()
    for k in range(1, 6):
        files = [path / f"rl-{k}" / WEIGHTS for path in (killed, undisturbed)]
        assert files[0].read_bytes() == files[1].read_bytes() != before
        before = files[0].read_bytes()


def check_another_run_is_refused(world: Path, models: Path) -> None:
    """Check that another seed, settings, data, weights or code neither use nor delete the state."""
    given, run = arguments(world, models), models / ".grpo-verl"
    other = world / "other"
    other.mkdir()
    pd.DataFrame(grpo_rows(tiny_problems(41), 4)).to_parquet(other / "grpo.parquet")
    tiny_solver(other / "base", steps=1)
    for key, value, difference in (
        ("seed", 1, "seed"),
        ("settings", SETTINGS.model_copy(update={"learning_rate": 1.0e-3}), "settings"),
        ("data", other / "grpo.parquet", "data"),
        ("base", other / "base", "model"),
        ("code", ["b"], "code"),
    ):
        expected = f"contains global_step_4 of a run with different {difference}. Restore the"
        with pytest.raises(InputError, match=expected):
            train_grpo.main(**given | {key: value})
    assert resumable_run.last_complete_checkpoint(run).name == "global_step_4"


def test_failed_run_keeps_its_checkpoints(world: Path, tmp_path: Path) -> None:
    """verl ends with an error; the checkpoint of an earlier start is still there."""
    run = tmp_path / ".grpo-verl"
    given = arguments(world, tmp_path)
    given["settings"] = SETTINGS.model_copy(update={"engine_options": {"trainer.not_a_key": 1}})
    versions = installed(*train_grpo.PACKAGES["verl"], "transformers", "torch", "mpmath")
    identity = resumable_run.run_identity(
        model=given["base"],
        data=given["data"],
        settings=given["settings"],
        seed=0,
        devices=1,
        software={"code": given["code"], "versions": versions},
    )
    write_json(run / resumable_run.RUN_FILE, identity)
    (run / "global_step_2").mkdir()
    (run / "global_step_2" / resumable_run.COMPLETE_MARK).touch()
    write_jsonl(run / verl_run_state.EARLIER_LOG, [{"step": step, "data": {}} for step in (1, 2)])
    with pytest.raises(InputError, match=r"^verl failed \(exit status 1\)"):
        train_grpo.main(**given)
    assert resumable_run.last_complete_checkpoint(run).name == "global_step_2"
    assert [row["step"] for row in verl_run_state.read_log(run, 2)] == [1, 2]
    assert {path.name for path in tmp_path.iterdir()} == {run.name}


@pytest.fixture
def run(world: Path, tmp_path: Path) -> Path:
    """Return the folder of a run that saved steps 2 and 4 and logged three steps."""
    for step in (2, 4):
        weights = tmp_path / f"global_step_{step}" / "actor" / "huggingface"
        weights.mkdir(parents=True)
        (weights / WEIGHTS).write_bytes((world / "base" / WEIGHTS).read_bytes())
        (weights.parent / "optim_world_size_1_rank_0.pt").touch()
    (tmp_path / verl_run_state.TRACKER).write_text("4")
    write_jsonl(tmp_path / verl_run_state.LOG, [{"step": step} for step in (1, 2, 3)])
    return tmp_path


def test_checkpoint_is_complete_once_its_step_is_logged(world: Path, run: Path) -> None:
    """A run resumed from step 4 would lack the curves of this step."""
    verl_run_state.export_and_prune(run, world / "base", [2, 4, 6, 8, 10])
    assert resumable_run.last_complete_checkpoint(run).name == "global_step_2"
    exported, base = (load_file(path / WEIGHTS) for path in (run / "rl-1", world / "base"))
    assert all(exported[name].equal(base[name]) for name in base)
    with (run / verl_run_state.LOG).open("a") as log:
        log.write('{"step": 4}\n{"step": 5')  # the last line is cut short
    verl_run_state.export_and_prune(run, world / "base", [2, 4, 6, 8, 10])
    assert resumable_run.last_complete_checkpoint(run).name == "global_step_4"
    assert not (run / "global_step_2").exists()
    assert {path.name for path in run.glob("rl-*")} == {"rl-1", "rl-2"}
    assert not list(run.glob(f"global_step_4/**/{WEIGHTS}"))
    assert list(run.glob("global_step_4/**/optim*"))


def test_checkpoint_that_verl_has_not_completed_is_ignored(world: Path, run: Path) -> None:
    (run / verl_run_state.TRACKER).write_text("")  # the kill came between opening and writing it
    verl_run_state.export_and_prune(run, world / "base", [2, 4, 6, 8, 10])
    assert resumable_run.last_complete_checkpoint(run) is None
    (run / verl_run_state.TRACKER).write_text("2")
    verl_run_state.export_and_prune(run, world / "base", [3, 4, 6, 8, 10])
    assert resumable_run.last_complete_checkpoint(run).name == "global_step_2"
    assert not list(run.glob("rl-*"))  # no fifth


def test_log_has_each_step_once_and_ends_at_the_resumed_step(world: Path, run: Path) -> None:
    verl_run_state.export_and_prune(run, world / "base", [2, 4, 6, 8, 10])
    assert verl_run_state.prepare_resume(run).name == "global_step_2"
    assert {path.name for path in resumable_run.list_checkpoints(run)} == {"global_step_2"}
    assert not (run / verl_run_state.TRACKER).exists() and not (run / verl_run_state.LOG).exists()
    assert verl_run_state.read_log(run, 2) == [{"step": 1}, {"step": 2}]
    write_jsonl(run / verl_run_state.LOG, [{"step": 3, "again": True}])
    assert verl_run_state.read_log(run, 3)[2] == {"step": 3, "again": True}
    with pytest.raises(InputError, match="verl's log has no step 4"):
        verl_run_state.read_log(run, 4)


def test_run_killed_while_it_is_deleted_starts_from_scratch(run: Path, monkeypatch) -> None:
    """No part of it is taken for a complete run, and no part remains."""
    (run / "global_step_4" / resumable_run.COMPLETE_MARK).touch()
    monkeypatch.setattr(atomic, "remove", lambda path: None)
    atomic.remove_atomically(run)
    monkeypatch.undo()
    assert resumable_run.last_complete_checkpoint(run) is None
    (left,) = run.parent.glob(f".{run.name}.*.tmp")
    gone = left.with_name(re.sub(r"-\d+\.tmp", "-4194304.tmp", left.name))  # no process has it
    left.rename(gone)
    resumable_run.prepare_run_directory(run, {"seed": 0}, None)
    assert [path.name for path in run.iterdir()] == [resumable_run.RUN_FILE] and not gone.exists()
