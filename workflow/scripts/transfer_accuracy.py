"""Predict the accuracy of each population's runs by what the weights of another taught."""

from weightscape.claims.analyses.transfer import make_population, measure
from weightscape.claims.effects import Draws
from weightscape.claims.features import read_final
from weightscape.messages.logs import job_log
from weightscape.storage.tables import read_table, write_table

with job_log(snakemake.log[0]) as log:
    tables, params = snakemake.input, snakemake.params
    weights = zip(tables.statistics, tables.strength, tables.spectra, strict=True)
    populations = [
        make_population(read_table(runs), read_final(*of_weights), params.accuracy)
        for runs, of_weights in zip(tables.runs, weights, strict=True)
    ]
    draws = Draws(params.resamples, params.permutations)
    write_table(measure(populations, draws), snakemake.output[0])
    log.info("transferred between n = %d populations", len(populations))
