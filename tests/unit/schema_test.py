#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""The golden JSON lines follow event.schema.json and have no field that it does not name."""

import copy
import json
import sys
from pathlib import Path

try:
    from jsonschema import Draft202012Validator
except ImportError:
    print("skipped: python3-jsonschema is not installed")
    sys.exit(77)

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "userspace/sink/event.schema.json"
GOLDEN = ROOT / "tests/golden"
# The types that the sink writes: each of them has to be among the golden lines.
TYPES = {"drop", "reject", "lost", "summary"}


def without_unnamed_fields(schema):
    """Readers have to bear the fields of later versions; the sink may not invent any."""
    definitions = schema["$defs"]
    for name in ("packet", "original", "netfilter", "attempt", "lost", "summary"):
        definitions[name]["additionalProperties"] = False
    # A reject has the fields of a drop, as its description says.
    fields = copy.deepcopy(definitions["drop"]["allOf"][1])
    del fields["properties"]["type"]
    definitions["reject"]["allOf"].append(fields)
    for name in ("drop", "reject"):
        definitions[name]["unevaluatedProperties"] = False
    return schema


def golden_events():
    """Where each golden line is, and what it says."""
    for path in sorted(GOLDEN.glob("*.jsonl")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            yield f"{path.name}:{number}", json.loads(line)


def errors_of(event, validator):
    if event.get("type") not in TYPES:
        return [f"unexpected type {event.get('type')}"]
    # By the definition of its type: that none of all types fits would not say why.
    definition = validator.evolve(schema={"$ref": f"#/$defs/{event['type']}"})
    return [f"{error.json_path}: {error.message}" for error in definition.iter_errors(event)]


def main():
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(without_unnamed_fields(schema))

    problems = []
    missing = set(TYPES)
    for place, event in golden_events():
        problems += [f"{place}: {error}" for error in errors_of(event, validator)]
        missing.discard(event.get("type"))
    problems += [f"no golden line of type {name}" for name in sorted(missing)]
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
