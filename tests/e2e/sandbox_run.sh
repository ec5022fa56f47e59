#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# caisson sandbox run: the command's bytes, status and signals are its own.
. "$(dirname "$0")/lib.sh"

run() { "$CAISSON" sandbox run --backend "$backend" "$@"; }

statuses() {
  run -- sh -c 'exit 0' </dev/null && is $? 0 || return 1
  run -- sh -c 'exit 7' </dev/null; is $? 7 || return 1
  run -- sh -c 'kill -KILL $$' </dev/null; is $? 137 || return 1
  run -- no-such-program </dev/null 2>.err; is $? 127 && has "$(cat .err)" no-such-program || return 1
  run -- /etc/passwd </dev/null; is $? 126
}
streams() {
  run -- sh -c 'echo out; echo err >&2' >.o 2>.e </dev/null
  is "$(cat .o)" out && is "$(cat .e)" err
}
binary() {
  head -c 3000000 /dev/urandom >bytes
  run -- cat <bytes >copy && cmp bytes copy
}
both_ways() { # more than any pipe holds, in and out at once
  head -c 3000000 /dev/zero | run -- sh -c 'head -c 2000000 /dev/zero; cat' | wc -c | {
    read -r n
    is "$n" 5000000
  }
}
not_read() { yes | run -- true; is $? 0; }
closed_stdout() { run -- yes </dev/null 2>.err | head -n 1 >.out; is "$(cat .out)" y; }
end_of_input() { is "$(printf abc | run -- sh -c 'cat; echo END')" abcEND; }
no_input() { is "$(run -- cat </dev/null)" ''; }
workspace() {
  mkdir -p ws && echo here >ws/file
  is "$(run -w ws -- cat file </dev/null)" here || return 1
  run -w ws -- sh -c 'echo made >new' </dev/null && is "$(cat ws/new)" made
}
fresh_workspace() { is "$(run -- sh -c 'ls -A | wc -l' </dev/null)" 0 && [ ! -e .caisson ]; }
environment() {
  is "$(SECRET=x run -e A=1 -e 'B=two words' -- sh -c 'echo "$A,$B,$SECRET"' </dev/null)" '1,two words,'
}
bad_environment() { run -e novalue -- true </dev/null 2>.err; is $? 2 && has "$(cat .err)" 'NAME=VALUE'; }
options_of_the_command() { is "$(run sh -c 'echo "$1"' - --backend </dev/null)" --backend; }
signals() {
  "$CAISSON" sandbox run --backend "$backend" -- sh -c 'trap "echo caught; exit 5" TERM; echo ready; while :; do sleep 0.05; done' >.o </dev/null &
  pid=$!
  tries=0
  until grep -q ready .o || [ $tries = 200 ]; do sleep 0.05; tries=$((tries + 1)); done
  kill -TERM $pid
  wait $pid
  is $? 5 && has "$(cat .o)" caught
}
terminal() { # script(1) gives us a terminal
  out=$(script -qec "stty rows 33 cols 99; '$CAISSON' sandbox run --backend $backend -- sh -c 'test -t 0 && test -t 1 && stty size'" /dev/null </dev/null)
  has "$out" '33 99'
}
no_orphans() { # what the command leaves behind dies with the sandbox
  run -- sh -c "sleep 1234.$$ & exit 3" </dev/null
  is $? 3 && ! pgrep -f "sleep 1234[.]$$" >/dev/null
}

for backend in jail local; do
  if ! run -- true </dev/null 2>.why; then
    skip "$backend" "$(cat .why)"
    continue
  fi
  check "$backend: the status is the command's" statuses
  check "$backend: stdout and stderr stay apart" streams
  check "$backend: bytes pass unchanged" binary
  check "$backend: input and output flow at the same time" both_ways
  check "$backend: input that is not read does no harm" not_read
  check "$backend: a reader that goes away ends it" closed_stdout
  check "$backend: the end of input arrives" end_of_input
  check "$backend: without input, input is empty" no_input
  check "$backend: a folder of the host can be the workspace" workspace
  check "$backend: without one the workspace is empty, and nothing is left here" fresh_workspace
  check "$backend: variables are set and none is inherited" environment
  check "$backend: a variable without a value is refused" bad_environment
  check "$backend: options behind the command are the command's" options_of_the_command
  check "$backend: signals are handed on" signals
  check "$backend: what it started ends with it" no_orphans
  if command -v script >/dev/null; then
    check "$backend: a terminal is a terminal inside" terminal
  else
    skip "$backend: a terminal is a terminal inside" 'script is not installed'
  fi
done
finish
