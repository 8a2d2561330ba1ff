# From answers to metrics, claims, figures, tables, the report and the paper. All of it reads the study's tables only.

TABLES = names.table_names(study)
FIGURE_NAMES = names.figure_names(study)
FIGURES = expand(f"{RESULTS}/figures/{{figure}}.{{kind}}", figure=FIGURE_NAMES, kind=["pdf", "png"])
VARIANTS = grid.variants()
# The clocks of every job before this stage, which the time figure and table sum up.
CLOCKS = (
    [times(f"evaluate/{variant.id}") for variant in VARIANTS]
    + [times("measure"), times("analyse")]
    + [times("leaks")] * bool(LEAKS)
)


rule analyse:
    input:
        answers=[ANSWERS.format(**variant.wildcards) for variant in VARIANTS],
        measurements=f"{RESULTS}/measurements.parquet",
        probes=PROBES,
        similarity=SIMILARITY,
        representation=REPRESENTATION,
        judgements=JUDGEMENTS,
        agreement=AGREEMENT,
        tasks=ALL_TASKS,
        calibrations=[f"{grid.calibration_folder(*needed)}/{DONE}" for needed in grid.calibrations()],
        world=[WORLD_DONE] if study.world else [],
        claims="reports/claims.yaml",
    output:
        answers=f"{RESULTS}/answers.parquet",
        metrics=f"{RESULTS}/metrics.parquet",
        claims=f"{RESULTS}/claims.json",
        probes=f"{RESULTS}/probes.parquet" if study.probes else [],
        facts=[f"{RESULTS}/facts.parquet", f"{RESULTS}/facts.md"] if study.world else [],
        times=times("analyse"),
    log:
        log_of("analyse"),
    conda:
        "../envs/palimpsest.yaml"
    params:
        code=code("analyse"),
        results=subpath(output.metrics, parent=True),
        study=STUDY_FILE,
        variants=[variant.id for variant in VARIANTS],
    shell:
        "python scripts/analyse.py --study {params.study:q} --results {params.results:q} "
        "--claims {input.claims:q} --times {output.times:q} 2> {log:q}"


rule figure:
    input:
        lambda wildcards: [f"{RESULTS}/{file}" for file in names.figure_inputs(wildcards.figure)],
        clocks=lambda wildcards: CLOCKS if wildcards.figure == "time" else [],
    output:
        pdf=f"{RESULTS}/figures/{{figure}}.pdf",
        png=report(
            f"{RESULTS}/figures/{{figure}}.png",
            caption="../reports/figure.rst",
            category=lambda wildcards: names.figure_category(wildcards.figure),
            labels={"figure": "{figure}", "study": study.name},
        ),
        times=times("figure/{figure}"),
    log:
        log_of("figure/{figure}"),
    wildcard_constraints:
        figure="|".join(names.FIGURES),
    conda:
        "../envs/palimpsest.yaml"
    params:
        results=subpath(output.pdf, ancestor=2),
        source=lambda wildcards: names.figure_source(wildcards.figure),
        caption=lambda wildcards: caption_of(wildcards.figure),
    shell:
        "python scripts/figure.py --name {wildcards.figure:q} --tables {params.results:q} "
        "--output {output.pdf:q} {output.png:q} --times {output.times:q} 2> {log:q}"


rule tables:
    input:
        metrics=f"{RESULTS}/metrics.parquet",
        measurements=f"{RESULTS}/measurements.parquet",
        rounds=f"{RESULTS}/latency.parquet",
        similarity=SIMILARITY,
        claims=f"{RESULTS}/claims.json",
        leaks=LEAKS,
        clocks=CLOCKS,
    output:
        tables=expand(f"{RESULTS}/tables/{{table}}.{{kind}}", table=TABLES, kind=["tex", "csv"]),
        times=times("tables"),
    log:
        log_of("tables"),
    conda:
        "../envs/palimpsest.yaml"
    params:
        results=subpath(input.metrics, parent=True),
        folder=lambda wildcards, output: os.path.dirname(output.tables[0]),
        names=TABLES,
        source=names.page_source(),
        cells=[cell.id for cell in grid.cells() if grid.tasks(Variant(cell))],
    shell:
        "python scripts/table.py --name {params.names:q} --tables {params.results:q} --output {params.folder:q} "
        "--expect {params.cells:q} --times {output.times:q} 2> {log:q}"


rule page:
    input:
        rules.tables.output.tables,
        FIGURES,
        rules.analyse.output.probes,
        SIMILARITY,
    output:
        html=report(f"{RESULTS}/report.html", category="The study's own report", labels={"study": study.name}),
        times=times("report"),
    log:
        log_of("report"),
    conda:
        "../envs/palimpsest.yaml"
    params:
        results=subpath(output.html, parent=True),
        source=names.page_source(),
    shell:
        "python scripts/report.py --tables {params.results:q} --output {output.html:q} --times {output.times:q} 2> {log:q}"


rule paper:
    # paper.pdf where pdflatex is installed, paper.tex in any case.
    input:
        rules.tables.output.tables,
        FIGURES,
    output:
        paper=f"{RESULTS}/paper.pdf" if shutil.which("pdflatex") else [],
        tex=f"{RESULTS}/paper.tex",
        times=times("paper"),
    log:
        log_of("paper"),
    conda:
        "../envs/palimpsest.yaml"
    params:
        results=subpath(output.tex, parent=True),
        source=names.page_source(),
    shell:
        "python scripts/paper.py --tables {params.results:q} --output {output.tex:q} {output.paper:q} "
        "--times {output.times:q} 2> {log:q}"
