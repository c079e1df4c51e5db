"""Each check of `snakemake doctor`: what it finds on a sound machine, and what on a faulty one."""

import getpass
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from local_hub import COMMIT, make_repositories, serve

from crosslens.config.study import StudyConfig
from crosslens.io.resumable_directory import resumable_directory
from crosslens.workflow.doctor import cluster, gpus, hub, interpreters, machine
from crosslens.workflow.doctor.finding import count_errors, error, format_findings, ok, warning
from crosslens.workflow.doctor.results_folder import clock, file_locks, results_folder
from crosslens.workflow.doctor.unfinished import unfinished

ROOT = Path(__file__).resolve().parents[2]
PAPER = StudyConfig.model_validate(yaml.safe_load((ROOT / "config.yaml").read_text()))
MINI = StudyConfig.model_validate(yaml.safe_load((ROOT / "mini.yaml").read_text()))
REQUESTS = {"train_sft": {"gpu": 8, "mem_mb": 1000, "runtime": 60}, "intervene": {"gpu": 1}}
PROBED = {
    "python": "3.11.7",
    "headers": True,
    "torch": "2.13.0+cu130",
    "cuda": "13.0",
    "compiled_for": ["sm_80", "sm_90", "compute_90"],
    "gpus": [{"name": "H100", "capability": "sm_90", "memory": 80 * 10**9}] * 8,
    "warning": "",
}


def test_the_page_has_a_line_for_each_check_and_counts_them() -> None:
    findings = [ok("disk", "enough"), warning("nvcc", "none"), error("GPUs", "none. Get one.")]
    assert format_findings(findings).splitlines() == [
        "ok       disk                          enough",
        "warning  nvcc                          none",
        "error    GPUs                          none. Get one.",
        "",
        "3 checks: 1 ok, 1 warning, 1 error",
    ]
    assert count_errors(findings) == 1


def test_without_a_compiler(monkeypatch, tmp_path) -> None:
    monkeypatch.delenv("CC", raising=False)
    assert machine.c_compiler(gpus=True).status == ("ok" if shutil.which("cc") else "error")
    monkeypatch.setenv("PATH", str(tmp_path))
    found = machine.c_compiler(gpus=True)
    assert found.status == "error" and "none of cc, gcc, clang is on PATH" in found.text
    assert machine.c_compiler(gpus=False).status == "ok"
    compiler = tmp_path / "my-compiler"
    compiler.touch(mode=0o755)
    monkeypatch.setenv("CC", compiler.name)
    assert machine.c_compiler(gpus=True) == ("ok", "C compiler", str(compiler))


def test_cudas_compiler_is_never_required(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    assert machine.nvcc(gpus=True).status == "warning"
    assert machine.nvcc(gpus=False).status == "ok"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "nvcc").touch(mode=0o755)
    assert machine.nvcc(gpus=True).status == "ok"


def test_the_folder_of_temporary_files_is_there(monkeypatch, tmp_path) -> None:
    """Its path may be long: Ray's sockets then go to /tmp."""
    folder = tmp_path / ("x" * 30)
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    found = machine.temporary_folder()
    assert found.status == "ok" and str(folder) in found.text
    monkeypatch.setenv("TMPDIR", str(folder / "missing"))
    assert "missing or not writable" in machine.temporary_folder().text


def test_memory_is_compared_with_the_largest_request() -> None:
    here = machine.memory_limit() / 1e6
    requests = {"small": {"mem_mb": 1}, "large": {"mem_mb": int(here / 2)}}
    assert machine.memory(requests, cluster=False).status == "ok"
    requests["large"]["mem_mb"] = int(here * 2)
    found = machine.memory(requests, cluster=False)
    assert found.status == "error" and "resources.large.mem_mb" in found.text
    assert machine.memory(requests, cluster=True).status == "ok"


def test_disk_is_compared_with_the_plan(tmp_path, monkeypatch) -> None:
    free = shutil.disk_usage(tmp_path)._replace(free=10**12)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    assert machine.disk(MINI, tmp_path / "results" / "mini").status == "ok"
    found = machine.disk(PAPER, tmp_path / "results" / "paper")
    assert found.status == "error" and "1,000 GB free" in found.text
    family = {"x": next(iter(PAPER.families.values())).model_copy(update={"base": "org/name"})}
    found = machine.disk(PAPER.model_copy(update={"families": family}), tmp_path)
    assert found.status == "warning" and "the size of org/name is not known" in found.text


def test_shared_memory(tmp_path, monkeypatch) -> None:
    assert machine.shared_memory(gpus=False, folder=tmp_path / "shm").status == "error"
    free = shutil.disk_usage(tmp_path)._replace(free=64 * 2**20)  # docker's
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    assert machine.shared_memory(gpus=False, folder=tmp_path).status == "warning"
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free._replace(free=10**9))
    assert machine.shared_memory(gpus=False, folder=tmp_path).status == "ok"
    assert machine.shared_memory(gpus=True, folder=tmp_path).status == "warning"


def test_every_python_is_accepted(monkeypatch) -> None:
    """conda's has no os.pidfd_open: jobs do without."""
    monkeypatch.delattr(os, "pidfd_open")
    found = machine.python()
    assert found.status == "ok" and platform.python_version() in found.text


def test_the_file_system_of_the_results(tmp_path) -> None:
    found = {f.subject: f.status for f in results_folder(tmp_path / "results" / "x")}
    assert found == dict.fromkeys(["file locks", "renames", "hard links", "clock"], "ok")
    assert not list((tmp_path / "results" / "x").iterdir())
    (tmp_path / "file").touch()
    (broken,) = results_folder(tmp_path / "file" / "x")
    assert broken.status == "error" and "Not a directory" in broken.text


def test_a_held_lock_and_a_wrong_clock_are_noticed(tmp_path, monkeypatch) -> None:
    hold = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX)"
    hold += "; print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", hold, str(tmp_path / "lock")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout.readline() == b"held\n"
        assert file_locks(tmp_path).status == "error"
        monkeypatch.setenv("HDF5_USE_FILE_LOCKING", "FALSE")  # what the error advises
        assert file_locks(tmp_path).status == "ok"
        process.stdin.close()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 60)
    assert clock(tmp_path).status == "warning"


def test_what_killed_jobs_left_and_no_job_resumes_is_listed(tmp_path) -> None:
    """Not what a job of this configuration resumes; and the command given deletes the rest."""
    results = tmp_path / "my results"
    for name in ("tiny/rl/shard-0", "tiny/rl/shard-99", "old/rl/shard-0"):
        shard = results / "activations" / name
        with pytest.raises(KeyboardInterrupt), resumable_directory(shard, {}) as folder:
            (folder / "base.h5").write_bytes(bytes(10**6))
            raise KeyboardInterrupt
    for name in ("tiny/.sft-run", "tiny/.grpo-verl", "tiny/.grpo-trl", "old/.sft-run"):
        (results / "models" / name).mkdir(parents=True)
    found = unfinished(MINI, results)
    assert [(f.status, f.subject) for f in found] == [
        ("warning", "activations/old/rl"),
        ("warning", "activations/tiny/rl"),
        ("warning", "models/old"),
        ("warning", "models/tiny"),
    ]
    assert "1 unfinished, 0.0 GB" in found[1].text and ".shard-0.unfinished" not in found[1].text
    for finding in found:
        subprocess.run(shlex.split(finding.text.partition(" runs: ")[2]), check=True)
    assert [f.status for f in unfinished(MINI, results)] == ["ok"]
    kept = {"activations/tiny/rl/.shard-0.unfinished", "models/tiny/.sft-run"}
    kept.add(f"models/tiny/.grpo-{MINI.grpo.engine}")
    assert all((results / name).is_dir() for name in kept)


def test_gpus_of_a_machine_without_any(monkeypatch, tmp_path) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))  # no nvidia-smi
    assert gpus.driver_version() is None
    found = gpus.gpus(REQUESTS, None, cluster=False)
    assert found.status == "error" and "0 GPUs, driver none; train_sft requests 8" in found.text
    assert gpus.gpus(REQUESTS, None, cluster=True).status == "warning"
    assert gpus.gpus({"train_sft": {"gpu": 0}}, None, cluster=False).status == "ok"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3,4,5,6,7")
    assert gpus.gpus(REQUESTS, "580.65", cluster=False).status == "ok"


@pytest.mark.parametrize(
    ("changes", "needed", "driver", "status", "text"),
    [
        ({}, 8, "580.65", "ok", "sees 8 GPUs (H100)"),
        ({"cuda": None, "torch": "2.13.0+cpu"}, 0, None, "ok", "no GPU is requested"),
        ({"cuda": None, "torch": "2.13.0+cpu"}, 1, "580.65", "error", "is a CPU build"),
        ({"gpus": []}, 1, "570.10", "error", "CUDA 13.0, and it finds no GPU with driver 570.10"),
        ({"gpus": []}, 1, None, "error", "no NVIDIA driver"),
        ({"gpus": PROBED["gpus"][:2]}, 8, "580.65", "error", "sees 2 GPUs, and a job requests 8"),
        ({"compiled_for": ["sm_100"]}, 8, "580.65", "error", "no kernels for sm_90"),
        ({"compiled_for": ["sm_80"]}, 8, "580.65", "error", "no kernels for sm_90"),
        ({"headers": False}, 8, "580.65", "error", "Python.h is missing"),
        ({"error": "environment x is missing. Run ..."}, 0, None, "error", "is missing. Run"),
    ],
)
def test_what_torch_sees(changes, needed, driver, status, text) -> None:
    found = interpreters.environment("x", PROBED | changes, needed, driver, cluster=False)
    assert found.status == status and text in found.text


@pytest.mark.slow
def test_this_environments_own_torch_answers() -> None:
    found = interpreters.run([sys.executable, "-m", interpreters.PROBE])
    assert found["executable"] == sys.executable and found["torch"][0].isdigit()


def test_an_environment_that_does_not_start() -> None:
    fails = [sys.executable, "-c", "raise SystemExit('no module')"]
    assert interpreters.run(fails) == {"error": "no module"}
    assert "conda-create-envs-only" in interpreters.run(["/nowhere/bin/python"])["error"]


def test_the_environments_of_the_paper() -> None:
    names = {"analysis": "analysis-cuda", "traces": "vllm-cuda", "sft": "sft", "grpo": "grpo"}
    used = interpreters.rules_by_environment(PAPER, names | {"answers": "vllm-cuda"})
    assert list(used) == ["analysis-cuda", "vllm-cuda", "sft", "grpo"]
    assert used["vllm-cuda"] == ("generate_traces", "generate_answers")
    other = interpreters.rules_by_environment(PAPER, names | {"answers": "vllm"})
    assert other["vllm"] == ("generate_answers",)
    assert interpreters.most_gpus(used["sft"], REQUESTS) == 8
    assert interpreters.most_gpus(used["analysis-cuda"], REQUESTS) == 1


def test_nodes_and_times_of_slurm() -> None:
    assert cluster.parse("1-02:00:00|128+|2000000|gpu:h100:8(S:0-1),lscratch:1") == (
        *(26 * 60, 128, 2_000_000, 8),
    )
    assert cluster.parse("30:00|4|1000|(null)") == (30, 4, 1000, 0)
    assert cluster.parse("infinite|4|1000|gpu:2") == (cluster.UNLIMITED, 4, 1000, 2)


def test_rules_that_no_node_can_run() -> None:
    defaults = {"cpus_per_gpu": 12, "mem_mb": 2000, "runtime": 30}
    node = cluster.Nodes(minutes=1440, cpus=96, mem_mb=1000, gpus=8)
    assert list(cluster.unfit({"train_sft": REQUESTS["train_sft"]}, defaults, [node])) == []
    requests = {"train_sft": {"gpu": 8, "mem_mb": 500, "runtime": 2880}, "x": {"mem_mb": 1}}
    (found,) = cluster.unfit(requests, defaults, [node])
    assert "minutes 2880 (largest 1440)" in found.text and "mem_mb" not in found.text
    small = [node._replace(cpus=48), node._replace(gpus=4)]  # each lacks something else
    (found,) = cluster.unfit({"train_sft": REQUESTS["train_sft"]}, defaults, small)
    assert found.subject == "SLURM train_sft" and "no node has all of" in found.text


@pytest.mark.parametrize(
    ("limits", "least"),
    [("50\n", 50), ("100\n20\n\n", 20), ("64\n", None), ("\n", None), ("", None)],
    ids=["lower", "one of two lower", "as many", "none", "no association"],
)
def test_the_jobs_of_the_profile_and_a_users_limit(monkeypatch, tmp_path, limits, least) -> None:
    """SLURM's programs print what they would on a cluster of eight GPUs a node."""
    printed = {"sinfo": "1-00:00:00|128|2000000|gpu:h100:8\n", "sacctmgr": limits}
    for name, text in printed.items():
        (tmp_path / f"{name}.txt").write_text(text)
        lines = ("#!/bin/sh", f'echo "$@" > {tmp_path}/{name}.asked', f"cat {tmp_path}/{name}.txt")
        (tmp_path / name).write_text("\n".join(lines))
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    fits, *found = cluster.slurm_limits(REQUESTS, ROOT)
    assert fits.status == "ok"
    asked = (tmp_path / "sacctmgr.asked").read_text().split()
    assert {f"user={getpass.getuser()}", "format=MaxSubmitJobs"} <= {*asked}
    told = f"the profile submits 64 jobs at once, but your limit is {least}. Lower jobs in "
    assert [(f.status, f.text) for f in found] == (
        [("warning", f"{told}{cluster.PROFILE}.")] if least else []
    )


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return where a hub answers."""
    with serve(make_repositories(tmp_path_factory.mktemp("hub"))) as found:
        yield found


def item(kind: str, name: str, **changes: Any) -> dict:
    return hub.item(f"{kind} {name}", kind, name, COMMIT) | changes


ITEMS = [item("model", "org/model"), item("dataset", "org/data", files="data/*.parquet")]


def asked(items: list[dict], cache: Path, endpoint: str, **variables: str) -> dict[str, tuple]:
    """Return status and text of the hub's findings by their subject."""
    command = ["env", "-u", "HF_HUB_OFFLINE", f"HF_ENDPOINT={endpoint}", f"HF_HOME={cache}"]
    command += [f"{name}={value}" for name, value in variables.items()]
    command += [f"PYTHONPATH={ROOT}", sys.executable, "-m", hub.PROBE]
    found = interpreters.run(command, json.dumps(items))
    return {f.subject: (f.status, f.text) for f in hub.judge(found)}


def test_what_the_hub_has_and_what_is_missing_here(tmp_path, address) -> None:
    wrong = [
        item("model", "org/gated"),  # which does not even say what it holds
        item("model", "org/licensed"),
        item("model", "org/model", key="revision", revision="9" * 40),
    ]
    found = asked([*ITEMS, *wrong], tmp_path, address, HF_TOKEN="")
    assert found["hub"][0] == "ok"
    assert found["model org/model"] == ("ok", "org/model: 3 of 3 files to download, 0.0 GB")
    assert found["dataset org/data"] == ("ok", "org/data: 2 of 2 files to download, 0.0 GB")
    for name in ("org/gated", "org/licensed"):
        assert found[f"model {name}"][0] == "error"
        assert "licence is not accepted" in found[f"model {name}"][1]
    assert found["revision"] == ("error", "org/model: the hub has no such revision. Correct it.")


def test_a_chat_template_is_looked_for_where_one_is_needed(tmp_path, monkeypatch) -> None:
    """Before the weights are downloaded, and in the cache."""
    repositories = make_repositories(tmp_path / "hub")
    settings = repositories / "models" / "org" / "model" / "tokenizer_config.json"
    needing = item("model", "org/model", chat_template=True)
    with serve(repositories) as here:
        for template, status in ((None, "error"), ("{{ messages }}", "ok")):
            settings.write_text(json.dumps({"chat_template": template}))
            cache = tmp_path / status
            found = asked([needing], cache, here)["model org/model"]
            assert found[0] == status
            assert ("org/model has no chat template" in found[1]) == (status == "error")
            assert asked([item("model", "org/model")], cache, here)["model org/model"][0] == "ok"
            monkeypatch.setenv("HF_HOME", str(cache))
            monkeypatch.setenv("HF_ENDPOINT", here)
            command = f"from crosslens.data.hub import download as d; d('org/model', {COMMIT!r}, "
            subprocess.run([sys.executable, "-c", f"{command}'model', None)"], check=True)
            offline = asked([needing], cache, here, HF_HUB_OFFLINE="1")["model org/model"]
            assert offline[0] == status
    needed = {entry["key"] for entry in hub.hub_items(PAPER) if entry.get("chat_template")}
    assert needed == {*(f"families.{family}.base" for family in PAPER.families), "traces.teacher"}


@pytest.mark.slow
def test_without_network_the_cache_counts(tmp_path, address) -> None:
    download = f"from crosslens.data.hub import model_directory as m; m('org/model', {COMMIT!r})"
    variables = {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", download], env=os.environ | variables, check=True)
    nowhere = "http://127.0.0.1:9"
    for variables in ({}, {"HF_HUB_OFFLINE": "1"}):
        found = asked(ITEMS, tmp_path, nowhere, **variables)
        assert found["hub"][0] == "warning"
        assert ("offline" if variables else "does not answer") in found["hub"][1]
        assert found["model org/model"] == ("ok", "org/model is in the cache")
        assert found["dataset org/data"][0] == "error"
        assert "Download it on a machine with network" in found["dataset org/data"][1]
    found = asked(ITEMS[:1], tmp_path, address)
    assert found["model org/model"] == ("ok", "org/model is complete in the cache (3 files)")


def test_what_the_paper_reads_from_the_hub() -> None:
    keys = {entry["key"]: entry["name"] for entry in hub.hub_items(PAPER)}
    assert keys["families.llama-3.1-8b.base"] == "meta-llama/Llama-3.1-8B-Instruct"
    assert keys["traces.teacher"] == "Qwen/Qwen3-32B"
    assert {"problems.sources.math", "problems.exclude.aime24", "corpus.sources.general"} <= {*keys}
    assert keys["evaluation.files.piqa"] == "baber/piqa"
    assert hub.hub_items(MINI) == []


def test_loading_scripts() -> None:
    from crosslens.workflow.doctor.hub_probe import script_only

    assert script_only("EleutherAI/logiqa", ["README.md", "logiqa.py"])
    assert not script_only("baber/piqa", ["piqa/test.parquet"])
    answer = {"name": "EleutherAI/logiqa", "status": "found", "script": True}
    assert hub.item_finding("evaluation.files.logiqa", answer, "").status == "error"
