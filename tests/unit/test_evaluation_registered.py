"""Tasks of lm-eval's own registry, by their names: found, downloaded at a commit, and asked as lm-eval asks them."""

import json

import pytest
from loopback_hub import COMMIT, serve
from test_sources_hub_data import as_parquet, task_data
from transformers import AutoModelForCausalLM

import palimpsest
from palimpsest import settings
from palimpsest.evaluation import definition, registered
from palimpsest.evaluation.data import write_task
from palimpsest.provenance import PalimpsestError

TASK = "lm_eval.rte"  # a task of this library has the name rte
STUDY = {"name": "x", "models": {"m": {"source": "folder", "path": "m"}}}
CARD = b"""---
configs:
- config_name: rte
  data_files:
  - {split: train, path: rte/train-*}
  - {split: validation, path: rte/validation-*}
---
"""


def pairs(start):
    towns = ["Torun", "Lund", "Faro", "Gdynia"]
    said = [f"Alba lives in {towns[number % 4]} ." for number in range(start, start + 12)]
    return [{"sentence1": text, "sentence2": said[0], "label": n % 2, "idx": n} for n, text in enumerate(said)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The task's folder, one example before each question, after the hub is gone."""
    home = tmp_path_factory.mktemp("registered")
    files = {
        f"rte/{split}-00000-of-00001.parquet": as_parquet(pairs(n)) for n, split in enumerate(("train", "validation"))
    }
    with serve({"nyu-mll/glue": files | {"README.md": CARD}}) as hub:
        done = task_data(hub, home, TASK, revision=COMMIT, num_fewshot=1)
    assert done.returncode == 0, done.stderr
    return home / "tasks"


def test_the_answers_are_those_of_lm_eval_itself(folder, tiny_model_folder, tiny_tokenizer, tmp_path):
    import lm_eval
    from lm_eval.models.huggingface import HFLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model_folder).eval()
    answers = palimpsest.evaluate(model, tiny_tokenizer, [TASK], data=folder)
    files = {split: str(folder / TASK / f"{split}.parquet") for split in ("train", "validation")}
    config = registered.config("rte") | {"dataset_path": "parquet", "dataset_name": None}
    config |= {"dataset_kwargs": {"data_files": files, "cache_dir": str(tmp_path)}}
    reference = HFLM(pretrained=model, tokenizer=tiny_tokenizer, batch_size=1)
    results = lm_eval.simple_evaluate(reference, tasks=[config], num_fewshot=1, bootstrap_iters=0, log_samples=True)
    (name,) = results["samples"]
    assert len(answers) == 12 and answers["correct"].mean() == results["results"][name]["acc,none"]
    for row, sample in zip(answers.itertuples(), results["samples"][name], strict=True):
        assert row.score == pytest.approx(sample["filtered_resps"][sample["target"]][0], abs=1e-4)
        assert (row.gold, row.question) == (["True", "False"][sample["target"]], str(sample["doc_id"]))


def test_some_of_its_questions_are_a_fixed_draw(folder, tiny_model_folder, tiny_tokenizer, tmp_path, monkeypatch):
    import shutil

    import yaml

    from palimpsest.provenance import atomic_folder

    with atomic_folder(tmp_path / TASK) as some:
        for file in (folder / TASK).glob("*.parquet"):
            shutil.copy(file, some)
        wanted = yaml.safe_load((folder / TASK / f"{TASK}.yaml").read_text())
        wanted["metadata"]["palimpsest"]["rows"] = 5
        definition.write(some / f"{TASK}.yaml", wanted)
    model = AutoModelForCausalLM.from_pretrained(tiny_model_folder).eval()
    first, second = (palimpsest.evaluate(model, tiny_tokenizer, [TASK], data=tmp_path) for _ in range(2))
    assert len(first) == 5 and first.equals(second)


def test_a_registered_task_without_a_commit_is_refused(tmp_path):
    with pytest.raises(PalimpsestError, match=r"data\.openbookqa\.revision: openbookqa is a task of lm-eval"):
        settings.load(STUDY | {"tasks": ["openbookqa"]}, "x.yaml")
    with pytest.raises(PalimpsestError, match=r"no revision is named(?s:.*)openbookqa: \{revision: <that commit>\}"):
        write_task("openbookqa", tmp_path / "openbookqa")


def test_a_study_names_lm_evals_task_though_there_is_one_here():
    study = STUDY | {"tasks": ["rte", "lm_eval/rte"], "data": {"lm_eval/rte": {"revision": COMMIT}}}
    assert settings.load(study, "x.yaml").tasks == ["rte", TASK]
    assert not definition.is_registered("rte") and definition.is_registered(TASK)


def test_a_name_that_no_one_knows_is_no_task():
    with pytest.raises(PalimpsestError, match=r'unknown task "hellaswagg".*Did you mean hellaswag'):
        settings.load(STUDY | {"tasks": ["hellaswagg"]}, "x.yaml")


def test_a_task_that_is_not_yaml_alone_is_refused(tmp_path):
    with pytest.raises(PalimpsestError, match="is not a task written in YAML alone"):
        write_task("squadv2", tmp_path / "squadv2", options={"revision": COMMIT})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"sick": {"revision": COMMIT}}, "data.sick.revision: the task sick has no data set on the hub"),
        ({"sick": {"window": 4}}, "data.sick.window: the task sick is not cut into windows"),
        ({"lambada": {"num_fewshot": 4}}, "data.lambada.num_fewshot: the task lambada has no examples to show"),
        ({"sik": {"rows": 4}}, 'data.sik: this study has no task "sik". It has sick, lambada. Did you mean sick'),
    ],
)
def test_what_a_study_says_of_a_tasks_data_must_fit_the_task(data, message):
    with pytest.raises(PalimpsestError) as error:
        settings.load(STUDY | {"tasks": ["sick", "lambada"], "data": data}, "x.yaml")
    assert message in str(error.value), json.dumps(data)
