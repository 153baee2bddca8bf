"""Wraps comment lines beyond 100 columns, in place: the formatter of Swift leaves comments alone.

usage: wrap-comments.py FILE...

What does not fit moves to the next line of the paragraph, or of the list item. Tables and code
between ``` stay as they are.
"""

import re
import sys

COLUMNS = 100
COMMENT = re.compile(r"^(\s*)(///?)(\s*)(.*)$")
ITEM = re.compile(r"([-*] |\d+\. )")
APART = re.compile(r"([-*] |\d+\. |\||```|#)")


def wrapped(lines):
    lines, result, in_code, at = list(lines), [], False, 0
    while at < len(lines):
        line = lines[at]
        at += 1
        match = COMMENT.match(line)
        if match and match[4].startswith("```"):
            in_code = not in_code
        if not match or len(line) <= COLUMNS or in_code or match[4].startswith("|"):
            result.append(line)
            continue
        indent, slashes, space, text = match.groups()
        cut = text.rfind(" ", 0, COLUMNS - len(indent + slashes + space) + 1)
        # A sign of arithmetic would begin a list item.
        while cut > 0 and APART.match(text[cut + 1 :]):
            cut = text.rfind(" ", 0, cut)
        if cut <= 0:
            result.append(line)
            continue
        result.append(indent + slashes + space + text[:cut])
        start = indent + slashes + space + ("  " if ITEM.match(text) else "")
        rest = start + text[cut + 1 :]
        following = COMMENT.match(lines[at]) if at < len(lines) else None
        if (
            following
            and following[4]
            and following[1] + following[2] + following[3] == start
            and not APART.match(following[4])
        ):
            lines[at] = rest + " " + following[4]
        else:
            lines.insert(at, rest)
    return result


for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as file:
        before = file.read()
    after = "\n".join(wrapped(before.split("\n")))
    if after != before:
        with open(path, "w", encoding="utf-8") as file:
            file.write(after)
