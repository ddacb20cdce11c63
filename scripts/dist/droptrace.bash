# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Written by scripts/update-dist.py from droptrace --help.

_droptrace() {
  local command= previous=${COMP_WORDS[COMP_CWORD-1]}
  local current=${COMP_WORDS[COMP_CWORD]} words=
  case "${COMP_WORDS[1]-}" in
    probe|check|report|diff) ((COMP_CWORD > 1)) && command=${COMP_WORDS[1]} ;;
  esac
  case "$command $previous" in
    " -o"|" --output")
      mapfile -t COMPREPLY < <(compgen -W "text json" -- "$current")
      return
      ;;
    " -w"|" --write")
      mapfile -t COMPREPLY < <(compgen -f -- "$current")
      return
      ;;
    " -r"|" --read")
      mapfile -t COMPREPLY < <(compgen -f -- "$current")
      return
      ;;
    " --report")
      mapfile -t COMPREPLY < <(compgen -f -- "$current")
      return
      ;;
    " --metrics")
      mapfile -t COMPREPLY < <(compgen -W "" -- "$current")
      return
      ;;
    " -c"|" --count")
      mapfile -t COMPREPLY < <(compgen -W "" -- "$current")
      return
      ;;
    " --duration")
      mapfile -t COMPREPLY < <(compgen -W "" -- "$current")
      return
      ;;
    " --service-cidr")
      mapfile -t COMPREPLY < <(compgen -W "" -- "$current")
      return
      ;;
    " --pod-cidr")
      mapfile -t COMPREPLY < <(compgen -W "" -- "$current")
      return
      ;;
    " --netns")
      mapfile -t COMPREPLY < <(compgen -W "" -- "$current")
      return
      ;;
    " --unanswered-after")
      mapfile -t COMPREPLY < <(compgen -W "" -- "$current")
      return
      ;;
    " --kubeconfig")
      mapfile -t COMPREPLY < <(compgen -f -- "$current")
      return
      ;;
    " --color")
      mapfile -t COMPREPLY < <(compgen -W "auto always never" -- "$current")
      return
      ;;
    " --ready-file")
      mapfile -t COMPREPLY < <(compgen -f -- "$current")
      return
      ;;
    " --expect-drop")
      mapfile -t COMPREPLY < <(compgen -W "" -- "$current")
      return
      ;;
    " --ring-size")
      mapfile -t COMPREPLY < <(compgen -W "" -- "$current")
      return
      ;;
    " --snaplen")
      mapfile -t COMPREPLY < <(compgen -W "" -- "$current")
      return
      ;;
    "probe -o"|"probe --output")
      mapfile -t COMPREPLY < <(compgen -W "text json" -- "$current")
      return
      ;;
    "probe --color")
      mapfile -t COMPREPLY < <(compgen -W "auto always never" -- "$current")
      return
      ;;
    "probe --from")
      mapfile -t COMPREPLY < <(compgen -W "" -- "$current")
      return
      ;;
    "probe --timeout")
      mapfile -t COMPREPLY < <(compgen -W "" -- "$current")
      return
      ;;
    "check -o"|"check --output")
      mapfile -t COMPREPLY < <(compgen -W "text json" -- "$current")
      return
      ;;
    "check --color")
      mapfile -t COMPREPLY < <(compgen -W "auto always never" -- "$current")
      return
      ;;
    "report -o"|"report --output")
      mapfile -t COMPREPLY < <(compgen -W "md html json" -- "$current")
      return
      ;;
    "report --report")
      mapfile -t COMPREPLY < <(compgen -f -- "$current")
      return
      ;;
    "diff -o"|"diff --output")
      mapfile -t COMPREPLY < <(compgen -W "text md json" -- "$current")
      return
      ;;
  esac
  case "$command" in
    '') words='-h --help --version -o --output -w --write -r --read --report --metrics -c --count --duration --syn --service-cidr --pod-cidr --all --all-netns --netns --noise --unanswered-after --no-path{false} --stack -n --no-names --kubeconfig --no-api{false} --allow-system-changes --color --ready-file --expect-drop --expect-none --ring-size --snaplen -q -v' ;;
    'probe') words='-h --help -o --output --color --from --udp --timeout -v' ;;
    'check') words='-h --help -o --output --color -v' ;;
    'report') words='-h --help -o --output --report' ;;
    'diff') words='-h --help -o --output' ;;
  esac
  ((COMP_CWORD > 1)) || words+=' probe check report diff'
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
  if [[ -n $command && $current != -* ]]; then
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
  fi
}
complete -o filenames -F _droptrace droptrace
