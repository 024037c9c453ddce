#!/usr/bin/env python3
"""Judges an index.json of the Autobahn TestSuite: wstest itself exits 0 whatever happened, even if nobody listened.

    judge.py SET INDEX      SET is core or perf; exit 0 if every case ended as it must
    judge.py --self-test    shows that the judge is not asleep
"""

import json
import re
import sys

# What each set must hold: how many cases, of which sections, and which cases can only ever be informational.
SETS = {
    "core": {"cases": 247, "sections": {1, 2, 3, 4, 5, 6, 7, 10}, "informational": {"7.1.6", "7.13.1", "7.13.2"}},
    "perf": {"cases": 54, "sections": {9}, "informational": set()},
}


def judge(name, index):
    """Returns what is wrong, one line each; an empty list is a pass."""
    rules = SETS[name]
    if len(index) != 1:
        return [f"one agent expected, the report has {sorted(index)}"]
    (cases,) = index.values()
    wrong = []
    if len(cases) != rules["cases"]:
        wrong.append(f"{rules['cases']} cases expected, {len(cases)} were run")
    sections = {int(case.split(".")[0]) for case in cases}
    if sections != rules["sections"]:
        wrong.append(f"sections {sorted(rules['sections'])} expected, {sorted(sections)} were run")
    for missing in sorted(rules["informational"] - set(cases)):
        wrong.append(f"{missing}: was not run")
    for case in sorted(cases, key=lambda case: [int(part) for part in re.findall(r"\d+", case)]):
        result = cases[case]
        behavior, close = result.get("behavior"), result.get("behaviorClose")
        if case in rules["informational"]:
            good = behavior == "INFORMATIONAL" and close in ("OK", "INFORMATIONAL")
        else:
            good = behavior == "OK" and close == "OK"
        if not good:
            code = result.get("remoteCloseCode")
            wrong.append(f"{case}: behavior {behavior}, close {close}, close code {code}, see {result.get('reportfile')}")
    return wrong


def self_test():
    """A judge that never says no proves nothing."""

    def report(**changed):
        cases = {f"9.{number // 6 + 1}.{number % 6 + 1}": {"behavior": "OK", "behaviorClose": "OK"} for number in range(54)}
        cases.update(changed)
        return {"server": cases}

    assert judge("perf", report()) == []
    for behavior, close in [("FAILED", "OK"), ("NON-STRICT", "OK"), ("INFORMATIONAL", "OK"), ("OK", "FAILED"), (None, None)]:
        assert len(judge("perf", report(**{"9.1.1": {"behavior": behavior, "behaviorClose": close}}))) == 1, behavior
    short = report()
    del short["server"]["9.1.1"]
    assert len(judge("perf", short)) == 1
    assert judge("perf", {"server": {}}) and judge("perf", {})
    assert judge("core", report())
    # The three of the core set may be informational, and nothing else.
    core = {f"{section}.{number}": {"behavior": "OK", "behaviorClose": "OK"} for section in (1, 2, 3, 4, 5, 6, 10) for number in range(31)}
    core.update({f"7.{number}": {"behavior": "OK", "behaviorClose": "OK"} for number in range(27)})
    for case in SETS["core"]["informational"]:
        core[case] = {"behavior": "INFORMATIONAL", "behaviorClose": "INFORMATIONAL"}
    assert judge("core", {"server": core}) == []
    core["7.1.6"] = {"behavior": "FAILED", "behaviorClose": "OK"}
    assert len(judge("core", {"server": core})) == 1
    print("the judge is awake")


def main():
    if sys.argv[1:] == ["--self-test"]:
        self_test()
        return 0
    name, path = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        index = json.load(file)
    wrong = judge(name, index)
    for line in wrong:
        print(f"autobahn {name}: {line}")
    informational = len(SETS[name]["informational"])
    if not wrong:
        print(f"autobahn {name}: {SETS[name]['cases'] - informational} OK, {informational} informational, nothing else")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
