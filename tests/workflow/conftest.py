"""Fixtures of the workflow tests: an empty checkout, and one in which the tiny study has run."""

from __future__ import annotations

import pytest
from checkout import Checkout


@pytest.fixture
def checkout(tmp_path) -> Checkout:
    return Checkout(tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Checkout:
    """The tiny study, finished on two cores. Tests that change it must put it right again."""
    checkout = Checkout(tmp_path_factory.mktemp("finished"))
    done = checkout.run("--configfile", "studies/tiny.yaml")
    assert done.returncode == 0, done.stdout[-8000:]
    return checkout
