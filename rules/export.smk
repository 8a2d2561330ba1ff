# A cell as a folder that others read. Nothing else needs it: ask for one by its path, or `make export CELL=…`.


rule export:
    input:
        cell=CELL_DONE,
        dense=MODEL_DONE,
    output:
        done=f"{RESULTS}/exports/{{form}}/{CELL}/{DONE}",
        times=times(f"export/{{form}}/{CELL}"),
    log:
        log_of(f"export/{{form}}/{CELL}"),
    wildcard_constraints:
        form="huggingface|compressed-tensors",
    conda:
        "../envs/palimpsest.yaml"
    params:
        code=code("export"),
        cell=subpath(input.cell, parent=True),
        folder=subpath(output.done, parent=True),
    shell:
        "python scripts/export.py --cell {params.cell:q} --format {wildcards.form:q} --output {params.folder:q} "
        "--times {output.times:q} 2> {log:q}"


rule exports:
    # Every cell as a plain Hugging Face folder.
    input:
        [f"{RESULTS}/exports/huggingface/{cell.id}/{DONE}" for cell in grid.cells() if not cell.is_dense],
