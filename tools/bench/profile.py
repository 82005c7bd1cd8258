#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# Shows where a worker spends its instructions: counts the samples of its thread by
# function, as instructions per packet. For a module with debug information it also counts
# by function and line of the source, inlined functions included.
#
#   perf script -F pid,tid,ip | profile.py DIRECTORY FILE [MODULE.ko]
#
# DIRECTORY holds kallsyms of the machine, and cost.csv with the instructions per packet
# without sampling. The samples give only the shares, since each sample costs the worker
# instructions of its own. The shares are also appended to FILE, for programs.
import bisect
import collections
import csv
import re
import statistics
import subprocess
import sys

# Smaller shares are not shown: of all, and of the functions of the module.
LEAST, LEAST_OURS = 0.003, 0.001


def symbols(path):
    """The addresses of functions, with their names and modules."""
    found = []
    with open(path, encoding="ascii") as lines:
        for line in lines:
            words = line.split()
            if words[1] in "tTwW":
                module = words[3].strip("[]") if len(words) > 3 else "kernel"
                found.append((int(words[0], 16), words[2], module))
    return sorted(found)


def sampled(lines):
    """Samples of the worker by address. It is the thread that is not the first of its process."""
    counts = collections.Counter()
    for line in lines:
        ids, address = line.split()
        pid, tid = ids.split("/")
        if tid not in (pid, "-1"):
            counts[int(address, 16)] += 1
    return counts


def cost_of(path):
    """The processor, the row, and the instructions per packet."""
    with open(path, encoding="ascii") as lines:
        rows = list(csv.DictReader(lines))
    cost = statistics.median(float(row["instructions"]) for row in rows)
    return rows[0]["processor"], rows[0]["row"], cost


def run(words, lines):
    done = subprocess.run(words, input="\n".join(lines), text=True, stdout=subprocess.PIPE,
                          check=True)
    return done.stdout.splitlines()


def demangled(names):
    return dict(zip(names, run(["llvm-cxxfilt-19"], names)))


def in_source(module, offsets):
    """For each address in the text of the module: the function and the line of its source."""
    lines = run(["addr2line", "-j", ".text", "-f", "-C", "-e", module],
                [f"{offset:#x}" for offset in offsets])
    found = {}
    for offset, name, place in zip(offsets, lines[::2], lines[1::2]):
        place = re.sub(r" \(discriminator \d+\)", "", place)
        found[offset] = name, re.sub(r".*/(?=[^/]*/[^/]*/[^/]*:)", "", place)
    return found


class Shares:
    """Counts, printed as shares of the total and as instructions per packet."""

    def __init__(self, total, cost):
        self.total, self.cost = total, cost

    def show(self, title, counts, least=LEAST):
        print(f"\n  share  per packet  {title}")
        for name, count in counts.most_common():
            if count < least * self.total:
                break
            share = count / self.total
            print(f"{share:7.1%} {share * self.cost:11.0f}  {name}")

    def lines(self, kind, counts):
        """Kind, name, share in percent and instructions of each line that show() prints."""
        for name, count in counts.most_common():
            share = count / self.total
            if share < LEAST:
                break
            yield kind, name, f"{100 * share:.1f}", f"{share * self.cost:.0f}"


def main():
    place, file, module = sys.argv[1], sys.argv[2], (sys.argv[3:] or [None])[0]
    table = symbols(place + "/kallsyms")
    starts = [symbol[0] for symbol in table]
    counts = sampled(sys.stdin)
    total = sum(counts.values())
    processor, row, cost = cost_of(place + "/cost.csv")
    found, parts = collections.Counter(), collections.Counter()
    for address, count in counts.items():
        _, name, part = table[bisect.bisect_right(starts, address) - 1]
        found[name, part] += count
        parts[part] += count
    names = demangled(sorted({name for name, _ in found}))
    functions = collections.Counter({
        f"{names[name]} [{part}]": count for (name, part), count in found.items()})
    print(f"{row}: {cost:.0f} instructions for each packet; {total} samples")
    shares = Shares(total, cost)
    shares.show("part", parts)
    shares.show("function", functions)
    with open(file, "a", encoding="ascii") as out:
        for words in [("all", row, "100.0", f"{cost:.0f}"), *shares.lines("part", parts),
                      *shares.lines("function", functions)]:
            print(processor, row, *words, sep="\t", file=out)
    if module:
        in_module(shares, counts, table, starts, module)


def in_module(shares, counts, table, starts, module):
    """Counts by source line, of the one module with debug information."""
    symbol = run(["nm", "--defined-only", module], [])
    own = {line.split()[2]: int(line.split()[0], 16) for line in symbol
           if line.split()[1] in "tT"}
    offsets = collections.Counter()
    for address, count in counts.items():
        start, name, part = table[bisect.bisect_right(starts, address) - 1]
        if part == "vhost_net_rs" and name in own:
            offsets[own[name] + address - start] += count
    found = in_source(module, list(offsets))
    functions, lines = collections.Counter(), collections.Counter()
    for offset, count in offsets.items():
        name, line = found[offset]
        functions[name] += count
        lines[f"{line}  {name}"] += count
    shares.show("of the module: function of the source, inlined or not", functions, LEAST_OURS)
    shares.show("of the module: line", lines)


main()
