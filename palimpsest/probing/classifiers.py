"""What is trained on frozen states: logistic regression, or one hidden layer. Both standardize their input, choose on
the validation rows how far to go, and give the same number for the same seed."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

STRENGTHS = (0.001, 0.01, 0.1, 1.0)  # scikit-learn's C: the smaller, the more regularized
TOLERANCE, ITERATIONS = 1e-3, 200
HIDDEN, EPOCHS, PATIENCE = 64, 100, 5

States = Float[np.ndarray, "rows width"]
Labels = Shaped[np.ndarray, " rows"]


@dataclass(frozen=True)
class Classifier:
    """A classifier with the scale of its input. `classes` are in the order of the columns of `probabilities`."""

    scaler: StandardScaler
    model: LogisticRegression | MLPClassifier

    @property
    def classes(self) -> np.ndarray:
        return self.model.classes_

    def predict(self, states: States) -> Labels:
        return self.model.predict(_scaled(self.scaler, states))

    def probabilities(self, states: States) -> Float[np.ndarray, "rows classes"]:
        return self.model.predict_proba(_scaled(self.scaler, states))


def fit(
    name: str, states: States, labels: Labels, validation: tuple[States, Labels] | None = None, seed: int = 0
) -> Classifier:
    """Train "linear" or "mlp". Without validation rows, "linear" has the C in the middle and "mlp" all its epochs."""
    scaler = StandardScaler().fit(_float32(states))
    known = np.isin(validation[1], labels) if validation else np.zeros(0, dtype=bool)
    held = (_scaled(scaler, validation[0][known]), validation[1][known]) if known.any() else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return Classifier(scaler, TRAIN[name](_scaled(scaler, states), labels, held, seed))


def linear(states: States, labels: Labels, held: tuple[States, Labels] | None, seed: int) -> LogisticRegression:
    """Logistic regression with the C of `STRENGTHS` whose loss on the validation rows is least."""
    model = LogisticRegression(tol=TOLERANCE, max_iter=ITERATIONS, warm_start=True)
    if held is None:
        return model.set_params(C=STRENGTHS[len(STRENGTHS) // 2]).fit(states, labels)
    best, least = None, np.inf
    for strength in STRENGTHS:
        model.set_params(C=strength).fit(states, labels)
        loss = log_loss(held[1], model.predict_proba(held[0]), labels=model.classes_)
        if loss < least:
            best, least = copy.deepcopy(model), loss
    return best


def mlp(states: States, labels: Labels, held: tuple[States, Labels] | None, seed: int) -> MLPClassifier:
    """One hidden layer of `HIDDEN` units, as it was when the loss on the validation rows was least."""
    model, classes = MLPClassifier((HIDDEN,), random_state=seed, batch_size=min(64, len(labels))), np.unique(labels)
    best, least, waited = None, np.inf, 0
    for _ in range(EPOCHS):
        model.partial_fit(states, labels, classes=classes)
        if held is None:
            continue
        loss = log_loss(held[1], model.predict_proba(held[0]), labels=classes)
        waited += 1
        if loss < least:
            best, least, waited = copy.deepcopy(model), loss, 0
        if waited == PATIENCE:
            break
    return best or model


TRAIN: dict[str, Callable] = {"linear": linear, "mlp": mlp}


def _scaled(scaler: StandardScaler, states: States) -> States:
    return scaler.transform(_float32(states))


def _float32(states: States) -> States:
    return np.ascontiguousarray(states, dtype=np.float32)
