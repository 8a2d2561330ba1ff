"""Tasks whose answers are generated: what their rows are made from, how they are asked, and what is refused."""

import json
import os
from pathlib import Path

import pandas
import pytest
import yaml

import palimpsest
from palimpsest.evaluation import definition
from palimpsest.evaluation.data import read_task, write_task
from palimpsest.provenance import PalimpsestError

DATA = os.environ.get("PALIMPSEST_DATA")


def write(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))


def rows_of(task, root):
    write_task(task, root / "tasks" / task, root=root)
    return read_task(root / "tasks" / task)[1]


def popqa(number, popularity, **changes):
    meta = {"s_pop": popularity, "prop": "capital"}
    return {"id": f"test_{number}", "question": "who?", "golden_answers": ["Ada", "A."], "metadata": meta} | changes


def trivia(**changes):
    return {
        "question_id": "tc_1",
        "question": "Who was the man behind The Chipmunks?",
        "answer": {"value": "David Seville", "normalized_aliases": ["david seville", "ross bagdasarian"]},
        "entity_pages": {"wiki_context": ["wiki " * 500, "not this"]},
        "search_results": {"search_context": ["web " * 500]},
    } | changes


def test_popqa_has_popularity_and_a_quarter_of_the_questions_a_subset(tmp_path):
    write(tmp_path / "data/popqa_flashrag_1k/test.jsonl", *(popqa(number, 10**number) for number in range(8)))
    rows = rows_of("popqa", tmp_path)
    assert [row["popularity"] for row in rows] == [10**number for number in range(8)]
    assert pandas.Series([row["subset"] for row in rows]).value_counts().to_dict() == dict.fromkeys(
        ["rarest quarter", "second quarter", "third quarter", "most popular quarter"], 2
    )
    assert rows[0]["subset"] == "rarest quarter" and rows[-1]["subset"] == "most popular quarter"
    assert rows[0]["form"] == "capital" and rows[0]["aliases"] == ["Ada", "A."]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (popqa(1, 5, golden_answers=["Ada", ""]), "line 1: the answer '' is empty"),
        (popqa(1, 5, golden_answers=[]), "line 1: the question has no answer"),
        (popqa(1, 5, golden_answers="Ada"), "line 1: the field 'golden_answers' is 'Ada'; it must be a list"),
        (popqa(1, "5"), "line 1: the field 'metadata.s_pop' is '5'; it must be a number"),
        ({"id": "1", "question": "who?", "golden_answers": ["Ada"]}, r"line 1: the field 'metadata\.\w+' is missing"),
    ],
)
def test_a_bad_question_is_named_by_file_line_and_field(tmp_path, row, message):
    write(tmp_path / "data/popqa_flashrag_1k/test.jsonl", row)
    with pytest.raises(PalimpsestError, match=f"test.jsonl, {message}"):
        rows_of("popqa", tmp_path)


def test_the_hubs_parquet_is_read_where_there_are_no_json_lines(tmp_path):
    folder = tmp_path / "data/web_questions/data"
    folder.mkdir(parents=True)
    table = pandas.DataFrame({"url": ["u"], "question": ["where ?"], "answers": [["Lund", "Lund, Sweden"]]})
    table.to_parquet(folder / "test-00000-of-00001.parquet")
    (row,) = rows_of("web_questions", tmp_path)
    assert (row["question"], row["answer"], row["aliases"]) == ("where ?", "Lund", ["Lund", "Lund, Sweden"])


def test_freebaseqa_has_the_aliases_of_the_first_parses_first_answer(tmp_path):
    def parse(*names):
        return {"Answers": [{"AnswersName": list(names)}, {"AnswersName": ["second"]}]}

    question = {
        "Question-ID": "FreebaseQA-train-0",
        "RawQuestion": "who?",
        "Parses": [parse("ada", "a. l."), parse("x")],
    }
    write(tmp_path / "data/freebaseqa/FreebaseQA-train.json", json.dumps({"Questions": [question]}))
    assert rows_of("freebaseqa", tmp_path) == [
        {"id": "FreebaseQA-train-0", "question": "who?", "answer": "ada", "aliases": ["ada", "a. l."]}
    ]
    write(tmp_path / "data/freebaseqa/FreebaseQA-train.json", json.dumps([question]))
    with pytest.raises(PalimpsestError, match="not FreebaseQA's JSON, an object with 'Questions'"):
        rows_of("freebaseqa", tmp_path)


def test_an_open_book_has_the_first_page_of_each_kind_cut_as_published(tmp_path):
    write(tmp_path / "data/triviaqa_rc/validation.jsonl", trivia())
    (row,) = rows_of("triviaqa_open", tmp_path)
    assert row["context"] == ("wiki " * 500 + "web " * 500)[:3072]
    assert (row["answer"], row["aliases"]) == ("David Seville", ["david seville", "ross bagdasarian"])
    assert [row["id"] for row in rows_of("triviaqa_rc_closed", tmp_path)] == ["tc_1"]


def test_an_open_book_without_a_passage_is_an_error(tmp_path):
    bare = trivia(entity_pages={"wiki_context": []}, search_results={"search_context": []})
    write(tmp_path / "data/triviaqa_rc/validation.jsonl", trivia(), bare)
    with pytest.raises(PalimpsestError, match="line 2: the question has no passage"):
        rows_of("triviaqa_open", tmp_path)


def test_a_story_is_asked_without_its_highlights(tmp_path):
    for size in ("small", "mid", "large"):
        write(
            tmp_path / f"data/llmkick_summarization/selected_stories/{size}/1.story",
            f"It was {size}.\n\nIt rained.\n\n@highlight\n\nRain in Lund\n\n@highlight\n\n12 wet\n",
        )
    rows = rows_of("summaries", tmp_path)
    assert [(row["id"], row["subset"]) for row in rows] == [(f"{s}/1", s) for s in ("small", "mid", "large")]
    assert rows[0]["question"].endswith("and relevance.\n\nIt was small.\n\nIt rained.")
    assert rows[0]["answer"] == "Rain in Lund\n12 wet" and rows[0]["facts"] == ["Lund", "12"]
    write(tmp_path / "data/llmkick_summarization/selected_stories/small/1.story", "No highlights.\n")
    with pytest.raises(PalimpsestError, match=r"1\.story: no text before, or none after, '@highlight'"):
        rows_of("summaries", tmp_path)


def test_gsm8k_is_asked_and_scored_as_by_lm_eval(tmp_path, tiny_model_folder):
    """Prompts equal lm-eval's own task with the same examples; both verdicts equal those of its filters."""
    import lm_eval
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.tasks import gsm8k  # noqa: F401  (the package that the YAML lies in)

    examples = [{"question": f"{n} and {n} ?", "answer": f"{n}+{n}={2 * n}\n#### {2 * n}"} for n in range(1, 8)]
    asked = [{"question": "cats ?", "answer": "so\n#### 1,200"}, {"question": "dogs ?", "answer": "so\n#### 7"}]
    write(tmp_path / "data/gsm8k/train.jsonl", *examples)
    write(tmp_path / "data/gsm8k/test.jsonl", *asked)
    rows_of("gsm8k", tmp_path)
    theirs = yaml.safe_load((Path(lm_eval.__file__).parent / "tasks/gsm8k/gsm8k.yaml").read_text())
    for key in ("dataset_path", "dataset_name", "tag"):
        theirs.pop(key)
    theirs |= {
        "custom_dataset": lambda **_: {"train": Rows(examples), "test": Rows(asked)},
        "fewshot_config": {"sampler": "first_n"},
    }
    task = ConfigurableTask(config=theirs)
    task.build_all_requests()
    wanted = definition.shipped("gsm8k")
    for key in ("filter_list", "metric_list"):
        assert wanted[key] == theirs[key]
    model, tokenizer = palimpsest.load(tiny_model_folder)
    said = iter(["#### 1200", "it is 7 .\n#### 8"])
    language_model = Said(model, tokenizer, said)
    answers = asked_of(language_model, [tmp_path / "tasks/gsm8k"])
    assert language_model.prompts == [request.args[0] for request in task.instances]
    measures = [json.loads(found) for found in answers["measures"]]
    assert list(answers["correct"]) == [True, False]
    assert [found["flexible-extract"] for found in measures] == [1.0, 0.0]


class Rows(list):
    @property
    def features(self):
        return dict.fromkeys(self[0])


def Said(model, tokenizer, texts):
    """Our language model, which says these texts one after the other and keeps what it was asked."""
    from palimpsest.evaluation.language_model import LanguageModel

    language_model = LanguageModel(model, tokenizer)
    language_model.prompts = []

    def generate_until(requests, disable_tqdm=False):
        language_model.prompts += [request.args[0] for request in requests]
        return [next(texts) for _ in requests]

    language_model.generate_until = generate_until
    return language_model


def asked_of(language_model, folders):
    from palimpsest.evaluation.harness import ask

    return ask(language_model, folders)


def conversations(root):
    write(
        root / "data/mt_bench/mt_bench/question.jsonl",
        {"question_id": 81, "category": "writing", "turns": ["Write.", "Again."]},
        {"question_id": 82, "category": "math", "turns": ["Add.", "More."]},
    )


def test_the_second_turn_is_asked_with_the_models_own_answer_to_the_first(tmp_path, tiny_model_folder):
    conversations(tmp_path)
    rows_of("mt_bench", tmp_path)
    model, tokenizer = palimpsest.load(tiny_model_folder)
    language_model = Said(model, tokenizer, iter([" one ", "two", "three", "four"]))
    answers = asked_of(language_model, [tmp_path / "tasks/mt_bench"])
    system, first = language_model.prompts[0].split("USER: ", 1)
    assert first == "Write. ASSISTANT:" and system.endswith("answers to the user's questions. ")
    assert language_model.prompts[2] == f"{system}USER: Write. ASSISTANT: one</s>USER: Again. ASSISTANT:"
    assert language_model.prompts[3].endswith("USER: Add. ASSISTANT: two</s>USER: More. ASSISTANT:")
    found = answers.set_index("question")
    assert found["answer"].to_dict() == {"81/1": "one", "82/1": "two", "81/2": "three", "82/2": "four"}
    assert found["subset"].to_dict()["81/2"] == "turn 2" and found["passage"].to_dict()["81/2"] == "81"
    assert found["correct"].isna().all() and found["published"].isna().all()


def test_turns_are_asked_the_same_way_again_from_the_cache(tmp_path, tiny_model_folder):
    conversations(tmp_path)
    rows_of("mt_bench", tmp_path)
    wanted = yaml.safe_load((tmp_path / "tasks/mt_bench/mt_bench.yaml").read_text())
    assert wanted["generation_kwargs"]["do_sample"] is False
    model, tokenizer = palimpsest.load(tiny_model_folder)
    model.config.max_position_embeddings = 512
    settings = {"tasks": ["mt_bench"], "data": tmp_path / "tasks", "cache": tmp_path / "tiny.sqlite"}
    first = palimpsest.evaluate(model, tokenizer, **settings)
    pandas.testing.assert_frame_equal(first, palimpsest.evaluate(model, tokenizer, **settings))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"question_id": 1, "turns": ["a", ""]}, "none of them empty"),
        ({"text": "a"}, "the field 'question_id' is missing"),
        ({"question_id": 1, "turns": ["a", "b", "c"]}, "3 turns; conversations of one or two turns are read"),
    ],
)
def test_a_conversation_that_cannot_be_asked_is_named(tmp_path, line, message):
    write(tmp_path / "data/llmkick_mt/question.jsonl", line)
    with pytest.raises(PalimpsestError, match=f"question.jsonl, line 1: .*{message}"):
        rows_of("vicuna_bench", tmp_path)


def test_every_generated_task_says_that_decoding_is_greedy():
    for task in definition.names():
        wanted = definition.shipped(task)
        if wanted["output_type"] == "generate_until":
            assert wanted["generation_kwargs"]["do_sample"] is False, task
            assert not wanted["generation_kwargs"].get("temperature"), task


COUNTS = {"nq_open": 3610, "popqa": 1000, "triviaqa_closed": 1000, "gsm8k": 1319, "summaries": 90, "mt_bench": 160,
          "vicuna_bench": 80}  # fmt: skip


@pytest.mark.parametrize("task", COUNTS)
def test_real_data_is_read_whole(tmp_path, task):
    folder = definition.ours(definition.shipped(task))["path"]
    if not DATA or not Path(DATA, folder).is_dir():
        pytest.skip(f"PALIMPSEST_DATA has no {folder}")
    write_task(task, tmp_path / task, root=DATA)
    _, rows = read_task(tmp_path / task)
    assert len(rows) == COUNTS[task]
    if task == "popqa":
        counts = pandas.Series([row["subset"] for row in rows]).value_counts()
        assert counts.between(240, 260).all()
