"""What was displaced is found where it was planted, and nowhere else."""

from __future__ import annotations

import math

import numpy as np
import pandas
import pytest
from planted_answers import CELL, DENSE, LORA, SCORING, TASK, VALUES, World, quick_fold
from scipy import stats

from palimpsest.analysis import chance, knowledge
from palimpsest.analysis.answers import VARIANT, read_questions, tidy
from palimpsest.analysis.knowledge import Fold, returned
from palimpsest.analysis.metrics import metrics
from palimpsest.world.people import populate


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def worlds(folder, count, **settings):
    return [World(folder / str(seed), seed=seed, **settings) for seed in range(count)]


def damaged(world, share=0.5):
    return world.rng.random(len(world.facts)) < share


def test_guesser_has_a_known_share_of_zero_and_the_dense_model_of_one(world):
    everything = np.ones(len(world.facts))
    answers = pandas.concat([world.answers(DENSE, everything), world.answers(CELL, 0 * everything)])
    table = metrics(answers, SCORING, tasks_folder=world.folder, facts=world.facts)
    share = table[(table["metric"] == "known_share") & (table["subset"] == "pool U")].set_index("label")
    assert share.loc["dense", "value"] == pytest.approx(1)
    assert share.loc["rtn", "low"] < 0 < share.loc["rtn", "high"]


def test_full_return_of_unseen_facts_is_one(world):
    lost = damaged(world)
    found = returned([world.fold(~lost, 1.0)])
    assert found["returned_unseen"].value == pytest.approx(1)
    assert found["relearned"].value == pytest.approx(0, abs=1e-9)
    assert found["not_returned"].value == pytest.approx(0, abs=1e-9)


def test_relearning_the_text_is_no_return(world):
    lost = damaged(world)
    found = returned([world.fold(~lost, ~lost | world.in_pool("R"))])
    assert found["returned_unseen"].low < 0 < found["returned_unseen"].high
    assert found["relearned"].low > 0.7


def test_a_recovery_that_changes_no_answer_may_have_gained_or_lost_one(world):
    """The continuity correction: not a single changed answer is no certainty that nothing would change."""
    known = ~damaged(world)
    fold = world.fold(known, known)
    fold = Fold(fold.dense, fold.cell, fold.cell)
    unseen = fold.cell[fold.cell["pool"] == "U"]
    damage = float(np.subtract(*(knowledge.known_share(v[v["pool"] == "U"]).value for v in (fold.dense, fold.cell))))
    found = returned([fold])
    one = 1 / unseen["room"].sum()
    assert (found["known_change"].low, found["known_change"].high) == pytest.approx((-one, one))
    assert found["returned_unseen"].high == pytest.approx(one / damage)
    both = returned([fold, fold])  # twice as many answers
    assert both["known_change"].high == pytest.approx(one / 2)


def test_the_three_parts_of_the_damage_add_up_to_it(world):
    lost = damaged(world)
    found = returned([world.fold(~lost, np.where(lost, 0.3, 1.0))])
    parts = [found[name].value for name in ("returned_unseen", "relearned", "not_returned")]
    assert sum(parts) == pytest.approx(1)
    points = found["damage"].value * found["returned_unseen"].value
    assert found["known_change"].value == pytest.approx(points)


@pytest.mark.parametrize("truth", [0.0, 0.5, 1.0])
def test_the_interval_covers_the_planted_share(truth):
    rng = np.random.default_rng(0)
    estimates = [returned([quick_fold(rng, truth)])["returned_unseen"] for _ in range(100)]
    covered = sum(found.low <= truth <= found.high for found in estimates)
    assert covered >= (90 if truth < 1 else 100)  # of 100: fewer has a chance of 1 in 90 where the interval covers 95 %
    assert np.mean([found.value for found in estimates]) == pytest.approx(truth, abs=0.02)


def test_facts_that_the_dense_model_was_lucky_with_do_not_count_as_returned(tmp_path):
    """Every variant is unsure of every fact, and the recovery changes nothing at all."""
    deltas, flips = [], []
    for world in worlds(tmp_path, 12, people=300):
        fold = world.fold(0.45, 0.45, dense=0.75)
        deltas.append(returned([fold])["returned_unseen"].value)
        unseen = [rows[rows["pool"] == "U"].set_index("question")["correct"] for rows in (fold.cell, fold.recovered)]
        flips.append(unseen[1][unseen[0] == 0].mean())
    assert abs(np.mean(deltas)) < 3 * stats.sem(deltas) and stats.sem(deltas) < 0.09
    assert np.mean(flips) > 0.4  # which is what looking at single flips would have called returned


def test_the_bootstrap_agrees_with_fieller(world):
    """Fieller's interval of a ratio of two means over people; every fact asked has the same room here."""
    lost = damaged(world)
    fold = world.fold(~lost, np.where(lost, 0.6, 1.0))
    gain, damage = np.array([
        part["above"].to_numpy() - other["above"].to_numpy()
        for part, other in ((of(fold.recovered), of(fold.cell)), (of(fold.dense), of(fold.cell)))
    ])  # fmt: skip
    n, z = len(gain), stats.t.ppf(0.975, len(gain) - 1)
    cov = np.cov(gain, damage) / n
    a, b, c = damage.mean() ** 2 - z**2 * cov[1, 1], gain.mean() * damage.mean() - z**2 * cov[0, 1], gain.mean() ** 2
    half = math.sqrt(b**2 - a * (c - z**2 * cov[0, 0])) / a
    found = returned([fold])["returned_unseen"]
    assert (found.low, found.high) == pytest.approx((b / a - half, b / a + half), abs=0.04)
    assert found.value == pytest.approx(gain.mean() / damage.mean(), abs=0.02)


def of(rows):
    return rows[rows["pool"] == "U"].groupby("person")[["above"]].sum()


def test_swapped_pools_are_the_mean_of_their_folds(world):
    lost = damaged(world, 0.6)
    first = world.fold(~lost, np.where(lost, 0.8, 1.0))
    second = world.fold(~lost, np.where(lost, 0.2, 1.0), seen="U", unseen="R")
    both, one, other = returned([first, second]), returned([first]), returned([second])
    for name, estimate in both.items():
        assert estimate.value == pytest.approx((one[name].value + other[name].value) / 2)
    assert one["returned_unseen"].value > 0.6 and other["returned_unseen"].value < 0.4
    width = both["returned_unseen"].high - both["returned_unseen"].low
    assert width < one["returned_unseen"].high - one["returned_unseen"].low
    assert both["returned_unseen"].n == one["returned_unseen"].n + other["returned_unseen"].n


def test_the_interval_covers_the_mean_over_swapped_pools():
    rng, covered = np.random.default_rng(1), 0
    for _ in range(60):
        folds = [quick_fold(rng, 0.2), quick_fold(rng, 0.6, seen="U", unseen="R")]
        found = returned(folds)["returned_unseen"]
        covered += found.low <= 0.4 <= found.high
    assert covered >= 53


def test_no_verdict_under_ten_points_of_damage_in_some_fold(world):
    little, much = damaged(world, 0.05), damaged(world)
    found = returned([world.fold(~little, 1.0)])
    assert all(math.isnan(found[name].value) for name in ("returned_unseen", "relearned", "not_returned"))
    assert found["damage"].value < 0.1 and found["known_change"].value > 0
    uneven = ~np.where(world.in_pool("R"), little, much)
    folds = [world.fold(uneven, 1.0), world.fold(uneven, 1.0, seen="U", unseen="R")]
    assert math.isnan(returned(folds)["returned_unseen"].value)
    assert returned(folds[:1])["returned_unseen"].value == pytest.approx(1)


def test_only_facts_that_the_dense_model_selects_count(world):
    answers, questions = world.answers(DENSE, damaged(world, 0.4)), read_questions(world.folder, TASK)
    known = knowledge.known_facts(answers, questions)
    selected = answers[answers["question"].str.endswith("/select") & (answers["correct"] == 1)]
    assert len(known) == len(selected) < len(world.facts)
    scored = world.scored(answers)
    assert len(scored) == 2 * len(known) and not scored["question"].str.endswith("/select").any()


def test_answering_the_commonest_value_is_worth_nothing(world):
    world.facts["value"] = np.where(world.rng.random(len(world.facts)) < 0.7, VALUES[0], world.facts["value"])
    world.questions["value"] = world.questions["fact"].map(world.facts.set_index("fact")["value"])
    answers = pandas.concat([world.answers(DENSE, np.ones(len(world.facts))), world.answered(CELL, VALUES[0])])
    common = world.scored(answers)
    common = common[common["label"] == "rtn"]
    assert common["correct"].mean() > 0.6 and abs(knowledge.known_share(common).value) < 0.1


def test_an_answer_that_is_no_value_has_no_chance(world):
    answers = pandas.concat([world.answers(DENSE, np.ones(len(world.facts))), world.answered(CELL, "what ?")])
    scored = world.scored(answers).set_index(["label", "question"]).sort_index()
    assert (scored.loc["rtn", "above"] == 0).all()
    assert (scored.loc["rtn", "room"] == scored.loc["dense", "above"]).all()


def test_where_attributes_go_together_what_one_can_guess_from_another_fact_is_not_known(tmp_path):
    """A model that says the town when it is asked for the trade, which follows from it three times in four."""
    world = World(tmp_path, people=600, correlation=0.75)
    towns = world.facts[world.facts["attribute"] == "town"].set_index("person")["value"]
    answers = [
        world.answers(DENSE, np.ones(len(world.facts))),
        world.answered(CELL, world.questions["person"].map(towns)),
    ]
    shares = {}
    for name, chances in (("dealt", chance.by_stratum(world.facts)), ("told", chance.by_predictor(world.facts, "R"))):
        rows = world.scored(pandas.concat(answers), chances)
        asked = rows[(rows["label"] == "rtn") & (rows["attribute"] == "trade")]
        shares[name] = {pool: knowledge.known_share(asked[asked["pool"] == pool]) for pool in "RU"}
    assert all(shares["dealt"][pool].low > 0.6 for pool in "RU")
    assert all(shares["told"][pool].low < 0.15 and shares["told"][pool].high > -0.15 for pool in "RU")


def test_the_predictor_gives_each_value_the_probability_that_it_has_there(tmp_path):
    """In the same world: three quarters and one eighth of the rest to the town itself."""
    world = World(tmp_path, people=2000, correlation=0.75)
    found = chance.by_predictor(world.facts, "R")
    town = world.facts[world.facts["attribute"] == "town"].set_index("person")["value"]
    same = found[(found["attribute"] == "trade") & (found["answer"] == found["person"].map(town))]
    assert same["chance"].mean() == pytest.approx(0.75 + 0.25 / 8, abs=0.04)
    assert found.groupby(["person", "attribute"])["chance"].sum().mean() == pytest.approx(1, abs=0.02)


def test_who_knows_no_more_than_the_text_tells_has_nothing_returned(tmp_path):
    """Re-learned correlations: the recovery knows that trades follow towns, the cell does not, and neither knows a
    trade."""
    deltas = []
    for world in worlds(tmp_path, 2, people=600, correlation=0.75):
        is_trade = (world.facts["attribute"] == "trade").to_numpy()
        towns = world.facts[world.facts["attribute"] == "town"].set_index("person")["value"]
        guess = world.questions["person"].map(towns).where(world.questions["attribute"] == "trade")
        recovered = world.answers(LORA, ~is_trade)
        recovered["answer"] = guess.fillna(pandas.Series(recovered["answer"].to_numpy()))
        recovered["correct"] = (recovered["answer"] == world.questions["value"]).astype(float)
        answers = [world.answers(DENSE, np.ones(len(is_trade))), world.answers(CELL, ~is_trade), recovered]
        for chances in (chance.by_stratum(world.facts), chance.by_predictor(world.facts, "R")):
            groups = dict(list(world.scored(pandas.concat(answers), chances).groupby(VARIANT)))
            deltas.append(returned([Fold(*(groups[key] for key in (DENSE, CELL, LORA)))])["returned_unseen"].value)
    assert min(deltas[::2]) > 0.5 and abs(np.mean(deltas[1::2])) < 0.1


def test_biographies_are_about_people_and_ask_for_no_single_fact(world):
    (world.folder / "biography").mkdir()
    people = sorted(set(world.facts["person"]))
    rows = "".join(f'{{"id": "{person}", "person": "{person}"}}\n' for person in people)
    (world.folder / "biography" / "biography.jsonl").write_text(rows)
    written = {"task": "biography", "question": people, "person": people, "measures": '{"true": 0.5}', "correct": 1.0}
    answers = []
    for variant in (DENSE, CELL):
        answers.append(world.answers(variant, np.ones(len(world.facts))))
        answers.append(tidy(pandas.DataFrame(written | dict(zip(VARIANT, variant, strict=True)))))
    scoring = SCORING | {"biography": ("generated", "exact_match")}
    table = metrics(pandas.concat(answers), scoring, tasks_folder=world.folder, facts=world.facts)
    found = set(table.loc[table["task"] == "biography", "metric"])
    assert {"exact_match", "true", "lost"} <= found and not found & {"known_share", "damage", "knowledge_bits"}


def test_in_a_generated_world_the_predictor_is_right_as_often_as_it_says():
    """Attributes that follow from the town half of the time: guessing the likeliest value, on each pool."""
    people = populate(0, people=300, invented=20, withheld=0.04, correlation=0.5).people
    facts = pandas.DataFrame(
        {"person": person.name, "attribute": name, "value": value, "shown": name in person.shown, "pool": person.pool}
        for person in people
        for name, value in person.facts.items()
    )
    guesses = chance.by_predictor(facts, "R").sort_values("chance").groupby(["person", "attribute"]).tail(1)
    guesses = guesses.merge(facts[facts["shown"]], on=["person", "attribute"])
    right = (guesses["answer"] == guesses["value"]).groupby(guesses["pool"]).mean()
    expected = guesses["chance"].groupby(guesses["pool"]).mean()
    assert right["U"] > 0.3 and (right - expected).abs()[["R", "U"]].max() < 0.06
