"""Reinforcement learning of each family's base model with GRPO, rewarded for the outcome alone.

INPUTS: <results>/models/{family}/base; <results>/data/: problems.jsonl, grpo.parquet.
OUTPUTS: <results>/data/prompts/{family}.json (counts); <results>/models/{family}/: rl-1 ... rl-5
(Hugging Face directories at 20%, 40%, ... of the epoch), grpo-curves.csv (reward, length, clip
fraction, entropy); <results>/versions/train_grpo/{family}.json.
"""


rule count_prompts:
    input:
        base="<results>/models/{family}/base",
        problems="<results>/data/problems.jsonl",
    output:
        "<results>/data/prompts/{family}.json",
    log:
        "<logs>/count_prompts/{family}.log",
    benchmark:
        "<benchmarks>/count_prompts/{family}.tsv"
    wildcard_constraints:
        family=trained_families("rl"),
    priority: 20  # train_grpo waits for it
    conda:
        env_file("grpo")
    envmodules:
        env_module("grpo"),
    resources:
        mem_mb=rule_resource("count_prompts", "mem_mb", 2000),
        runtime=rule_resource("count_prompts", "runtime", 30),
    params:
        code=library_hash("scripts/count_prompts.py"),
        grpo=prompt_settings,
    script:
        "../scripts/count_prompts.py"


rule train_grpo:
    input:
        base="<results>/models/{family}/base",
        data="<results>/data/grpo.parquet",
        # Too few prompts that fit are an error before the wait for GPUs; a newer count reruns nothing.
        counted=ancient("<results>/data/prompts/{family}.json"),
    output:
        checkpoints=directory(
            expand("<results>/models/{{family}}/rl-{k}", k=CHECKPOINTS)
        ),
        curves="<results>/models/{family}/grpo-curves.csv",
        versions="<results>/versions/train_grpo/{family}.json",
    log:
        "<logs>/train_grpo/{family}.log",
    benchmark:
        "<benchmarks>/train_grpo/{family}.tsv"
    wildcard_constraints:
        family=trained_families("rl"),
    priority: 20  # the longest job: start it first
    conda:
        env_file("grpo")
    envmodules:
        env_module("grpo"),
    resources:
        gpu=rule_resource("train_grpo", "gpu"),
        mem_mb=rule_resource("train_grpo", "mem_mb", 8000),
        runtime=rule_resource("train_grpo", "runtime", 240),
    params:
        code=library_hash("scripts/train_grpo.py", *GRPO_PROCESSES),
        grpo=grpo_settings,
        seed=config["seed"],
    script:
        "../scripts/train_grpo.py"
