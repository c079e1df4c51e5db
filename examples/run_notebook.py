"""Execute a notebook's cells in order, in this Python, and print what they show.

    python examples/run_notebook.py examples/finished_study.ipynb folder=results/mini [--write]

`name=value` sets a variable after the cell that is tagged "parameters"; `--write` stores the
outputs in the notebook. Jupyter does the same; this needs no package and stops at the first error.
"""

import ast
import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any


def run(notebook: dict[str, Any], parameters: dict[str, str]) -> dict[str, Any]:
    """Execute all code cells in one namespace, store their outputs, return the namespace."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for count, cell in enumerate(code, 1):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            value = execute("".join(cell["source"]), namespace)
        if "parameters" in cell["metadata"].get("tags", []):
            namespace |= parameters
        cell["execution_count"] = count
        cell["outputs"] = outputs(printed.getvalue(), value, count)
    return namespace


def execute(source: str, namespace: dict[str, Any]) -> Any:
    """Execute a cell; return the value of its last line if that is an expression, else None."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<cell>", "exec"), namespace)
    if last is None:
        return None
    return eval(compile(ast.Expression(last.value), "<cell>", "eval"), namespace)


def outputs(printed: str, value: Any, count: int) -> list[dict[str, Any]]:
    """Return what a cell printed and its value, in the notebook's format."""
    found: list[dict[str, Any]] = []
    if printed:
        found.append({"output_type": "stream", "name": "stdout", "text": lines(printed)})
    if value is not None:
        data = {"text/plain": lines(repr(value))}
        if hasattr(value, "_repr_html_"):
            data["text/html"] = lines(value._repr_html_())
        result = {"output_type": "execute_result", "execution_count": count, "metadata": {}}
        found.append(result | {"data": data})
    return found


def lines(text: str) -> list[str]:
    """Return a text as a notebook stores it."""
    return text.splitlines(keepends=True)


def shown(notebook: dict[str, Any]) -> str:
    """Return all outputs as plain text."""
    parts = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    texts = [part["text"] if "text" in part else part["data"]["text/plain"] for part in parts]
    return "\n".join("".join(text).rstrip("\n") for text in texts)


def main(path: Path, *options: str) -> None:
    """Execute a notebook and print its outputs."""
    notebook = json.loads(path.read_text())
    run(notebook, dict(option.split("=", 1) for option in options if "=" in option))
    print(shown(notebook))
    if "--write" in options:
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
