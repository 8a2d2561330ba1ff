"""Where the methods come from: what a paper that uses them cites."""

from __future__ import annotations

SOURCES = {
    "magnitude": (
        "han2015",
        "S. Han, J. Pool, J. Tran, W. Dally. Learning both weights and connections for efficient neural "
        "networks. NeurIPS 2015. arXiv:1506.02626.",
    ),
    "wanda": (
        "sun2023",
        "M. Sun, Z. Liu, A. Bair, J. Z. Kolter. A simple and effective pruning approach for large "
        "language models. ICLR 2024. arXiv:2306.11695.",
    ),
    "sparsegpt": (
        "frantar2023sparse",
        "E. Frantar, D. Alistarh. SparseGPT: massive language models can be accurately pruned in one-"
        "shot. ICML 2023. arXiv:2301.00774.",
    ),
    "gptq": (
        "frantar2023gptq",
        "E. Frantar, S. Ashkboos, T. Hoefler, D. Alistarh. GPTQ: accurate post-training quantization for"
        " generative pre-trained transformers. ICLR 2023. arXiv:2210.17323.",
    ),
    "svd-llm": (
        "wang2024",
        "X. Wang, Y. Zheng, Z. Wan, M. Zhang. SVD-LLM: truncation-aware singular value decomposition for"
        " large language model compression. ICLR 2025. arXiv:2403.07378.",
    ),
    "lora": (
        "hu2022",
        "E. J. Hu et al. LoRA: low-rank adaptation of large language models. ICLR 2022. arXiv:2106.09685.",
    ),
    "prompt": (
        "lester2021",
        "B. Lester, R. Al-Rfou, N. Constant. The power of scale for parameter-efficient prompt tuning. "
        "EMNLP 2021. arXiv:2104.08691.",
    ),
}
NAMES = {
    "magnitude": "magnitude pruning", "wanda": "Wanda", "sparsegpt": "SparseGPT", "rtn": "rounding to nearest (RTN)",
    "gptq": "GPTQ", "svd": "truncated SVD", "svd-llm": "SVD-LLM(W)", "lora": "LoRA", "prompt": "prompt tuning",
}  # fmt: skip


def used(methods: list[str], recoveries: list[str]) -> list[str]:
    """The methods of a study that have a name here, recoveries by the first part of theirs (`lora-r4` is lora)."""
    kinds = [recovery.split("-")[0] for recovery in recoveries]
    return [method for method in dict.fromkeys([*methods, *kinds]) if method in NAMES]


def cited(method: str) -> str:
    """`GPTQ~\\cite{…}` in LaTeX."""
    return NAMES[method] + (rf"~\cite{{{SOURCES[method][0]}}}" if method in SOURCES else "")
