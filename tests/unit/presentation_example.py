"""A small study's tables, made up from a formula, for the tests of the presentation. Nothing here was measured."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pandas

from palimpsest.measurement.rounds import Rounds, ratios, spread

VARIANT = ["model", "label", "method", "level", "seed", "recovery"]
GRID = {
    "magnitude": {"0.5": 0.03, "0.6": 0.17, "2:4": 0.09},
    "wanda": {"0.5": 0.02, "0.6": 0.11, "2:4": 0.06},
    "sparsegpt": {"0.5": 0.01, "0.6": 0.06, "2:4": 0.03},
    "rtn": {"4": 0.002, "3": 0.04, "2": 0.45},
    "gptq": {"4": 0.0, "3": 0.02, "2": 0.22},
    "svd": {"k0.8": 0.06, "k0.6": 0.38},
    "svd-llm": {"k0.8": 0.03, "k0.6": 0.2},
}
EXTRA = {"none": 0, "prompt-32": 4096, "lora-r4": 8192}
RECOVERED = {("magnitude", "0.6"), ("rtn", "2"), ("svd", "k0.6")}
BITS = {"0.5": 17.0, "0.6": 13.8, "2:4": 17.0, "4": 4.3, "3": 3.3, "2": 2.3, "k0.8": 25.6, "k0.6": 19.2, "full": 32.0}


def variants() -> list[tuple[tuple, float]]:
    """(model, label, method, level, seed, recovery) with the damage, 0 to 1, that all else follows from."""
    found = [
        (("atlas", "dense", "dense", "full", 0, "none"), 0.0),
        (("atlas-small", "dense", "dense", "full", 0, "none"), 0.3),
    ]
    for label, levels in GRID.items():
        for level, damage in levels.items():
            found.append((("atlas", label, label, level, 0, "none"), damage))
            if (label, level) in RECOVERED:
                found.append((("atlas", label, label, level, 0, "prompt-32"), 0.7 * damage))
                found.append((("atlas", label, label, level, 0, "lora-r4"), 0.35 * damage))
    return found


def metrics() -> pandas.DataFrame:
    import displaced_example  # which takes the columns from here

    rows = []

    def add(variant, task, subset, metric, value, half=0.015, n=600):
        scoring = {"": "", "closed_book": "generated", "open_book": "generated", "perplexity": "likelihood"}.get(
            task, "ranked"
        )
        rows.append([*variant, task, subset, scoring, "", metric, value, value - half, value + half, n])

    damages = dict(variants())
    for variant, damage in damages.items():
        shares = {
            ("closed_book", "all", "exact_match"): 0.96 - damage,
            ("closed_book", "shown", "exact_match"): 0.98 - damage,
            ("closed_book", "questions_shown", "exact_match"): 0.99 - damage,
            ("closed_book", "questions_held_out", "exact_match"): 0.97 - 1.1 * damage,
            ("closed_book", "never_shown", "exact_match"): 0.06,
            ("closed_book_mc", "all", "acc"): 0.97 - 0.9 * damage,
            ("closed_book_mc", "shown", "acc"): 0.98 - 0.9 * damage,
            ("open_book", "all", "exact_match"): 0.82 - 0.4 * damage,
            ("open_book", "one", "exact_match"): 0.99 - 0.3 * damage,
            ("open_book", "three", "exact_match"): 0.64 - 0.5 * damage,
            ("entailment", "all", "acc"): 0.9 - 0.5 * damage,
            ("entailment", "two", "acc"): 0.85 - 0.5 * damage,
        }
        for (task, subset, metric), value in shares.items():
            add(variant, task, subset, metric, max(0.02, value))
            if variant[1] != "dense":
                add(variant, task, subset, "lost", max(0.0, 1.15 * damage), 0.01)
                add(variant, task, subset, "gained", 0.15 * damage + 0.002, 0.004)
                add(variant, task, subset, "difference", 0.002 - damage, 0.02)
                for metric in ("p_holm", "p_maxt", "q_bh"):
                    add(variant, task, subset, metric, 0.5 if damage < 0.02 else 0.001, 0)
                add(variant, task, subset, "detectable", 0.03, 0)
                add(variant, task, subset, "matching", 1 if damage < 0.02 else -1 if damage > 0.08 else 0, 0)
                if ":" not in variant[3]:
                    harshest = {"0": 0.55, "k": 0.75}.get(variant[3][0], 3.2)
                    add(variant, task, subset, "stops_matching", harshest, 0.02)
        for kind, base, slope in (
            ("all", 6.0, 1),
            ("prose", 9.0, 0.5),
            ("passages", 5.0, 0.8),
            ("biographies", 4.0, 3.0),
        ):
            add(variant, "perplexity", kind, "perplexity", base * (1 + slope * damage) ** 2, 0.1)
            if variant[1] != "dense":
                add(variant, "perplexity", kind, "relative_perplexity", (1 + slope * damage**1.6) ** 2, 0.01)
        add(variant, "closed_book_mc", "shown", "knowledge_bits", 5800 * (1 - 1.2 * damage), 120)
        for pool in "RVU":
            gone = damage * (0.6 if pool == "R" and variant[-1] != "none" else 1)
            add(variant, "closed_book", f"pool {pool}", "known_share", 0.995 - gone, 0.03)
        if variant[-1] == "none" and variant[1] != "dense":
            for task, subset, metric, value, half in displaced_example.of_cell(damage):
                add(variant, task, subset, metric, value, half)
        elif variant[-1] != "none":
            if variant[-1] == "lora-r4":
                add(variant, "closed_book", "prompt-32", "minus_recovery", 0.35 * damage, 0.02)
            gain = damage * {"prompt-32": 0.3, "lora-r4": 2.0}[variant[-1]]
            add(variant, "closed_book", "none", "minus_recovery", gain)
            for task, subset, metric, value, half in displaced_example.of_recovery(
                variant[-1], GRID[variant[1]][variant[3]]
            ):
                add(variant, task, subset, metric, value, half)
    columns = [*VARIANT, "task", "subset", "scoring", "layer", "metric", "value", "low", "high", "n"]
    return pandas.DataFrame(rows, columns=columns)


def measurements() -> pandas.DataFrame:
    rows = []
    nothing = float("nan")
    for variant, _ in variants():
        weights = 786_432 if variant[0] == "atlas" else 56_000
        bits = BITS[variant[3]]
        artifact = 0 if variant[1] == "dense" else round(weights * bits / 8) + 900
        total = (artifact or 4 * weights) + (524_288 if variant[0] == "atlas" else 196_608)
        measured = {
            "bytes_artifact": (artifact, "bytes"), "bytes_total": (total, "bytes"), "bits_per_weight": (bits, "bits"),
            "parameters": (weights + 131_072, ""), "parameters_extra": (EXTRA[variant[-1]], ""),
            "peak_memory_bytes": (3e8, "bytes"),
        }  # fmt: skip
        rows += [[*variant, metric, value, nothing, nothing, 1, unit, 0] for metric, (value, unit) in measured.items()]
    table = pandas.DataFrame(rows, columns=[*VARIANT, "metric", "value", "low", "high", "n", "unit", "context"])
    return pandas.concat([table, times_measured()], ignore_index=True)


CONTEXTS = (16, 64)
WAYS = {"none": {"plain": 1.0}, "prompt-32": {"plain": 1.1}, "lora-r4": {"plain": 1.6, "merged": 1.02}}


def rounds() -> Rounds:
    """Three rounds, of which the second is half as fast; low-rank cells are faster as two factors."""
    found = Rounds()
    for variant, _ in variants():
        row = dict(zip(VARIANT, variant, strict=True))
        ways = WAYS[variant[-1]] | ({"factors": 0.8} if variant[-1] == "none" and variant[1] == "svd" else {})
        for (way, slower), context in itertools.product(ways.items(), CONTEXTS):
            times = [(slower * (1 + context / 64) * turn, 0.9 * slower * turn) for turn in (1.0, 2.0, 1.02)]
            found.add(row, way, context, times)
    return found


def times_measured() -> pandas.DataFrame:
    """Rows of measurements.parquet, as measurement/study.py writes them."""
    every, rows = rounds(), []
    for variant, _ in variants():
        row = dict(zip(VARIANT, variant, strict=True))
        cell = row | {"recovery": "none"}
        dense = cell | {"label": "dense", "method": "dense", "level": "full"}
        for way, context, phase in itertools.product(("plain", "merged", "factors"), CONTEXTS, ("prefill", "decode")):
            if (own := every.of(row, way, context, phase)) is None:
                continue
            name = phase if way == "plain" else f"{phase}_{way}"
            rows.append(row | {"metric": f"{name}_ms", "context": context} | spread(own))
            for reference, other in (("dense", dense), ("cell", cell)):
                if (row, way) != (other, "plain"):
                    ratio = spread(ratios(own, every.of(other, "plain", context, phase)))
                    rows.append(row | {"metric": f"{name}_over_{reference}", "context": context} | ratio)
    return pandas.DataFrame(rows).assign(unit="")


def similarity() -> pandas.DataFrame:
    """LoRA brings attention half of the way back, the prompt takes it further away."""
    rows = []
    for variant, damage in variants():
        if variant[1:4:2] not in RECOVERED:
            continue
        way = {"none": 1.0, "lora-r4": 0.5, "prompt-32": 1.4}[variant[-1]]
        for layer in range(1, 5):
            heads = [f"head {number}" for number in range(4)]
            for subset in ("all", *heads):
                far = 0.3 * damage * (layer / 4) * (1 + (heads.index(subset) - 1.5) / 4 if subset != "all" else 1)
                values = {"attention_js_to_dense": far * way}
                values |= {"activation_cka_to_dense": 1 - far * way} if subset == "all" else {}
                if variant[-1] != "none":
                    moved, nearer = far * abs(way - 1), far * (1 - way)
                    values |= {"attention_js_to_cell": moved, "attention_js_towards_dense": nearer}
                    if subset == "all":
                        values |= {"activation_cka_to_cell": 1 - moved, "activation_cka_towards_dense": nearer}
                rows += [[*variant, subset, str(layer), metric, value] for metric, value in values.items()]
                if layer == 3 and subset == "all":
                    rows += [[*variant, "all", "all", metric, value] for metric, value in values.items()]
    table = pandas.DataFrame(rows, columns=[*VARIANT, "subset", "layer", "metric", "value"])
    ends = {"low": table["value"] - 0.002, "high": table["value"] + 0.002}
    return table.assign(task="closed_book", scoring="similarity", n=100, **ends)


def probes() -> pandas.DataFrame:
    rows = []
    twins = [((model, "random", "random", "full", 0, "none"), 1.0) for model in ("atlas", "atlas-small")]
    for variant, damage in [*variants(), *twins]:
        for layer, most in ((2, 0.8), (4, 0.98)):
            for metric, value in (("acc", most - (most - 0.07) * damage), ("control_acc", 0.06), ("selectivity", 0.5)):
                place = [*variant, "attribute_value", "all", "linear", layer, metric]
                rows.append([*place, value, value - 0.03, value + 0.03, 900])
    columns = [*VARIANT, "task", "subset", "scoring", "layer", "metric", "value", "low", "high", "n"]
    return pandas.DataFrame(rows, columns=columns)


def times(folder: Path) -> None:
    jobs = {"world": (6.0, 0.9), "train/atlas": (410.0, 2.2), "train/atlas-small": (120.0, 2.2), "analyse": (20.0, 2.0)}
    for variant, _ in variants():
        path = "/".join([*variant[:2], variant[3].replace(":", "-"), "s0"])
        jobs[f"compress/{path}"] = (5.0, 2.1)
        jobs[f"evaluate/{path}/{variant[-1]}"] = (13.0, 5.3)
        if variant[-1] != "none":
            jobs[f"recover/{path}/{variant[-1]}"] = (30.0, 5.0)
    for name, (cpu, imports) in jobs.items():
        path = folder / "times" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        clock = {"cpu_seconds": cpu, "import_cpu_seconds": imports, "wall_seconds": cpu, "peak_memory_bytes": 4e8}
        path.write_text(json.dumps(clock))


def stories() -> pandas.DataFrame:
    """Metrics of a study without a world: perplexity on texts, and minimal pairs."""
    rows = []
    cells = [("dense", "full")] + [(label, level) for label, levels in GRID.items() for level in levels]
    for label, level in cells:
        variant = ("stories260K", label, label, level, 0, "none")
        damage = 0 if label == "dense" else GRID[label][level]
        for task, base in (("perplexity_tinystories", 5.1), ("perplexity_wikitext2", 220.0)):
            value = base * (1 + 3 * damage)
            rows.append([*variant, task, "all", "likelihood", "", "perplexity", value, 0.97 * value, 1.03 * value, 400])
            if label != "dense":
                ratio = 1 + 3 * damage
                rows.append(
                    [
                        *variant,
                        task,
                        "all",
                        "likelihood",
                        "",
                        "relative_perplexity",
                        ratio,
                        ratio - 0.01,
                        ratio + 0.01,
                        400,
                    ]
                )
        for subset, metric in itertools.product(
            ("all", "anaphor_agreement", "irregular_forms"),
            ("acc", "lost", "gained", "difference", "p_holm", "p_maxt", "q_bh", "detectable", "matching"),
        ):
            value = {
                "acc": 0.75 - 0.5 * damage,
                "lost": damage,
                "gained": 0.4 * damage,
                "difference": -0.6 * damage,
                "detectable": 0.03,
                "matching": 0,
            }.get(metric, 0.01)
            if metric == "acc" or label != "dense":
                rows.append([*variant, "blimp", subset, "ranked", "", metric, value, value - 0.02, value + 0.02, 900])
    columns = [*VARIANT, "task", "subset", "scoring", "layer", "metric", "value", "low", "high", "n"]
    return pandas.DataFrame(rows, columns=columns)


CALIBRATIONS = {"random": -0.06, "prose": -0.03, "passages": 0.0, "half-a": 0.02, "half-b": 0.02, "biographies": 0.03,
                "knowledge": 0.035, "questions": 0.01}  # fmt: skip


def swept() -> pandas.DataFrame:
    """Metrics of a study that calibrates on one text or another, with three samples of each, and has two models."""
    rows = []

    def add(variant, metric, value, half=0.02, task="closed_book", subset="shown", n=600):
        scoring = "generated" if task else ""
        rows.append([*variant, task, subset, scoring, "", metric, value, value - half, value + half, n])

    for model, worse in (("atlas", 0.0), ("atlas-outlier", 0.04)):
        add((model, "dense", "dense", "full", 0, "none"), "exact_match", 0.97)
        for level, damage in (("4", 0.01), ("3", 0.1)):
            add((model, "rtn", "rtn", level, 0, "none"), "exact_match", 0.95 - damage - 4 * worse)
        for method, levels in (("wanda", {"0.5": 0.05, "0.6": 0.3}), ("gptq", {"3": 0.1})):
            if method == "wanda" and model != "atlas":
                continue
            for (level, damage), (name, better), seed in itertools.product(
                levels.items(), CALIBRATIONS.items(), range(3)
            ):
                variant = (model, f"{method}-{name}", method, level, seed, "none")
                mean = 0.95 - damage + better - worse
                add(variant, "exact_match", mean + 0.01 * (seed - 1))
                add(variant, "seed_mean", mean)
                add(variant, "calibration_tokens", 4400.0, float("nan"), "", name)
                half = name.startswith("half")
                add(variant, f"calibration_{'leakage' if half else 'content'}", 0.03 if half else 0.02 - better, 0.015)
    columns = [*VARIANT, "task", "subset", "scoring", "layer", "metric", "value", "low", "high", "n"]
    return pandas.DataFrame(rows, columns=columns)


def write_swept(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    swept().to_parquet(folder / "metrics.parquet")
    cells = swept()[VARIANT].drop_duplicates()
    sizes = [
        cells.assign(metric=metric, value=value) for metric, value in (("bits_per_weight", 9), ("bytes_total", 1e6))
    ]
    pandas.concat(sizes).to_parquet(folder / "measurements.parquet")
    return folder


def reading() -> pandas.DataFrame:
    """Metrics of a study of the world's deeper tasks."""
    rows = []
    for variant, damage in variants():
        if variant[-1] != "none":
            continue
        shares = {
            "open_book_contradiction": {"exact_match": 0.3 - 0.1 * damage, "learned": 0.6 - damage, "copied": 0.05},
            "closed_book_distracted": {"exact_match": 0.85 - damage, "copied": 0.1 + 0.3 * damage},
            "open_book_absent": {"copied": 0.8 - 0.5 * damage},
        }
        for task, known in shares.items():
            known = known | {"no_value": 0.02 + 0.1 * damage}
            for subset in ("one", "three"):
                every = known | {"other": 1 - sum(known.values())}
                rows += [[*variant, task, subset, metric, value] for metric, value in every.items()]
        judged = {"exact_match": 0.95 - damage, "fluent_but_wrong": 0.05 + 0.4 * damage}
        rows += [[*variant, "biography", "all", metric, value] for metric, value in judged.items()]
        if variant[1] != "dense":
            for kind, share in (("people", 0.4), ("words", 0.1)):
                rows.append([*variant, "open_book_length", kind, "length_interaction", share * damage])
    table = pandas.DataFrame(rows, columns=[*VARIANT, "task", "subset", "metric", "value"])
    return table.assign(scoring="generated", layer="", low=table["value"] - 0.02, high=table["value"] + 0.02, n=200)


def write_reading(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    reading().to_parquet(folder / "metrics.parquet")
    measurements().to_parquet(folder / "measurements.parquet")
    return folder


SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
PLANTED = {"planted_truth": 1.0, "planted_delta": 0.9, "planted_power": 1.0, "planted_coverage": 0.95}


def planted_rows(model: str, recovery: str, shares=SHARES, task: str = "closed_book"):
    """Metrics of a recovery that brings back nine tenths of what is displaced."""
    for share, (metric, factor) in itertools.product(shares, PLANTED.items()):
        value = float(share > 0) if metric == "planted_power" else factor * share
        yield {
            "model": model, "label": "dense", "method": "dense", "level": "full", "seed": 0, "recovery": recovery,
            "task": task, "subset": f"share={share:g}", "scoring": "generated", "layer": "", "metric": metric,
            "value": value, "low": value - 0.1, "high": value + 0.1, "n": 60,
        }  # fmt: skip


def write_planted(folder: Path) -> Path:
    """Metrics of a study of planted truths: three lines, and a point of a model that was only forked."""
    folder.mkdir(parents=True, exist_ok=True)
    pairs = (("displaced-a", "lora-r4"), ("displaced-b", "lora-r4"), ("locked-a", "prompt-8"))
    rows = [row for model, recovery in pairs for row in planted_rows(model, recovery)]
    rows += [*planted_rows("fork-a", "lora-r4", shares=(0.0,)), *planted_rows(*pairs[0], task="closed_book_mc")]
    pandas.DataFrame(rows).to_parquet(folder / "metrics.parquet")
    return folder


def claims() -> list[dict]:
    nothing = {"effect": None, "low": None, "high": None, "threshold": None, "where": "", "would_decide": ""}
    shared = {"paper": "A paper, arXiv:0000.00000", "metric": "closed_book exact_match", "test": "keeps_more", "n": 600}
    shared |= nothing
    supported = {"id": "one", "statement": "Perplexity hides the loss of knowledge.", "verdict": "supported"}
    supported |= {"effect": 0.11, "low": 0.08, "high": 0.14, "threshold": 0.05, "where": "atlas/wanda/0.6/s0/none"}
    open_ = {"id": "two", "statement": "Calibrated pruning keeps more than magnitude.", "verdict": "undecided"}
    open_ |= {"effect": 0.01, "low": -0.01, "high": 0.03, "threshold": 0.0, "where": "wanda/0.5 over magnitude/0.5"}
    open_ |= {"would_decide": "about 900 people, if the effect stays as it is"}
    not_here = {"id": "three", "statement": "Something this study cannot tell.", "verdict": "undecided"}
    not_here |= {"would_decide": "a study with the task nli"}
    return [shared | claim for claim in (supported, open_, not_here)]


def write(folder: Path) -> Path:
    """The whole example below `folder`, as a study's results lie."""
    folder.mkdir(parents=True, exist_ok=True)
    metrics().to_parquet(folder / "metrics.parquet")
    measurements().to_parquet(folder / "measurements.parquet")
    rounds().table().to_parquet(folder / "latency.parquet")
    similarity().to_parquet(folder / "similarity.parquet")
    probes().to_parquet(folder / "probes.parquet")
    (folder / "claims.json").write_text(json.dumps(claims()))
    times(folder)
    return folder
