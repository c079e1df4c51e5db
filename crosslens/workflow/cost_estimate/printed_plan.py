"""Format the page that `snakemake plan` prints."""

from collections.abc import Mapping

from crosslens.config.study import StudyConfig
from crosslens.workflow.cost_estimate.disk_space import Disk, disks, peak
from crosslens.workflow.cost_estimate.gpu_memory import FIXES, gpu_memory
from crosslens.workflow.cost_estimate.gpu_time import gpu_hours
from crosslens.workflow.cost_estimate.job_counts import jobs
from crosslens.workflow.cost_estimate.rates import CARDS, GB, TB, assumptions


def plan_text(study: StudyConfig, needs: Mapping[str, Mapping[str, int]]) -> str:
    """Return the plan as text. `needs` are the `gpu` and `mem_mb` of one job of each rule."""
    count = jobs(study)
    gpus = {rule: needs.get(rule, {}).get("gpu", 0) for rule in count}
    hours = {rule: h for rule, h in gpu_hours(study, count).items() if gpus[rule]}
    bytes_of = gpu_memory(study, gpus)
    lines = [f"{'rule':24}{'jobs':>7}{'GPUs':>6}{'GPU-hours':>11}{'GB GPU':>8}{'GB RAM':>8}"]
    for rule, number in count.items():
        spent = f"{hours[rule]:.1f}" if rule in hours else "-"
        card = f"{bytes_of[rule] / GB:.1f}" if rule in bytes_of else "-"
        memory = needs.get(rule, {}).get("mem_mb", 0) / 1000 or "-"
        lines.append(f"{rule:24}{number:7}{gpus[rule] or '-':>6}{spent:>11}{card:>8}{memory:>8}")
    total, machine = sum(hours.values()), max(gpus.values())
    lines.append(f"{'total':24}{sum(count.values()):7}{total:>17.1f}")
    if machine:
        lines.append(f"\nWall time on {machine} GPUs: {total / machine / 24:.1f} days or more")
    lines += memory_warnings(study, bytes_of)
    return "\n".join(
        [*lines, "", *disk_lines(study), "", "Assumptions", assumptions(CARDS[study.plan.gpu])]
    )


def memory_warnings(study: StudyConfig, needs: Mapping[str, float]) -> list[str]:
    """Return a line for each rule whose job takes more bytes than the card has."""
    card = CARDS[study.plan.gpu]
    return [
        f"{rule}: about {need / GB:.1f} GB, but a GPU has {card.memory / GB:.0f} (plan.gpu: "
        f"{study.plan.gpu}). {FIXES.get(rule, 'Take a GPU with more memory')}."
        for rule, need in needs.items()
        if need > card.memory
    ]


def disk_lines(study: StudyConfig) -> list[str]:
    """Return the lines about space on disk."""
    needs = disks(study)
    lines = [f"{'disk (GB)':24}" + "".join(f"{name[:11]:>13}" for name in needs)]
    for field in Disk._fields:
        name = {"rolling": f"shards, {study.activations.shards_on_disk} a model"}.get(
            field,
            {"all_shards": "all shards at once", "heldout": "held-out shards"}.get(field, field),
        )
        values = (getattr(disk, field) / GB for disk in needs.values())
        lines.append(f"{name:24}" + "".join(f"{value:13,.1f}" for value in values))
    for what, at_once in (
        ("families in turns, as the whole study runs", False),
        ("all at once", True),
    ):
        now, never = (peak(needs, rolling=r, at_once=at_once) / TB for r in (True, False))
        lines.append(f"Peak, {what}: {now:.2f} TB; without rolling {never:.2f} TB")
    return lines
