"""The rule that writes traces, with SmolLM2 as the teacher in vLLM on a CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from real_material import real

from crosslens.io.records import read_json, read_jsonl, write_jsonl

ROOT = Path(__file__).resolve().parents[3]
COUNT, TOKENS = 12, 48
JOB = """
import json, sys
from pathlib import Path
from crosslens.config.sections import TracesConfig
from generate_traces import main

problems, out, settings = json.loads(sys.argv[1])
main(
    problems=Path(problems), part=0, out=Path(out), versions=Path(out).with_name("versions.json"),
    settings=TracesConfig(**settings), seed=0, code=["1"], gpus=0,
)
"""


def traces(folder: Path, teacher: Path, problems: Path, backend: str, **settings) -> list[dict]:
    """Run the rule's script in a process of its own, and return the traces that it wrote."""
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT}:{ROOT / 'scripts'}",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "HF_HUB_OFFLINE": "1",
    }
    settings |= {"backend": backend, "teacher": str(teacher), "shards": 1, "batch_size": 4}
    settings |= {"temperature": 0.0, "max_new_tokens": TOKENS}
    out = folder / backend / "traces.jsonl"
    out.parent.mkdir()
    arguments = json.dumps([str(problems), str(out), settings])
    job = subprocess.run(
        [sys.executable, "-c", JOB, arguments], env=environment, capture_output=True, text=True
    )
    assert job.returncode == 0, job.stdout[-2000:] + job.stderr[-2000:]
    return read_jsonl(out)


@pytest.mark.slow
def test_traces_of_a_real_teacher_are_those_of_transformers(smollm2: Path, tmp_path: Path) -> None:
    """Up to rounding, which decides where two tokens are nearly as likely."""
    problems = tmp_path / "problems.jsonl"
    rows = read_jsonl(real("problems/easy_word_problems.jsonl"))[:COUNT]
    write_jsonl(problems, rows)
    engine = {"enforce_eager": True, "max_model_len": 512, "dtype": "float32"}
    ours = traces(tmp_path, smollm2, problems, "vllm", vllm_engine=engine)
    other = traces(tmp_path, smollm2, problems, "transformers")
    assert [row["problem"] for row in ours] == [row["problem"] for row in rows]
    assert all(row["response"] and 0 < row["tokens"] <= TOKENS for row in ours)
    assert all(row["ended"] or row["tokens"] == TOKENS for row in ours)
    equal = sum(a["response"] == b["response"] for a, b in zip(ours, other, strict=True))
    print(f"{equal} of {COUNT} traces agree; {sum(row['ended'] for row in ours)} ended")
    assert equal >= 0.75 * COUNT
    versions = read_json(tmp_path / "vllm" / "versions.json")
    assert versions.keys() >= {"vllm-cpu", "torch", "transformers"}
