#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The program's manners: what it prints where, and how it ends.
. "$(dirname "$0")/lib.sh"

says_on_stderr_only() {
  exits 2 "$CAISSON" versoin || return 1
  is "$(cat .out)" '' && has "$(cat .err)" "caisson: there is no command 'versoin'; did you mean 'version'?"
}
no_command() { exits 2 "$CAISSON" && is "$(cat .out)" '' && has "$(cat .err)" 'Usage: caisson'; }
help_on_stdout() { exits 0 "$CAISSON" --help && has "$(cat .out)" 'Usage: caisson' && is "$(cat .err)" ''; }
every_command_has_help() {
  for name in $("$CAISSON" help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p' | sort -u); do
    exits 0 "$CAISSON" help "$name" && has "$(cat .out)" "caisson $name" &&
      exits 0 "$CAISSON" "$name" --help || return 1
  done
}
full_disk() { "$CAISSON" help >/dev/full 2>.err; is $? 1 && has "$(cat .err)" 'cannot write to stdout'; }
version_json() { has "$("$CAISSON" version --json)" '"version":"'; }
no_colour_in_a_pipe() { "$CAISSON" nonsense 2>.err; ! grep -q "$(printf '\033')" .err; }
manual() {
  "$CAISSON" help --man >caisson.1 || return 1
  is "$(man --warnings -E UTF-8 -l caisson.1 2>&1 >/dev/null)" ''
}

doctor_hides_keys() {
  out=$(OPENAI_API_KEY=sk-very-secret "$CAISSON" doctor; OPENAI_API_KEY=sk-very-secret "$CAISSON" doctor --json)
  has "$out" 'OPENAI_API_KEY' && has "$out" '"OPENAI_API_KEY":"set"' || return 1
  case $out in *very-secret*) echo 'it prints the key'; return 1 ;; esac
}
doctor_makes_nothing() { "$CAISSON" doctor >/dev/null && [ ! -e .caisson ]; }

check 'an unknown command is reported on stderr, with a suggestion' says_on_stderr_only
check 'without a command, usage goes to stderr and the status is 2' no_command
check 'help that was asked for goes to stdout' help_on_stdout
check 'every command has help' every_command_has_help
check 'a result that cannot be written is a failure' full_disk
check 'version has a JSON form' version_json
check 'doctor says that a key is set and never what it is' doctor_hides_keys
check 'doctor makes no state folder' doctor_makes_nothing
check 'there is no colour in a pipe' no_colour_in_a_pipe
if command -v man >/dev/null; then
  check 'the manual page renders without a warning' manual
else
  skip 'the manual page renders without a warning' 'man is not installed'
fi

# Completion: what bash offers for a half-typed line.
offers() { # words... : the last one is completed
  bash -c '
    eval "$("$0" completion bash)"
    compopt() { :; }
    COMP_WORDS=(caisson "$@"); COMP_CWORD=$#
    _caisson; printf "%s " "${COMPREPLY[@]}"' "$CAISSON" "$@"
}
offered() { has " $(offers "$@")" " $want "; }
want=version check 'bash completes commands' offered ver
want=--json check "bash completes a command's options" offered version --j
want=fish check 'bash completes a closed list' offered completion fi
want=--state check 'bash completes the global options' offered --st
want=version check "bash steps over an option's value" offered --state x ver
mkdir folder
want=folder check 'bash completes folders where one is wanted' offered --state fo
for shell in zsh fish; do
  parses() { "$CAISSON" completion $shell >script && $shell -n script; }
  if command -v $shell >/dev/null; then
    check "$shell accepts its completion script" parses
  else
    skip "$shell accepts its completion script" "$shell is not installed"
  fi
done
finish
