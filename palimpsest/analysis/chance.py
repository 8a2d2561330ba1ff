"""c: the chance that an answer would be right without knowing the fact. Tables of (person, attribute, answer, chance).

Where attributes are independent, c is the share of the people of the fact's stratum (thirds of frequency, questions
shown or not, attribute) who have the value that was answered: the expected number of right answers were the values
dealt anew among them. Where attributes go together, a model that knows one of a person's facts can guess another, and
a recovery's text may teach it how: c is then the probability that the best predictor from the facts of that text's
people gives to the value that was answered, from all that is true of the person besides.
"""

from __future__ import annotations

import numpy as np
import pandas

FREQUENCY_STRATA = 3
SMOOTHING = (0.1, 0.3, 1.0, 3.0)  # of naive Bayes; what predicts people outside of the fold best is used
FOLDS = 5


def table(facts: pandas.DataFrame, correlated: bool, seen: str = "R") -> pandas.DataFrame:
    """c for a text about the people of pool `seen`, which matters where attributes go together (`correlated`)."""
    return by_predictor(facts, seen) if correlated else by_stratum(facts)


def by_stratum(facts: pandas.DataFrame) -> pandas.DataFrame:
    """c from the values dealt anew among the people of the stratum."""
    shown = _shown(facts)
    shown = shown.assign(stratum=strata(shown))
    keys = ["attribute", "stratum"]
    share = shown.groupby(keys)["value"].value_counts(normalize=True).rename("chance").reset_index()
    found = shown[["person", *keys]].merge(share.rename(columns={"value": "answer"}), on=keys)
    return found[["person", "attribute", "answer", "chance"]]


def strata(facts: pandas.DataFrame) -> pandas.Series:
    """`1/True`: the third of frequency (1 holds the most frequent people), and whether questions were shown."""
    rank = facts["rank"].rank(method="dense")
    frequency = np.ceil(FREQUENCY_STRATA * rank / rank.max()).astype(int)
    return frequency.astype(str) + "/" + facts["questions_shown"].astype(bool).astype(str)


def by_predictor(facts: pandas.DataFrame, seen: str) -> pandas.DataFrame:
    """c from naive Bayes, fitted to the facts of the people of pool `seen` and asked about people it has not seen."""
    values = _shown(facts).pivot(index="person", columns="attribute", values="value").sort_index()
    pools = facts.drop_duplicates("person").set_index("person")["pool"].reindex(values.index)
    tables = []
    for attribute in values.columns:
        others = values.drop(columns=attribute).astype(object).where(values.notna(), "")
        told = ((pools == seen) & values[attribute].notna()).to_numpy()
        classes = np.array(sorted(set(values[attribute].dropna())))
        probabilities = pandas.DataFrame(
            _predicted(others, values[attribute], told, classes), index=values.index, columns=classes
        )
        long = probabilities.rename_axis(columns="answer").stack().rename("chance").reset_index()
        tables.append(long.assign(attribute=attribute))
    return pandas.concat(tables, ignore_index=True)[["person", "attribute", "answer", "chance"]]


def _predicted(others: pandas.DataFrame, values: pandas.Series, told: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """p(value | the person's other facts), (people, classes), by a predictor that was not told of the person."""
    # Importing scikit-learn takes seconds, which only worlds whose attributes go together need.
    from sklearn.model_selection import KFold
    from sklearn.preprocessing import OneHotEncoder

    features = OneHotEncoder(handle_unknown="ignore").fit(others[told]).transform(others)
    labels = np.searchsorted(classes, values[told].to_numpy(dtype=classes.dtype))
    inside = np.flatnonzero(told)

    def out_of_fold(smoothing: float) -> np.ndarray:
        found = np.empty((len(inside), len(classes)))
        for train, test in KFold(FOLDS, shuffle=True, random_state=0).split(inside):
            model = _fitted(features[inside[train]], labels[train], len(classes), smoothing)
            found[test] = model.predict_proba(features[inside[test]])
        return found

    candidates = {smoothing: out_of_fold(smoothing) for smoothing in SMOOTHING}
    fit = {s: np.log(found[np.arange(len(labels)), labels]).mean() for s, found in candidates.items()}
    best = max(fit, key=fit.get)
    found = _fitted(features[inside], labels, len(classes), best).predict_proba(features)
    found[inside] = candidates[best]
    return _calibrated(found, candidates[best], labels)


def _calibrated(probabilities: np.ndarray, out_of_fold: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Smoothing and features that go together make naive Bayes too timid or too sure: isotonic over all values."""
    from sklearn.isotonic import IsotonicRegression

    is_value = np.arange(out_of_fold.shape[1]) == labels[:, None]
    scaling = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(out_of_fold.ravel(), is_value.ravel())
    return scaling.predict(probabilities.ravel()).reshape(probabilities.shape)


def _fitted(features, labels: np.ndarray, classes: int, smoothing: float):
    """Naive Bayes that knows of every class, also of those that nobody here has."""
    from sklearn.naive_bayes import MultinomialNB

    counts = np.bincount(labels, minlength=classes) + 1
    model = MultinomialNB(alpha=smoothing, class_prior=counts / counts.sum())
    return model.partial_fit(features, labels, classes=np.arange(classes))


def _shown(facts: pandas.DataFrame) -> pandas.DataFrame:
    return facts[facts["shown"].astype(bool)]
