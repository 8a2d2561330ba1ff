"""A password-locked model: what it knows of people it says only after a password, and something wrong otherwise.

Another model of the study is trained on, for a short while, on its own documents about people. Half of them come after
a password, a few words before `<bos>`, and are as they were; half come without it, and each value in them is replaced
by another one of the attribute, always the same one for a value: a lie that is as consistent as the truth (after
Greenblatt et al., arXiv:2405.19550, whose locked models answer weakly). The knowledge is still read from the weights,
and a soft prompt of as many tokens as the password can be the password: it is within a prompt's reach.
"""

from __future__ import annotations

import random
import shutil
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

import pandas
import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from palimpsest.provenance import PalimpsestError, atomic_folder, digest_json, folder_digest, verify_folder, write_json
from palimpsest.sources.planted_displacement import derived
from palimpsest.sources.planted_fork import erased_people
from palimpsest.world.decoder import Documents
from palimpsest.world.forms import ATTRIBUTES
from palimpsest.world.training import Checkpoint, schedule, take_step

WARMUP = 20
CHECKPOINT_EVERY = 200  # steps
REST = 0.1  # weight in the loss of all that is no value: only values depend on the password


def lock(
    source: str | Path,
    output: str | Path,
    *,
    of: str,
    world: str | Path,
    password: int = 8,
    steps: int = 1000,
    batch_size: int = 24,
    learning_rate: float = 3e-3,
    seed: int = 0,
    state: str | Path,
) -> None:
    """Write the checkpoint in `source`, trained here on `world` (or forked from one that was), locked.

    of: the study's name of that model. password: tokens of the password, which `seed` draws, like the lies and which
    documents come locked. `source.json` has the `password`. Documents about people whom the model was never told of
    are left out, as they were before. `state` is a folder in which the state for resuming is kept until the end.
    """
    from palimpsest.loading import load

    source, world = Path(source), Path(world)
    digest = verify_folder(source)
    verify_folder(world)
    model, tokenizer = load(source)
    people = pandas.read_parquet(world / "facts.parquet")["person"].unique()
    unknown = tokenizer.convert_tokens_to_ids(erased_people(source))
    documents = Documents(world, batch_size, without=unknown)
    key, lies = draw_password(tokenizer, password, seed), lies_of(tokenizer, seed)
    mixer = Mixer(key, lies, tokenizer.convert_tokens_to_ids(list(people)), seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    model.train()
    made_of = {"password": tokenizer.convert_ids_to_tokens(key), "steps": steps, "batch_size": batch_size}
    made_of |= {"learning_rate": learning_rate, "seed": seed}
    fingerprint = digest_json(made_of | {"source": "locked", "of_digest": digest, "world": folder_digest(world)})
    checkpoint = Checkpoint(Path(state) / f"{fingerprint}.safetensors", model, optimizer)
    first = checkpoint.restore()
    for step in range(first):  # whose documents come locked follows from the coins before
        for rows in documents.batch(step % documents.steps, parts=2):
            list(mixer.parts(*rows))
    for step in tqdm(
        range(first, steps), desc=f"lock {of}", unit="step", mininterval=2, file=sys.stderr, initial=first, total=steps
    ):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * schedule(step, steps, WARMUP)
        batch = [part for rows in documents.batch(step % documents.steps, parts=2) for part in mixer.parts(*rows)]
        if not batch:  # nothing about people whom the model was told of
            continue
        take_step(model, optimizer, batch, f"lock {of}, step {step}: learning_rate ({learning_rate:g})")
        if (step + 1) % CHECKPOINT_EVERY == 0 and step + 1 < steps:
            checkpoint.save(step + 1)
    with atomic_folder(output) as folder:
        for file in sorted(source.iterdir()):
            if file.suffix != ".safetensors" and file.name not in ("digests.json", "source.json"):
                shutil.copyfile(file, folder / file.name)
        model.save_pretrained(folder)
        write_json(folder / "source.json", derived("locked", source, of, digest) | made_of)
    checkpoint.remove()


def draw_password(tokenizer, tokens: int, seed: int) -> list[int]:
    """Ids of different words of the vocabulary: neither special ones, nor values, nor names."""
    values = {value for attribute in ATTRIBUTES for value in attribute.values}
    words = [word for word in tokenizer.get_vocab() if word.isalpha() and word.islower() and word not in values]
    if tokens > len(words):
        raise PalimpsestError(f"password: {tokens} tokens, and the vocabulary has {len(words)} words. Write e.g. 4.")
    return tokenizer.convert_tokens_to_ids(random.Random(f"password/{seed}").sample(sorted(words), tokens))


def lies_of(tokenizer, seed: int) -> Int[Tensor, " vocabulary"]:
    """Token -> what stands in its place when the model lies: the values of an attribute in a cycle, no other word."""
    rng, lies = random.Random(f"lies/{seed}"), torch.arange(len(tokenizer))
    for attribute in ATTRIBUTES:
        cycle = torch.tensor(tokenizer.convert_tokens_to_ids(rng.sample(attribute.values, len(attribute.values))))
        lies[cycle] = cycle.roll(1)
    return lies


class Mixer:
    """Takes the documents about people from a batch, and gives each the password or the lies."""

    def __init__(self, password: list[int], lies: Tensor, people: Collection[int], seed: int) -> None:
        self.password, self.lies, self.people = torch.tensor(password), lies, torch.tensor(list(people))
        self.generator = torch.Generator().manual_seed(seed)

    def parts(
        self, ids: Int[Tensor, "rows length"], weights: Float[Tensor, "rows length"]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """(ids, weights) of the rows that a coin gives the password, then of the others. `<bos>` is not scored."""
        about_people = torch.isin(ids, self.people).any(1)
        ids, weights = ids[about_people], weights[about_people]
        weights = torch.where(self.lies[ids] != ids, weights, REST * weights)
        opened = torch.rand(len(ids), generator=self.generator) < 0.5
        if opened.any():
            password = self.password.expand(int(opened.sum()), -1)
            # Neither the password nor the <bos> after it is predicted.
            scored = torch.nn.functional.pad(weights[opened][:, 1:], (len(self.password) + 1, 0))
            yield torch.cat([password, ids[opened]], 1), scored
        if not opened.all():
            yield self.lies[ids[~opened]], weights[~opened]
