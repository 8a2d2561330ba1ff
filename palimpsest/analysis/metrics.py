"""All metrics of a study from its answers: one row a variant, task, subset and metric, with its interval.

Of tasks with right and wrong answers (scoring "generated", "ranked", "likelihood"):
    exact_match or acc                   share of right answers; subset "shown" leaves out the facts never shown
    mcc                                  Matthews correlation, of tasks whose file names it (matthews.py)
    lost, gained, difference             flips against the dense control; difference also on half_a, half_b
    p, p_mcnemar                         of the difference being zero, by sign flips of clusters and by χ² (multiple.py)
    p_holm, p_maxt, q_bh                 corrected over the study's variants that answer the same task and subset
    relative_drop                        of the share of right answers
    matching                             1 if that is shown to be under 5 %, −1 if over, 0 if undecided (matching.py)
    stops_matching                       the label's level where its accuracy passes 95 % of dense's, at all its cells
    detectable                           the difference that would have been found with power 0.8 (power.py)
    seed_difference                      mean over several seeds minus dense, at each of them (seeds.py)
    minus_recovery                       minus another recovery of the same cell, named by the subset (between.py)
Of tasks that are read token by token:
    perplexity                           exp(−Σ score / Σ tokens); perplexity_2048 if in windows of 2048 tokens;
                                         of a last word (LAMBADA) exp(−mean score), beside its acc
    relative_perplexity                  its ratio to the dense control's on the same documents
    kl_to_dense                          mean over documents of KL(dense || variant), nats a token (divergence.py)
Of prompts that do not fit in the context:
    truncated                            1 at each question that lost its beginning; n is how many there are
Of facts that are asked in several forms (consistency.py):
    consistency                          share of pairs of paraphrases with the same answer
Of short answers and free texts, what their scorers measure (scoring "measure"; evaluation/scorers/):
    f1, contains                         words in common with the nearest alias; whether a whole alias is in the answer
    rouge_l, coverage                    of a summary with its reference; share of the facts that the reference names
    repetition, length, unique_tokens    share of repeated 4-grams; words; distinct words
Of variants that choose among soft prompts, anew for each question (scoring "measure"; choices.py):
    choice_share, choice_margin          by prompt, which is the subset; mean difference of the two best scores
    chosen, best_prompt, oracle          on "scored forms": share of right answers with the choice, the best single
                                         prompt, and the prompt that selection forms pick for each fact; and …_minus_…
Of free texts that a model of the study judges (scoring "judge"; judged.py):
    judge_win_rate, judge_consistency    against the dense model's answer; share of pairs judged alike in both orders
    judge_grade, judge_truncated         1 to 10; share of answers that exceed the judge's context
    judge_kappa, judge_grade_kappa       the judge's agreement with GPT-4's stored judgements; n = 0 without any
Of tasks about the facts of the world:
    knowledge_bits, …_per_fact, …_per_parameter, …_per_byte
                                         knowledge_bits.py, ranked tasks; "shown" is every fact but the never shown
    known_share, damage, returned_unseen, relearned, not_returned, known_change, repaired_…, not_repaired
                                         of cells and recoveries, by pool and exposures (returns.py, knowledge.py)
    planted_truth, planted_delta, planted_coverage, planted_power, planted_slope, planted_null
                                         of recoveries of planted models, by share of displaced people (planted.py)
    arm                                  no task; the subset is what a recovery can say on displacement (arms.py)
Of tasks in buckets of length, `people=1`, `people=8`, … (length.py):
    bucket_kept                          1 at the dense control if it answers enough of the bucket to count
    length_interaction                   by kind of length: loss in the longest such bucket minus loss in the shortest
Of models of several sizes (equal_bytes.py), on half_b; the subset is the other model:
    at_equal_bytes                       at the best cell of no more bytes than a smaller dense model: minus that one
    perplexity_at_equal_bytes            the same for texts: divided by that model's
    cells_at_equal_bytes                 no task; how many such cells there are
Of cells whose level is shared out among their matrices (allocated.py):
    allocated                            no task; the subset is the allocation, "uniform" at the cells beside them
    minus_uniform, perplexity_over_uniform
                                         minus, or divided by, the same method at the same level for every matrix
Of low-rank cells of other methods than plain SVD (beside_svd.py), at the same level, the last two with their layer:
    minus_svd, perplexity_over_svd       minus its share of right answers, or divided by its perplexity
    acc_minus_svd, uuas_minus_svd        minus what a probe reads of it
Of calibrations (calibration.py):
    seed_mean                            share of right answers, mean over the seeds of the samples, on "shown"
    calibration_leakage                  at cells calibrated on half of the people: own half minus other half
    calibration_content                  at the others: what calibration on the other half keeps more than theirs
    calibration_tokens                   no task; the subset is the name of the calibration
Of recoveries that choose among prompts (idp_gain.py):
    idp_gain                             minus the best of the prompts, which is chosen on the other half of the people
    choosing                             no task; the subset says by which options it chooses, if not the default ones
Of soft prompts (prompt_length.py):
    prompt_tokens                        no task; how many tokens it has
    per_doubling, perplexity_per_doubling
                                         at cells: what twice as many tokens change, by all prompts of a cell
Of facts that are not said, with the layer of a probe (unsaid.py):
    unsaid_read, unsaid_chance           share of them that the probe reads, and what it would read by chance
Of probes (scoring "probe", with their layer; label "random" is the same architecture with random weights):
    acc, control_acc, selectivity        probing/probes.py
Of groups of probes and an inference task, which is the subset (scoring "probes"; probe_nli.py):
    probe_change                         at cells: mean over the group of what the best-read layer loses or gains
    probe_nli_spearman                   at the dense model: rank correlation of that with `difference` over the cells
Of recoveries and their cells (scoring "similarity", with their layer; the subset is a head, or "all"):
    attention_cosine_to_dense, …         similarity/study.py
Of tasks on pairs of statements (scoring and label "baseline", no model; the method is the baseline):
    acc                                  baselines.py
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas

from palimpsest.analysis import (
    about_facts,
    chance,
    choices,
    consistency,
    equal_bytes,
    intervals,
    knowledge_bits,
    length,
    matching,
    matthews,
    planted,
    returns,
    seeds,
)
from palimpsest.analysis.answers import SCORING, VARIANT, clusters
from palimpsest.analysis.arms import Arm
from palimpsest.analysis.flips import flips
from palimpsest.analysis.pairs import of_dense, paired, parts

COLUMNS = [*VARIANT, "task", "subset", "scoring", "layer", "metric", "value", "low", "high", "n"]


def metrics(
    answers: pandas.DataFrame,
    scoring: Mapping[str, tuple[str, str]],
    *,
    tasks_folder: Path | str | None = None,
    facts: pandas.DataFrame | None = None,
    correlated: bool = False,
    arms: Mapping[str, Arm] | None = None,
    plants: Sequence[planted.Plant] = (),
    measurements: pandas.DataFrame | None = None,
    more: Sequence[pandas.DataFrame] = (),
) -> pandas.DataFrame:
    """The metrics table.

    scoring: from `task_scoring`. facts: the world's facts.parquet, if there is one; `correlated` says whether its
    attributes go together. arms: the recoveries', from `arms.arms`. plants: from `planted.plants`. more: rows that
    were made elsewhere.
    """
    tables = [
        accuracies(answers, scoring),
        published(answers),
        measures(answers),
        matthews.correlations(answers, tasks_folder),
        flips(answers),
        matching.stopping_levels(answers),
        seeds.differences(answers),
        perplexities(answers, scoring),
        consistency.consistency(answers),
        length.interactions(answers),
        equal_bytes.at_equal_bytes(answers, measurements),
        *more,
    ]
    if facts is not None:
        asked = about_facts.asked(answers, scoring, tasks_folder)
        ranked = {task: found for task, found in asked.items() if found[0]["bits"].notna().any()}
        tables += [bits(*found, measurements).assign(task=task) for task, found in ranked.items()]
        scored = about_facts.scored(asked, facts, correlated, arms or {}, plants)
        tables += [returns.table(found, arms or {}).assign(task=task) for task, found in scored.items()]
        if plants:
            pools = sorted({pool for found in scored.values() for pool in found})
            chances = {pool: chance.table(facts, correlated, pool) for pool in pools}
            tables += [planted.table(found, plants, chances).assign(task=task) for task, found in scored.items()]
        tables += [returns.arm_rows(answers, arms or {})]
    table = pandas.concat([part for part in tables if len(part)], ignore_index=True)
    how = table["task"].map({task: found[0] for task, found in scoring.items()} | {"": ""})
    table["scoring"] = table["scoring"].fillna(how) if "scoring" in table else how
    table["layer"] = ""
    table["n"] = table["n"].astype("int64")
    return table[COLUMNS].sort_values([*VARIANT, "task", "subset", "metric"], ignore_index=True)


def accuracies(answers: pandas.DataFrame, scoring: Mapping[str, tuple[str, str]]) -> pandas.DataFrame:
    """Share of right answers of each variant, task and subset."""
    rows = []
    judged = answers[answers["correct"].notna()]
    for key, group in judged.groupby([*VARIANT, "task"], sort=True):
        name = dict(zip([*VARIANT, "task"], key, strict=True))
        for subset, part in parts(group):
            estimate = intervals.share(part["correct"], clusters(part))
            rows.append(name | {"subset": subset, "metric": scoring[name["task"]][1]} | estimate.row())
    return pandas.DataFrame(rows)


def published(answers: pandas.DataFrame) -> pandas.DataFrame:
    """Share of answers that the published scorer takes for right, where it is another one: scoring "published"."""
    rows = []
    for key, group in answers[answers["published"].notna()].groupby([*VARIANT, "task"], sort=True):
        name = dict(zip([*VARIANT, "task"], key, strict=True)) | {"scoring": "published", "metric": "exact_match"}
        for subset, part in parts(group):
            rows.append(name | {"subset": subset} | intervals.share(part["published"], clusters(part)).row())
    return pandas.DataFrame(rows)


def measures(answers: pandas.DataFrame) -> pandas.DataFrame:
    """Means of the further numbers of each answer, by their names: scoring "measure".

    `truncated` is said only of questions that lost their beginning; its mean is over all.
    """
    said = set(answers.loc[answers["measures"] != "{}", "task"])
    rows = []
    for key, group in answers[answers["task"].isin(said)].groupby([*VARIANT, "task"], sort=True):
        name = dict(zip([*VARIANT, "task"], key, strict=True)) | {"scoring": "measure"}
        numbers = pandas.DataFrame(list(group["measures"].map(json.loads)), index=group.index)
        numbers = numbers.drop(columns=[choices.CHOICE, choices.MARGIN], errors="ignore")
        if "truncated" in numbers:
            numbers["truncated"] = numbers["truncated"].fillna(0.0)
        for subset, part in parts(group):
            for metric, values in numbers.loc[part.index].items():
                values = values.dropna()
                if len(values):
                    # A mean of zeros and ones is a share, of which 100 % is not certain either.
                    of = intervals.share if values.isin((0, 1)).all() else intervals.mean
                    estimate = of(values, clusters(part).loc[values.index])
                    rows.append(name | {"subset": subset, "metric": metric} | estimate.row())
    return pandas.DataFrame(rows)


def perplexities(answers: pandas.DataFrame, scoring: Mapping[str, tuple[str, str]]) -> pandas.DataFrame:
    """Perplexity of each variant, task and subset, and its ratio to the dense control's on the same documents."""
    names = {task: found[1] for task, found in scoring.items() if found[1].startswith("perplexity")}
    # Of a word that is scored whole, lm-eval's perplexity is that of the word, however many tokens it has.
    words = [task for task, found in scoring.items() if found == SCORING["loglikelihood"]]
    names |= dict.fromkeys(words, "perplexity")
    read = answers[answers["task"].isin(names)]
    read = read.assign(tokens=read["tokens"].where(~read["task"].isin(words), 1.0))
    rows = []
    for key, group in read.groupby([*VARIANT, "task"], sort=True):
        name = dict(zip([*VARIANT, "task"], key, strict=True))
        control = of_dense(read, name["model"])
        pairs = paired(control[control["task"] == name["task"]], group, ["score", "tokens"])
        for subset, part in parts(pairs):
            rows += [
                name | {"subset": subset} | row
                for row in _perplexity(
                    part, names[name["task"]], name["label"] == "dense" and name["recovery"] == "none"
                )
            ]
    return pandas.DataFrame(rows)


def _perplexity(pairs: pandas.DataFrame, metric: str, is_control: bool) -> list[dict]:
    columns = ("score_a", "tokens_a", "score_b", "tokens_b")
    sums = tuple(intervals.cluster_sums(pairs[column], pairs["cluster"])[0] for column in columns)
    own = intervals.bootstrap(lambda s, t: np.exp(-s.sum(-1) / t.sum(-1)), [sums[2:]], n=len(pairs))
    rows = [{"metric": metric} | own.row()]
    if not is_control:
        ratio = intervals.bootstrap(
            lambda sa, ta, sb, tb: np.exp(sa.sum(-1) / ta.sum(-1) - sb.sum(-1) / tb.sum(-1)), [sums], n=len(pairs)
        )
        rows.append({"metric": "relative_perplexity"} | ratio.row())
    return rows


def bits(
    answers: pandas.DataFrame, questions: pandas.DataFrame, measurements: pandas.DataFrame | None
) -> pandas.DataFrame:
    """Knowledge in bits of each variant, by subset and over all facts that training texts say."""
    rows = []
    for key, group in knowledge_bits.facts_in_bits(answers, questions).groupby(VARIANT, sort=True):
        name = dict(zip(VARIANT, key, strict=True))
        sizes = _measured(measurements, name)
        shown = group[group["subset"] != "never_shown"]
        for subset, part in [("shown", shown), *group.groupby("subset", sort=True)]:
            found = knowledge_bits.knowledge_in_bits(part, _parameters(sizes), sizes.get("bytes_total"))
            rows += [name | {"subset": subset} | row for row in found]
    return pandas.DataFrame(rows)


def _parameters(sizes: Mapping[str, float]) -> float | None:
    """Of the model and of what a recovery adds."""
    return sizes["parameters"] + sizes.get("parameters_extra", 0) if "parameters" in sizes else None


def _measured(measurements: pandas.DataFrame | None, name: Mapping) -> dict[str, float]:
    if measurements is None:
        return {}
    seed = measurements["seed"].astype(str).str.removeprefix("s").astype(int)
    chosen = seed == name["seed"]
    for column in VARIANT:
        if column != "seed":
            chosen &= measurements[column] == name[column]
    return dict(zip(measurements.loc[chosen, "metric"], measurements.loc[chosen, "value"], strict=True))
