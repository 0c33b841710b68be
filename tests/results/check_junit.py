#!/usr/bin/env python3
"""Checks a JUnit file as CI systems read it. usage: check_junit.py FILE

testsuites > testsuite > testcase; the counts in the attributes are those of the elements; a case has a name of its own, a
time, and at most one outcome, which has a message. Prints the outcomes, or what is wrong and exits with 1."""
import sys
import xml.etree.ElementTree as ET

root = ET.parse(sys.argv[1]).getroot()
problems = []
outcomes = {"passed": 0, "failure": 0, "error": 0, "skipped": 0}
names = set()
if root.tag != "testsuites":
    problems.append(f"the root is <{root.tag}>")
for suite in root:
    for case in suite:
        name = (case.get("classname"), case.get("name"))
        if case.tag != "testcase" or None in name or name in names or float(case.get("time")) < 0:
            problems.append(f"{case.tag} {name}")
        names.add(name)
        if len(case) > 1 or any(not child.get("message") for child in case):
            problems.append(f"{name}: {[child.tag for child in case]}")
        outcomes[case[0].tag if len(case) else "passed"] += 1
    counts = {key: int(suite.get(key)) for key in ("tests", "failures", "errors", "skipped")}
    found = {"tests": len(suite), "failures": outcomes["failure"], "errors": outcomes["error"],
             "skipped": outcomes["skipped"]}
    if counts != found:
        problems.append(f"the suite says {counts}, and has {found}")
for problem in problems:
    print(problem)
print(", ".join(f"{count} {outcome}" for outcome, count in outcomes.items()))
sys.exit(1 if problems else 0)
