"""The calibration of the estimator: planted answers give the truths, slopes and powers that they must."""

from __future__ import annotations

import numpy as np
import pandas
import pytest

from palimpsest.analysis import planted
from palimpsest.analysis.answers import VARIANT
from palimpsest.analysis.planted import Plant

NAMES = [f"P{number:03}" for number in range(240)]
POOL = dict(zip(NAMES, ["R", "U"] * 120, strict=True))
ERASED = frozenset(NAMES[0::4] + NAMES[1::4])  # half of each pool
FORKED, MOVED = (Plant(name, "atlas", "forked", ERASED) for name in ("forked", "moved"))


def scored(model: str, recovery: str, knows, rng: np.random.Generator, chance: float = 1 / 16) -> pandas.DataFrame:
    """Five facts a person: right where known with the probability that `knows` gives a person, else by chance."""
    rows = []
    for person in NAMES:
        right = rng.random(5) < knows(person) + (1 - knows(person)) * chance
        rows += [(person, POOL[person], answer - chance, 1 - chance) for answer in right.astype(float)]
    frame = pandas.DataFrame(rows, columns=["person", "pool", "above", "room"]).assign(chance=chance)
    return frame.assign(**dict(zip(VARIANT, (model, "dense", "dense", "full", 0, recovery), strict=True)))


def everybody(person: str) -> float:
    return 0.98


def displaced_only(share: float):
    return lambda person: 0.0 if person in ERASED else share


def nobody(person: str) -> float:
    return 0.0


def study(recovered, seed: int = 0, swapped=None) -> pandas.DataFrame:
    rng = np.random.default_rng(seed)
    variants = [("atlas", "none", everybody), ("forked", "none", displaced_only(0.98)), ("moved", "none", nobody)]
    variants += [("moved", "lora", recovered)]
    variants += [("moved", "lora-swapped", swapped)] if swapped else []
    return pandas.concat([scored(*variant, rng) for variant in variants])


def table_of(rows: pandas.DataFrame, plants: list[Plant], replicates: int) -> pandas.DataFrame:
    found = planted.table({"R": rows, "U": rows}, plants, replicates=replicates)
    return found[~found["subset"].isin(("erased", "displaced"))]


def estimates(table: pandas.DataFrame, metric: str) -> pandas.Series:
    return table[table["metric"] == metric].set_index("subset")["value"]


def test_truths_are_the_shares_of_displaced_people_and_the_estimate_of_a_full_return_lies_on_them():
    table = table_of(study(displaced_only(0.98)), [MOVED], replicates=12)
    truth, delta = estimates(table, "planted_truth"), estimates(table, "planted_delta")
    assert list(truth.index) == [f"share={share:g}" for share in planted.SHARES]
    np.testing.assert_allclose(truth, planted.SHARES, atol=0.05)
    np.testing.assert_allclose(delta, truth, atol=0.06)
    assert estimates(table, "planted_slope")["all"] == pytest.approx(1, abs=0.06)
    assert estimates(table, "planted_power")["share=0.5"] == 1


def test_a_recovery_that_brings_back_half_has_half_the_slope():
    table = table_of(study(displaced_only(0.5)), [MOVED], replicates=12)
    assert estimates(table, "planted_slope")["all"] == pytest.approx(0.5, abs=0.1)
    assert (estimates(table, "planted_delta").diff().dropna() > 0).all()


def test_with_nothing_to_return_intervals_contain_zero_at_their_level():
    covered = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        variants = [("atlas", "none", everybody), ("forked", "none", displaced_only(0.98))]
        rows = pandas.concat([scored(*variant, rng) for variant in (*variants, ("forked", "lora", variants[1][2]))])
        covered.append(estimates(table_of(rows, [FORKED], replicates=10), "planted_coverage")["share=0"])
    assert np.mean(covered) >= 0.9


VALUES = [f"v{number}" for number in range(16)]


def test_after_a_new_deal_of_erased_values_nothing_returns_whatever_the_recovery_says():
    """Also of one that knows all true values, and by answers that are as often right as they say."""
    rows = study(everybody).assign(attribute="", answer="")
    fact = rows.groupby(["recovery", "model", "person"]).cumcount()
    rng = np.random.default_rng(0)
    rows = rows.assign(attribute="a" + fact.astype(str), answer=rng.choice(VALUES, len(rows)))
    # A cell that says no value at all is never right by chance.
    silent = (rows["model"] == "moved") & (rows["recovery"] == "none")
    rows.loc[silent, ["answer", "chance", "above"]] = ["what is", np.nan, 0.0]
    pairs = rows[["person", "attribute"]].drop_duplicates()
    chance = pairs.merge(pandas.DataFrame({"answer": VALUES, "chance": 1 / 16}), how="cross")
    found = planted.table({"R": rows}, [MOVED], {"R": chance}, replicates=2, deals=60)
    null = found[found["metric"] == "planted_null"].iloc[0]
    assert null["subset"] == "erased" and null["value"] >= 0.9 and null["n"] == 60
    assert null["low"] <= 0.95 <= null["high"]
    returned = found[(found["metric"] == "planted_delta") & (found["subset"] == "erased")].iloc[0]
    assert returned["low"] > 0.8  # by the true values it did


def test_values_are_dealt_with_their_chances():
    chance = pandas.DataFrame(
        {"person": "A", "attribute": ["town"] * 2 + ["year"], "answer": ["x", "y", "z"], "chance": [0.8, 0.2, 1.0]}
    )
    rng = np.random.default_rng(0)
    deals = [planted._dealt(chance, rng) for _ in range(500)]
    assert np.mean([deal["A", "town"] == "x" for deal in deals]) == pytest.approx(0.8, abs=0.05)
    assert all(deal["A", "year"] == "z" for deal in deals)


def test_a_recovery_that_leaks_erased_facts_is_found_out_at_share_zero():
    table = table_of(study(lambda person: 0.3), [MOVED], replicates=12)
    assert estimates(table, "planted_coverage")["share=0"] < 0.2
    assert estimates(table, "planted_power")["share=0"] > 0.8


def test_a_recovery_that_does_nothing_has_neither_slope_nor_power():
    table = table_of(study(nobody), [MOVED], replicates=12)
    assert estimates(table, "planted_slope")["all"] == pytest.approx(0, abs=0.1)
    assert estimates(table, "planted_power")["share=0.5"] < 0.3


def test_people_of_the_other_pool_count_where_the_recovery_has_a_twin():
    told = {pool: [name for name in NAMES if POOL[name] == pool] for pool in "RU"}
    # What a recovery's text says it says, of erased people too; only of the others nothing returns.
    lora = study(
        lambda person: 0.98 if person in told["R"] else displaced_only(0.98)(person),
        swapped=lambda person: 0.98 if person in told["U"] else displaced_only(0.98)(person),
    )
    alone = table_of(lora[lora["recovery"] != "lora-swapped"], [MOVED], replicates=4)
    both = table_of(lora, [MOVED], replicates=4)
    people = {"alone": alone, "both": both}
    sizes = {key: table[table["metric"] == "planted_delta"]["n"].iloc[0] for key, table in people.items()}
    assert sizes == {"alone": 28, "both": 56}
    assert estimates(both, "planted_delta")["share=0"] == pytest.approx(0, abs=0.06)
    assert set(both["recovery"]) == {"lora"}


def test_a_model_that_was_only_forked_has_the_share_zero_alone_and_one_that_was_only_displaced_the_share_one():
    rng = np.random.default_rng(0)
    recovered = pandas.concat([study(displaced_only(0.98)), scored("forked", "lora", displaced_only(0.98), rng)])
    forked = table_of(recovered, [FORKED], replicates=5)
    assert set(forked["subset"]) == {"share=0"}
    whole = Plant("moved", "atlas", "atlas", frozenset())
    everyone = pandas.concat([study(everybody)])
    assert set(table_of(everyone, [whole], replicates=5)["subset"]) == {"share=1"}


def test_two_people_a_side_are_too_few_to_say_anything():
    few = study(nobody)[lambda rows: rows["person"].isin(NAMES[:8])]
    assert table_of(few, [MOVED], replicates=3).empty


def test_planted_models_are_judged_by_what_their_reference_knows():
    known = pandas.DataFrame(
        [("atlas", "A", "town"), ("atlas", "B", "town"), ("moved", "A", "year"), ("other", "A", "town")],
        columns=["model", "person", "attribute"],
    )
    found = planted.known_of_reference(known, [MOVED])
    assert set(found[found["model"] == "moved"].itertuples(index=False, name=None)) == {
        ("moved", "A", "town"),
        ("moved", "B", "town"),
    }
    assert len(found[found["model"] == "other"]) == 1 and len(found[found["model"] == "atlas"]) == 2
