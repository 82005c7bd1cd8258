#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Which lines of the module have run.

    report.py MODULE SOURCES REACHED...

A line is counted when it has code, and is reached when a block with some of that code
is. Lines that were not reached are listed.
"""

import bisect
import collections
import pathlib
import re
import subprocess
import sys


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def blocks(module):
    """Where the calls return to, in the order of their addresses."""
    found, last = [], None
    for line in output("objdump", "-dr", "-j", ".text", "--no-show-raw-insn", module).splitlines():
        if match := re.match(r"\s+([0-9a-f]+):\t", line):
            if last == "call":
                found.append(int(match[1], 16))
            last = None
        if "__sanitizer_cov_trace_pc" in line and "R_X86_64" in line:
            last = "call"
    return found


def rows(module):
    """Addresses of .text with their files and lines."""
    files, path = {}, None
    for line in output("llvm-dwarfdump-19", "--debug-line", module).splitlines():
        if match := re.match(r"file_names\[\s*(\d+)\]:", line):
            path = int(match[1])
        elif match := re.match(r'\s+name: "(.*)"', line):
            files[path] = match[1]
        elif line.startswith("debug_line["):
            files = {}
        elif match := re.match(r"0x([0-9a-f]+)\s+(\d+)\s+\d+\s+(\d+)\s", line):
            if int(match[2]):
                yield int(match[1], 16), files.get(int(match[3]), ""), int(match[2])


def main():
    module, sources, *reached = sys.argv[1:]
    seen = bytearray(1 << 20)
    for path in reached:
        data = pathlib.Path(path).read_bytes()
        seen = bytearray(a | b for a, b in zip(seen, data))
    starts = blocks(module)
    if not starts:
        sys.exit("the module is not built for coverage")
    hit = [bool(seen[at]) if at < len(seen) else False for at in starts]

    names = {p.name: [] for p in pathlib.Path(sources).rglob("*.rs")}
    for p in pathlib.Path(sources).rglob("*.rs"):
        names[p.name].append(p)
    lines = collections.defaultdict(bool)
    for at, name, line in rows(module):
        block = bisect.bisect_right(starts, at) - 1
        path = pathlib.Path(name)
        for source in names.get(path.name, []):
            if str(source).endswith("/".join(path.parts[-2:])):
                lines[source, line] |= block >= 0 and hit[block]
    total = collections.Counter(source for source, _ in lines)
    good = collections.Counter(source for (source, _), ok in lines.items() if ok)
    for source in sorted(total):
        print(f"{source.relative_to(sources)!s:28} {good[source]:5} of {total[source]:5} lines"
              f" {100 * good[source] / total[source]:6.1f} %")
        missing = sorted(line for (s, line), ok in lines.items() if s == source and not ok)
        if missing:
            print("    not reached:", " ".join(map(str, missing)))
    part = [s for s in total if s.relative_to(sources).parts[0] in ("vhost", "net")]
    good_part, total_part = sum(good[s] for s in part), sum(total[s] for s in part)
    print(f"vhost and net: {good_part} of {total_part} lines, {100 * good_part / total_part:.1f} %")


main()
