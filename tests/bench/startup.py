#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Measures droptrace's size, the time from start to ready, and its memory: medians of some runs.

Figures for people to read; no test depends on them.
"""

import argparse
import signal
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

READY_S = 10


def status_kib(pid: int, field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise KeyError(field)


def run_once(binary: Path, ready_file: Path) -> tuple[float, int, int]:
    """Milliseconds to ready, resident KiB once symbols are loaded, highest resident KiB."""
    start = time.monotonic()
    process = subprocess.Popen(
        [binary, "-q", "--ready-file", ready_file], stdout=subprocess.DEVNULL
    )
    while not ready_file.exists():
        if process.poll() is not None or time.monotonic() - start > READY_S:
            raise SystemExit(f"{binary} did not get ready")
        time.sleep(0.001)
    ready_ms = (time.monotonic() - start) * 1000
    time.sleep(0.5)  # a benchmark may: what is measured is the state at rest
    resident, highest = status_kib(process.pid, "VmRSS"), status_kib(process.pid, "VmHWM")
    process.send_signal(signal.SIGINT)
    process.wait()
    ready_file.unlink()
    return ready_ms, resident, highest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary", type=Path)
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        runs = [run_once(options.binary, Path(directory, "ready")) for _ in range(options.runs)]
    ready_ms, resident, highest = (statistics.median(column) for column in zip(*runs))
    print(f"size            {options.binary.stat().st_size / 1e6:6.2f} MB")
    print(f"start to ready  {ready_ms:6.0f} ms   median of {options.runs}")
    print(f"resident        {resident / 1024:6.1f} MiB  at rest, median; highest {highest / 1024:.1f} MiB")


if __name__ == "__main__":
    main()
