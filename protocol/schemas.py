"""Writes `docs/ref/`: a JSON Schema for each message and the AsyncAPI document that ties them to topics.

Usage: `python -m protocol.schemas DIR` writes, `python -m protocol.schemas DIR --check` says whether DIR is current.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from protocol import commands, desired, detectors, enrolment, messages, pictures, systems, topics
from protocol.messages import Event
from protocol.settings import Camera, CamerasDocument

WIDTH: Final = 120
CONTENT: Final = "application/cloudevents+json"
_TITLES = {
    "incident": ("incident/{camera}", "One change of one incident, as its full state"),
    "status": ("status", "Whether the box is there; retained, with a last will"),
    "health": ("health", "How the box is doing; may be dropped"),
    "camera": ("camera/{camera}", "What a camera is up to; retained"),
}
_RECEIVED = {
    "command": ("command", "What the box is to do; not retained, expires"),
    "settings-desired": ("settings/desired", "Cameras, zones and rules as the center wants them; retained"),
    "model-desired": ("model/desired", "The detector of a roll-out; retained"),
    "system-desired": ("system/desired", "The system of a roll-out; retained"),
}
_ANSWERED = {
    "reply": ("reply", "What became of a command"),
    "settings-reported": ("settings/reported", "Settings in force, and what became of those wanted; retained"),
    "model-reported": ("model/reported", "The detector in use, and what became of a roll-out; retained"),
    "system-reported": ("system/reported", "The system that runs, and what became of a roll-out; retained"),
}
_ORDERS: dict[str, type[Event[Any]]] = {
    "command": commands.CommandEvent,
    "reply": commands.ReplyEvent,
    "settings-desired": desired.DesiredEvent,
    "settings-reported": desired.ReportedEvent,
    "model-desired": detectors.ModelDesiredEvent,
    "model-reported": detectors.ModelReportedEvent,
    "system-desired": systems.SystemDesiredEvent,
    "system-reported": systems.SystemReportedEvent,
}


class _Schema(GenerateJsonSchema):
    """In few words: titles would say names again, what may be null needs no alternatives, and is null where absent."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - pydantic's own signature
        return False

    def model_schema(self, schema: Any) -> dict[str, Any]:
        found = super().model_schema(schema)
        found.pop("title", None)
        return found

    def default_schema(self, schema: Any) -> dict[str, Any]:
        found = super().default_schema(schema)
        return found if found.get("default", "") is not None else {k: v for k, v in found.items() if k != "default"}

    def nullable_schema(self, schema: Any) -> dict[str, Any]:
        """`{"type": ["integer", "null"]}` where what may be null is of one plain type."""
        inner = self.generate_inner(schema["schema"])
        if isinstance(inner.get("type"), str) and not inner.keys() & {"enum", "const"}:
            return {**inner, "type": [inner["type"], "null"]}
        return super().nullable_schema(schema)


def documents() -> dict[str, str]:
    """Make every generated file: name to text."""
    said: dict[str, type[BaseModel]] = {
        **messages.SCHEMAS,
        "ack": messages.Acknowledgement,
        "picture-header": pictures.PictureHeader,
        "answer-header": pictures.AnswerHeader,
        **_ORDERS,
        "verified": commands.Verified,
    }
    asked: dict[str, type[BaseModel]] = {
        **{f"command-{verb}": model for verb, model in commands.VERBS.items()},
        "camera-settings": Camera,
        "settings-document": CamerasDocument,
    }
    for model in (enrolment.EnrolRequest, enrolment.RenewRequest, enrolment.Enrolled, enrolment.Denied):
        asked["-".join(re.findall("[A-Z][a-z]+", model.__name__)).lower()] = model
    schemas = {
        name: model.model_json_schema(schema_generator=_Schema, mode="serialization") for name, model in said.items()
    } | {name: model.model_json_schema(schema_generator=_Schema) for name, model in asked.items()}
    for name in ("settings-document", "command-try"):
        schemas[name] = _referring(schemas[name], "camera-settings", schemas["camera-settings"])
    schemas["envelope"] = _envelope(schemas["status"])
    for name in (*messages.SCHEMAS, *_ORDERS):
        schemas[name] = _within(schemas[name])
    files = {f"{name}.schema.json": _json(schema) for name, schema in schemas.items()}
    files["asyncapi.json"] = _json(_asyncapi())
    return files


def _envelope(schema: dict[str, Any]) -> dict[str, Any]:
    """What the schema of an event says beside its data."""
    properties = {name: value for name, value in schema["properties"].items() if name != "data"}
    text = "CloudEvents 1.0, around the data of each message; there what may be null and is absent is null."
    return {"description": text, "properties": properties, "required": schema["required"][:-1], "type": "object"}


def _within(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema of an event that refers to the envelope for the rest."""
    defs = dict(schema["$defs"])
    data = defs.pop(schema["properties"]["data"]["$ref"].rpartition("/")[2])
    head = {"description": schema["description"], "allOf": [{"$ref": "./envelope.schema.json"}]}
    return {**head, "properties": {"data": data}, "required": ["data"], **({"$defs": defs} if defs else {})}


def _referring(schema: dict[str, Any], to: str, other: dict[str, Any]) -> dict[str, Any]:
    """A schema that refers to another document for what that one defines as well, itself included."""
    told = {key: value for key, value in other.items() if key != "$defs"}
    shared = {name: f"#/$defs/{name}" for name, value in schema["$defs"].items() if other["$defs"].get(name) == value}
    shared |= {name: "" for name, value in schema["$defs"].items() if value == told}
    text = json.dumps({**schema, "$defs": {k: v for k, v in schema["$defs"].items() if k not in shared}})
    for name, place in shared.items():
        text = text.replace(f'"#/$defs/{name}"', f'"./{to}.schema.json{place}"')
    found: dict[str, Any] = json.loads(text)
    return found if found["$defs"] else {key: value for key, value in found.items() if key != "$defs"}


def _asyncapi() -> dict[str, Any]:
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}

    def add(name: str, address: str, action: str, summary: str, payload: dict[str, Any] | None, content: str) -> None:
        message: dict[str, Any] = {"summary": summary}
        if content != CONTENT:
            message["contentType"] = content
        if payload is not None:
            message["payload"] = payload
        if name == "evidence":
            message["bindings"] = {"mqtt": {"correlationData": {"type": "string"}}}
            message["headers"] = {
                "anyOf": [{"$ref": "./picture-header.schema.json"}, {"$ref": "./answer-header.schema.json"}]
            }
        full = f"{topics.ROOT}/{{site}}/{{box}}/{address}"
        parameters: dict[str, Any] = {part: {} for part in ("site", "box", "camera") if f"{{{part}}}" in full}
        channels[name] = {"address": full, "messages": {name: message}, "parameters": parameters}
        operations[name] = {"action": action, "channel": {"$ref": f"#/channels/{name}"}}

    for action, titles in (("send", _TITLES | _ANSWERED), ("receive", _RECEIVED)):
        for name, (address, summary) in titles.items():
            payload = {"$ref": f"./{name}.schema.json"}
            add(name, address, action, summary, payload, CONTENT)
    add(
        "evidence",
        "evidence/{camera}",
        "send",
        "One picture; what it proves stands in the user properties",
        None,
        pictures.MEDIA_TYPE,
    )
    add("ack", "ack", "receive", "What the collector has committed", {"$ref": "./ack.schema.json"}, "application/json")
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "CityEye: boxes and their center",
            "version": f"{messages.MAJOR}.0.0",
            "description": "Seen from the box: it sends and receives. MQTT v5, QoS 1; `health` QoS 0.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": CONTENT,
        "channels": channels,
        "operations": operations,
    }


def _json(value: dict[str, Any]) -> str:
    return _folded(value, 0, 0) + "\n"


def _folded(value: Any, depth: int, before: int) -> str:
    """JSON on one line where it fits, else a line for each value.

    Args:
        value: as `json` knows it.
        depth: how far it stands in.
        before: characters that stand before it on its line.
    """
    flat = json.dumps(value, ensure_ascii=False)
    if depth + before + len(flat) < WIDTH or not isinstance(value, dict | list):
        return flat
    named = [(f"{json.dumps(key)}: ", one) for key, one in value.items()] if isinstance(value, dict) else []
    lines = [key + _folded(one, depth + 1, len(key)) for key, one in named or [("", one) for one in value]]
    opened, closed = "{}" if named else "[]"
    inner = ",\n".join(" " * (depth + 1) + line for line in lines)
    return f"{opened}\n{inner}\n{' ' * depth}{closed}"


def stale(folder: Path) -> list[str]:
    """Name the generated files in a folder that are missing or not current."""
    return [
        name
        for name, text in documents().items()
        if not (folder / name).is_file() or (folder / name).read_text("utf-8") != text
    ]


def main() -> int:
    """Write or check the generated documents."""
    folder = Path(sys.argv[1])
    if "--check" in sys.argv[2:]:
        names = stale(folder)
        if names:
            sys.stderr.write(f"{folder}: not current: {', '.join(names)}; run `make docs` and commit the result\n")
        return 1 if names else 0
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in documents().items():
        (folder / name).write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
