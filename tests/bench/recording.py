#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""How large recordings are, and what time and memory it takes to copy and to report one.

Makes a recording of many drops, each a SYN of its own, out of one that has at least one drop.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EPB = 6


def blocks(data: bytes) -> list[bytes]:
    found, start = [], 0
    while start < len(data):
        length = int.from_bytes(data[start + 4 : start + 8], "little")
        found.append(data[start : start + length])
        start += length
    return found


def is_packet(block: bytes) -> bool:
    return int.from_bytes(block[:4], "little") == EPB


def many(recording: bytes, drops: int, file: Path) -> int:
    """Writes the recording with its first packet repeated; returns the bytes of one."""
    parts = blocks(recording)
    packet = next(block for block in parts if is_packet(block))
    head = b"".join(parts[: parts.index(packet)])
    key = b'"seq":'
    start = packet.index(key) + len(key)
    end = packet.index(b",", start)
    digits = end - start
    with file.open("wb") as out:
        out.write(head)
        for number in range(drops):
            text = str(10 ** (digits - 1) + number).encode()
            ticks = int.from_bytes(packet[12:16], "little") << 32
            ticks = (ticks | int.from_bytes(packet[16:20], "little")) + number * 1_000_000
            stamp = (ticks >> 32).to_bytes(4, "little") + (ticks & 0xFFFFFFFF).to_bytes(4, "little")
            out.write(packet[:12] + stamp + packet[20:start] + text + packet[end:])
    return len(packet)


def measured(argv: list[str]) -> str:
    start = time.monotonic()
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(argv)} has failed")
    busy = usage.ru_utime + usage.ru_stime
    took = time.monotonic() - start
    return f"{took:.1f} s ({busy:.1f} s of CPU), at most {usage.ru_maxrss / 1024:.0f} MiB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary")
    parser.add_argument("recording", type=Path)
    parser.add_argument("--drops", type=int, default=1_000_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        file, copy = Path(directory) / "many.pcapng", Path(directory) / "copy.pcapng"
        size = many(arguments.recording.read_bytes(), arguments.drops, file)
        print(f"{arguments.drops} drops, {size} bytes each, {file.stat().st_size} in all")
        read = [arguments.binary, "-q", "-r", str(file)]
        print("replay as JSON:", measured([*read, "-o", "json"]))
        print("replay and record:", measured([*read, "-w", str(copy)]))
        copy.unlink()
        html = str(Path(directory) / "report.html")
        print("report:", measured([arguments.binary, "report", "--report", html, str(file)]))


if __name__ == "__main__":
    main()
