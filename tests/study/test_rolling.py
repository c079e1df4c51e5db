"""However jobs are scheduled, a model has at most `shards_on_disk` shards and a held-out one."""

import random
import re
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import MINI, Study
from given import MODELS, family, given_models, stand_ins

SHARDS, WINDOW, SETS = 7, 2, 4
SEEDS = 1 + MINI["crosscoder"]["extra_seeds"]  # of the last two pairs and of the trio
FINAL = 2 * SEEDS + 1  # with an L1 penalty, with BatchTopK; and rows of random order
CROSSCODERS = 8 + 3 * FINAL + 1  # and the pair of matched drift
# One group for each kind of evidence, and for each other seed of BatchTopK.
GROUPS = 3 + 2 * MINI["crosscoder"]["extra_seeds"] + 3
READERS = {
    "base": GROUPS,
    "sft": GROUPS - 2,
    "rl": GROUPS - 2,
    "sft-matched": 1,
}  # all but `rl` or `sft`, `matched`
DIRECTORIES = (
    "world/tokenizer",
    "/base",
    "/sft-5",
    "/rl-5",
    "/sft-matched",
    *(f"/states-{shard}" for shard in range(SHARDS)),
)  # outputs that are no files
SHARD = re.compile(r"activations/\w+/(?P<models>[\w-]+)/shard-(?P<shard>\d+|heldout)$")
STATES = re.compile(r"crosscoders/tiny/groups/[\w-]+/states-\d+$")


class Job(NamedTuple):
    """A job of the graph and the files between it and others."""

    rule: str
    inputs: frozenset[str]
    outputs: frozenset[str]


def graph(output: str) -> list[Job]:
    """Return the jobs that a dry run prints, each after those it needs."""
    found = []
    for block in re.split(r"^(?:local)?rule ", output, flags=re.MULTILINE)[1:]:
        files = {
            key: frozenset(line[1].split(", ")) if line else frozenset()
            for key in ("input", "output")
            for line in [re.search(rf"^    {key}: (.+)$", block, re.MULTILINE)]
        }
        found.append(Job(block.partition(":")[0], files["input"], files["output"]))
    return found


@pytest.fixture(scope="module")
def rolling(tmp_path_factory: pytest.TempPathFactory) -> list[Job]:
    """Return the jobs of a study of seven shards."""
    study = Study(tmp_path_factory.mktemp("study"), MINI)
    study.change("activations.shards", SHARDS)
    study.change("activations.shards_on_disk", WINDOW)
    done = study.snakemake("--dry-run", "--cores", "2")
    assert done.returncode == 0, done.stdout
    return graph(done.stdout)


def ancestors(jobs: list[Job]) -> list[set[int]]:
    """For each job, all that are finished before it starts."""
    maker = {file: i for i, job in enumerate(jobs) for file in job.outputs}
    found: list[set[int]] = [set() for _ in jobs]
    for i, job in enumerate(jobs):  # in the order of a dry run, needed ones first
        for parent in {maker[file] for file in job.inputs if file in maker}:
            assert parent < i
            found[i] |= {parent} | found[parent]
    return found


def test_a_shard_waits_for_all_readers_of_the_one_a_window_before(rolling: list[Job]) -> None:
    before = ancestors(rolling)
    makers = {
        (match["models"], match["shard"]): i
        for i, job in enumerate(rolling)
        for file in job.outputs
        if (match := SHARD.search(file))
    }
    assert len(makers) == SETS * (SHARDS + 1)
    for (models, shard), i in makers.items():
        if shard == "heldout" or int(shard) < WINDOW:
            continue
        old = f"activations/tiny/{models}/shard-{int(shard) - WINDOW}"
        readers = {j for j, job in enumerate(rolling) if any(f.endswith(old) for f in job.inputs)}
        assert len(readers) == READERS[models]
        assert readers <= before[i]


@pytest.mark.parametrize("seed", range(5))
def test_no_order_of_jobs_keeps_more(rolling: list[Job], seed: int) -> None:
    """Run the jobs in some allowed order, extracting whenever it may, and look at the disk."""
    draw = random.Random(seed)
    before, waiting, done = ancestors(rolling), set(range(len(rolling))), set()
    readers = {
        file: {i for i, job in enumerate(rolling) if file in job.inputs} for file in temps(rolling)
    }
    there: set[str] = set()
    most = {"shards": 0, "heldout": 0, "states": 0}
    while waiting:
        ready = sorted(i for i in waiting if before[i] <= done)
        eager = [i for i in ready if rolling[i].rule == "extract_activations"]
        job = draw.choice(eager or ready)
        there |= rolling[job].outputs & readers.keys()
        found = [match["shard"] for file in there if (match := SHARD.search(file))]
        counts = {
            "shards": len(found) - found.count("heldout"),
            "heldout": found.count("heldout"),
            "states": len(there) - len(found),
        }
        most = {key: max(most[key], count) for key, count in counts.items()}
        waiting.remove(job)
        done.add(job)
        there = {file for file in there if not readers[file] <= done}
    assert most["shards"] == WINDOW * SETS
    assert most["heldout"] == SETS
    assert most["states"] <= GROUPS + 1  # one is read while its successor is written
    assert not there


def test_shards_of_one_family_at_a_time(tmp_path) -> None:
    """Whatever the order of jobs: no shard of a family before the crosscoders of the one before."""
    study = Study(tmp_path, MINI)
    families = ["first", "second", "third"]
    entry = study.config["families"]["tiny"]
    study.change("families", {name: entry | {"label": name} for name in families})
    study.change("figures.families", families)
    study.change("activations.shards", 2)
    done = study.snakemake("--dry-run", "--cores", "2")
    assert done.returncode == 0, done.stdout
    found = graph(done.stdout)
    before = ancestors(found)

    def made(rule: str, family: str) -> set[int]:
        return {
            i
            for i, job in enumerate(found)
            if job.rule == rule and any(f"/{family}/" in file for file in job.outputs)
        }

    for earlier, later in zip(families, families[1:], strict=False):
        finished = made("evaluate_crosscoder", earlier)
        assert len(finished) == CROSSCODERS
        shards = made("extract_activations", later)
        assert len(shards) == SETS * 3
        assert all(finished <= before[shard] for shard in shards)


def as_if_done(study: Study) -> None:
    """Put something empty where each output would be; Snakemake notes that it made it."""
    done = study.snakemake("--dry-run", "--cores", "1")
    assert done.returncode == 0, done.stdout
    for job in graph(done.stdout):
        for file in job.outputs:
            path = study.folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir() if file.endswith(DIRECTORIES) or SHARD.search(file) else path.touch()
    done = study.snakemake("--touch", "--forceall", "--cores", "1")
    assert done.returncode == 0, done.stdout
    assert not list(study.folder.glob("results/*/activations/*/*/shard-*/")), (
        "read by all, so deleted"
    )


def test_a_part_of_a_finished_study_takes_no_turn_again(tmp_path: Path) -> None:
    """A turn has other inputs where the whole study is asked for than where a part of it is."""
    study = given_models(tmp_path)
    entries = {name: family(name, *(f"own/{model}" for model in MODELS)) for name in ("a", "b")}
    study.change("families", entries)
    study.change("figures.families", ["a", "b", "b"])
    stand_ins(study)
    as_if_done(study)
    for targets in ([], ["b"], ["figure1"], []):
        done = study.snakemake("--dry-run", "--cores", "1", "--", *targets)
        assert "Nothing to be done" in done.stdout, done.stdout


def temps(jobs: list[Job]) -> set[str]:
    """Return the files that Snakemake deletes once all their readers are done."""
    return {f for job in jobs for f in job.outputs if SHARD.search(f) or STATES.search(f)}
