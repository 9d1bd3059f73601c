"""The measures: a file here is one measure, and the name of the file is the measure's name.

SETTINGS    name: (kind, least value, meaning) of each setting. "count" is a whole number,
            "counts" a list of them, "numbers" a list of numbers greater than the least value,
            and "checkpoints" a list of checkpoints. A literal, read without importing PyTorch
QUANTITIES  name: label of each number that `quantities` returns; a literal too
measure     yields rows from a subject, whose network it may change, and from the settings. The
            setting `examples` is not passed: the subject then has that number of images
quantities  reduces the rows of one subject, at least one row, to a few numbers
"""
