"""Answers are computed once, and a cache that was damaged is never believed."""

import sqlite3
from multiprocessing import get_context

import pytest
from test_evaluation_language_model import PAIRS, PROMPTS, TEXTS, requests
from transformers import AutoModelForCausalLM

from palimpsest.evaluation.cache import AnswerCache
from palimpsest.evaluation.language_model import LanguageModel

KINDS = (("loglikelihood", PAIRS), ("loglikelihood_rolling", TEXTS), ("generate_until", PROMPTS))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "answers" / f"{'a' * 64}.sqlite"


@pytest.fixture(scope="module")
def loaded(tiny_model_folder, tiny_tokenizer):
    return AutoModelForCausalLM.from_pretrained(tiny_model_folder).eval(), tiny_tokenizer


def ask(loaded, path, kinds=KINDS):
    model = LanguageModel(*loaded, cache=AnswerCache(path))
    return [getattr(model, kind)(requests(kind, arguments)) for kind, arguments in kinds], model.forward.passes


def test_a_second_run_makes_no_forward_pass(loaded, path):
    first, passes = ask(loaded, path)
    assert passes > 0
    assert ask(loaded, path) == (first, 0)


def test_a_new_question_costs_only_itself(loaded, path):
    ask(loaded, path)
    _, passes = ask(loaded, path, [("loglikelihood", [*PAIRS, ("the river", " is old")])])
    assert passes == 1


def test_another_artifact_has_its_own_answers(loaded, path):
    first, passes = ask(loaded, path)
    assert ask(loaded, path.with_name(f"{'b' * 64}.sqlite")) == (first, passes)


def test_answers_of_another_artifact_are_set_aside(loaded, path, caplog):
    first, passes = ask(loaded, path)
    renamed = path.with_name(f"{'b' * 64}.sqlite")
    path.rename(renamed)
    assert ask(loaded, renamed) == (first, passes)
    assert "artifact aaaa" in caplog.text


def damage_bytes(path):
    data = bytearray(path.read_bytes())
    data[: len(data) // 2] = b"\0" * (len(data) // 2)
    path.write_bytes(data)


def damage_value(path):
    with sqlite3.connect(path) as base:
        base.execute("UPDATE answers SET answer = replace(answer, '-', '')")


def damage_schema(path):
    with sqlite3.connect(path) as base:
        base.execute("DROP TABLE answers")


@pytest.mark.parametrize("damage", [damage_bytes, damage_value, damage_schema])
def test_a_damaged_file_is_reported_set_aside_and_computed_again(loaded, path, caplog, damage):
    first, passes = ask(loaded, path)
    damage(path)
    assert ask(loaded, path) == (first, passes)
    assert "damaged" in caplog.text
    assert path.with_name(path.name + ".damaged").exists()
    assert ask(loaded, path) == (first, 0)


def _store(path, start):
    cache = AnswerCache(path)
    for number in range(start, start + 20):
        cache.put({AnswerCache.key(number): number})


def test_processes_may_write_at_the_same_time(path):
    processes = [get_context("spawn").Process(target=_store, args=(path, start)) for start in (0, 10, 20)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    keys = {number: AnswerCache.key(number) for number in range(40)}
    found = AnswerCache(path).get(keys.values())
    assert {number: found.get(key) for number, key in keys.items()} == {number: number for number in range(40)}
