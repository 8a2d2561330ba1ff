# What compression does to states: CKA of all layers, spectra and logit lens of a cell; one matrix at a time.

REPRESENTATION = [f"{RESULTS}/representation/{cell.id}.parquet" for cell in grid.represented()]
REPRESENTATION += [f"{RESULTS}/sensitivity/{cell.id}.parquet" for cell in grid.spliced()]


rule representation:
    input:
        model=MODEL_DONE,
        cell=CELL_DONE,
        texts=[f"{folder}/{DONE}" for folder in read_folders(study.representation.tasks)] if REPRESENTATION else [],
    output:
        metrics=f"{RESULTS}/representation/{CELL}.parquet",
        spectra=f"{RESULTS}/spectra/{CELL}.parquet",
        times=times(f"representation/{CELL}"),
    log:
        log_of(f"representation/{CELL}"),
    conda:
        "../envs/palimpsest.yaml"
    params:
        code=code("representation"),
        model=subpath(input.model, parent=True),
        cell=subpath(input.cell, parent=True),
        row=lambda wildcards: settings_json(Variant(cell_of(wildcards)).row),
        texts=lambda wildcards, input: [os.path.dirname(path) for path in input.texts],
        most=study.representation.texts if REPRESENTATION else 0,
    shell:
        "python scripts/representation.py --model {params.model:q} --cell {params.cell:q} --row {params.row:q} "
        "--texts {params.texts:q} --most {params.most} --output {output.metrics:q} --spectra {output.spectra:q} "
        "--times {output.times:q} 2> {log:q}"


rule sensitivity:
    input:
        model=MODEL_DONE,
        cell=CELL_DONE,
        texts=f"{read_folders(study.representation.tasks)[0]}/{DONE}" if REPRESENTATION else [],
        probes=(
            [PROBE_DONE.format(probe=probe) for probe in study.representation.sensitivity.probes]
            if grid.spliced()
            else []
        ),
    output:
        metrics=f"{RESULTS}/sensitivity/{CELL}.parquet",
        times=times(f"sensitivity/{CELL}"),
    log:
        log_of(f"sensitivity/{CELL}"),
    conda:
        "../envs/palimpsest.yaml"
    params:
        code=code("sensitivity"),
        model=subpath(input.model, parent=True),
        cell=subpath(input.cell, parent=True),
        row=lambda wildcards: settings_json(Variant(cell_of(wildcards)).row),
        texts=subpath(input.texts, parent=True),
        most=study.representation.sensitivity.texts if grid.spliced() else 0,
        probes=lambda wildcards, input: [os.path.dirname(path) for path in input.probes],
        rows=study.representation.sensitivity.rows if grid.spliced() else 0,
    shell:
        "python scripts/sensitivity.py --model {params.model:q} --cell {params.cell:q} --row {params.row:q} "
        "--texts {params.texts:q} --most {params.most} --probes {params.probes:q} --rows {params.rows} "
        "--output {output.metrics:q} --times {output.times:q} 2> {log:q}"
