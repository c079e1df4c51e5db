"""Supervised fine-tuning with LLaMA-Factory: all parameters, one epoch, a checkpoint at each 20%.

INPUTS: <results>/models/{family}/base, <results>/data/sft.
OUTPUTS: <results>/models/{family}/: sft-1 ... sft-5, sft-loss.csv;
<results>/versions/train_sft/{family}.json.
"""


rule train_sft:
    input:
        base="<results>/models/{family}/base",
        data="<results>/data/sft",
    output:
        checkpoints=directory(
            expand("<results>/models/{{family}}/sft-{k}", k=CHECKPOINTS)
        ),
        loss="<results>/models/{family}/sft-loss.csv",
        versions="<results>/versions/train_sft/{family}.json",
    log:
        "<logs>/train_sft/{family}.log",
    benchmark:
        "<benchmarks>/train_sft/{family}.tsv"
    wildcard_constraints:
        family=trained_families("sft"),
    conda:
        env_file("sft")
    envmodules:
        env_module("sft"),
    resources:
        gpu=rule_resource("train_sft", "gpu"),
        mem_mb=rule_resource("train_sft", "mem_mb", 3000),
        runtime=rule_resource("train_sft", "runtime", 60),
    params:
        code=library_hash("scripts/train_sft.py", *SFT_PROCESSES),
        sft=sft_settings,
        seed=config["seed"],
    script:
        "../scripts/train_sft.py"
