"""Feature cards for other tools: `snakemake features_export`. Not part of the default target.

INPUTS: <results>/features/{family}.jsonl, the trio's crosscoder, its models, the corpus.
OUTPUTS: <results>/export/{family}/: neuronpedia/ (a source for each model), delphi/ (its cache).
"""


rule export_features:
    input:
        crosscoder=f"<results>/crosscoders/{{family}}/{TRIO}/crosscoder.safetensors",
        cards="<results>/features/{family}.jsonl",
        models=collect("<results>/models/{{family}}/{variant}", variant=FINAL.values()),
        corpus="<results>/activations/{family}/corpus.h5",
    output:
        directory("<results>/export/{family}"),
    log:
        "<logs>/export_features/{family}.log",
    benchmark:
        "<benchmarks>/export_features/{family}.tsv"
    conda:
        env_file("analysis")
    envmodules:
        env_module("analysis"),
    resources:
        gpu=rule_resource("export_features", "gpu"),
        mem_mb=rule_resource("export_features", "mem_mb", 4000),
        runtime=rule_resource("export_features", "runtime", 60),
    params:
        code=library_hash("scripts/export_features.py"),
        activations=config["activations"],
        label=lambda w: LABELS[w.family],
        creator=config["metrics"]["neuronpedia_creator"],
    script:
        "../scripts/export_features.py"


rule features_export:
    input:
        collect("<results>/export/{family}", family=FAMILIES),
    localrule: True
