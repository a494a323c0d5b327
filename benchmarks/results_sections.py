"""Tables of the benchmarks that compare choices: the ablation, couplings, solvers."""

from results_format import interval, markdown, plain

CHOICES = ("transport", "source", "coupling", "backbone")


def ablation_section(report: dict) -> list[str]:
    parts = [
        "## Ablation",
        f"Training of every variant: {', '.join(f'`{o}`' for o in report['training'])}. Scores from "
        f"{report['scoring']['n_repeats']} repeats and at most {report['scoring']['max_cells']} cells of a condition; "
        f"± is the 95 % interval over seeds. Lead: over the training mean, in PCA energy "
        "distance, paired by seed. Step kept 0 is the untrained network.",
    ]
    for name, found in report["data"].items():
        if not found["variants"]:
            continue
        metrics = list(found["variants"][0]["model"])
        lead = metrics[0]
        references = [
            [row, "", "", "", *(interval(cells.get(m)) for m in metrics), "", ""]
            for row, cells in found["references"].items()
        ]
        variants = [
            [
                *(v[choice] for choice in CHOICES),
                *(interval(v["model"][m]) for m in metrics),
                interval(v["lead"][lead]),
                " ".join(str(step) for step in v["step_kept"]),
            ]
            for v in found["variants"]
        ]
        factors = [
            [factor, level, str(of["blocks"]), *(interval(cells[m]) for m in metrics)]
            for factor, of in found["factors"].items()
            for level, cells in of["levels"].items()
        ]
        parts += [
            f"### {name}, {len(found['seeds'])} seeds",
            markdown([*CHOICES, *metrics, "lead", "step kept"], references + variants, left=4),
            "Averages over everything else, of complete blocks:",
            markdown(["factor", "level", "blocks", *metrics], factors, left=2),
        ]
    return parts


UNMEASURED = {
    "energy_distance_pca": "score, PCA space",
    "energy_distance_genes": "score, gene space",
    "l2_delta": "L2",
    "c2st_auc_logistic": "C2ST, linear",
    "c2st_auc_forest": "C2ST, forest",
}
UNMEASURED_NOTE = (
    "Conditions that nobody measured: scores of all held-out conditions of a seed together, so that large effects "
    "count most. The regressions move control cells, each at the settings that predict left-out training perturbations "
    "or contexts best; the chosen regression is, condition by condition, the one of them that these choose, before the "
    "cells of the condition are seen. With random vectors the model knows nothing of what it is asked. C2ST: AUC of a "
    "linear classifier and of a forest that tell predicted from real cells (0.5: they cannot), averaged over the "
    "conditions that have cells enough."
)


def unmeasured_table(reports: list[dict]) -> str:
    """Rows of every case."""
    lines = []
    for report in reports:
        for i, (row, cells) in enumerate(report["summary"].items()):
            facts = (
                [f"`{report['case']}`", str(report["n_conditions"]), str(len(report["seeds"]))] if i == 0 else [""] * 3
            )
            lines.append([*facts, row.replace("_", " "), *(interval(cells.get(m)) for m in UNMEASURED)])
    return markdown(["case", "conditions", "seeds", "row", *UNMEASURED.values()], lines, left=4)


def unmeasured_section(report: dict) -> list[str]:
    """One case, and what every held-out condition got in each seed."""
    metric = next(iter(UNMEASURED))
    rows = [row for row in report["summary"] if row in report["per_seed"][0]["conditions"]]
    lines = [
        [str(seed), condition, *(plain(found["conditions"][row][condition][metric]) for row in every)]
        for every in [["no_change", *rows, "replicate"]]
        for seed, found in zip(report["seeds"], report["per_seed"], strict=True)
        for condition in found["conditions"]["model"]
    ]
    names = [row.replace("_", " ") for row in ("no_change", *rows, "replicate")]
    return [
        f"## Unmeasured: {report['case']}",
        unmeasured_table([report]),
        f"Values of {metric} (lower is better):",
        markdown(["seed", "condition (part)", *names], lines, left=2),
    ]


def training_section(report: dict) -> list[str]:
    """Training speed beside what the pairs are worth."""
    setting = report["setting"]
    reuse = ", ".join(f"{times:g}" for times in setting["plan_reuse"])
    lines = [
        [
            r["coupling"],
            f"{r['cells_per_second']:,.0f}",
            " to ".join(f"{x:,.0f}" for x in r["cells_per_second_range"]),
            f"{r['of_no_pairing']:.2f}",
            f"{r['share_of_gain']:.0%}",
            plain(r["solve_ms"]),
        ]
        for r in report["results"]
    ]
    head = ["coupling", "cells/s", "range", "of no pairing", "share of the gain", "ms per plan"]
    return [
        "## Couplings in training",
        f"{setting['groups_per_step']} groups of {setting['cells_per_group']} pairs per step, {setting['n_latents']} "
        f"latents, {setting['n_blocks']} blocks of width {setting['width']}, {setting['threads']} threads; plans of "
        f"up to {setting['cells_per_plan']} cells, used {reuse} times. Share of "
        "the gain: how much of the fall in cost from independent pairs to exact transport of 1,024 cells is kept.",
        markdown(head, lines, left=1),
    ]


def sampling_section(report: dict) -> list[str]:
    """Sampling speed beside the quality that it costs."""
    lines = [
        [
            r["solver"],
            "" if r["steps"] is None else str(r["steps"]),
            "bf16" if r["bf16"] else "float32",
            "yes" if r["compiled"] else "",
            str(r["evaluations"]),
            f"{r['cells_per_s']:,.0f}",
            f"{r['times_reference']:.1f}",
            f"{r['relative_energy_distance']:.4f} ± {r['half_width']:.4f}",
            "yes" if r["within"] else "no",
        ]
        for r in report["rows"]
    ]
    best = report["fastest_within"]
    fastest = (
        "none"
        if best is None
        else f"{best['solver']}, {best['steps']} steps, {'bf16' if best['bf16'] else 'float32'}"
        f"{', compiled' if best['compiled'] else ''}, {best['times_reference']:.1f} times dopri5"
    )
    head = [
        "solver", "steps", "precision", "compiled", "evaluations", "cells/s", "times dopri5",
        "energy distance / converged", "within 2 %",
    ]  # fmt: skip
    again = report.get("n_cells_judged_again", 0)
    judged = (
        f"judged on {again:,} cells" if again else "by its estimate; the intervals are as wide as the 2 % themselves"
    )
    return [
        "## Solvers in sampling",
        f"{report['problem']}. Fastest within 2 % of converged ({judged}): {fastest}.",
        markdown(head, lines, left=1),
    ]


def metrics_section(report: dict) -> list[str]:
    """Speed of metrics beside other packages."""
    lines = [
        [
            r["task"],
            r["who"],
            f"{r['seconds']:.3f}",
            " to ".join(f"{x:.3f}" for x in r["range"]),
            f"{r['times_gensim_seconds']:.2f}",
            f"{r['cpu_seconds']:.3f}",
            f"{r['times_gensim_cpu_seconds']:.2f}",
            f"{r['megabytes']:.0f}" if "megabytes" in r else "",
            "" if r["largest_relative_error"] is None else f"{r['largest_relative_error']:.0e}",
        ]
        for r in report["rows"]
    ]
    head = ["task", "who", "seconds", "range", "of gensim", "of the processor", "of gensim", "MB", "largest error"]
    packages = ", ".join(
        f"{name} {report['provenance'][name]}"
        for name in ("cell-eval", "scperturb", "pertpy")
        if name in report["provenance"]
    )
    return [
        "## Metrics beside other packages",
        f"{report['conditions']} conditions of {report['cells_per_condition']} cells; distances in "
        f"{report['components']} components, the preset `vcc2025` on {report['genes_of_preset']:,} genes from the "
        f"command line; {report['provenance']['threads']} threads; {packages}. Medians; of gensim: times what gensim "
        "takes. Errors are relative to differences in float64.",
        markdown(head, lines, left=2),
    ]


def counts_section(report: dict) -> list[str]:
    """How often simulated counts agree with an unseen replicate."""
    statistics = list(report["summary"]["model"])
    lines = [
        [row.replace("_", " "), *(interval(cells[statistic]) for statistic in statistics)]
        for row, cells in report["summary"].items()
    ]
    return [
        "## Counts against unseen replicates",
        f"Simulated screen, {len(report['seeds'])} seeds, {report['cells']} cells of each population: share of genes "
        "(pairs of the most variable ones for correlations), over all conditions, whose difference from an unseen "
        "replicate has 0 inside its 95 % bootstrap interval. The row of another replicate is what chance allows; that "
        "of the model has the noise of its training cells as well.",
        markdown(["row", *statistics], lines, left=1),
    ]


def decoded_section(report: dict) -> list[str]:
    """What latents hold of real cells, by how many there are to learn from."""
    lines = [[row, interval(cells["energy_score"])] for row, cells in report["summary"].items()]
    return [
        "## Decoded real cells",
        f"Simulated screen, {len(report['seeds'])} seeds. Held-out cells are encoded and decoded anew, with nothing "
        "carried over: energy score in gene space, 1 as good as other held-out cells, 0 as far off as control cells. "
        "Cells are per condition, half of them held out.",
        markdown(["what decodes", "energy score"], lines, left=1),
    ]
