"""The repository keeps its own promises: one set of pins, no code run from data, documents that hold."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path
    for folder in ("palimpsest", "scripts", "rules", "benchmarks")
    for path in (ROOT / folder).rglob("*")
    if path.is_file() and ".venv" not in path.parts  # benchmarks/peers has one of its own
)


def pins() -> dict[str, str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = project["dependencies"] + project["optional-dependencies"]["dev"]
    return dict(line.split("==") for line in listed)


def test_constraints_hold_every_pin_of_the_project():
    constrained = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines())
    normal = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in constrained.items()}
    assert {name: normal.get(re.sub(r"[-_.]+", "-", name).lower()) for name in pins()} == pins()
    assert constrained["torch"] == "2.13.0"


def test_conda_environment_has_the_same_pins():
    environment = yaml.safe_load((ROOT / "envs" / "palimpsest.yaml").read_text())
    listed = dict(line.split("==") for line in environment["dependencies"][-1]["pip"])
    assert listed == {name: version for name, version in pins().items() if name in listed}
    assert {"torch", "transformers", "peft", "lm-eval", "safetensors"} <= listed.keys()


@pytest.mark.parametrize(
    "forbidden",
    [
        r"torch\.load\(",
        r"\bpickle\.|import pickle",
        r"yaml\.load\((?!.*Loader)",
        r"trust_remote_code\s*=\s*True",
        r"shell\s*=\s*True",
        r"(?<!\.)\beval\(",
        r"\bexec\(",
    ],
)
def test_nothing_runs_code_from_data(forbidden):
    for path in SOURCES:
        if path.suffix in (".py", ".smk"):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                code = line.split("#")[0]
                if re.search(forbidden, code):
                    pytest.fail(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")


def test_no_rule_has_a_run_block_or_retries():
    for path in [ROOT / "Snakefile", *(ROOT / "rules").glob("*.smk")]:
        assert not re.search(r"^\s+(run|retries):", path.read_text(), flags=re.M), path


def test_scripts_are_glue():
    for path in (ROOT / "scripts").glob("*.py"):
        assert len(path.read_text().splitlines()) <= 70, path


def test_links_of_the_documents_lead_somewhere():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_makefile_has_the_targets_of_the_readme():
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), flags=re.M))
    assert {"help", "study", "test", "test-long", "bench", "lint", "clean"} <= targets
