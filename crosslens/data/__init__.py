"""Problems, traces, corpora and the grader: everything read before a model is trained.

Belongs here: data sets of the hub or local, training problems, traces (a teacher's or the problems'
own solutions), the packed corpus, extracting and grading a math answer (one grader for traces,
reward and evaluation).
Does not belong here: benchmarks as evaluations (`evaluation`), generated data (`synthetic`).
"""
