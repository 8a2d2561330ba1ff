"""The whole workflow on the tiny study: complete, never computed twice, the same bytes, and finished after a kill."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time

import pandas
import pytest
import yaml
from checkout import Checkout

from palimpsest.presentation import names
from palimpsest.provenance import digest_file

STUDY = ("--configfile", "studies/tiny.yaml")
# What differs from run to run.
MEASURED = ("measurements.parquet", "latency.parquet", "times", "logs", "workflow-report.html", "report.html")


def digests(checkout) -> dict[str, str]:
    """Every file of the results that promises the same bytes -> its digest."""
    root = checkout.folder / "results" / "tiny"
    files = (path for path in root.rglob("*") if path.is_file() and not path.name.startswith(".snakemake"))
    return {
        name: digest_file(path)
        for path in sorted(files)
        if not (name := path.relative_to(root).as_posix()).startswith(MEASURED) and path.stem not in names.MEASURED
    }


def test_study_makes_everything_that_the_interface_names(finished):
    results = finished.folder / "results" / "tiny"
    for name in (
        "metrics.parquet",
        "answers.parquet",
        "measurements.parquet",
        "claims.json",
        "paper.tex",
        "report.html",
    ):
        assert (results / name).stat().st_size > 0, name
    assert (results / "workflow-report.html").stat().st_size > 0
    assert (results / "times.csv").stat().st_size > 0
    assert {path.suffix for path in (results / "figures").iterdir()} == {".pdf", ".png"}
    assert {path.suffix for path in (results / "tables").iterdir()} == {".tex", ".csv"}
    if shutil.which("pdflatex"):
        assert (results / "paper.pdf").read_bytes().startswith(b"%PDF")


def test_every_variant_answers_every_question_of_every_task(finished):
    answers = pandas.read_parquet(finished.folder / "results" / "tiny" / "answers.parquet")
    counts = answers.groupby(["model", "label", "level", "seed", "recovery", "task"]).size().unstack("task")
    assert len(counts) == 8 and not counts.isna().any().any()
    assert (counts.nunique() == 1).all()


def test_metrics_have_the_probes_with_their_layers(finished):
    metrics = pandas.read_parquet(finished.folder / "results" / "tiny" / "metrics.parquet")
    metrics = metrics[metrics.scoring != "similarity"]  # those have blocks of their own
    probed = metrics[metrics.scoring == "linear"]
    assert set(probed.label) >= {"dense", "gptq", "random"} and set(probed.layer) == {"1", "2"}
    rest = metrics[(metrics.scoring != "linear") & ~metrics.metric.str.startswith("unsaid_")]
    assert (rest.layer == "").all()


def test_second_run_has_nothing_to_do(finished):
    assert finished.planned(*STUDY) == {}


def test_new_level_runs_its_own_jobs_and_the_aggregates(finished):
    study = yaml.safe_load((finished.folder / "studies" / "tiny.yaml").read_text())
    study["compression"]["magnitude"]["levels"].append("0.5")
    (finished.folder / "studies" / "more.yaml").write_text(yaml.safe_dump(study))
    jobs = finished.planned("--configfile", "studies/more.yaml")
    aggregates = ("measure", "probe", "similarity", "analyse", "leaks", "tables", "page", "paper")
    once = {"compress": 1, "evaluate": 1} | dict.fromkeys(aggregates, 1)
    assert {name: count for name, count in jobs.items() if name != "figure"} == once


def test_a_cell_is_exported_by_its_path(finished):
    target = "results/tiny/exports/compressed-tensors/atlas/gptq/3/s0/digests.json"
    done = finished.run(target, *STUDY)
    assert done.returncode == 0, done.stdout[-4000:]
    assert "quantization_config" in (finished.folder / target).with_name("config.json").read_text()
    shutil.rmtree(finished.folder / "results" / "tiny" / "exports")
    shutil.rmtree(finished.folder / "results" / "tiny" / "times" / "export")
    shutil.rmtree(finished.folder / "results" / "tiny" / "logs" / "export")


def test_cells_are_calibrated_on_what_the_study_names_and_models_are_derived(checkout):
    study = yaml.safe_load((checkout.folder / "studies" / "tiny.yaml").read_text()) | {"name": "swept", "recovery": {}}
    del study["models"]["atlas-small"], study["similarity"]
    study["models"]["atlas-outlier"] = {"source": "outliers", "of": "atlas", "channels": 2}
    texts = {"random": "random", "half-a": "biographies_half_a", "questions": {"task": "closed_book"}}
    study["calibration"] = {name: {"text": text, "samples": 8, "length": 32} for name, text in texts.items()}
    study["compression"] = {"wanda": {"levels": ["0.5"], "calibration": list(texts)}}
    (checkout.folder / "mine.yaml").write_text(yaml.safe_dump(study))
    cells = {name: f"results/swept/cells/atlas-outlier/wanda-{name}/0.5/s0" for name in texts}
    done = checkout.run(*(f"{cell}/digests.json" for cell in cells.values()), "--configfile", "mine.yaml")
    assert done.returncode == 0, done.stdout[-8000:]
    said = {name: json.loads((checkout.folder / cell / "compression.json").read_text()) for name, cell in cells.items()}
    assert {name: record["calibration"]["text"] for name, record in said.items()} == {
        "random": "none", "half-a": "biographies_half_a.txt", "questions": "task closed_book",
    }  # fmt: skip
    assert {record["method"] for record in said.values()} == {"wanda"}
    source = json.loads((checkout.folder / "results/swept/models/atlas-outlier/source.json").read_text())
    assert source["of"] == "atlas" and len(source["channels"]) == 2


def test_an_allocation_is_made_once_for_all_labels_and_again_when_it_changes(finished):
    study = yaml.safe_load((finished.folder / "studies" / "tiny.yaml").read_text())
    study["compression"]["magnitude-error"] = {"method": "magnitude", "levels": ["0.5"], "allocation": "error"}
    (finished.folder / "studies" / "shared.yaml").write_text(yaml.safe_dump(study))
    jobs = finished.planned("--configfile", "studies/shared.yaml")
    assert "allocate" not in jobs and jobs["compress"] == jobs["evaluate"] == 1
    del study["compression"]["magnitude-error"]
    study["allocation"] = {"error": {"options": {"weighting": "energy"}}}
    (finished.folder / "studies" / "changed.yaml").write_text(yaml.safe_dump(study))
    jobs = finished.planned("--configfile", "studies/changed.yaml")
    assert jobs["allocate"] == jobs["compress"] == jobs["evaluate"] == 1 and "train" not in jobs


def test_killed_study_ends_with_the_same_bytes_on_one_core(finished, tmp_path_factory):
    checkout = Checkout(tmp_path_factory.mktemp("killed"))
    for wanted in ("world/digests.json", "cells", "variants"):
        process = subprocess.Popen(
            checkout.command(*STUDY), cwd=checkout.folder, env=checkout.environment(),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        deadline = time.monotonic() + 120
        while not (checkout.folder / "results" / "tiny" / wanted).exists():
            assert process.poll() is None and time.monotonic() < deadline, wanted
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert checkout.run("--unlock", *STUDY).returncode == 0
    done = checkout.run(*STUDY, cores=1)
    assert done.returncode == 0, done.stdout[-8000:]
    assert digests(checkout) == digests(finished)


def test_flipped_bit_in_a_checkpoint_is_found_and_named(finished):
    weights = finished.folder / "results" / "tiny" / "models" / "atlas" / "model.safetensors"
    answers = finished.folder / "results/tiny/variants/atlas/svd/k0.6/s0/none/answers.parquet"
    content, kept = bytearray(weights.read_bytes()), answers.read_bytes()
    times = answers.stat()
    content[-1] ^= 1
    good = weights.read_bytes()
    try:
        weights.write_bytes(content)
        done = finished.run(
            *STUDY, "--forcerun", "evaluate", "--until", "evaluate", str(answers.relative_to(finished.folder))
        )
        assert done.returncode != 0
        assert "model.safetensors" in done.stdout and "damaged" in done.stdout
        assert "Traceback (most recent call last)" not in done.stdout
    finally:
        weights.write_bytes(good)
        answers.write_bytes(kept)
        os.utime(answers, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_interrupt_stops_cleanly(checkout):
    process = subprocess.Popen(
        checkout.command(*STUDY), cwd=checkout.folder, env=checkout.environment(),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        # A shell that started the tests in the background has them ignore interrupts, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    deadline = time.monotonic() + 60
    logs = checkout.folder / "results" / "tiny" / "logs" / "train"
    while not any(log.stat().st_size for log in logs.glob("*.log")):  # a training is under way
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode != 0 and "Traceback" not in output, output
    assert not (checkout.folder / "results" / "tiny" / "models" / "atlas" / "digests.json").exists()
    assert not list((checkout.folder / "results").rglob("*.part"))
    assert not any((checkout.folder / ".snakemake" / "locks").glob("*"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"compression": {"wandaa": {"levels": ["0.5"]}}}, "wanda"),
        ({"compression": {"magnitude": {"levels": [124]}}}, '"2:4"'),
        ({"tasks": ["closed_bok"]}, "closed_book"),
        ({"name": "../elsewhere"}, "name"),
        ({"models": {"mine": {"source": "folder", "path": "models/absent"}}}, "PALIMPSEST_DATA"),
    ],
)
def test_mistake_in_a_study_is_found_before_any_job(checkout, change, message):
    study = yaml.safe_load((checkout.folder / "studies" / "tiny.yaml").read_text()) | change
    del study["recovery"], study["similarity"]
    (checkout.folder / "mine.yaml").write_text(yaml.safe_dump(study))
    done = checkout.run("--configfile", "mine.yaml")
    assert done.returncode != 0
    assert "mine.yaml" in done.stdout and message in done.stdout, done.stdout
    assert "Traceback" not in done.stdout
    assert not (checkout.folder / "results").exists()


def test_another_study_replaces_the_embedded_one(checkout):
    study = yaml.safe_load((checkout.folder / "studies" / "tiny.yaml").read_text()) | {"name": "other"}
    del study["recovery"], study["similarity"]
    (checkout.folder / "other.yaml").write_text(yaml.safe_dump(study))
    jobs = checkout.planned("--configfile", "other.yaml")
    assert "recover" not in jobs and jobs["compress"] == 6
