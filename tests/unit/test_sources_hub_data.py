"""Data of the hub: at a commit, whole, and with a clear word for what is not there. The hub is one on 127.0.0.1."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow
import pytest
from loopback_hub import COMMIT, serve
from pyarrow import parquet

from palimpsest.evaluation.data import read_task
from palimpsest.provenance import PalimpsestError
from palimpsest.sources import hub_data

ROOT = Path(__file__).parents[2]
SCIQ = [
    {"question": f"What boils at {number} degrees?", "support": "", "correct_answer": "water"}
    | {f"distractor{place}": name for place, name in enumerate(["oil", "iron", "gold"], 1)}
    for number in range(100, 106)
]


def as_parquet(records):
    file = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(records), file)
    return file.getvalue()


@pytest.fixture(scope="module")
def hub():
    repositories = {
        "allenai/sciq": {f"data/{split}-00000-of-00001.parquet": as_parquet(SCIQ) for split in ("test", "train")},
        "allenai/ai2_arc": {"README.md": b"moved"},
        "nyu-mll/glue": {
            f"rte/{split}-00000-of-00001.parquet": as_parquet(
                [{"sentence1": f"It is {n}.", "sentence2": "It is.", "label": n % 2, "idx": n} for n in range(9)]
            )
            for split in ("train", "validation")
        }
        | {
            "README.md": b"---\nconfigs:\n- config_name: rte\n  data_files:\n  - split: train\n    path: rte/train-*\n"
            b"  - split: validation\n    path: rte/validation-*\n---\n"
        },
    }
    with serve(repositories) as (address, asked):
        yield address, asked


def task_data(hub, home, task, **options):
    """The script in a process of its own: the client reads its settings when it is imported."""
    environment = os.environ | {"HF_ENDPOINT": hub[0], "HF_HOME": str(home / "hf"), "PYTHONPATH": str(ROOT)}
    environment |= {"HF_HUB_OFFLINE": "0", "HF_DATASETS_OFFLINE": "0", "PALIMPSEST_DATA": str(home)}
    command = [sys.executable, "scripts/task_data.py", "--task", task, "--output", str(home / "tasks" / task)]
    command += ["--options", json.dumps(options)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


def test_a_commit_of_the_hub_becomes_a_task(hub, tmp_path):
    done = task_data(hub, tmp_path, "sciq", revision=COMMIT)
    assert done.returncode == 0, done.stderr
    _, rows = read_task(tmp_path / "tasks" / "sciq")
    assert [row["question"] for row in rows] == [record["question"] for record in SCIQ]
    assert {row["answer"] for row in rows} == {"water"}
    assert not [path for path in hub[1] if "train" in path], "examples are asked for only where they are shown"


def test_a_file_that_the_commit_lacks_is_named(hub, tmp_path):
    done = task_data(hub, tmp_path, "arc_easy", revision=COMMIT)
    assert done.returncode == 1
    wanted = f"data.arc_easy: allenai/ai2_arc has no file ARC-Easy/test-*.parquet at {COMMIT}. It has README.md."
    assert wanted in done.stderr
    assert not (tmp_path / "tasks" / "arc_easy").exists()


def test_a_commit_that_is_not_there_is_named(hub, tmp_path):
    done = task_data(hub, tmp_path, "sciq", revision="f" * 40)
    assert done.returncode == 1
    assert f"data.sciq: allenai/sciq has no commit {'f' * 40}" in done.stderr


def test_a_repository_that_is_not_there_is_named(hub, tmp_path):
    done = task_data(hub, tmp_path, "boolq", revision=COMMIT)
    assert done.returncode == 1
    assert "data.boolq: the hub has no data set aps/super_glue" in done.stderr


@pytest.mark.parametrize("revision", ["main", None, COMMIT[:7]])
def test_what_can_move_is_refused_with_the_yaml_that_would_be_right(revision):
    with pytest.raises(PalimpsestError, match=r"40 hexadecimal digits(?s:.*)sciq: \{revision: <that commit>\}"):
        hub_data.check("allenai/sciq", revision, place="data.sciq")


def test_a_study_with_a_branch_is_refused_before_anything_starts():
    from palimpsest import settings

    study = {"name": "x", "models": {"m": {"source": "folder", "path": "m"}}, "tasks": ["sciq"]}
    with pytest.raises(PalimpsestError, match=r'data.sciq.revision: "main" is not a commit of 40 hexadecimal digits'):
        settings.load(study | {"data": {"sciq": {"revision": "main"}}}, "x.yaml")
    assert settings.load(study | {"data": {"sciq": {"revision": COMMIT}}}, "x.yaml").data["sciq"].revision == COMMIT


def test_without_a_revision_the_folder_is_read_and_no_one_is_asked(hub, tmp_path):
    (tmp_path / "data/sciq").mkdir(parents=True)
    (tmp_path / "data/sciq/test.jsonl").write_text(json.dumps(SCIQ[0]) + "\n", encoding="utf-8")
    before = len(hub[1])
    done = task_data(hub, tmp_path, "sciq")
    assert done.returncode == 0, done.stderr
    assert len(read_task(tmp_path / "tasks" / "sciq")[1]) == 1
    assert len(hub[1]) == before
