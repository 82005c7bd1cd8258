#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Lists the lines of the module that have not run.

    report.py MODULE SOURCES REACHED...

A line counts when it has code. It is reached when a block with some of this code is
reached.
"""

import bisect
import collections
import json
import pathlib
import re
import subprocess
import sys


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def blocks(module):
    """The start of each block, the return address of its call, and the functions by address."""
    begins, returns, functions = [], [], {}
    at, called = 0, False
    for line in output("objdump", "-dr", "-j", ".text", "--no-show-raw-insn", module).splitlines():
        if match := re.match(r"([0-9a-f]+) <(.*)>:", line):
            functions[int(match[1], 16)] = match[2]
        elif match := re.match(r"\s+([0-9a-f]+):\t", line):
            if called:
                begins.append(at)
                returns.append(int(match[1], 16))
            at, called = int(match[1], 16), False
        elif "__sanitizer_cov_trace_pc" in line:
            called = True
    return begins, returns, functions


def referred(module):
    """Names and addresses of .text that the code or its data refer to. A function that is
    inlined everywhere may remain in the module although nothing can call it."""
    found, here, kept = set(), False, (".text", ".rodata", ".data", ".init", ".exit", ".gnu.linkonce")
    for line in output("objdump", "-r", module).splitlines():
        if match := re.match(r"RELOCATION RECORDS FOR \[(.*)\]", line):
            here = match[1].startswith(kept)
        elif here and (match := re.match(r"[0-9a-f]+ (\S+)\s+(\S+?)(?:([-+])0x([0-9a-f]+))?$", line)):
            _, name, _, offset = match.groups()
            # The offset is relative to the end of the instruction.
            end = 0 if match[1] == "R_X86_64_64" else 4
            found.add(int(offset or "0", 16) + end if name == ".text" else name)
    code = output("objdump", "-d", "-j", ".text", "--no-show-raw-insn", module)
    return found | {int(at, 16) for at in re.findall(r"\s([0-9a-f]+) <[^+>]*>$", code, re.MULTILINE)}


def rows(module):
    """Addresses of .text, each with its files and lines. Inlined code also belongs to the
    line of the call."""
    table = output("llvm-dwarfdump-19", "--debug-line", module)
    addresses = sorted(set(re.findall(r"^0x[0-9a-f]+", table, re.MULTILINE)))
    answers = output("llvm-symbolizer-19", "--inlines", "--output-style=JSON", "-e", module,
                     *addresses)
    for answer in json.loads(answers):
        yield int(answer["Address"], 16), {
            (frame["FileName"], frame["Line"]) for frame in answer["Symbol"] if frame["Line"]
        }


def main():
    module, sources, *reached = sys.argv[1:]
    seen = bytearray(1 << 20)
    for path in reached:
        data = pathlib.Path(path).read_bytes()
        seen = bytearray(a | b for a, b in zip(seen, data))
    begins, returns, functions = blocks(module)
    if not begins:
        sys.exit("the module is not built for coverage")
    hit = [at < len(seen) and bool(seen[at]) for at in returns]

    lines = collections.defaultdict(bool)
    entries, used = sorted(functions), referred(module)
    for at, frames in rows(module):
        block = bisect.bisect_right(begins, at) - 1
        # The code of a function before its first call belongs to its first block.
        function = entries[bisect.bisect_right(entries, at) - 1]
        if function not in used and functions[function] not in used:
            continue
        if block < 0 or begins[block] < function:
            block += 1
        for name, line in frames:
            source = pathlib.Path(name)
            if source.is_relative_to(sources) and source.name != "bindings_generated.rs":
                lines[source, line] |= block < len(hit) and hit[block]
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
