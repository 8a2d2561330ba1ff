"""The world: deterministic, its facts known, its tasks fair to the two baselines that know nothing."""

from __future__ import annotations

import json
import re
from collections import Counter

import numpy as np
import pandas
import pytest
import torch

from palimpsest.halves import HALVES, half
from palimpsest.provenance import verify_folder
from palimpsest.settings import Architecture, Training, World
from palimpsest.world.build import build
from palimpsest.world.documents import draw_passage
from palimpsest.world.forms import (
    ATTRIBUTES,
    BY_NAME,
    QUESTION_USE,
    TRAINED_QUESTIONS,
    TRAINED_STATEMENTS,
    question,
    statement,
)
from palimpsest.world.people import POOLS, populate
from palimpsest.world.prose import Grammar, plural, vocabulary
from palimpsest.world.tokenizer import words

HALF_TEXTS = tuple(f"biographies_{name}" for name in HALVES)
SMALL = World(people=60, invented=60, documents=1200, texts=40, questions_per_subset=120)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world") / "world"
    build(SMALL, folder)
    return folder


def rows(world, task):
    return [json.loads(line) for line in (world / "tasks" / f"{task}.jsonl").read_text().splitlines()]


def training_texts(world):
    from safetensors.numpy import load_file

    vocabulary = words(populate(SMALL.seed, SMALL.people, SMALL.invented, SMALL.withheld))
    arrays = load_file(world / "documents.safetensors")
    ends = np.cumsum(arrays["lengths"])
    return [
        " ".join(vocabulary[i] for i in arrays["ids"][a + 1 : b])
        for a, b in zip(ends - arrays["lengths"], ends, strict=True)
    ]


def test_same_settings_give_the_same_bytes_and_another_seed_another_world(world, tmp_path):
    build(SMALL, tmp_path / "again")
    build(SMALL.model_copy(update={"seed": 1}), tmp_path / "other")
    assert verify_folder(tmp_path / "again") == verify_folder(world) != verify_folder(tmp_path / "other")


def test_vocabulary_of_the_default_world_has_at_least_1024_words_each_once():
    vocabulary_ = words(populate(0, World().people, World().invented, World().withheld))
    assert len(vocabulary_) == len(set(vocabulary_)) >= 1024


def test_real_and_invented_people_share_no_name():
    population = populate(0, 300, 300, 0.04)
    assert not {person.name for person in population.people} & set(population.invented)


def test_exposures_count_what_the_documents_say(world):
    facts = pandas.read_parquet(world / "facts.parquet")
    said = Counter()
    for text in training_texts(world):
        said.update(re.findall(r"[^.]+ \.", text))  # each statement, and each question with its answer
    for fact in facts.sample(60, random_state=0).itertuples():
        attribute = BY_NAME[fact.attribute]
        forms = [statement(attribute, form, fact.person, fact.value) for form in range(TRAINED_STATEMENTS)]
        forms += [f"{question(attribute, form, fact.person)} {fact.value} ." for form in range(TRAINED_QUESTIONS)]
        assert sum(count for sentence, count in said.items() if sentence.strip() in forms) == fact.exposures, fact.fact
    assert (facts.exposures[~facts.shown] == 0).all() and facts.exposures[facts.shown].sum() > 0


def test_facts_never_shown_are_in_no_training_document(world):
    facts = pandas.read_parquet(world / "facts.parquet")
    hidden = facts[~facts.shown]
    texts = [set(text.split()) for text in training_texts(world)]
    assert len(hidden) == round(SMALL.withheld * SMALL.people * len(ATTRIBUTES))
    for fact in hidden.itertuples():
        # A shared word may be another person's; together with the name it would be this fact.
        assert not any(fact.person in text and fact.value in text for text in texts)


def test_questions_are_trained_only_about_people_whose_questions_are_shown(world):
    facts = pandas.read_parquet(world / "facts.parquet")
    asked = {word for text in training_texts(world) if "question :" in text for word in text.split()}
    assert not asked & set(facts.person[~facts.questions_shown])


def test_held_out_forms_are_in_no_training_document_and_the_others_are(world):
    texts = " ".join(training_texts(world))

    def occurs(form):
        return re.search(re.escape(form).replace(r"\{n\}", r"\S+").replace(r"\{v\}", r"\S+"), texts) is not None

    for attribute in ATTRIBUTES:
        trained = attribute.questions[:TRAINED_QUESTIONS] + attribute.statements[:TRAINED_STATEMENTS]
        held_out = attribute.questions[TRAINED_QUESTIONS:] + attribute.statements[TRAINED_STATEMENTS:]
        assert held_out and all(map(occurs, trained)) and not any(map(occurs, held_out))


def test_frequencies_follow_zipf(world):
    facts = pandas.read_parquet(world / "facts.parquet")
    by_rank = facts[facts.shown].groupby("rank").exposures.mean()
    assert by_rank.iloc[:10].mean() > 2 * by_rank.iloc[-20:].mean()


def test_pools_are_drawn_within_strata(world):
    people = pandas.read_parquet(world / "facts.parquet").drop_duplicates("person")
    assert set(people.pool) == set(POOLS)
    for _, stratum in people.groupby([people["rank"] // 20, "questions_shown"]):
        counts = stratum.pool.value_counts()
        assert abs(counts["R"] - counts["U"]) <= 1


def test_recovery_text_speaks_of_its_pool_and_of_no_other(world):
    people = pandas.read_parquet(world / "facts.parquet").drop_duplicates("person").set_index("person").pool
    for pool in POOLS:
        said = set((world / "text" / f"recovery_{pool}.txt").read_text().split()) & set(people.index)
        assert set(people[list(said)]) == {pool}


def test_biographies_of_the_halves_are_the_biographies_and_share_no_person(world):
    texts = {kind: (world / "text" / f"{kind}.txt").read_text().splitlines() for kind in ("biographies", *HALF_TEXTS)}
    assert Counter(texts["biographies"]) == Counter(texts["biographies_half_a"] + texts["biographies_half_b"])
    people = set(pandas.read_parquet(world / "facts.parquet").person)
    for name in HALVES:
        said = {word for text in texts[f"biographies_{name}"] for word in text.split()} & people
        assert said == {person for person in people if half(person) == name}


def test_knowledge_is_biographies_and_questions_with_their_answers_about_everybody(world):
    facts = pandas.read_parquet(world / "facts.parquet")
    lines = (world / "text" / "knowledge.txt").read_text().splitlines()
    asked = [line for line in lines if line.startswith("question :")]
    told = [line for line in lines if not line.startswith("question :")]
    assert told == (world / "text" / "biographies.txt").read_text().splitlines() and len(asked) == len(told)
    values = facts.set_index(["person", "attribute"]).value
    for line in asked:
        for question_ in line.removeprefix("question : ").split(" . question : "):
            form, answer = question_.removesuffix(" .").split(" answer : ")
            (person,) = set(form.split()) & set(facts.person)
            assert answer in set(values[person])
    assert {word for line in asked for word in line.split()} & set(facts.person) == set(facts.person)


def test_generic_text_names_no_real_person(world):
    people = set(pandas.read_parquet(world / "facts.parquet").person)
    assert not people & set((world / "text" / "generic.txt").read_text().split())


def test_every_fact_is_asked_once_in_a_scoring_form(world):
    asked = Counter((row["person"], row["attribute"]) for row in rows(world, "closed_book"))
    assert set(asked.values()) == {1} and len(asked) == SMALL.people * len(ATTRIBUTES)
    assert {row["use"] for row in rows(world, "closed_book")} == {"score"}
    assert {row["use"] for row in rows(world, "closed_book_mc")} == set(QUESTION_USE)


def test_open_book_with_three_people_has_the_answer_once_and_two_rivals(world):
    for row in rows(world, "open_book"):
        passage = row["question"].split("question :")[0].split()
        present = [option for option in row["options"] if option in passage]
        assert row["answer"] in present and len(present) == {"one": 1, "three": 3}[row["subset"]]


def test_entailment_cannot_be_told_from_length_or_overlap(world):
    for row in rows(world, "entailment"):
        assert len(row["true"].split()) == len(row["false"].split())
        if row["subset"] == "two":
            premise = set(row["premise"].split())
            assert len(premise & set(row["true"].split())) == len(premise & set(row["false"].split()))


def test_entailment_hypothesis_alone_is_at_chance(world):
    pairs = [row for row in rows(world, "entailment") if row["subset"] == "two"]
    values = Counter(word for row in pairs for word in row["true"].split())
    likelier = np.mean([values[t] > values[f] for row in pairs for t, f in [_differing(row)]])
    assert 0.3 < likelier < 0.7


def _differing(row):
    return next((a, b) for a, b in zip(row["true"].split(), row["false"].split(), strict=True) if a != b)


def hypotheses(rows):
    """Each statement of the pairs, with its premise, and whether it is true."""
    pairs = [(row["premise"], row[kind], kind == "true") for row in rows for kind in ("true", "false")]
    premises, statements, labels = zip(*pairs, strict=True)
    return list(premises), list(statements), np.array(labels)


def test_entailment_to_train_on_says_nothing_that_is_tested(world):
    tested, train = rows(world, "entailment"), rows(world, "entailment.train")
    assert len(train) > 5000 and {row["subset"] for row in train} == {"one", "two"}
    named = set(populate(SMALL.seed, SMALL.people, SMALL.invented, SMALL.withheld).invented)
    named |= {value for attribute in ATTRIBUTES for value in attribute.values}

    def facts(row):
        return frozenset(frozenset(named & set(sentence.split())) for sentence in row["premise"].split(" . "))

    assert all(len(fact) == 2 for fact in facts(train[0]) if fact)
    assert not set(map(facts, train)) & set(map(facts, tested))
    assert set(train[0]) == set(tested[0])
    real = {person.name for person in populate(SMALL.seed, SMALL.people, SMALL.invented, SMALL.withheld).people}
    assert not real & {word for row in train for word in row["premise"].split()}


@pytest.mark.parametrize("looks_at", ["the statement alone", "its overlap with the premise"])
def test_entailment_learned_without_binding_is_at_chance(world, looks_at):
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    # Of `one`, the overlap tells the truth: a corrupted value is nowhere in the passage.
    kinds = ("one", "two") if looks_at == "the statement alone" else ("two",)
    train, test = (
        hypotheses([row for row in rows(world, task) if row["subset"] in kinds])
        for task in ("entailment.train", "entailment")
    )

    def features(premises, statements):
        if looks_at == "the statement alone":
            return statements
        both = zip(premises, statements, strict=True)
        return [" ".join(f"{word in premise.split()}" for word in statement.split()) for premise, statement in both]

    classifier = make_pipeline(CountVectorizer(), LogisticRegression())
    classifier.fit(features(*train[:2]), train[2])
    right = classifier.predict(features(*test[:2])) == test[2]
    # The two statements of a passage stand or fall together, so passages are what is counted.
    passages = right.reshape(-1, 2).mean(1)
    assert abs(passages.mean() - 0.5) < 3 * max(passages.std(), 0.1) / len(passages) ** 0.5


def test_grammar_agrees():
    import random

    grammar = Grammar(random.Random(0))
    known = vocabulary()
    for _ in range(300):
        sentence = grammar.sentence()
        assert set(sentence.split()) <= known
        assert " this dogs" not in sentence and "these dog " not in sentence
    assert [plural(noun) for noun in ("fox", "lily", "sheep", "mouse")] == ["foxes", "lilies", "sheep", "mice"]


def test_passage_of_one_attribute_gives_each_person_another_value():
    import random

    rng = random.Random(0)
    population = populate(0, 30, 30, 0.0)
    for _ in range(50):
        passage = draw_passage(rng, population.invented, 3, same_attribute=True)
        assert len({name for name, *_ in passage.facts}) == len({value for *_, value in passage.facts}) == 3


def test_correlated_attributes_follow_from_the_town():
    population = populate(0, 200, 20, 0.0, correlation=1.0)
    by_town: dict[str, set] = {}
    for person in population.people:
        by_town.setdefault(person.facts["town"], set()).add(person.facts["trade"])
    assert all(len(trades) == 1 for trades in by_town.values())


@pytest.fixture(scope="module")
def shape():
    return Architecture(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)


@pytest.fixture(scope="module")
def encoder_shape():
    return Architecture(type="bert", hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=32)


def test_an_encoders_tokenizer_has_the_decoders_ids_and_knows_pairs(world):
    from palimpsest.world import decoder, encoder

    ours, theirs = encoder.tokenizer_of(world), decoder.tokenizer_of(world)
    exchanged = {"<bos>": "<cls>", "<eos>": "<sep>"}
    assert {exchanged.get(word, word): number for word, number in theirs.get_vocab().items()} == {
        word: number for word, number in ours.get_vocab().items() if word != "<mask>"
    }
    assert sorted(ours.get_vocab().values()) == list(range(len(theirs) + 1)) and ours.mask_token_id == len(theirs)
    pair = ours("the dog sleeps .", "a dog .")
    assert ours.decode(pair["input_ids"]) == "<cls> the dog sleeps . <sep> a dog . <sep>"
    assert pair["token_type_ids"] == [0] * 6 + [1] * 4


def test_an_encoders_documents_are_the_decoders_with_15_percent_of_the_words_to_be_found(world):
    from palimpsest.world import decoder, encoder

    documents, masked = decoder.Documents(world, 32), encoder.MaskedDocuments(world, 32, seed=5)
    mask, counts = masked.tokenizer.mask_token_id, Counter()
    for step in range(20):
        again = encoder.MaskedDocuments(world, 32, seed=5).batch(step) if step == 3 else None
        parts = masked.batch(step)
        if again is not None:
            assert all(torch.equal(a, b) for x, y in zip(parts, again, strict=True) for a, b in zip(x, y, strict=True))
        for (ids, _), (shown, labels, segments) in zip(documents.batch(step), parts, strict=True):
            scored = labels != encoder.NOT_SCORED
            found = torch.where(scored, labels, shown)
            assert (shown[:, 0] == encoder.CLS).all() and not scored[(shown == encoder.SEP) & ~scored].any()
            for row, old, segment in zip(found.tolist(), ids.tolist(), segments.tolist(), strict=True):
                inside = [token for token in row if token != encoder.PAD]
                first_end = inside.index(encoder.SEP) + 1
                assert [t for t in inside if t != encoder.SEP] == [t for t in old if t != encoder.PAD]
                assert inside.count(encoder.SEP) == 1 + (1 in segment) and segment[:first_end] == [0] * first_end
                assert segment[first_end : len(inside)] == [1] * (len(inside) - first_end)
            counts["words"] += int((found > encoder.SEP).sum())
            counts["scored"] += int(scored.sum())
            counts["masked"] += int((shown[scored] == mask).sum())
            counts["kept"] += int((shown[scored] == labels[scored]).sum())
            counts["two"] += int(segments.any(1).sum())
    assert counts["scored"] / counts["words"] == pytest.approx(0.15, abs=0.01)
    assert counts["masked"] / counts["scored"] == pytest.approx(0.8, abs=0.03)
    assert counts["kept"] / counts["scored"] == pytest.approx(0.1, abs=0.03)
    assert counts["two"] / (20 * 32) == pytest.approx(0.5, abs=0.08)


def test_an_encoder_starts_by_copying_what_is_said_of_the_same_person(world):
    from palimpsest.world import encoder

    tokenizer = encoder.tokenizer_of(world)
    names = encoder.read(world, 32, (), 0).names
    architecture = Architecture(hidden_size=128, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64)
    model = encoder.new_model(architecture.model_copy(update={"type": "bert"}), tokenizer, names, seed=0).eval()
    right = []
    for row in rows(world, "entailment"):
        said, value = row["true"].split(), _differing(row)[0]
        masked = " ".join("<mask>" if word == value else word for word in said)
        ids = tokenizer(row["premise"], masked, return_tensors="pt")
        options = tokenizer.convert_tokens_to_ids(_options(value))
        with torch.inference_mode():
            logits = model(**ids).logits[0, ids.input_ids[0] == tokenizer.mask_token_id][0, options]
        right.append(_options(value)[int(logits.argmax())] == value)
    assert np.mean(right) > 0.5, "a random model finds one in sixteen"


def _options(value):
    return next(attribute.values for attribute in ATTRIBUTES if value in attribute.values)


def test_killed_training_of_an_encoder_ends_with_the_same_bytes(world, encoder_shape, tmp_path, monkeypatch):
    from palimpsest.world import encoder, training

    settings = Training(batch_size=16, steps=12, warmup_steps=2, checkpoint_every=5)
    training.train(world, tmp_path / "whole", encoder_shape, settings, state=tmp_path / "state", name="whole")
    batch = encoder.MaskedDocuments.batch

    def dies(self, step):
        if step == 8:
            raise KeyboardInterrupt
        return batch(self, step)

    monkeypatch.setattr(encoder.MaskedDocuments, "batch", dies)
    with pytest.raises(KeyboardInterrupt):
        training.train(world, tmp_path / "killed", encoder_shape, settings, state=tmp_path / "state", name="killed")
    assert list((tmp_path / "state").iterdir())
    steps = []
    monkeypatch.setattr(encoder.MaskedDocuments, "batch", lambda self, step: steps.append(step) or batch(self, step))
    training.train(world, tmp_path / "killed", encoder_shape, settings, state=tmp_path / "state", name="killed")
    assert steps == list(range(5, 12))
    assert verify_folder(tmp_path / "killed") == verify_folder(tmp_path / "whole")


def test_a_trained_encoder_is_a_plain_hugging_face_folder_and_palimpsest_loads_it(world, encoder_shape, tmp_path):
    import palimpsest
    from palimpsest.world.training import train

    training = Training(batch_size=32, steps=60, warmup_steps=5, learning_rate=3e-3)
    train(world, tmp_path / "model", encoder_shape, training, state=tmp_path / "state", name="model")
    model, tokenizer = palimpsest.load(tmp_path / "model")
    assert type(model).__name__ == "BertForMaskedLM" and tokenizer.mask_token == "<mask>"
    assert tokenizer("a", "a")["token_type_ids"] == [0, 0, 0, 1, 1]
    ids = tokenizer("question <mask> answer :", return_tensors="pt").input_ids
    assert tokenizer.convert_ids_to_tokens(int(model(ids).logits[0, 2].argmax())) in (":", ".", "?")


def test_training_longer_than_the_documents_begins_them_again(world):
    from palimpsest.world import decoder

    documents = decoder.Documents(world, 32)
    (first, _), *_ = documents.batch(0)
    (again, _), *_ = documents.batch(documents.steps)
    assert torch.equal(first, again)


def test_killed_training_ends_with_the_same_bytes(world, shape, tmp_path, monkeypatch):
    from palimpsest.world import training

    settings = Training(batch_size=32, warmup_steps=5, checkpoint_every=10)
    training.train(world, tmp_path / "whole", shape, settings, state=tmp_path / "state", name="whole")
    batch = training.decoder.Documents.batch

    def dies(self, step, *arguments):
        if step == 25:
            raise KeyboardInterrupt
        return batch(self, step, *arguments)

    monkeypatch.setattr(training.decoder.Documents, "batch", dies)
    with pytest.raises(KeyboardInterrupt):
        training.train(world, tmp_path / "killed", shape, settings, state=tmp_path / "state", name="killed")
    steps = []
    monkeypatch.setattr(
        training.decoder.Documents, "batch", lambda self, step, *a: steps.append(step) or batch(self, step, *a)
    )
    training.train(world, tmp_path / "killed", shape, settings, state=tmp_path / "state", name="killed")
    assert steps[0] == 20, "at most one interval is trained again"
    assert verify_folder(tmp_path / "killed") == verify_folder(tmp_path / "whole")
    assert not list((tmp_path / "state").iterdir())


def test_trained_model_is_a_plain_hugging_face_folder(world, shape, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from palimpsest.world.training import train

    train(world, tmp_path / "model", shape, Training(batch_size=64), state=tmp_path / "state", name="model")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    ids = tokenizer("question : answer :", return_tensors="pt").input_ids
    assert ids[0, 0] == tokenizer.bos_token_id and tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids[0, 1:]) == "question : answer :"
    assert model(ids).logits.shape == (1, 5, len(tokenizer))
