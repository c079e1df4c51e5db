"""Jobs beside a study that wait to be let go, so that a cluster can do to them what clusters do.

INPUTS: {output}.go, which ends a job; `mended`, without which one fails (test_slurm.py).
OUTPUTS: {output}, the GPUs a job had; {output}.environment while it runs.
"""

SHARES = [1, 1, 2, 2, 3]  # GPUs: more than one node has
TICKS = 12  # some seconds each
WAIT = """
printenv > {output}.part && mv {output}.part {output}.environment
until [ -e {output}.go ]; do sleep 0.5; done
echo "${{CUDA_VISIBLE_DEVICES:-none}}" > {output}
"""


rule troubles:
    input:
        expand("share-{n}", n=range(len(SHARES))),
        "whole",
        "hung",
        "failing",
        f"tick-{TICKS - 1}",
    localrule: True


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
        WAIT


rule failing:
    output:
        "failing",
    log:
        "failing.log",
    shell:
        "test -e mended || {{ echo 'no such optimizer: adamm' > {log}; exit 3; }}; touch {output}"


rule impossible:
    output:
        "impossible",
    resources:
        gpu=9,
    shell:
        WAIT


rule tick:
    """The executor looks ten seconds later each time it finds no finished job: mostly it finds one."""
    input:
        lambda w: [f"tick-{n}" for n in range(int(w.n))[-1:]],
    output:
        "tick-{n}",
    shell:
        "touch {output}"
