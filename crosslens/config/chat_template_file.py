"""Check whether a model's tokenizer has a chat template, by its files.

Light, for the checks before any job: neither torch nor transformers.
"""

from pathlib import Path

from crosslens.config.json_files import read_object

FILE, SETTINGS = "chat_template.jinja", "tokenizer_config.json"  # where a tokenizer keeps it


def has_chat_template(key: str, folder: Path) -> bool:
    """Return whether the tokenizer in a directory has a chat template, as transformers reads it.

    If there are several named templates, one must be `default`. Raises InputError naming `key` if
    tokenizer_config.json is not a JSON object.
    """
    if (folder / FILE).is_file():
        return bool((folder / FILE).read_text(encoding="utf-8").strip())
    if not (folder / SETTINGS).is_file():
        return False
    template = read_object(key, folder / SETTINGS).get("chat_template")
    if isinstance(template, list):
        return any(isinstance(each, dict) and each.get("name") == "default" for each in template)
    return bool(template)
