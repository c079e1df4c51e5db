"""Write the feature cards for Neuronpedia and for delphi."""

from pathlib import Path

from crosslens.activations.extract import load_truncated
from crosslens.analysis.feature_export import (
    Source,
    collect_firings,
    write_delphi,
    write_neuronpedia,
)
from crosslens.analysis.heldout_reading import heldout_batches
from crosslens.config.model_compatibility import with_common_names
from crosslens.config.sections import ActivationsConfig
from crosslens.crosscoder.model import Crosscoder
from crosslens.io.atomic import atomic_write
from crosslens.io.progress import track
from crosslens.io.records import read_json, read_jsonl
from crosslens.workflow.job import run_job


def main(
    *,
    crosscoder: Path,
    cards: Path,
    models: list[Path],
    corpus: Path,
    settings: ActivationsConfig,
    family: str,
    label: str,
    creator: str,
    out: Path,
) -> None:
    """Write the folders neuronpedia and delphi. `models` are the crosscoder's, in its order."""
    trained, rows = Crosscoder.load(crosscoder), read_jsonl(cards)
    name, layer = crosscoder.parent.name, trained.metadata["layer"]
    features = [card["feature"] for card in rows]
    firings = collect_firings(
        trained.restricted(features),
        features,
        [load_truncated(path, layer)[0] for path in models],
        track(heldout_batches(corpus, settings.batch_size), "texts", unit="batches"),
        skip_positions=settings.skip_positions,
        sink_threshold=settings.sink_threshold,
    )
    with atomic_write(out) as folder:
        width = trained.W_dec.shape[1]
        described = {"width": width, "tokenizer": str(models[0]), "corpus": str(corpus)}
        write_delphi(folder / "delphi", name, firings, **described)
        for model, path in zip(trained.models, models, strict=True):
            fields = with_common_names(read_json(path / "config.json"))
            source = Source(
                model=f"{family}-{model}",
                release=f"crosslens-{family}",
                set_name=f"crosslens-{name}",
                layer=layer - 1,
                n_layers=fields["num_hidden_layers"],
                creator=creator,
                text=f"{label}, {model}: features of the crosscoder {name} over all models",
            )
            write_neuronpedia(folder / "neuronpedia", source, rows, trained, model)


if __name__ == "__main__":
    run_job(
        main,
        snakemake,
        crosscoder=snakemake.input.crosscoder,
        cards=snakemake.input.cards,
        models=snakemake.input.models,
        corpus=snakemake.input.corpus,
        settings=snakemake.params.activations,
        family=snakemake.wildcards.family,
        label=snakemake.params.label,
        creator=snakemake.params.creator,
        out=snakemake.output[0],
    )
