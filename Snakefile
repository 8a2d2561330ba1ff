# Palimpsest: compress language models, repair them, and measure what they still know.
#
#   snakemake --cores all                                            the embedded study (config.yaml)
#   snakemake --cores all --configfile studies/stories.yaml          another study
#   snakemake --workflow-profile profiles/slurm --configfile …       on a cluster
#
# One study a run; everything it makes lies in results/<study>/.
from snakemake.utils import min_version

min_version("9.20")


report: "reports/workflow.rst"


include: "rules/common.smk"
include: "rules/sources.smk"
include: "rules/fine_tune.smk"
include: "rules/calibrate.smk"
include: "rules/allocate.smk"
include: "rules/compress.smk"
include: "rules/recover.smk"
include: "rules/evaluate.smk"
include: "rules/judge.smk"
include: "rules/probe.smk"
include: "rules/similarity.smk"
include: "rules/representation.smk"
include: "rules/measure.smk"
include: "rules/leaks.smk"
include: "rules/report.smk"
include: "rules/export.smk"


rule all:
    default_target: True
    input:
        f"{RESULTS}/report.html",
        f"{RESULTS}/paper.tex",
        f"{RESULTS}/claims.json",
        f"{RESULTS}/answers.parquet",
        rules.tables.output.tables,
        FIGURES,


rule cells:
    # Every compressed model, nothing evaluated.
    input:
        [CELL_DONE.format(**cell.wildcards) for cell in grid.cells()],


onsuccess:
    finish()
