"""`snakemake doctor` prints one page for a study and fails where a check finds an error."""

import re
import shutil
import subprocess
from pathlib import Path

from conftest import ROOT, TINY, Study

SUMMARY = re.compile(r"^(\d+) checks: (\d+) ok, (\d+) warning, (\d+) error$", re.MULTILINE)
LINE = re.compile(r"^(ok|warning|error) +(\S+(?: \S+)*)  +(\S.*)$", re.MULTILINE)
NEEDED = ("bash", "cat", "dirname", "env", "sh", "which")  # of Snakemake and of envs/module.bash


def examined(done: subprocess.CompletedProcess) -> dict[str, tuple[str, str]]:
    """Return status and text of each line of the page, by its subject."""
    found = {subject: (status, text) for status, subject, text in LINE.findall(done.stdout)}
    counts = SUMMARY.search(done.stdout)
    assert counts and int(counts[1]) == len(found), done.stdout
    return found


def with_given_models(folder: Path, *paradigms: str) -> Study:
    """Return a study of which some paradigms come as models."""
    study = Study(folder, TINY)
    tuned = {paradigm: [str(study.model(paradigm))] for paradigm in paradigms}
    study.config["families"]["tiny"] = {"label": "Tiny", "base": str(study.model("base"))} | tuned
    return study


def test_a_bare_machine(monkeypatch, tmp_path) -> None:
    """Neither GPU nor compiler for GRPO, which needs them, no TMPDIR, and no network."""
    study = with_given_models(tmp_path, "sft")
    study.change("families.tiny.base", "org/base")
    study.change("families.tiny.revision", "main")
    study.change("grpo.device", "cuda")
    study.change("resources.train_grpo", {"gpu": 1})
    study.change("evaluation.files.piqa", {"dataset": "baber/piqa", "revision": "main"})
    bare, temporary = tmp_path / "bin", tmp_path / "missing"
    bare.mkdir()
    for name in NEEDED:
        (bare / name).symlink_to(shutil.which(name))
    for name in ("CC", "CUDA_HOME", "CUDA_VISIBLE_DEVICES", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "PATH": bare,
        "TMPDIR": temporary,
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HOME": tmp_path / "cache",
    }.items():
        monkeypatch.setenv(name, str(value))
    done = study.snakemake("--cores", "1", "doctor")
    assert done.returncode == 1, done.stdout
    found = examined(done)
    errors = {
        "GPUs": "train_grpo requests 1",
        "C compiler": "Triton needs one",
        "TMPDIR": "missing or not writable",
        "families.tiny.base": "org/base: not complete in the cache",
        "evaluation.files.piqa": "baber/piqa: not complete in the cache",
    }
    for subject, text in errors.items():
        assert found[subject][0] == "error" and text in found[subject][1]
    assert found["environment analysis"][0] == "ok"
    assert found["hub"][0] == "warning" and "does not answer" in found["hub"][1]
    if not (ROOT / ".venvs" / "grpo-cuda").is_dir():
        missing = found["environment grpo-cuda"]
        assert missing[0] == "error" and "run `make environments ENVS=grpo-cuda`" in missing[1]
    assert "doctor: errors found:" in done.stdout


def test_a_sound_machine(tmp_path) -> None:
    """Models and files that exist, and no GPU requested; nothing is left in the results."""
    study = with_given_models(tmp_path, "sft", "rl")
    del study.config["problems"], study.config["traces"]
    done = study.snakemake("--cores", "1", "doctor")
    assert done.returncode == 0, done.stdout
    found = examined(done)
    assert found["disk"][0] == "warning" and "has no 'hidden_size'" in found["disk"][1]
    assert {found[name][0] for name in ("file locks", "renames", "Python", "hub")} == {"ok"}
    assert [name for name in found if name.startswith("environment")] == ["environment analysis"]
    assert {path.name for path in (tmp_path / "results" / "tiny").iterdir()} <= {"logs"}
