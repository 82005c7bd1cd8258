# SPDX-License-Identifier: GPL-2.0
"""Writes what was measured of whole clients into Documentation/performance.rst.

    clients.py [--check] DIRECTORY

DIRECTORY has performance.rst and clients-PART.csv. Each line of those that is no comment has
the row, the peer, the round and the value. What stands between the two markers is replaced;
with --check nothing is, and it is an error if anything would change.
"""

import pathlib
import re
import statistics
import sys

BEGIN = ".. clients: begin; written by scripts/bench/clients\n"
END = ".. clients: end\n"
NAMES = {"c": "C module", "rust": "this module", "off": "``vhost=off``"}

KIB = ("KiB", 1 / 1024, "less")
MICRO = ("µs", 1, "less")
# A step of another row, which is the one that is judged.
STEP = ("µs", 1, "step")
COST = ("µs", 1 / 1000, "less")
RATE = ("/s", 1, "more")
MBIT = ("Mbit/s", 8e-6, "more")

# For each part: its heading; words for parts of the names of rows; and for each pattern of names
# the title of the row, and its unit with the factor to it and what is better: less, more, or
# neither; a step is not judged.
PARTS = {
    "devices": (
        "Memory and time of a device",
        {"1": "1 device", "64": "64 devices"},
        [
            (r"memory-(\d+)-open", "{}: open", KIB),
            (r"memory-(\d+)-owner", "{}: with an owner", KIB),
            (r"memory-(\d+)-attached", "{}: attached, idle", KIB),
            (r"memory-(\d+)-small", "{}: after small frames", KIB),
            (r"memory-(\d+)-large", "{}: after large packets", KIB),
            (r"memory-(\d+)-unread", "{}: 256 frames unread", KIB),
            (r"memory-(\d+)-idle", "{}: idle again", KIB),
            (r"memory-(\d+)-closed", "{}: closed", (*KIB[:2], "neither")),
            (r"time-(\d+)-open", "{}: to open", MICRO),
            (r"time-(\d+)-setup", "{}: to set up", MICRO),
            (r"time-(\d+)-owner", "{}: set-up: SET_OWNER", STEP),
            (r"time-(\d+)-rings", "{}: set-up: memory, rings, eventfds", STEP),
            (r"time-(\d+)-attach", "{}: set-up: backends", STEP),
            (r"time-(\d+)-close", "{}: to close", MICRO),
            (r"time-(\d+)-all", "{}: all of that", MICRO),
        ],
    ),
    "dpdk": (
        "DPDK",
        {
            "tx": "TX",
            "rx": "RX",
            "fwd": "forwarding",
            "-indirect": ", indirect",
            "-plain": ", not mergeable",
            "-two": ", 2 queues",
        },
        [
            (r"rate-(tx|rx|fwd)-(\d+)(-\w+)?", "{} {} B{}", RATE),
            (r"cost-(tx|rx|fwd)-(\d+)(-\w+)?", "{} {} B{}: worker", COST),
        ],
    ),
    "guest": (
        "A guest on KVM",
        {},
        [
            (r"tcp-in-1", "TCP to the guest", MBIT),
            (r"tcp-out-1", "TCP from the guest", MBIT),
            (r"mq-tcp-in-(\d+)", "TCP to the guest, 2 queues, {} connections", MBIT),
            (r"mq-tcp-out-(\d+)", "TCP from the guest, 2 queues, {} connections", MBIT),
            (r"udp-in-(\d+)", "UDP to the guest, {} B", RATE),
            (r"udp-out-(\d+)", "UDP from the guest, {} B", RATE),
            (r"rr-(\d+)", "request and response, {} B", RATE),
        ],
    ),
}


def read(path):
    """What was measured, {row: {peer: {round: value}}}, and the comments."""
    rows, notes = {}, []
    for line in path.read_text().splitlines():
        if line.startswith("#"):
            notes.append(line[1:].strip())
        elif line and line != "row,peer,round,value":
            row, peer, round_, value = line.split(",")
            rows.setdefault(row, {}).setdefault(peer, {})[int(round_)] = float(value)
    return rows, notes


def number(value):
    """With three digits that count, and not less than the integer part."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def cell(values, factor):
    """Median, least and most."""
    values = [v * factor for v in values]
    return f"{number(statistics.median(values))} [{number(min(values))}, {number(max(values))}]"


def quartiles(values):
    """The first, the median, the third."""
    if len(values) < 2:
        return [values[0]] * 3
    return statistics.quantiles(values, n=4, method="inclusive")


def ratio(peers, rival, better):
    """Of ours to the rival's in each round: as a cell, and whether three quarters are behind."""
    ours, theirs = peers["rust"], peers[rival]
    rounds = [n for n in ours if theirs.get(n)]
    if better == "neither" or not rounds:
        return "", False
    # Two rounds are too few for quartiles.
    judged = len(rounds) >= 3 and better != "step"
    low, mid, high = quartiles([ours[n] / theirs[n] for n in rounds])
    behind = judged and (low > 1 if better == "less" else high < 1)
    return f"{mid:.2f} [{low:.2f}, {high:.2f}]" + (" behind" if behind else ""), behind


def table(lines):
    """A simple table of reStructuredText; the first line is its head."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    rule = "  ".join("=" * width for width in widths)
    text = ["  ".join(c.ljust(w) for c, w in zip(line, widths)).rstrip() for line in lines]
    return "\n".join([rule, text[0], rule, *text[1:], rule]) + "\n"


def title_of(part, row):
    """The title of a row, and its unit."""
    _, words, kinds = PARTS[part]
    for pattern, title, kind in kinds:
        found = re.fullmatch(pattern, row)
        if found:
            return title.format(*(words.get(g, g or "") for g in found.groups())), kind
    raise SystemExit(f"clients-{part}.csv: no row is called {row}")


def part_text(part, path):
    """The heading and the table of a part, and the names of the rows that are behind."""
    rows, notes = read(path)
    behind = []
    text = f"{PARTS[part][0]}\n{'~' * len(PARTS[part][0])}\n\n"
    text += "\n".join(notes) + "\n\n"
    lines, peers = [], list(dict.fromkeys(peer for row in rows.values() for peer in row))
    rivals = [peer for peer in peers if peer != "rust"]
    head = ["row", *(NAMES[peer] for peer in peers), *(f"of {NAMES[r]}" for r in rivals), "n"]
    for row, by_peer in rows.items():
        title, (unit, factor, better) = title_of(part, row)
        line = [f"{title}, {unit}"]
        line += [cell(by_peer[p].values(), factor) if p in by_peer else "" for p in peers]
        for rival in rivals:
            words, worse = ratio(by_peer, rival, better) if rival in by_peer else ("", False)
            line.append(words)
            if worse:
                behind.append(f"{row} ({rival})")
        line.append(str(min(len(values) for values in by_peer.values())))
        lines.append(line)
    text += table([head, *lines])
    text += f"\nEvery measurement: :download:`{path.name}`.\n\n"
    return text, behind


def main():
    check = sys.argv[1] == "--check"
    where = pathlib.Path(sys.argv[-1])
    page = where / "performance.rst"
    before = page.read_text()
    text, behind = "\n", []
    for part in PARTS:
        path = where / f"clients-{part}.csv"
        if path.exists():
            words, worse = part_text(part, path)
            text += words
            behind += worse
    head, rest = before.split(BEGIN)
    tail = rest.split(END)[1]
    after = head + BEGIN + text + END + tail
    if check:
        sys.exit(after != before and f"{page} is not what clients.py makes of the measurements")
    page.write_text(after)
    print(f"behind in three quarters of the rounds: {', '.join(behind) or 'no row'}")


main()
