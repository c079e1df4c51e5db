"""Jobs that wait to be let go, so that a cluster can do to them what clusters do (test_slurm.py).

INPUTS: {job}.go, which ends a job; `mended`, without which one fails.
OUTPUTS: {job}, the GPUs it had; {job}.environment while it runs.
"""

SHARES = [1, 1, 2, 2, 3]  # GPUs: more than one node has
WAIT = """
printenv > {output}.part && mv {output}.part {output}.environment
until [ -e {output}.go ]; do sleep 0.2; done
printenv CUDA_VISIBLE_DEVICES > {output}
"""


rule all:
    input:
        expand("share-{n}", n=range(len(SHARES))),
        "whole",
        "hung",
        "failing",


rule share:
    output:
        "share-{n}",
    resources:
        gpu=lambda w: SHARES[int(w.n)],
    shell:
        WAIT


rule whole:
    output:
        "whole",
    resources:
        gpu=8,
    shell:
        WAIT


rule hung:
    output:
        "hung",
    resources:
        runtime=1,
    shell:
        WAIT + "|| echo none > {output}"


rule failing:
    output:
        "failing",
    log:
        "failing.log",
    shell:
        "test -e mended || {{ echo 'no such optimizer: adamm' > {log}; exit 3; }}; touch {output}"
