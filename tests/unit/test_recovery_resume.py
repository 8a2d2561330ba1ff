"""A training that was killed goes on from its last state and ends with the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from palimpsest.finetuning.checkpoint import Checkpoint
from palimpsest.provenance import PalimpsestError
from palimpsest.recovery import train as training
from palimpsest.recovery.train import recover

# Dropout draws random numbers at every step, and validation sees a better adapter several times.
SETTINGS = {
    "method": "lora",
    "options": {"rank": 2, "dropout": 0.3},
    "steps": 40,
    "batch_size": 2,
    "learning_rate": 0.01,
    "validate_every": 7,
    "seed": 3,
}
# Trains as `recover` does, and is killed by the system in the middle of its 24th step.
KILLED = """
import os, signal, sys
from palimpsest.recovery import train
from palimpsest.recovery.objectives import next_token

seen = []
def objective(model, batch):
    seen.append(model.training)
    if sum(seen) == 24:
        os.kill(os.getpid(), signal.SIGKILL)
    return next_token(model, batch)

train.next_token = objective
train.recover(*sys.argv[1:3], text=sys.argv[3], validation=sys.argv[3], state_folder=sys.argv[4],
              checkpoint_minutes=0, **{settings})
"""


@pytest.fixture
def text(tmp_path) -> Path:
    lines = ["Alba lives in Torun .", "Miro works as a nurse .", "Ida was born in Faro .", "Tanel lives in Lund ."]
    (tmp_path / "text.txt").write_text("\n".join(lines * 3) + "\n", encoding="utf-8")
    return tmp_path / "text.txt"


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_killed_training_ends_with_the_same_bytes(tiny_model_folder, text, tmp_path, capfd):
    state = tmp_path / "state"
    script = KILLED.replace("{settings}", repr(SETTINGS))
    command = [
        sys.executable,
        "-c",
        script,
        str(tiny_model_folder),
        str(tmp_path / "a" / "adapter"),
        str(text),
        str(state),
    ]
    run = subprocess.run(
        command, env=os.environ, cwd=Path(training.__file__).parents[2], capture_output=True, text=True
    )
    assert run.returncode == -signal.SIGKILL, run.stderr
    assert not (tmp_path / "a").exists() and len(list(state.iterdir())) == 1

    where = {"text": text, "validation": text}
    recover(tiny_model_folder, tmp_path / "a" / "adapter", state_folder=state, **where, **SETTINGS)
    assert "training goes on after step 23" in capfd.readouterr().err
    assert not list(state.iterdir())
    recover(tiny_model_folder, tmp_path / "b" / "adapter", **where, **SETTINGS)
    assert "goes on" not in capfd.readouterr().err
    assert files(tmp_path / "a" / "adapter") == files(tmp_path / "b" / "adapter")


class Stopped(Exception):
    pass


@pytest.fixture
def stopped(tiny_model_folder, text, tmp_path, monkeypatch):
    """The state file of a training that stopped after its third step; and how to go on with it."""

    def objective(model, batch, seen=[]):  # noqa: B006 - counts
        seen.append(model.training)
        if sum(seen) == 4:
            raise Stopped
        return unbroken(model, batch)

    unbroken = training.next_token
    state = tmp_path / "state"

    def again(**changes):
        changes = SETTINGS | changes
        recover(tiny_model_folder, tmp_path / "adapter", text=text, state_folder=state, checkpoint_minutes=0, **changes)

    monkeypatch.setattr(training, "next_token", objective)
    with pytest.raises(Stopped):
        again()
    monkeypatch.setattr(training, "next_token", unbroken)
    return next(state.iterdir()), again


def test_other_training_has_a_state_of_its_own(stopped, capsys):
    file, again = stopped
    again(seed=4)
    assert "goes on" not in capsys.readouterr().err and file.exists()
    again()
    assert "goes on after step 3" in capsys.readouterr().err and not file.exists()


def test_state_of_another_run_is_refused(stopped, tmp_path):
    file, _ = stopped
    other = Checkpoint(file.parent, {"seed": 4})
    file.rename(other.path)
    with pytest.raises(PalimpsestError, match="the state of another run, which differs in seed"):
        other.restore(None, None, None)


def test_damaged_state_costs_its_steps_alone(stopped, capsys):
    file, again = stopped
    file.write_bytes(file.read_bytes()[:-100])
    again()
    assert "not readable" in (said := capsys.readouterr().err) and "goes on" not in said
    assert not file.exists()


def test_state_is_kept_every_few_minutes_and_not_without_a_folder(tmp_path):
    assert Checkpoint(tmp_path, {}, minutes=0).due()
    assert not Checkpoint(tmp_path, {}, minutes=1).due()
    assert not Checkpoint(None, {}, minutes=0).due()
