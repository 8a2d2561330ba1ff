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
    "dsnot": (
        "zhang2023",
        "Y. Zhang et al. Dynamic sparse no training: training-free fine-tuning for sparse LLMs. ICLR "
        "2024. arXiv:2310.08915.",
    ),
    "alps": (
        "meng2024",
        "X. Meng, K. Behdin, H. Wang, R. Mazumder. ALPS: improved optimization for highly sparse one-shot"
        " pruning for large language models. NeurIPS 2024. arXiv:2406.07831.",
    ),
    "structured": (
        "hu2025",
        "H. Hu et al. FASP: fast and accurate structured pruning of large language models. 2025. arXiv:2501.09412.",
    ),
    "awq": (
        "lin2023",
        "J. Lin et al. AWQ: activation-aware weight quantization for LLM compression and acceleration. "
        "MLSys 2024. arXiv:2306.00978.",
    ),
    "hqq": (
        "badri2023",
        "H. Badri, A. Shaji. Half-quadratic quantization of large machine learning models. 2023.",
    ),
    "nf4": (
        "dettmers2023",
        "T. Dettmers, A. Pagnoni, A. Holtzman, L. Zettlemoyer. QLoRA: efficient finetuning of quantized "
        "LLMs. NeurIPS 2023. arXiv:2305.14314.",
    ),
    "llm-int8": (
        "dettmers2022",
        "T. Dettmers, M. Lewis, Y. Belkada, L. Zettlemoyer. LLM.int8(): 8-bit matrix multiplication for "
        "transformers at scale. NeurIPS 2022. arXiv:2208.07339.",
    ),
    "smoothquant": (
        "xiao2022",
        "G. Xiao et al. SmoothQuant: accurate and efficient post-training quantization for large language"
        " models. ICML 2023. arXiv:2211.10438.",
    ),
    "fwsvd": (
        "hsu2022",
        "Y.-C. Hsu et al. Language model compression with weighted low-rank factorization. ICLR 2022. "
        "arXiv:2207.00112.",
    ),
    "asvd": (
        "yuan2023",
        "Z. Yuan et al. ASVD: activation-aware singular value decomposition for compressing large "
        "language models. 2023. arXiv:2312.05821.",
    ),
    "afm": (
        "yu2023",
        "H. Yu, J. Wu. Compressing transformers: features are low-rank, but weights are not! AAAI 2023.",
    ),
    "bolaco": (
        "ji2024",
        "Y. Ji et al. Adaptive feature-based low-rank compression of large language models via Bayesian "
        "optimization. Findings of EMNLP 2024. arXiv:2405.10616.",
    ),
    "laser": (
        "sharma2023",
        "P. Sharma, J. T. Ash, D. Misra. The truth is in there: improving reasoning in language models "
        "with layer-selective rank reduction. ICLR 2024. arXiv:2312.13558.",
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
    "gptq": "GPTQ", "svd": "truncated SVD", "svd-llm": "SVD-LLM(W)", "dsnot": "DSnoT", "alps": "ALPS",
    "structured": "structured pruning", "awq": "AWQ", "hqq": "HQQ", "nf4": "NF4", "llm-int8": "LLM.int8()",
    "smoothquant": "SmoothQuant", "fwsvd": "FWSVD", "asvd": "ASVD", "afm": "AFM", "bolaco": "Bolaco", "laser": "LASER",
    "lora": "LoRA", "prompt": "prompt tuning",
}  # fmt: skip


def used(methods: list[str], recoveries: list[str]) -> list[str]:
    """The methods of a study that have a name here, recoveries by the first part of theirs (`lora-r4` is lora)."""
    kinds = [recovery.split("-")[0] for recovery in recoveries]
    return [method for method in dict.fromkeys([*methods, *kinds]) if method in NAMES]


def cited(method: str) -> str:
    """`GPTQ~\\cite{…}` in LaTeX."""
    return NAMES[method] + (rf"~\cite{{{SOURCES[method][0]}}}" if method in SOURCES else "")
