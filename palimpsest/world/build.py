"""Write a world to a folder: facts, training documents, texts by kind, and the rows of its tasks."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from palimpsest.halves import HALVES, half
from palimpsest.provenance import atomic_folder, write_json
from palimpsest.settings import World
from palimpsest.world import reading, tasks
from palimpsest.world.documents import Document, Writer
from palimpsest.world.forms import ATTRIBUTES
from palimpsest.world.people import STREAMS, Population, populate
from palimpsest.world.tokenizer import words, write_tokenizer

CONTEXT = 128
TRAINING_PASSAGES = 4000  # a subset of entailment, for fine-tuning an encoder


def build(world: World, output: str | Path) -> None:
    """Generate everything that studies read of a world. The same settings give the same bytes."""
    population = populate(world.seed, world.people, world.invented, world.withheld, world.correlation)
    vocabulary = words(population)
    writer = Writer(population, vocabulary, world.zipf_offset, world.unpredictable_weight)
    documents = training_documents(world, writer)
    with atomic_folder(output) as folder:
        write_json(folder / "world.json", world.model_dump())
        write_tokenizer(folder / "tokenizer", vocabulary, CONTEXT)
        _write_documents(folder / "documents.safetensors", documents, [writer.ids[name] for name in population.names])
        _write_facts(folder / "facts.parquet", population, writer)
        for kind, texts in _texts(world, writer).items():
            path = folder / "text" / f"{kind}.txt"
            path.parent.mkdir(exist_ok=True)
            path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
        for task, rows in _reading(world, population).items():
            _write_rows(folder / "tasks" / f"{task}.jsonl", rows)
        rng = _random(world.seed, "tasks")
        _write_rows(folder / "tasks" / "closed_book.jsonl", tasks.closed_book(population, rng))
        _write_rows(folder / "tasks" / "closed_book_mc.jsonl", tasks.closed_book_mc(population, rng))
        _write_rows(folder / "tasks" / "open_book.jsonl", tasks.open_book(population, rng, world.questions_per_subset))
        tested = list(tasks.entailment(population, rng, world.questions_per_subset))
        drawn = tasks.entailment_training(
            population, _random(world.seed, "entailment_training"), TRAINING_PASSAGES, tested
        )
        _write_rows(folder / "tasks" / "entailment.jsonl", tested)
        _write_rows(folder / "tasks" / "entailment.train.jsonl", drawn)
        _write_rows(folder / "tasks" / "perplexity.jsonl", tasks.perplexity(writer, rng, world.questions_per_subset))
        _write_rows(folder / "tasks" / "attribute_value.jsonl", tasks.attribute_value(population))
        _write_rows(folder / "tasks" / "biography.jsonl", tasks.biography(population))


def training_documents(world: World, writer: Writer) -> list[Document]:
    """The documents in the order in which every model reads them; `writer.exposures` counts what they state."""
    rng = _random(world.seed, "documents")
    kinds, shares = list(world.mix), list(world.mix.values())
    draw: dict[str, Callable[[], Document]] = {
        "biographies": lambda: writer.biography(writer.person(rng), rng),
        "questions": lambda: writer.questions(writer.asked_person(rng), rng),
        "passages": lambda: _passage(world, writer, rng),
        "prose": lambda: writer.prose(rng, world.prose_words),
    }
    writer.exposures.clear()
    return [draw[kind]() for kind in rng.choices(kinds, shares, k=world.documents)]


def _passage(world: World, writer: Writer, rng: random.Random) -> Document:
    people = rng.randint(1, world.passage_people)
    return writer.passage(rng, people, people > 1 and rng.random() < world.same_attribute, world.restated)


def _texts(world: World, writer: Writer) -> dict[str, list[str]]:
    """Texts by kind, one document a line, none of them a training document (drawn from streams of their own)."""
    rng = _random(world.seed, "texts")
    of_pool = {pool: [p for p in writer.population.people if p.pool == pool] for pool in "RVU"}
    twice = [person for person in writer.population.people for _ in range(2)]
    lives = [(person, text) for person in twice if (text := writer.text(writer.biography(person, rng)))]
    biographies = [text for _, text in lives]
    prose = [writer.text(writer.prose(rng, world.prose_words)) for _ in range(world.texts)]
    passages = [writer.text(_passage(world, writer, rng)) for _ in range(world.texts)]
    texts = {
        "prose": prose,
        "passages": passages,
        "biographies": biographies,
        "generic": [text for pair in zip(prose, passages, strict=True) for text in pair],
    }
    for name in HALVES:
        texts[f"biographies_{name}"] = [text for person, text in lives if half(person.name) == name]
    asking = _random(world.seed, "knowledge")
    asked = [writer.text(writer.questions(person, asking)) for person, _ in lives]
    texts["knowledge"] = [text for pair in zip(biographies, asked, strict=True) for text in pair]
    for pool, people in of_pool.items():
        about = []
        for _ in range(4):
            for person in people:
                about += [writer.text(writer.biography(person, rng)), writer.text(writer.questions(person, rng))]
        other = [writer.text(writer.prose(rng, world.prose_words)) for _ in range(len(about) // 8)]
        other += [writer.text(_passage(world, writer, rng)) for _ in range(len(about) // 8)]
        texts[f"recovery_{pool}"] = [text for text in rng.sample(about + other, len(about) + len(other)) if text]
    return texts


def _reading(world: World, population: Population) -> dict[str, Iterable[dict]]:
    """Task -> its rows, each from a stream of its own."""
    count = world.questions_per_subset

    def draws(task: str) -> tuple[Population, random.Random, int]:
        return population, _random(world.seed, task), count

    return {
        "open_book_absent": reading.absent(*draws("absent")),
        "open_book_contradiction": reading.contradiction(*draws("contradiction")),
        "open_book_length": reading.length(*draws("length"), CONTEXT),
        "closed_book_distracted": reading.distracted(*draws("distracted")),
    }


def _random(seed: int, purpose: str) -> random.Random:
    return random.Random(f"{seed}/{STREAMS[purpose]}")


def _write_documents(path: Path, documents: list[Document], names: list[int]) -> None:
    from safetensors.numpy import save_file

    save_file(
        {
            "ids": np.concatenate([np.array(document.ids, dtype=np.int16) for document in documents]),
            "weights": np.concatenate([np.array(document.weights, dtype=np.float16) for document in documents]),
            "names": np.array(names, dtype=np.int16),
            "lengths": np.array([len(document.ids) for document in documents], dtype=np.int32),
        },
        path,
    )


def _write_facts(path: Path, population: Population, writer: Writer) -> None:
    import pandas as pd

    rows = [
        {
            "fact": f"{person.name}/{attribute.name}",
            "person": person.name,
            "attribute": attribute.name,
            "value": person.facts[attribute.name],
            "values": len(attribute.values),
            "rank": person.rank,
            "exposures": writer.exposures[person.name, attribute.name],
            "shown": attribute.name in person.shown,
            "questions_shown": person.questions_shown,
            "pool": person.pool,
        }
        for person in population.people
        for attribute in ATTRIBUTES
    ]
    pd.DataFrame(rows).to_parquet(path, index=False)


def _write_rows(path: Path, rows: Iterable[dict]) -> None:
    path.parent.mkdir(exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
