"""Published results: the tables of trained populations, and what they come to.

`make results` judges the claims anew from the tables in docs/results/ and makes docs/results.md;
docs/results/README.md says what is there.
"""
