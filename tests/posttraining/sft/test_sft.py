"""SFT through LLaMA-Factory's own parser, data pipeline and trainer."""

import math
import os
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from conftest import TRACES
from safetensors.torch import load_file
from sft_runs import SETTINGS, Run, arguments, on_two_cpus, train_sft
from tiny_models import add_extra_token, tiny_model, tiny_traces
from transformers import AutoModelForCausalLM, AutoTokenizer

from crosslens.data.traces import DATASET, sft_rows
from crosslens.io.errors import InputError
from crosslens.io.records import read_json, write_json
from crosslens.posttraining import backend_process, resumable_run
from crosslens.posttraining.checkpoint_schedule import exact_checkpoint_steps
from crosslens.posttraining.sft import entrypoint, llama_factory


@pytest.fixture(scope="session")
def models(base: Path, data: Path, tmp_path_factory) -> Path:
    """Return the outputs of a run."""
    models = tmp_path_factory.mktemp("study")
    train_sft.main(**arguments(base, data, models))
    return models


@pytest.fixture(scope="session")
def two_devices(base: Path, data: Path, tmp_path_factory) -> Path:
    """Return the outputs of a run on two devices, which two processes on the CPU stand for."""
    models = tmp_path_factory.mktemp("two-devices")
    train_sft.main(**arguments(base, data, models, on_two_cpus(use_cpu=True), gpus=2))
    return models


def settings_of(base: Path, data: Path, run: Path, **changes) -> dict:
    return llama_factory.backend_settings(
        base=base,
        data=data,
        run=run,
        settings=SETTINGS.model_copy(update=changes),
        seed=3,
        devices=1,
        cpu=True,
    )


def parsed(settings: dict):
    """Return LLaMA-Factory's arguments, tokenizer and template."""
    from llamafactory.data.template import get_template_and_fix_tokenizer
    from llamafactory.hparams import get_train_args
    from llamafactory.model import load_tokenizer

    arguments = get_train_args(dict(settings))
    module = load_tokenizer(arguments[0])
    template = get_template_and_fix_tokenizer(module["tokenizer"], arguments[1])
    return arguments, module, template


@pytest.mark.parametrize(
    ("steps", "saved"),
    [
        (5, [1, 2, 3, 4, 5]),
        (11, [3, 5, 7, 9, 11]),
        (13, [3, 6, 8, 11, 13]),
        (16, [4, 7, 10, 13, 16]),
        (320, [64, 128, 192, 256, 320]),
    ],
)
def test_exact_checkpoint_steps(steps: int, saved: list[int]) -> None:
    assert exact_checkpoint_steps(steps) == saved


def test_fewer_steps_than_checkpoints_are_an_error() -> None:
    with pytest.raises(InputError, match="only 4 steps"):
        exact_checkpoint_steps(4)


def test_llama_factory_reads_the_settings(base: Path, data: Path, tmp_path: Path) -> None:
    (model, dataset, training, tuning, _), _, _ = parsed(settings_of(base, data, tmp_path))
    assert (tuning.stage, tuning.finetuning_type) == ("sft", "full")
    assert model.model_name_or_path == str(base)
    assert (dataset.dataset, dataset.cutoff_len, dataset.template) == ([DATASET], 64, None)
    assert not dataset.train_on_prompt and dataset.preprocessing_num_workers is None
    assert (training.num_train_epochs, training.learning_rate) == (1.0, 1.0e-2)
    assert (training.per_device_train_batch_size, training.gradient_accumulation_steps) == (2, 2)
    assert (training.warmup_ratio, training.lr_scheduler_type) == (0.1, "cosine")
    assert (training.bf16, training.use_cpu, training.seed) == (False, True, 3)
    assert not training.save_only_model and training.resume_from_checkpoint is None


def test_unknown_options_are_refused_by_llama_factory(
    base: Path, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="not_a_key"):
        parsed(settings_of(base, data, tmp_path, llamafactory_options={"not_a_key": 1}))


def test_labels_are_the_trace_and_the_end_token(base: Path, data: Path, tmp_path: Path) -> None:
    from llamafactory.data import get_dataset

    (model, dataset, training, *_), module, template = parsed(settings_of(base, data, tmp_path))
    rows = get_dataset(template, model, dataset, training, stage="sft", **module)["train_dataset"]
    tokenizer = AutoTokenizer.from_pretrained(base)
    assert len(rows) == TRACES
    for row, expected in zip(rows, sft_rows(tiny_traces(TRACES)), strict=True):
        user, assistant = expected["messages"]
        prompt = tokenizer.apply_chat_template(
            [user], add_generation_prompt=True, return_dict=False
        )
        trace = tokenizer(assistant["content"])["input_ids"] + [tokenizer.eos_token_id]
        assert row["input_ids"] == prompt + trace
        assert row["labels"] == [-100] * len(prompt) + trace


def test_templates_agree(base: Path, data: Path, tmp_path: Path) -> None:
    _, module, template = parsed(settings_of(base, data, tmp_path))
    messages = sft_rows(tiny_traces(1))[0]["messages"]
    entrypoint.check_template(
        AutoTokenizer.from_pretrained(base), module["tokenizer"], template, messages
    )


def test_a_list_of_extra_special_tokens_is_read(data: Path, tmp_path: Path) -> None:
    """Transformers 4 ended in an ImportError about protobuf."""
    model = add_extra_token(tiny_model(tmp_path / "model"), "<extra>")
    _, module, template = parsed(settings_of(model, data, tmp_path / "run"))
    tokenizer, plain = module["tokenizer"], sft_rows(tiny_traces(1))[0]["messages"]
    (extra,) = tokenizer.encode("<extra>", add_special_tokens=False)
    entrypoint.check_template(AutoTokenizer.from_pretrained(model), tokenizer, template, plain)
    user, assistant = plain
    prompt, _ = template.encode_oneturn(
        tokenizer, [user | {"content": f"<extra> {user['content']}"}, assistant]
    )
    expected, _ = template.encode_oneturn(tokenizer, plain)
    assert prompt == [extra, *expected]


def test_different_template_is_refused(base: Path, data: Path, tmp_path: Path) -> None:
    _, module, template = parsed(
        settings_of(base, data, tmp_path, llamafactory_options={"template": "alpaca"})
    )
    messages = sft_rows(tiny_traces(1))[0]["messages"]
    original = AutoTokenizer.from_pretrained(base)
    with pytest.raises(InputError, match="differs from the tokenizer's chat template"):
        entrypoint.check_template(original, module["tokenizer"], template, messages)


def test_trace_without_end_token_is_refused(base: Path, data: Path, tmp_path: Path) -> None:
    _, module, template = parsed(settings_of(base, data, tmp_path))
    template.format_assistant.slots = ["{{content}}"]
    messages = sft_rows(tiny_traces(1))[0]["messages"]
    original = AutoTokenizer.from_pretrained(base)
    with pytest.raises(InputError, match="not with the end token"):
        entrypoint.check_template(original, module["tokenizer"], template, messages)


def test_different_effective_batch_is_refused() -> None:
    arguments = SimpleNamespace(
        world_size=2, per_device_train_batch_size=4, gradient_accumulation_steps=1
    )
    entrypoint.CheckBatchSize(8).on_train_begin(arguments, None, None)
    with pytest.raises(InputError, match="sft.batch_size: 16 differs from 2 device"):
        entrypoint.CheckBatchSize(16).on_train_begin(arguments, None, None)


def test_run_gives_five_plain_checkpoints(base: Path, models: Path) -> None:
    wanted = {file.name for file in base.iterdir()}
    weights = [load_file(base / "model.safetensors")["model.norm.weight"]]
    for k in range(1, 6):
        checkpoint = models / f"sft-{k}"
        assert {file.name for file in checkpoint.iterdir()} == wanted
        AutoModelForCausalLM.from_pretrained(checkpoint)
        weights.append(load_file(checkpoint / "model.safetensors")["model.norm.weight"])
    assert all(not a.equal(b) for a, b in zip(weights, weights[1:], strict=False))
    assert {path.name for path in models.iterdir()} == {
        "sft-loss.csv",
        "versions.json",
        *(f"sft-{k}" for k in range(1, 6)),
    }
    assert read_json(models / "versions.json")["llamafactory"] == version("llamafactory")


def test_checkpoints_keep_tokenizer_and_configuration(base: Path, models: Path) -> None:
    mine, theirs = (AutoTokenizer.from_pretrained(path) for path in (base, models / "sft-5"))
    assert mine.chat_template == theirs.chat_template
    assert mine.get_vocab() == theirs.get_vocab()
    assert (mine.eos_token, mine.pad_token) == (theirs.eos_token, theirs.pad_token)
    assert read_json(base / "config.json") == read_json(models / "sft-5" / "config.json")


def test_loss_is_logged_every_step_and_falls(models: Path) -> None:
    loss = pd.read_csv(models / "sft-loss.csv")
    assert list(loss.columns) == llama_factory.LOSS_COLUMNS
    assert list(loss["step"]) == list(range(1, math.ceil(TRACES / 4) + 1))
    assert loss["epoch"].iloc[-1] == pytest.approx(1.0)
    assert loss["loss"].iloc[-1] < 0.9 * loss["loss"].iloc[0]


def losses(models: Path) -> list[float]:
    return [*pd.read_csv(models / "sft-loss.csv")["loss"]]


def test_two_devices_take_the_same_steps(models: Path, two_devices: Path) -> None:
    # The last batch, of three traces, is filled up with one more on two devices.
    assert losses(two_devices)[:-1] == pytest.approx(losses(models)[:-1], rel=1e-3)


@pytest.mark.parametrize("stage", ["zero2", "zero3"])
def test_killed_run_under_deepspeed_resumes_to_the_same_weights(
    base: Path, data: Path, two_devices: Path, tmp_path: Path, stage: str
) -> None:
    """Two processes, killed and resumed, train as two without DeepSpeed, undisturbed."""
    killed = Run(base, data, tmp_path, "killed", stage)
    killed.wait_for(5)  # the second of five
    killed.kill(seconds=5)  # no process trains on, into the directory that the next run reads
    reached = resumable_run.last_complete_checkpoint(killed.run)
    assert resumable_run.checkpoint_step(reached) in (5, 7, 9)
    assert [*reached.glob("global_step*/*optim_states.pt")]
    again = Run(base, data, tmp_path, "again", stage)
    again.finish()
    assert f"resuming from {reached.name}" in again.log.read_text()
    assert losses(tmp_path) == pytest.approx(losses(two_devices), rel=1e-6)
    for k in range(1, 6):
        ours, theirs = (  # as they are read: ZeRO-2 stores the tied head, too
            AutoModelForCausalLM.from_pretrained(path / f"sft-{k}").state_dict()
            for path in (tmp_path, two_devices)
        )
        assert ours.keys() == theirs.keys()
        for name in ours:
            assert torch.allclose(ours[name], theirs[name], rtol=0, atol=1e-6), name


def test_non_finite_loss_is_an_error() -> None:
    history = [{"step": 1, "loss": 1.0}, {"step": 2, "loss": float("nan")}]
    with pytest.raises(InputError, match="sft.learning_rate: the loss is nan at step 2"):
        llama_factory.loss_table(history)


def test_too_few_traces_are_an_error_before_the_backend_starts(
    base: Path, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="SFT has only 3 steps, fewer than its 5 checkpoints"):
        llama_factory.train(
            base=base,
            data=data,
            run=tmp_path / "run",
            settings=SETTINGS.model_copy(update={"batch_size": 16}),
            seed=0,
            gpus=0,
        )
    assert not (tmp_path / "run").exists()


def test_backend_failure_reports_the_last_line() -> None:
    program = "print('working'); raise SystemExit('disk full')"
    with pytest.raises(InputError, match=r"^X failed \(exit status 1\): disk full$"):
        backend_process.run_backend("X", [sys.executable, "-c", program])


def test_backend_failure_reports_its_error_line() -> None:
    program = "print('Error: the key a.b is wrong'); print('bye'); raise SystemExit(3)"
    with pytest.raises(InputError, match=r"^X failed \(exit status 3\): the key a.b is wrong$"):
        backend_process.run_backend("X", [sys.executable, "-c", program])


TORCHRUN = """\
[rank1]: Traceback (most recent call last):
[rank1]: RuntimeError: CUDA out of memory
[rank0]: Traceback (most recent call last):
[rank0]: torch.distributed.DistBackendError: Connection closed by peer
Failures:
[1]:
rank      : 0 (local_rank: 0)
Root Cause (first observed failure):
[0]:
rank      : 1 (local_rank: 1)
{}
============================================================"""


@pytest.mark.parametrize(
    ("printed", "reason"),
    [
        (TORCHRUN, "RuntimeError: CUDA out of memory"),
        (TORCHRUN + "\nError: sft.batch_size: wrong", "sft.batch_size: wrong"),
        (
            TORCHRUN.replace("[rank1]", "[rank7]"),  # nothing from rank 1
            "Signal 9 (SIGKILL) received by PID 7",
        ),
    ],
)
def test_failure_of_several_processes_is_that_of_the_first(printed: str, reason: str) -> None:
    end = "traceback : Signal 9 (SIGKILL) received by PID 7"
    assert backend_process.failure_reason(printed.format(end).splitlines()) == reason


def test_media_packages_are_hidden_and_trl_loads() -> None:
    import importlib.util

    import torchaudio
    from trl import GRPOTrainer

    assert GRPOTrainer and not hasattr(torchaudio, "load")
    assert importlib.util.find_spec("torchvision") is None


@pytest.fixture
def dying(monkeypatch):
    """Return a function that makes the backend die as soon as its run holds a file."""

    def install(file: Path) -> None:
        def run(what: str, command: list[str], environment: dict[str, str]) -> None:
            with subprocess.Popen(command, env=os.environ | environment) as process:
                while not file.exists() and process.poll() is None:
                    time.sleep(0.001)
                process.kill()
            raise InputError(f"{what} was killed")

        monkeypatch.setattr(llama_factory.backend_process, "run_backend", run)

    return install


def test_killed_run_resumes_to_the_same_weights(
    base: Path, data: Path, models: Path, tmp_path: Path, dying, monkeypatch
) -> None:
    run, again = tmp_path / ".sft-run", backend_process.run_backend
    given = arguments(base, data, tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    dying(run / "checkpoint-5" / resumable_run.COMPLETE_MARK)  # the second of five
    with pytest.raises(InputError, match="was killed"):
        train_sft.main(**given)
    reached = resumable_run.last_complete_checkpoint(run)
    assert resumable_run.checkpoint_step(reached) in (5, 7, 9)
    assert resumable_run.matching_paths(reached, resumable_run.STATE_FILES)
    for key, value in (("seed", 1), ("code", ["edited"])):
        expected = f"contains {reached.name} of a run with different {key}. Restore"
        with pytest.raises(InputError, match=expected):
            train_sft.main(**given | {key: value})
    calls = []
    monkeypatch.setattr(
        llama_factory.backend_process,
        "run_backend",
        lambda *call: (calls.append(call), again(*call)),
    )
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    train_sft.main(**given)
    assert len(calls) == 1 and not run.exists()
    assert calls[0][2]["OMP_NUM_THREADS"] == "1"  # sums would round differently
    ours, theirs = (pd.read_csv(path / "sft-loss.csv") for path in (tmp_path, models))
    assert list(ours["step"]) == list(range(1, 12))
    assert list(ours["loss"]) == pytest.approx(list(theirs["loss"]))
    for k in range(1, 6):
        one, two = (load_file(p / f"sft-{k}" / "model.safetensors") for p in (tmp_path, models))
        assert all(torch.allclose(one[name], two[name], atol=1e-6) for name in two)


def test_run_without_checkpoint_is_replaced(tmp_path: Path) -> None:
    resumable_run.prepare_run_directory(tmp_path / "run", {"seed": 0}, None)
    resumable_run.prepare_run_directory(tmp_path / "run", {"seed": 1}, None)
    assert read_json(tmp_path / "run" / resumable_run.RUN_FILE)["seed"] == 1


def test_only_the_last_training_state_is_kept(tmp_path: Path) -> None:
    for step in (9, 18):
        (tmp_path / f"checkpoint-{step}" / f"global_step{step}").mkdir(parents=True)
        for name in ("model.safetensors", "optimizer.pt", "rng_state_1.pth", "trainer_state.json"):
            (tmp_path / f"checkpoint-{step}" / name).touch()
        resumable_run.mark_complete_and_prune(tmp_path / f"checkpoint-{step}")
    left = [
        {path.name for path in folder.iterdir()}
        for folder in resumable_run.list_checkpoints(tmp_path)
    ]
    assert left[0] == {"model.safetensors", "trainer_state.json", "complete"}
    assert left[1] >= {"global_step18", "optimizer.pt", "rng_state_1.pth"}
    (tmp_path / "checkpoint-27").mkdir()  # incomplete after a kill
    assert resumable_run.last_complete_checkpoint(tmp_path) == tmp_path / "checkpoint-18"


def test_other_weights_make_another_run(tmp_path: Path) -> None:
    """The identity depends on the content of the weights, not only on names and sizes."""
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "data.json").write_text("[]")
    kinds = []
    for weights in (b"one", b"two", b"one"):
        (tmp_path / "model.safetensors").write_bytes(weights)
        given = {"model": tmp_path, "data": tmp_path / "data.json", "settings": SETTINGS}
        kinds.append(resumable_run.run_identity(**given, seed=0, devices=1))
    assert kinds[0] == kinds[2] != kinds[1]
    newer = {"code": ["a"], "versions": {"torch": "3"}}
    found = resumable_run.run_identity(**given, seed=0, devices=1, software=newer)
    assert found == kinds[0] | newer


def test_deepspeed_imports_on_a_gpu_node_without_nvcc(tmp_path: Path) -> None:
    """As there, torch sees CUDA and no compiler of it is installed."""
    program = "import torch; torch.cuda.is_available = lambda: True; import deepspeed"
    nowhere = {"CUDA_HOME": str(tmp_path), "CUDA_PATH": str(tmp_path), "DS_ACCELERATOR": "cuda"}
    variables = {key: os.environ[key] for key in ("PATH", "LD_LIBRARY_PATH") if key in os.environ}

    def imported(**more: str) -> subprocess.CompletedProcess[str]:
        command, environment = [sys.executable, "-c", program], variables | nowhere | more
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    assert "MissingCUDAException" in imported().stderr
    done = imported(**llama_factory.ENVIRONMENT)
    assert done.returncode == 0, done.stderr


def test_checkpoints_have_the_dtype_of_the_base_model(tmp_path: Path) -> None:
    """LLaMA-Factory saves float32 where it trains in float32."""
    base, run = tiny_model(tmp_path / "base"), tmp_path / "run"
    config = read_json(base / "config.json")
    write_json(base / "config.json", config | {"dtype": "bfloat16"})
    for step in range(1, 6):
        saved = tiny_model(run / f"checkpoint-{step}", seed=step)
        (saved / resumable_run.COMPLETE_MARK).touch()
    write_json(saved / "trainer_state.json", {"log_history": [{"loss": 1.0}]})
    weights = load_file(saved / "model.safetensors")
    targets = [tmp_path / f"sft-{k}" for k in range(1, 6)]
    llama_factory.collect_checkpoints(run, base, targets, tmp_path / "loss.csv")
    assert not run.exists()
    for name, weight in load_file(targets[-1] / "model.safetensors").items():
        assert weight.equal(weights[name].bfloat16())
    loaded = AutoModelForCausalLM.from_pretrained(targets[-1], dtype="auto")
    assert loaded.dtype == torch.bfloat16
