"""Keep the correct traces; write the training data of SFT and RL, and a manifest."""

from pathlib import Path

import pyarrow
import pyarrow.parquet

from crosslens.config.sections import TracesConfig
from crosslens.data import traces as library
from crosslens.io.atomic import atomic_write
from crosslens.io.records import read_jsonl, sha256, write_json
from crosslens.workflow.job import run_job


def main(
    *,
    traces: list[Path],
    problems: Path,
    sft: Path,
    grpo: Path,
    manifest: Path,
    settings: TracesConfig,
    batch_size: int,
) -> None:
    """Write a LLaMA-Factory dataset (directory), a verl parquet file and the manifest."""
    listed = library.read_problems(problems)
    sampled = [row for part in traces for row in read_jsonl(part)]
    grpo_rows = library.grpo_rows(listed, batch_size)
    kept = library.keep_correct(sampled, settings)
    library.assert_same_problems(kept, grpo_rows)
    with atomic_write(sft) as partial:
        partial.mkdir()
        write_json(partial / "dataset_info.json", library.dataset_info())
        write_json(partial / f"{library.DATASET}.json", library.sft_rows(kept))
    with atomic_write(grpo) as partial:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(grpo_rows), partial)
    summary = {
        **library.counts(listed, sampled, kept),
        "sft_problems_subset_of_rl_problems": True,  # asserted above
        "settings": settings.plain(),
        "sha256": {path.name: sha256(path) for path in (problems, grpo, *sorted(sft.iterdir()))},
        "sha256_of_traces": [sha256(part) for part in traces],
    }
    write_json(manifest, summary)
    print(f"kept {len(kept)} of {len(sampled)} traces")


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        traces=snakemake.input.traces,
        problems=snakemake.input.problems,
        sft=snakemake.output.sft,
        grpo=snakemake.output.grpo,
        manifest=snakemake.output.manifest,
        settings=snakemake.params.traces,
        batch_size=snakemake.params.batch_size,
    )
