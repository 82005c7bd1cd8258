#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""In the test machine: writes the records of a module built for coverage to a file."""

import struct
import sys

SYMBOL, SIZE = "vnr_reached", 1 << 20


def address():
    with open("/proc/kallsyms", encoding="ascii") as symbols:
        for line in symbols:
            fields = line.split()
            if fields[2] == SYMBOL:
                return int(fields[0], 16)
    sys.exit(f"no {SYMBOL}: the module is not loaded, or not built for coverage")


def main():
    at = address()
    with open("/proc/kcore", "rb") as core:
        head = core.read(64)
        (table,) = struct.unpack_from("<Q", head, 32)
        each, count = struct.unpack_from("<HH", head, 54)
        core.seek(table)
        for _ in range(count):
            _, _, offset, start, _, size = struct.unpack_from("<IIQQQQ", core.read(each))
            if start <= at and at + SIZE <= start + size:
                core.seek(offset + at - start)
                break
        else:
            sys.exit(f"{at:#x} is in no segment of /proc/kcore")
        data = core.read(SIZE)
    if not any(data):
        sys.exit("nothing was reached")
    with open(sys.argv[1], "wb") as out:
        out.write(data)


main()
