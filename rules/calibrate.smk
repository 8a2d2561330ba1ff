# The rows of text whose activations the methods see.


rule calibrate:
    input:
        model=MODEL_DONE,
        text=lambda wildcards: text_source(calibration_text(wildcards)),
    output:
        done=CALIBRATION_DONE,
        times=times("calibrate/{model}/{calibration}/{seed}"),
    log:
        log_of("calibrate/{model}/{calibration}/{seed}"),
    conda:
        "../envs/palimpsest.yaml"
    params:
        code=code("calibrate"),
        model=subpath(input.model, parent=True),
        folder=subpath(output.done, parent=True),
        text=lambda wildcards: text_of(calibration_text(wildcards)),
        samples=lambda wildcards: study.calibration[wildcards.calibration].samples,
        length=lambda wildcards: study.calibration[wildcards.calibration].length,
        seed=lambda wildcards: wildcards.seed[1:],
    shell:
        "python scripts/calibrate.py --model {params.model:q} --text {params.text:q} --samples {params.samples} "
        "--length {params.length} --seed {params.seed} --output {params.folder:q} --times {output.times:q} 2> {log:q}"
