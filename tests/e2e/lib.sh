# SPDX-License-Identifier: Apache-2.0
# lib.sh - end-to-end tests in TAP.  Each file sources this, writes sentences
# with `check`, and ends with `finish`.  Every file works in a fresh folder of
# its own; $CAISSON is the program.
set -u
tests_run=0
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
cd "$work" || exit 1
unset CAISSON_STATE NO_COLOR

# check "sentence" command...: the command succeeds
check() {
  tests_run=$((tests_run + 1))
  sentence=$1
  shift
  if "$@" >"$work/.said" 2>&1; then
    echo "ok $tests_run - $sentence"
  else
    echo "not ok $tests_run - $sentence"
    sed 's/^/# /' "$work/.said"
  fi
}

# skip "sentence" "reason"
skip() {
  tests_run=$((tests_run + 1))
  echo "ok $tests_run # SKIP $1: $2"
}

# is GOT WANTED
is() {
  [ "$1" = "$2" ] && return 0
  printf 'got:      %s\nexpected: %s\n' "$1" "$2"
  return 1
}

# has TEXT PART
has() {
  case $1 in *"$2"*) return 0 ;; esac
  printf 'got:      %s\nexpected to hold: %s\n' "$1" "$2"
  return 1
}

# exits STATUS command...
exits() {
  wanted=$1
  shift
  "$@" >"$work/.out" 2>"$work/.err" </dev/null
  got=$?
  [ $got = "$wanted" ] && return 0
  echo "exit status $got, expected $wanted"
  cat "$work/.out" "$work/.err"
  return 1
}

finish() {
  echo "1..$tests_run"
}
