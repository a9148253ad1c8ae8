"""Predict the accuracy of one population's runs from their weights."""

from weightscape.claims.analyses.prediction import measure
from weightscape.claims.features import read_final, read_initial
from weightscape.messages.logs import job_log
from weightscape.storage.tables import read_table, write_table

with job_log(snakemake.log[0]) as log:
    tables, params = snakemake.input, snakemake.params
    runs = read_table(tables.runs)
    final = read_final(tables.statistics, tables.strength, tables.spectra)
    initial = read_initial(tables.nulls)
    scores, predicted = measure(runs, final, initial, params.accuracy, params.resamples)
    write_table(scores, snakemake.output.prediction)
    write_table(predicted, snakemake.output.predicted)
    log.info("predicted n = %d runs", scores["n"].max())
