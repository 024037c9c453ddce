#!/usr/bin/env python3
"""docs/openapi.yaml, judged by openapi-spec-validator and played by schemathesis: openapi.py ADDRESS. Prints what it sees,
one JSON line each."""

import copy
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import openapi_spec_validator
import yaml

HERE = pathlib.Path(__file__).resolve().parent
DESCRIPTION = HERE.parent.parent / "docs" / "openapi.yaml"
SECONDS_MAX = 100
# Channels of each kind in the demo. "any": whatever name there is, of which nearly all are 404.
CHANNELS = {"vote": ["poll/lunch", "vote/tea", "vote/\u8336"], "feed": ["news", "feed/x"], "echo": ["echo"], "any": None}
EXCLUDED_CHECKS = {
    # GET of an echo is there for WebSockets alone, for which OpenAPI has no words; Allow names it.
    "echo": "allow_header_conformance",
    # What a body means depends on the kind.
    "any": "positive_data_acceptance,negative_data_rejection",
}


def report(step, **seen):
    print(json.dumps({"step": step, **seen}, ensure_ascii=False), flush=True)


def narrowed(node, kind):
    """The description without what is for other kinds."""

    def fits(value):
        return not isinstance(value, dict) or kind in value.get("x-kinds", [kind])

    if isinstance(node, list):
        # A schema that is for other kinds alone is not used here: an empty list would be invalid.
        return [narrowed(value, kind) for value in node if fits(value)] or node
    if not isinstance(node, dict):
        return node
    node = {name: narrowed(value, kind) for name, value in node.items() if fits(value) and name != "x-kinds"}
    if node.keys() == {"anyOf"} and len(node["anyOf"]) == 1:
        return node["anyOf"][0]
    return node


def of_kind(description, kind):
    description = copy.deepcopy(description)
    if CHANNELS[kind]:
        description = narrowed(description, kind)
        description["components"]["parameters"]["Channel"]["schema"] = {"enum": CHANNELS[kind]}
        description["components"]["parameters"]["Channel"]["example"] = CHANNELS[kind][0]
    if kind == "vote":
        description["paths"]["/c/{channel}"]["post"]["requestBody"]["required"] = True
        # What JSON Schema cannot say: 1.0 is no integer here, and lengths are bytes, of which a letter takes up to four.
        ballot = description["components"]["schemas"]["Ballot"]["properties"]
        ballot["choice"]["anyOf"][1] = {"enum": [1, 2, 3, 4]}
        ballot["id"] = {"enum": [None, 0, 7, 2**64 - 1]}
        description["components"]["schemas"]["Choice"]["maxLength"] = 16
    else:
        # The other paths are played once.
        description["paths"] = {"/c/{channel}": description["paths"]["/c/{channel}"]}
    return description


def play(folder, address, kind, description):
    path, results = folder / f"{kind}.json", folder / f"{kind}-results.json"
    path.write_text(json.dumps(description))
    command = [sys.executable, "-m", "schemathesis.cli", "--no-color", "--config-file", HERE / "schemathesis.toml"]
    command += ["run", path, "--url", f"http://{address}", "--report", "json", "--report-json-path", results]
    if kind in EXCLUDED_CHECKS:
        command += ["--exclude-checks", EXCLUDED_CHECKS[kind]]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "openapi_hooks", "PYTHONPATH": str(HERE)}
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, timeout=SECONDS_MAX)
    if done.returncode != 0:
        print(done.stdout, file=sys.stderr)
    report("played", kind=kind, status=done.returncode, results=json.loads(results.read_text()))


def main(address):
    description = yaml.safe_load(DESCRIPTION.read_text(encoding="utf-8"))
    openapi_spec_validator.validate(description)
    report("valid", version=description["openapi"], paths=list(description["paths"]))
    with tempfile.TemporaryDirectory() as folder:
        for kind in CHANNELS:
            of_this_kind = of_kind(description, kind)
            openapi_spec_validator.validate(of_this_kind)
            play(pathlib.Path(folder), address, kind, of_this_kind)


main(*sys.argv[1:])
