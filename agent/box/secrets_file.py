"""The file with user and password of cameras: TOML, a table per secret, readable by its owner only."""

import json
import tomllib
from pathlib import Path

from agent.box.twin import write_whole


class SecretsError(Exception):
    """A file that cannot be changed; one line that quotes nothing of it."""


def read_secrets(path: Path) -> dict[str, dict[str, str]]:
    """Read all tables; raises SecretsError."""
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        # the parser's own text may quote a secret
        raise SecretsError(f"{path.name}: expected TOML with a table per secret; it cannot be read as that") from None
    for table in tables.values():
        if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
            raise SecretsError(f"{path.name}: expected tables of texts only, found something else; edit it on the box")
    return tables


def put_secret(path: Path, name: str, user: str, password: str) -> None:
    """Set one secret and keep the others, all or nothing; raises SecretsError. Comments in the file are lost."""
    tables = {**read_secrets(path), name: {"user": user, "password": password}}
    lines = []
    for table, values in tables.items():
        lines += [f"[{_text(table)}]", *(f"{_text(key)} = {_text(value)}" for key, value in values.items()), ""]
    try:
        write_whole(path, "\n".join(lines).encode())
    except (OSError, UnicodeEncodeError) as fault:
        reason = fault.strerror if isinstance(fault, OSError) else "it is no Unicode text"
        raise SecretsError(f"{path.name}: cannot be written: {reason}") from None


def _text(value: str) -> str:
    """A basic string of TOML: JSON's, but for one character that TOML wants escaped as well."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
