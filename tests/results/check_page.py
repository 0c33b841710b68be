#!/usr/bin/env python3
"""Checks a page that `squant-results report` made. usage: check_page.py PAGE

Well-formed as XML; nothing that a browser would fetch or run; every drawing has a name and a description of its own; every
id is unique and every reference to one finds it; tables are rectangular with column heads; links stay in the page.
Prints what is wrong, and exits with 1."""
import re
import sys
import xml.etree.ElementTree as ET

HTML = "{http://www.w3.org/1999/xhtml}"
SVG = "{http://www.w3.org/2000/svg}"
COORDINATES = {"x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "points", "width", "height", "viewBox"}
problems = []


def check(condition, text):
    if not condition:
        problems.append(text)


def text_of(element):
    return "".join(element.itertext()).strip()


def cells_of(row):
    return sum(int(cell.get("colspan", "1")) for cell in row if cell.tag in (HTML + "th", HTML + "td"))


source = open(sys.argv[1], encoding="utf-8").read()
check(source.startswith("<!DOCTYPE html>\n"), "no doctype")
root = ET.fromstring(source.split("\n", 1)[1])
check(root.get("lang") == "en", "no language")

forbidden = {"script", "iframe", "object", "embed", "img", "link", "base", "form", "audio", "video", "image", "use",
             "foreignObject"}
ids = {}
for element in root.iter():
    name = element.tag.split("}")[1]
    check(name not in forbidden, f"<{name}>")
    for key, value in element.attrib.items():
        check(not key.lower().startswith("on"), f"{name} has a handler {key}")
        if key == "id":
            check(value not in ids, f"id {value} twice")
            ids[value] = element
        if key in ("src", "srcset", "data", "action", "poster"):
            problems.append(f"{name} {key}={value}")
        if key.split("}")[-1] == "href":
            check(value.startswith("#"), f"a link out of the page: {value}")
for element in root.iter(HTML + "a"):
    check(element.get("href", "#")[1:] in ids, f"a link to nothing: {element.get('href')}")
for style in root.iter(HTML + "style"):
    check(not re.search(r"url\(|@import", style.text), "the style fetches something")

policies = [m.get("content") for m in root.iter(HTML + "meta") if m.get("http-equiv") == "Content-Security-Policy"]
check(len(policies) == 1 and policies[0].startswith("default-src 'none';"), f"policy {policies}")

num_drawings = 0
for drawing in root.iter(SVG + "svg"):
    if drawing.get("aria-hidden") == "true":
        continue
    num_drawings += 1
    check(drawing.get("role") == "img", "a drawing without role=img")
    names = drawing.get("aria-labelledby", "").split()
    check(len(names) == 2, f"a drawing labelled by {names}")
    for name in names:
        check(name in ids and text_of(ids[name]) != "", f"a drawing labelled by '{name}', which says nothing")
    numbers = [value for element in drawing.iter() for key, value in element.attrib.items()
               if key in COORDINATES and re.search("nan|inf", value)]
    check(not numbers, f"coordinates {numbers[:3]}")

for table in root.iter(HTML + "table"):
    caption = table.find(HTML + "caption")
    check(caption is not None and text_of(caption) != "", "a table without caption")
    rows = list(table.iter(HTML + "tr"))
    widths = {cells_of(row) for row in rows}
    check(len(widths) <= 1, f"a table with rows of {sorted(widths)} cells: {text_of(caption)}")
    check(all(cell.get("scope") == "col" for cell in rows[0]), "column heads without scope")
for section in root.iter(HTML + "section"):
    check(section.get("aria-labelledby") in ids, "a section without a heading")

for problem in problems:
    print(problem)
print(f"{num_drawings} drawings, {len(list(root.iter(HTML + 'table')))} tables, {len(source)} characters")
sys.exit(1 if problems else 0)
