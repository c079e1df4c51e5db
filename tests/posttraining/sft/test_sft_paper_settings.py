"""The paper's SFT (appendix A.3) as LLaMA-Factory's own parser reads it, ZeRO-3 included."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from crosslens.config.sections import SFTConfig
from crosslens.config.study import StudyConfig
from crosslens.io.records import read_json, write_json
from crosslens.posttraining.sft import llama_factory

ROOT = Path(__file__).resolve().parents[3]
CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text())
STUDY = StudyConfig.model_validate(CONFIG)
VARIABLES = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
PARSE = """
import deepspeed_over_gloo
import json, sys, yaml
from llamafactory.hparams import get_train_args
for file in sys.argv[1:]:
    *parts, _ = get_train_args(yaml.safe_load(open(file)))
    values = [item for part in parts for item in vars(part).items()]
    found = {key: value for key, value in values if isinstance(value, str | int | float)}
    found["zero"] = parts[2].hf_deepspeed_config.config
    print("parsed", json.dumps(found | {"processes": parts[2].parallel_mode.value}))
"""


def rendered(base: Path, data: Path, run: Path, settings: SFTConfig, devices: int) -> dict:
    """LLaMA-Factory's settings, with DeepSpeed's beside them."""
    stage = int(settings.deepspeed.removeprefix("zero"))
    run.mkdir(exist_ok=True)
    write_json(run / "deepspeed.json", llama_factory.deepspeed_settings(stage, settings.batch_size))
    return llama_factory.backend_settings(
        base=base, data=data, run=run, settings=settings, seed=0, devices=devices, cpu=False
    )


def launched(program: str, folder: Path, processes: int, *arguments: object) -> str:
    """Output of a program that torch starts in some processes, as crosslens does."""
    (folder / "program.py").write_text(program)
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    done = subprocess.run(
        [sys.executable, *torchrun, str(folder / "program.py"), *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), **VARIABLES},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


@pytest.mark.parametrize("devices", [1, 2, 4, 8, 16])
def test_appendix_a3_the_batch_is_128_on_any_gpus(
    base: Path, data: Path, tmp_path: Path, devices: int
) -> None:
    engine = rendered(base, data, tmp_path, STUDY.training_of("qwen3-4b").sft, devices)
    micro, steps = engine["per_device_train_batch_size"], engine["gradient_accumulation_steps"]
    assert micro * steps * devices == 128
    assert read_json(tmp_path / "deepspeed.json")["train_batch_size"] == 128  # or it refuses


def test_appendix_a3_as_llama_factorys_parser_reads_it(
    base: Path, data: Path, tmp_path: Path
) -> None:
    """All of `get_train_args`, as one of eight processes starts; but a GPU is not asked for."""
    files = []
    for family in CONFIG["families"]:
        engine = rendered(base, data, tmp_path, STUDY.training_of(family).sft, 8)
        files.append(tmp_path / f"{family}.yaml")
        files[-1].write_text(yaml.safe_dump(engine | {"use_cpu": True}))
    said = launched(PARSE, tmp_path, 1, *files).splitlines()
    found = [json.loads(line.removeprefix("parsed")) for line in said if line.startswith("parsed")]
    assert len(found) == 3
    longest = CONFIG["traces"]["max_new_tokens"] + CONFIG["grpo"]["max_prompt_length"]
    for parsed in found:
        assert (parsed["stage"], parsed["finetuning_type"]) == ("sft", "full")  # section 4
        assert parsed["learning_rate"] == 5.0e-5  # appendix A.3
        assert parsed["num_train_epochs"] == 1.0  # appendix A.3
        micro, steps = parsed["per_device_train_batch_size"], parsed["gradient_accumulation_steps"]
        assert micro * steps * 8 == 128  # appendix A.3
        assert parsed["bf16"] and not parsed["train_on_prompt"]
        assert parsed["cutoff_len"] >= longest  # the longest trace with its problem
        assert parsed["zero"]["zero_optimization"]["stage"] == 3
        assert parsed["processes"] == "distributed"
        # The others wait while one tokenizes, with a process for each of them.
        assert parsed["ddp_timeout"] == 6 * 3600 and parsed["preprocessing_num_workers"] == 8
    templates = [parsed.get("template") for parsed in found]
    assert templates == ["qwen3_nothink", "qwen", None]
