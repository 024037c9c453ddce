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
CHANNELS = {
    "vote": ["poll/lunch", "vote/tea", "vote/\u8336"],
    "group": ["room/lobby", "room/\u8336"],
    "direct": ["dm/bob", "dm/\u5c0f\u660e"],
    "table": ["table/people"],
    "feed": ["news", "feed/x"],
    "echo": ["echo"],
    "members": ["poll/lunch", "room/lobby", "dm/bob", "table/people", "news"],
    "any": None,
}
EXCLUDED_CHECKS = {
    # GET of an echo is there for WebSockets alone, for which OpenAPI has no words; Allow names it.
    "echo": "allow_header_conformance",
    # There are other methods, and other things to ask for.
    "members": "allow_header_conformance,unsupported_method",
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
        description = narrowed(description, "vote" if kind == "members" else kind)
        description["components"]["parameters"]["Channel"]["schema"] = {"enum": CHANNELS[kind]}
        description["components"]["parameters"]["Channel"]["example"] = CHANNELS[kind][0]
    path = description["paths"]["/c/{channel}"]
    if kind == "members":
        only_members(description, path)
    else:
        # Who asks for it is told, whatever else the query says: it is played on its own.
        for operation in [path[method] for method in ("get", "head") if method in path]:
            operation["parameters"] = [one for one in operation["parameters"] if not one["$ref"].endswith("/Members")]
    if kind in ("vote", "table"):
        path["post"]["requestBody"]["required"] = True
    say_what_schemas_cannot(description["components"]["schemas"])
    if kind == "vote":
        index = description["paths"]["/input-change"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        index["properties"]["index"]["anyOf"][0] = {"enum": [0, 2, 9]}
    else:
        # The other paths are played once.
        description["paths"] = {"/c/{channel}": path}
    return description


def only_members(description, path):
    for method in [method for method in path if method not in ("get", "parameters")]:
        del path[method]
    path["get"]["parameters"] = [{"$ref": "#/components/parameters/Members"}]
    description["components"]["parameters"]["Members"]["required"] = True
    content = path["get"]["responses"]["200"]["content"]
    content["application/json"]["schema"] = {"$ref": "#/components/schemas/Members"}


def say_what_schemas_cannot(schemas):
    """1.0 is no integer here, and lengths are bytes, of which a letter takes up to four."""
    numbers = [0, 7, 2**64 - 1]
    schemas["Ballot"]["properties"]["choice"]["anyOf"][1] = {"enum": [1, 2, 3, 4]}
    schemas["Ballot"]["properties"]["id"] = {"enum": [None, *numbers]}
    schemas["AnswerId"] = schemas["IfRevision"] = {"enum": [None, *numbers]}
    schemas["Index"] = {"enum": [0, 1, 9]}
    schemas["Choice"]["maxLength"] = 16
    # Longer ones than 64 bytes are not made without a bound, and one in letters would be wrong for some.
    for name in ("UserName", "RowId"):
        del schemas[name]["maxLength"]


def play(folder, address, kind, description):
    path, results = folder / f"{kind}.json", folder / f"{kind}-results.json"
    path.write_text(json.dumps(description))
    command = [sys.executable, "-m", "schemathesis.cli", "--no-color", "--config-file", HERE / "schemathesis.toml"]
    command += ["run", path, "--url", f"http://{address}", "--report", "json", "--report-json-path", results]
    if kind in EXCLUDED_CHECKS:
        command += ["--exclude-checks", EXCLUDED_CHECKS[kind]]
    if kind == "members":
        # Who does not ask for it gets the present state.
        command += ["--mode", "positive"]
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
