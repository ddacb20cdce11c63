#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Writes the man page and the shells' completions in scripts/dist from what --help says.

With --check it writes nothing, and exits 1 if a file is not as it would be written.
"""

import argparse
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "scripts" / "dist"
VALUES = {"FORMAT": r"\b(?:text|json|md|html)\b", "WHEN": r"\b(?:auto|always|never)\b"}


@dataclass
class Option:
    names: list[str]
    argument: str
    help: str

    def values(self) -> list[str]:
        return re.findall(VALUES[self.argument], self.help) if self.argument in VALUES else []


@dataclass
class Command:
    name: str  # empty: the live log
    purpose: str = ""
    usage: list[str] = field(default_factory=list)
    options: list[Option] = field(default_factory=list)
    footer: list[str] = field(default_factory=list)


def read_command(binary: str, name: str) -> Command:
    argv = [binary, *([name] if name else []), "--help"]
    lines = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    command = Command(name, purpose=lines[0])
    part = ""
    for line in lines[1:]:
        if line.startswith("Usage: "):
            part = "usage"
        elif line in ("Positionals:", "Options:"):
            part = line
            continue
        elif part == "Options:" and not line:
            part = "footer"
        if part == "usage" and line:
            command.usage.append(line.removeprefix("Usage:").strip())
        elif part == "Options:":
            match = re.fullmatch(r"  (-\S+)(?: (\S+))? {2,}(.+)", line)
            if not match:
                sys.exit(f"update-dist.py: not understood: {line!r}")
            command.options.append(Option(match[1].split(","), match[2] or "", match[3]))
        elif part == "footer" and (line or command.footer):
            command.footer.append(line)
    return command


def read_commands(binary: str) -> list[Command]:
    live = read_command(binary, "")
    names = [match[1] for line in live.usage if (match := re.match(r"droptrace ([a-z]+) ", line))]
    return [live, *(read_command(binary, name) for name in names)]


def roff(text: str) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    return "\\&" + text if text.startswith(".") else text


def man_options(command: Command) -> str:
    text = ""
    for option in command.options:
        names = ", ".join(f"\\fB{roff(name)}\\fR" for name in option.names)
        argument = f" \\fI{roff(option.argument)}\\fR" if option.argument else ""
        text += f".TP\n{names}{argument}\n{roff(option.help[0].upper() + option.help[1:])}.\n"
    return text


def man_footer(command: Command) -> str:
    return ".PP\n.nf\n" + "".join(f"{roff(line)}\n" for line in command.footer) + ".fi\n"


def man_page(commands: list[Command]) -> str:
    live, *others = commands
    text = '.\\" SPDX-License-Identifier: GPL-2.0-only\n'
    text += '.\\" Written by scripts/update-dist.py from droptrace --help.\n'
    text += '.TH DROPTRACE 8 "" droptrace "System Administration"\n'
    text += ".SH NAME\ndroptrace \\- where the connections of a Kind node die, and why\n"
    text += ".SH SYNOPSIS\n.nf\n" + "".join(f"{roff(line)}\n" for line in live.usage) + ".fi\n"
    text += ".SH DESCRIPTION\n"
    text += "Attaches an eBPF program to the place where the kernel frees dropped packets, and\n"
    text += "prints one entry for each packet: which connection, for what reason, where, and by\n"
    text += "which rule. Needs root, or CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN.\n"
    text += ".SH OPTIONS\n" + man_options(live) + man_footer(live)
    for command in others:
        text += f'.SH "COMMAND {command.name.upper()}"\n{roff(command.purpose)}\n'
        text += ".PP\n" + "\n.br\n".join(roff(line) for line in command.usage) + "\n"
        text += man_options(command) + man_footer(command)
    return text + ".SH SEE ALSO\n.BR pcap\\-filter (7),\n.BR tcpdump (8),\n.BR nft (8),\n.BR tshark (1)\n"


def bash_completion(commands: list[Command]) -> str:
    text = "# SPDX-License-Identifier: GPL-2.0-only\n"
    text += "# shellcheck shell=bash\n"
    text += "# Written by scripts/update-dist.py from droptrace --help.\n\n"
    text += "_droptrace() {\n  local command= previous=${COMP_WORDS[COMP_CWORD-1]}\n"
    text += "  local current=${COMP_WORDS[COMP_CWORD]} words=\n"
    names = "|".join(command.name for command in commands[1:])
    text += f'  case "${{COMP_WORDS[1]-}}" in\n    {names}) ((COMP_CWORD > 1)) && command=${{COMP_WORDS[1]}} ;;\n  esac\n'
    text += '  case "$command $previous" in\n'
    for command in commands:
        for option in command.options:
            if not option.argument:
                continue
            patterns = "|".join(f'"{command.name} {name}"' for name in option.names)
            words = " ".join(option.values())
            if option.argument == "FILE":
                action = 'mapfile -t COMPREPLY < <(compgen -f -- "$current")'
            else:
                action = f'mapfile -t COMPREPLY < <(compgen -W "{words}" -- "$current")'
            text += f"    {patterns})\n      {action}\n      return\n      ;;\n"
    text += '  esac\n  case "$command" in\n'
    for command in commands:
        words = " ".join(name for option in command.options for name in option.names)
        text += f"    '{command.name}') words='{words}' ;;\n"
    text += "  esac\n"
    others = " ".join(command.name for command in commands[1:])
    text += f"  ((COMP_CWORD > 1)) || words+=' {others}'\n"
    text += '  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")\n'
    text += '  if [[ -n $command && $current != -* ]]; then\n'
    text += '    mapfile -t COMPREPLY < <(compgen -f -- "$current")\n  fi\n}\n'
    return text + "complete -o filenames -F _droptrace droptrace\n"


def zsh_quoted(text: str) -> str:
    return re.sub(r"([\[\]:\\])", r"\\\1", text).replace("'", "'\\''")


def zsh_options(command: Command) -> list[str]:
    lines = []
    for option in command.options:
        action = ""
        if option.argument:
            values = " ".join(option.values())
            kind = "_files" if option.argument == "FILE" else f"({values})" if values else " "
            action = f":{option.argument}:{kind}"
        for name in option.names:
            lines.append(f"'*{name}[{zsh_quoted(option.help)}]{action}'")
    return lines


def zsh_completion(commands: list[Command]) -> str:
    text = "#compdef droptrace\n# SPDX-License-Identifier: GPL-2.0-only\n"
    text += "# Written by scripts/update-dist.py from droptrace --help.\n\n"
    text += 'case "${words[2]}" in\n'
    for command in commands[1:]:
        lines = " \\\n      ".join([*zsh_options(command), "'*:recording:_files'"])
        text += f"  {command.name})\n    shift words\n    ((CURRENT--))\n    _arguments \\\n      {lines}\n    ;;\n"
    names = " ".join(command.name for command in commands[1:])
    lines = " \\\n      ".join([*zsh_options(commands[0]), f"'1:command:({names})'", "'*:FILTER: '"])
    return text + f"  *)\n    _arguments \\\n      {lines}\n    ;;\nesac\n"


def fish_completion(commands: list[Command]) -> str:
    text = "# SPDX-License-Identifier: GPL-2.0-only\n"
    text += "# Written by scripts/update-dist.py from droptrace --help.\n\n"
    names = " ".join(command.name for command in commands[1:])
    text += "complete -c droptrace -f\n"
    for command in commands[1:]:
        purpose = command.purpose.replace("'", "\\'")
        text += f"complete -c droptrace -n __fish_use_subcommand -a {command.name} -d '{purpose}'\n"
    for command in commands:
        seen = f"__fish_seen_subcommand_from {command.name or names}"
        condition = seen if command.name else f"not {seen}"
        for option in command.options:
            line = f"complete -c droptrace -n '{condition}'"
            for name in option.names:
                line += f" -l {name[2:]}" if name.startswith("--") else f" -s {name[1:]}"
            if option.argument == "FILE":
                line += " -r -F"
            elif option.argument:
                line += f" -x -a '{' '.join(option.values())}'" if option.values() else " -x"
            text += line + f" -d '{option.help.replace(chr(39), chr(92) + chr(39))}'\n"
        if command.name in ("report", "diff"):
            text += f"complete -c droptrace -n '{seen}' -F\n"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("binary", nargs="?", default=str(ROOT / "build" / "droptrace"))
    arguments = parser.parse_args()
    commands = read_commands(arguments.binary)
    files = {
        "droptrace.8": man_page(commands),
        "droptrace.bash": bash_completion(commands),
        "_droptrace": zsh_completion(commands),
        "droptrace.fish": fish_completion(commands),
    }
    stale = []
    for name, text in files.items():
        file = DIST / name
        if file.exists() and file.read_text() == text:
            continue
        stale.append(name)
        if not arguments.check:
            DIST.mkdir(exist_ok=True)
            file.write_text(text)
    if arguments.check and stale:
        sys.exit(f"update-dist.py: not as --help says: {', '.join(stale)}: run it without --check")


if __name__ == "__main__":
    main()
