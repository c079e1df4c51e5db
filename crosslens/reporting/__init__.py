"""Tables, figures, the summary and the report: how results are shown.

Belongs here: rounding, captions, sentences computed from numbers, plots, the HTML page.
Does not belong here: new numbers. What is shown was computed by `analysis` or `evaluation`.
"""
