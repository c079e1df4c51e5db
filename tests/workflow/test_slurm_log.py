"""What a run on a cluster says of jobs that failed, from its log."""

from pathlib import Path

from crosslens.workflow.slurm import comment, failures, is_of_study

# As Snakemake 9.27.1 and its SLURM executor 2.8.0 write it.
ERROR = """\
[Wed Nov 25 07:36:20 2026]
Error in rule {rule}:
    message: SLURM-job '4' failed, SLURM status is: '{state}'. Detailed failure reason unavailable
    jobid: {id}
    input: in-0, in-1
    output: {rule}-0, {rule}-1
    log: {log}/logs/slurm/rule_{rule}/4.log (check log file(s) for error details)
    shell:
        exit 3
        (command exited with non-zero exit code)
    external_jobid: 4
Logfile failing.log:
    Error in rule {rule}:
        message: None
        jobid: 0
"""
INSIDE = """\
Error in rule share:
    message: None
    jobid: 0
    output: share-0
"""
REFUSED = """\
Error in rule whole:
    message: SLURM sbatch failed. The error message was 'sbatch: error: not available'.
    sbatch call:
        sbatch --parsable

For further error details see the cluster/cloud log and the log files of the involved rule(s).
    jobid: 9
    output: whole
"""


def error(rule: str, id_: int, state: str, log: str = "") -> str:
    """Return what is written of one failed attempt."""
    return ERROR.format(rule=rule, id=id_, state=state, log=log) + INSIDE


def test_each_job_has_a_line_with_its_last_state_and_words(tmp_path: Path) -> None:
    log = tmp_path / "own.log"
    log.write_text("step 1\nError: no such optimizer: adamm\n\n")
    text = error("train", 1, "OUT_OF_MEMORY", f"{log}, ") + error("train", 1, "FAILED", f"{log}, ")
    assert failures(text + error("share", 2, "NODE_FAIL") + REFUSED) == [
        f"train train-0: FAILED: Error: no such optimizer: adamm ({log})",
        "share share-0: NODE_FAIL (/logs/slurm/rule_share/4.log)",
        "whole whole: SLURM sbatch failed. The error message was 'sbatch: error: not available'.",
    ]


def test_a_job_that_a_further_attempt_finished_has_none() -> None:
    text = error("train", 11, "OUT_OF_MEMORY") + error("share", 1, "TIMEOUT")
    (line,) = failures(text + "Finished jobid: 11 (Rule: train)\n")
    assert line.startswith("share share-0: TIMEOUT")


def test_jobs_are_known_by_rule_and_wildcards() -> None:
    assert comment("whole", []) == "rule_whole"
    assert comment("train", ["tiny", "own/base"]) == "rule_train_wildcards_tiny_own_base"


def test_a_run_is_known_by_the_study_whose_files_it_made(tmp_path: Path) -> None:
    """A run of which nothing is known may be of this study."""
    made = "rule all:\n    output: results/{}/models/f/sft-1\n    jobid: 1\n"
    for name, study in {"1": "mini", "2": "my.study"}.items():
        text = f"SLURM run ID: uuid-{name}\n{made.format(study)}"
        (tmp_path / f"{name}.snakemake.log").write_text(text)
    (tmp_path / "3.snakemake.log").write_text("SLURM run ID: uuid-3\n")
    of_mini = {run: is_of_study(f"uuid-{run}", "mini", tmp_path) for run in "1234"}
    assert of_mini == {"1": True, "2": False, "3": True, "4": True}
    assert is_of_study("uuid-2", "my.study", tmp_path)
