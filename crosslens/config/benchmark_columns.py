"""List the columns that are read from each kind of file; light, for the checks before any job."""

PROBLEMS = ("problem", "answer", "source")
PROBLEM_COLUMNS = ("problem", "Problem", "question")  # question: GSM8K's
ANSWER_COLUMNS = ("answer", "Answer")
GIVEN_PROBLEMS = (PROBLEM_COLUMNS, (*ANSWER_COLUMNS, "solution"))  # one of each, before preparation
GSM8K_MARK = "####"  # begins the last line of its solutions, which has the answer
CORPUS = ("text", "conversations")  # RedPajama's or OpenThoughts-114k's: one of them
TASKS = {  # what lm-eval 0.4.13's task code reads of each document
    "openbookqa": ("question_stem", "choices", "answerKey"),
    "commonsense_qa": ("question", "choices", "answerKey"),
    "headqa_en": ("qtext", "ra", "answers"),
    "sciq": ("question", "distractor1", "distractor2", "distractor3", "correct_answer", "support"),
    "arc_challenge": ("question", "choices", "answerKey"),
    "logiqa": ("context", "question", "options", "label"),
    "piqa": ("goal", "sol1", "sol2", "label"),
    "math500": ("problem", "answer"),
    "aime24": ("Problem", "Answer"),
    "aime25": ("problem", "answer"),
}
ANSWERS = {  # the column that has the answer, hidden in some data sets' test splits
    **dict.fromkeys(("openbookqa", "commonsense_qa", "arc_challenge"), "answerKey"),
    **dict.fromkeys(("logiqa", "piqa"), "label"),
    **{"headqa_en": "ra", "sciq": "correct_answer", "math500": "answer", "aime24": "Answer"},
    "aime25": "answer",
}
MATH = ("math500", "aime24", "aime25")  # the paper's; any other has MATH_COLUMNS
MATH_COLUMNS = ("problem", "answer")
HUB_TASKS = (  # multiple-choice tasks of lm-eval with an accuracy `acc`, loaded from the hub
    *("arc_easy", "boolq", "copa", "headqa_es", "hellaswag", "logiqa2", "mathqa", "medmcqa"),
    *("medqa_4options", "qa4mre_2011", "race", "social_iqa", "swag", "truthfulqa_mc1"),
    *("winogrande", "wsc273"),
)


def columns(task: str, *, math: bool) -> tuple[str, ...]:
    """Return the columns that a benchmark's rows need; none where only the harness knows them."""
    return TASKS.get(task, MATH_COLUMNS if math else ())


def answer_column(task: str, *, math: bool) -> str | None:
    """Return the column of a benchmark's answers, or None where only the harness knows it."""
    return ANSWERS.get(task, MATH_COLUMNS[-1] if math else None)
