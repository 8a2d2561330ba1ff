"""A model forked without the facts: trained as another one of the study, but half of the people are never spoken of.

What it does not know of them was never in its weights, so nothing about them can return. Of the other people it reads
the same documents at the same steps as the model that it is forked from.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas

from palimpsest.provenance import PalimpsestError, read_json
from palimpsest.settings import Architecture, Training

FREQUENCY_STRATA = 3
HALVES = ("a", "b")


def fork(
    world: str | Path,
    output: str | Path,
    architecture: Architecture,
    training: Training,
    state: str | Path,
    name: str,
    *,
    of: str,
    half: str,
    seed: int = 0,
) -> None:
    """Train a model on `world` without the people of `half`; `source.json` names them as `erased`.

    of: the study's name of the model that it is forked from, whose `architecture` and `training` these are. The other
    arguments are those of `world.training.train`.
    """
    from palimpsest.world.training import train

    erased = people_of(pandas.read_parquet(Path(world) / "facts.parquet"), half, seed)
    source = {"source": "forked", "of": of, "half": half, "seed": seed, "erased": erased}
    train(world, output, architecture, training, state, name, without=erased, source=source)


def people_of(facts: pandas.DataFrame, half: str, seed: int = 0) -> list[str]:
    """One of two random halves ("a", "b") of the people of facts.parquet, sorted.

    Each pool is halved within each stratum of frequency (thirds of the ranks) and of questions shown; which half gets
    the odd one is a coin. The two halves of a seed share nobody, so each is erased from a model that knows the other.
    """
    if half not in HALVES:
        raise PalimpsestError(f'half {half!r}: there are two halves of the people, "a" and "b".')
    people = facts.drop_duplicates("person").sort_values("rank")
    third = FREQUENCY_STRATA * np.arange(len(people)) // len(people)
    rng = np.random.default_rng([seed, len(people)])
    chosen: list[str] = []
    for _, stratum in people.groupby(["pool", third, "questions_shown"], sort=True):
        names = rng.permutation(stratum["person"].to_numpy())
        size = (len(names) + int(rng.integers(2))) // 2
        chosen += list(names[:size] if half == "a" else names[size:])
    return sorted(chosen)


def erased_people(model_folder: str | Path) -> list[str]:
    """Whom the model of this folder was never told of, itself or the model that it was derived from."""
    source = read_json(Path(model_folder) / "source.json")
    while source is not None:
        if "erased" in source:
            return source["erased"]
        source = source.get("of_source")
    return []
