"""Download what one key of the configuration names from the hub to its cache."""

from pathlib import Path
from typing import Any

from crosslens.data.hub import download
from crosslens.io.progress import log
from crosslens.io.records import write_json
from crosslens.workflow.job import run_job


def main(*, source: dict[str, Any], out: Path) -> None:
    """Download, and write commit, licence, files and sizes. A killed download is resumed."""
    record = download(**source)
    write_json(out, record)
    size = sum(record["files"].values()) / 1e9
    log(f"{record['repository']}: {size:.3f} GB, licence {record['licence']}")


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        source=snakemake.params.source,
        out=snakemake.output[0],
    )
