"""Readers: files as their authors and the hub keep them become rows, and what is wrong is named by file and line."""

import csv
import gzip
import json
import os
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from palimpsest.evaluation import definition
from palimpsest.evaluation.data import draw, read_examples, read_task, write_task
from palimpsest.evaluation.readers.mmlu import DISCIPLINE
from palimpsest.evaluation.registered import config
from palimpsest.provenance import PalimpsestError

DATA = os.environ.get("PALIMPSEST_DATA")
needs_data = pytest.mark.skipif(
    not DATA or not Path(DATA, "data/mmlu").is_dir(), reason="PALIMPSEST_DATA has no data/mmlu"
)

SCIQ = {"question": "What boils at 100 degrees?", "support": " Water boils.", "correct_answer": "water"} | {
    f"distractor{number}": name for number, name in enumerate(["oil", "iron", "gold"], 1)
}
# Task -> a file under its folder and records as the hub has them, which lm-eval's own task reads too.
HUB = {
    "arc_easy": (
        "ARC-Easy/test-00000-of-00001.parquet",
        [
            {"id": f"q{n}", "question": "Why?", "choices": {"text": ["so", "no", "so"], "label": ["1", "2", "3"]}}
            | {"answerKey": "3"}
            for n in range(2)
        ],
    ),
    "sciq": ("data/test-00000-of-00001.parquet", [SCIQ, SCIQ | {"support": ""}]),
    "piqa": (
        "plain_text/piqa-validation.parquet",
        [{"goal": "open a jar", "sol1": "turn the lid", "sol2": "eat it", "label": n} for n in range(2)],
    ),
    "boolq": (
        "boolq/validation-00000-of-00001.parquet",
        [{"question": f"is it {n}", "passage": f"It is {n}.", "idx": n, "label": n} for n in range(2)],
    ),
    "winogrande": (
        "winogrande_xl/validation-00000-of-00001.parquet",
        [
            {"sentence": "The cup held the ball since _ was small.", "option1": "the cup", "option2": "the ball"}
            | {"answer": answer}
            for answer in ("2", "1")
        ],
    ),
    "hellaswag": (
        "data/validation-00000-of-00001.parquet",
        [
            {
                "ind": n,
                "activity_label": "Roof",
                "ctx_a": "A man sits [title] up.",
                "ctx_b": "he",
                "split_type": "indomain",
            }
            | {"endings": ["goes  down.", "[substeps] sings.", "is a roof.", "flies."], "label": str(n)}
            for n in range(2)
        ],
    ),
    "mmlu": (
        "all/test-00000-of-00001.parquet",
        [
            {"question": " Where is it? ", "subject": "anatomy", "choices": ["x", "y", "y", "z"], "answer": n}
            for n in (1, 3)
        ],
    ),
    "truthfulqa_mc1": (
        "multiple_choice/validation-00000-of-00001.parquet",
        [
            {
                "question": f"Is it {n}?",
                "mc1_targets": {"choices": ["Yes.", "No.", "Maybe."], "labels": [1, 0, 0]},
                "mc2_targets": {"choices": ["Yes.", "Sure.", "No."], "labels": [1, 1, 0]},
            }
            for n in range(2)
        ],
    ),
    "lambada": ("default/test-00000-of-00001.parquet", [{"text": "He looked at the sea"}, {"text": "A long day"}]),
    "mnli": (
        "mnli/validation_matched-00000-of-00001.parquet",
        [{"premise": "It rains.", "hypothesis": text, "label": n} for n, text in enumerate(["It is wet. ", "Cold"])],
    ),
    "cb": (
        "cb/validation-00000-of-00001.parquet",
        [{"premise": "It rains.", "hypothesis": "it is wet", "label": n} for n in (1, 2)],
    ),
    "rte": (
        "rte/validation-00000-of-00001.parquet",
        [{"sentence1": "It rains.", "sentence2": "It is wet.", "label": n} for n in range(2)],
    ),
    "wnli": (
        "wnli/validation-00000-of-00001.parquet",
        [{"sentence1": "It rains.", "sentence2": "It is wet.", "label": n} for n in range(2)],
    ),
    "qnli": (
        "qnli/validation-00000-of-00001.parquet",
        [{"question": "Where?", "sentence": "It is here.", "label": n} for n in range(2)],
    ),
}
HUB["truthfulqa_mc2"] = HUB["truthfulqa_mc1"]
HUB["arc_challenge"] = ("ARC-Challenge/test-00000-of-00001.parquet", HUB["arc_easy"][1])
THEIRS = {"mmlu": "mmlu_anatomy", "lambada": "lambada_openai"}  # other names in lm-eval


def put(root, task, name, records, table=None):
    """Write records into the task's folder, in the format that the name asks for."""
    path = Path(root, definition.ours(definition.shipped(task))["path"], name)
    path.parent.mkdir(parents=True, exist_ok=True)
    if name.endswith(".parquet"):
        parquet.write_table(pyarrow.Table.from_pylist(records), path)
    elif name.endswith(".gz"):
        path.write_bytes(gzip.compress("".join(json.dumps(record) + "\n" for record in records).encode()))
    else:
        path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def rows_of(root, task, **options):
    write_task(task, root / "out" / task, root=root, options={"num_fewshot": 0} | options)
    return read_task(root / "out" / task)[1]


def requests(config, documents):
    """What lm-eval asks for: (context, continuation) of each request, and what it takes as right."""
    from lm_eval.api.task import ConfigurableTask

    from palimpsest.evaluation.questions import Rows

    keep = {"custom_dataset": lambda **_: {"test": documents}, "test_split": "test", "process_docs": None}
    keep |= {"num_fewshot": 0, "fewshot_split": None, "fewshot_config": None, "validation_split": None}
    task = ConfigurableTask(config=config | keep | {"training_split": None})
    assert isinstance(documents, Rows)
    found = []
    for document in documents:
        asked = task.construct_requests(document, task.fewshot_context(document, 0), metadata=("", 0, 1))
        gold = task.doc_to_text(document) if task.multiple_input else task.doc_to_target(document)
        found.append(([one.args for one in (asked if isinstance(asked, list) else [asked])], gold))
    return found


@pytest.mark.parametrize("task", sorted(HUB))
def test_prompts_are_lm_evals_own_character_by_character(tmp_path, task):
    from palimpsest.evaluation.questions import Rows

    name, records = HUB[task]
    put(tmp_path, task, name, records)
    ours = requests(definition.shipped(task), Rows(rows_of(tmp_path, task)))
    theirs = config(THEIRS.get(task, task))
    if theirs.get("process_docs"):
        import datasets

        records = list(theirs["process_docs"](datasets.Dataset.from_list(records)))
    assert ours == requests(theirs, Rows(records))


STEM = {"stem": "Why?", "choices": [{"text": "so", "label": "A"}, {"text": "no", "label": "B"}]}
BLANK = {"qID": "a-1", "sentence": "_ is small", "option1": "A", "option2": "B", "answer": "2"}


@pytest.mark.parametrize(
    ("task", "name", "record", "answer"),
    [
        ("arc_easy", "ARC-Easy-Test.jsonl", {"id": "q", "answerKey": "B", "question": STEM}, "no"),
        ("boolq", "dev.jsonl", {"question": "is it", "passage": "It is.", "title": "It", "answer": True}, "yes"),
        ("winogrande", "dev.jsonl", BLANK, "B"),
        ("sciq", "test.json", SCIQ, "water"),
        ("lambada", "lambada_test.jsonl", {"text": "He looked at the sea"}, "sea"),
    ],
)
def test_the_authors_own_files_are_read(tmp_path, task, name, record, answer):
    put(tmp_path, task, name, [record])
    assert [row["answer"] for row in rows_of(tmp_path, task)] == [answer]


def test_piqas_labels_lie_in_a_file_of_their_own(tmp_path):
    path = put(tmp_path, "piqa", "valid.jsonl", [{"goal": "g", "sol1": "a", "sol2": "b"}] * 2)
    (path.parent / "valid-labels.lst").write_text("1\n0\n")
    assert [row["answer"] for row in rows_of(tmp_path, "piqa")] == ["b", "a"]
    (path.parent / "valid-labels.lst").write_text("1\n")
    with pytest.raises(PalimpsestError, match=r"valid.jsonl, line 2: the field 'label' is missing"):
        rows_of(tmp_path, "piqa")


def test_hellaswag_without_its_parts_is_taken_as_it_stands(tmp_path):
    record = {"ctx": "Roof: A man sits. he", "label": 1, "endings": ["a", "b", "c", "d"]}
    put(tmp_path, "hellaswag", "hellaswag_val.jsonl", [record])
    (row,) = rows_of(tmp_path, "hellaswag")
    assert (row["question"], row["answer"]) == ("Roof: A man sits. he", "b")


def mmlu_folder(root, dev=5):
    for subject in ("anatomy", "virology"):
        for split, count in (("test", 3), ("dev", dev)):
            path = root / "data/mmlu" / split / f"{subject}_{split}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows(
                    [[f"{subject} {split} {n}, or\nnot?", *"wxyz", "ABCD"[n % 4]] for n in range(count)]
                )


def test_mmlus_examples_are_of_the_same_subject_and_in_order(tmp_path):
    from palimpsest.evaluation.questions import Questions

    mmlu_folder(tmp_path)
    write_task("mmlu", tmp_path / "mmlu", root=tmp_path, options={"num_fewshot": 2})
    wanted, rows = read_task(tmp_path / "mmlu")
    assert [(row["subject"], row["subset"], row["answer"]) for row in rows[::3]] == [
        ("anatomy", "STEM", "A"),
        ("virology", "Other", "A"),
    ]
    task = Questions(tmp_path / "mmlu", wanted, rows, None).task(rows, None)
    options = "\nA. w\nB. x\nC. y\nD. z\nAnswer:"
    assert task.fewshot_context(rows[3], 2) == (
        "The following are multiple choice questions (with answers) about virology.\n\n"
        f"virology dev 0, or\nnot?{options} A\n\nvirology dev 1, or\nnot?{options} B\n\n"
        f"virology test 0, or\nnot?{options}"
    )


def test_too_long_a_prompt_gets_fewer_examples(tmp_path):
    from types import SimpleNamespace

    from palimpsest.evaluation.questions import Questions

    mmlu_folder(tmp_path)
    write_task("mmlu_generated", tmp_path / "mmlu_generated", root=tmp_path)
    wanted, rows = read_task(tmp_path / "mmlu_generated")
    model = SimpleNamespace(max_length=61, tok_encode=str.split)
    task = Questions(tmp_path / "mmlu_generated", wanted, rows, None).task(rows, model)
    prompt = task.fewshot_context(rows[0], 5)
    assert len(prompt.split()) <= 60 < len(prompt.split()) + 15
    assert prompt.startswith("The following") and prompt.endswith("Answer:")
    assert 0 < prompt.count("anatomy dev") < 5


def test_more_examples_than_there_are_is_an_error(tmp_path):
    mmlu_folder(tmp_path, dev=4)
    with pytest.raises(PalimpsestError, match="num_fewshot is 5, but there are only 4 examples for subject anatomy"):
        write_task("mmlu", tmp_path / "mmlu", root=tmp_path)


def test_disciplines_are_lm_evals():
    names = {"stem": "STEM", "humanities": "Humanities", "social_sciences": "Social Science", "other": "Other"}
    for subject, discipline in DISCIPLINE.items():
        tag = config(f"mmlu_{subject}")["tag"]
        assert names[tag.removeprefix("mmlu_").removesuffix("_tasks")] == discipline
    assert len(DISCIPLINE) == 57


def test_truthfulqa_in_csv_has_the_best_answer_first_and_every_option_once(tmp_path):
    fields = {"Type": "Adversarial", "Category": "Myths", "Question": "Is it?", "Best Answer": "Yes", "Source": "x"}
    fields |= {"Correct Answers": "Sure; Yes; yes, and so", "Incorrect Answers": "No; No.; Never"}
    folder = tmp_path / "data/truthfulqa"
    folder.mkdir(parents=True)
    with open(folder / "TruthfulQA.csv", "w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, fields)
        writer.writeheader()
        writer.writerow(fields)
    (one,), (several,) = rows_of(tmp_path, "truthfulqa_mc1"), rows_of(tmp_path, "truthfulqa_mc2")
    assert one["options"] == ["Yes.", "No.", "Never."]
    assert several["options"] == ["Yes.", "Sure.", "yes, and so.", "No.", "Never."]
    assert several["true_options"] == several["options"][:3]


def test_pararel_asks_what_ends_with_the_object_and_ranks_the_relations_objects(tmp_path):
    patterns = ["[X] lies in [Y].", "[X] is in [Y] .", "[Y] is home to [X].", "[X], which is in [Y], is old."]
    put(tmp_path, "pararel", "pattern_data/graphs_json/P1.jsonl", [{"pattern": pattern} for pattern in patterns])
    put(tmp_path, "pararel", "pattern_data/graphs_json/P2.jsonl", [{"pattern": "[X] sings in [Y]."}])
    facts = [("Lund", "Sweden", "a"), ("Faro", "Portugal", "b"), ("Oslo", "Norway", "c")]
    facts = [{"sub_label": subject, "obj_label": object_, "uuid": name} for subject, object_, name in facts]
    put(tmp_path, "pararel", "trex_lms_vocab/P1.jsonl", facts)
    rows = rows_of(tmp_path, "pararel")
    assert [(row["question"], row["answer"], row["passage"], row["form"]) for row in rows[:2]] == [
        ("Lund lies in", "Sweden", "P1/a", "P1/1"),
        ("Lund is in", "Sweden", "P1/a", "P1/2"),
    ]
    assert len(rows) == 6 and rows[0]["options"] == ["Norway", "Portugal", "Sweden"]


def test_wikitext_is_joined_as_the_papers_join_it(tmp_path):
    folder = tmp_path / "data/wikitext2"
    folder.mkdir(parents=True)
    (folder / "test.txt").write_text(" \n = A = \n \n It is . \n", encoding="utf-8")
    (row,) = rows_of(tmp_path, "perplexity_windows_wikitext2")
    # The hub's rows are "", " = A = \n", "", " It is . \n".
    assert row["text"] == "\n\n".join(["", " = A = \n", "", " It is . \n"])


def test_c4_is_its_first_documents_and_ptb_its_bare_sentences(tmp_path):
    name = "en/c4-validation.00000-of-00008.json.gz"
    put(tmp_path, "perplexity_windows_c4", name, [{"text": f"d{number}"} for number in range(1200)])
    (row,) = rows_of(tmp_path, "perplexity_windows_c4")
    assert row["text"] == " ".join(f"d{number}" for number in range(1100))
    folder = tmp_path / "data/ptb"
    folder.mkdir(parents=True)
    (folder / "ptb.test.txt").write_text(" no it was n't \n it was \n", encoding="utf-8")
    (row,) = rows_of(tmp_path, "perplexity_windows_ptb")
    assert row["text"] == "no it was n't it was"


def test_drawn_rows_are_the_same_each_time_spread_and_part_of_a_larger_draw():
    rows = [{"id": str(number), "passage": f"p{number // 2}"} for number in range(1000)]
    some, more = draw(rows, 100), draw(rows, 300)
    assert some == draw(rows, 100) and len(some) == 100 and len(more) == 300
    assert all(row in more for row in some)
    assert {row["passage"] for row in some if int(row["id"]) % 2} == {row["passage"] for row in some}
    assert max(int(row["id"]) for row in some) > 900
    assert draw(rows, 2000) == rows


LETTERS = {"id": "q", "question": "?", "choices": {"text": ["a", "b"], "label": ["A", "B"]}}


@pytest.mark.parametrize(
    ("task", "name", "record", "message"),
    [
        ("sciq", "test.json", {"question": "q", "distractor1": "a"}, "line 1: the field 'distractor2' is missing"),
        ("sciq", "test.json", SCIQ | {"correct_answer": " "}, "line 1: the field 'options' has an empty option"),
        ("sciq", "test.json", SCIQ | {"question": ""}, "line 1: the field 'question' is empty"),
        ("boolq", "dev.jsonl", {"question": "q", "passage": "p", "label": "maybe"}, "is 'maybe'; it must be one of"),
        ("hellaswag", "hellaswag_val.jsonl", {"ctx": "c", "endings": ["a", "b"], "label": 2}, "'label' is 2; it must"),
        ("lambada", "lambada_test.jsonl", {"text": "word"}, "line 1: the text 'word' has no last word"),
        ("lambada", "lambada_test.jsonl", {"text": "an empty last "}, "line 1: the field 'answer' is empty"),
        ("winogrande", "dev.jsonl", BLANK | {"sentence": "no blank"}, "line 1: the sentence 'no blank' has no _"),
        ("arc_easy", "ARC-Easy-Test.jsonl", LETTERS | {"answerKey": "E"}, "'answerKey' is 'E'; it must be one of A, B"),
    ],
)
def test_a_bad_record_is_named_by_file_line_and_field(tmp_path, task, name, record, message):
    put(tmp_path, task, name, [record])
    with pytest.raises(PalimpsestError, match=f"{name}.*{message}"):
        rows_of(tmp_path, task)


def test_two_questions_of_one_id_are_refused(tmp_path):
    record = HUB["arc_easy"][1][0]
    put(tmp_path, "arc_easy", "ARC-Easy-Test.jsonl", [record, record])
    with pytest.raises(PalimpsestError, match=r"line 2: the id 'q0' is that of .*line 1 too"):
        rows_of(tmp_path, "arc_easy")


@pytest.mark.parametrize(
    ("task", "name", "data", "message"),
    [
        ("truthfulqa_mc1", "TruthfulQA.csv", "Question\nÖl?\n".encode("latin-1"), "line 2: not UTF-8"),
        ("rte", "dev.csv", b"premise,hypothesis,label\na,b\n", "line 2: it does not have 3 columns"),
        ("sciq", "data/test-0.parquet", b"PAR1 and no more", "not a Parquet file, or damaged"),
        ("perplexity_windows_c4", "en/c4-validation.00000-of-00008.json.gz", b"\x1f\x8b\x08", "not gzip, or damaged"),
    ],
)
def test_a_file_that_is_damaged_or_of_another_kind_is_named(tmp_path, task, name, data, message):
    path = put(tmp_path, task, name.replace(".parquet", ".x").replace(".gz", ".x"), [])
    path.rename(path.with_name(Path(name).name)).write_bytes(data)
    with pytest.raises(PalimpsestError, match=f"{Path(name).name}.*{message}"):
        rows_of(tmp_path, task)


def test_a_folder_without_the_tasks_files_says_which_it_looks_for(tmp_path):
    (tmp_path / "data/sciq").mkdir(parents=True)
    with pytest.raises(PalimpsestError, match=r"data/sciq: there is no file test.json\* or data/test-\*.parquet here"):
        rows_of(tmp_path, "sciq")


def test_missing_data_says_how_to_take_it_from_the_hub(tmp_path):
    with pytest.raises(PalimpsestError, match=r"allenai/sciq\) at a commit: in the study, `data: {sciq: {revision"):
        rows_of(tmp_path, "sciq")


@pytest.mark.parametrize(
    ("options", "message"),
    [({"window": 8}, "data.sick.window: this task is not cut"), ({"revision": "a" * 40}, "has no data on the hub")],
)
def test_what_a_task_cannot_have_is_refused(tmp_path, options, message):
    with pytest.raises(PalimpsestError, match=message):
        write_task("sick", tmp_path / "sick", root=tmp_path, options=options)


@needs_data
@pytest.mark.parametrize(
    ("task", "count", "answers"),
    [
        ("mmlu", 14042, {"A", "B", "C", "D"}),
        ("hellaswag", 10042, None),
        ("truthfulqa_mc1", 817, None),
        ("truthfulqa_mc2", 817, None),
        ("lambada", 5153, None),
        ("rte", 277, {"True", "False"}),
        ("wnli", 71, {"True", "False"}),
        ("cb", 56, {"True", "False", "Neither"}),
        ("sick", 500, {"True", "False", "Neither"}),
    ],
)
def test_real_files_are_read_whole(tmp_path, task, count, answers):
    write_task(task, tmp_path / task, root=DATA)
    wanted, rows = read_task(tmp_path / task)
    assert len(rows) == count
    assert answers is None or {row["answer"] for row in rows} == answers
    assert len(read_examples(tmp_path / task, wanted)) == (285 if task == "mmlu" else 0)
