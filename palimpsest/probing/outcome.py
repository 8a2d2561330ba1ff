"""What a probe said, row by row: the statistics are the analysis's (analysis/probing.py)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Outcome:
    """One probe at one layer, on its test rows; all arrays are (rows,).

    subset: the pooling of sentence probes, the attribute of questions, a class or "all" of words.
    scoring: the classifier, "linear" or "mlp"; "structural".
    metric: "acc" (values are 1 where right, else 0), "codelength" (bits), "uuas", "spearman" (of a sentence).
    clusters: what belongs together, the person or the sentence.
    controls: the same of the control task (Hewitt & Liang 2019), or None.
    said: the label that was named, where it is asked for later.
    """

    subset: str
    scoring: str
    layer: int
    metric: str
    rows: np.ndarray
    clusters: np.ndarray
    values: np.ndarray
    controls: np.ndarray | None = None
    classes: int = 0
    said: np.ndarray | None = None
