#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run.sh EXPECTED PROGRAM ARGS... - an example's test: in a folder of its own,
# it prints what is expected.
expected=$(cat "$1")
shift
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
echo 1..1
program=$(realpath "$1")
shift
said=$(cd "$work" && "$program" "$@" 2>&1)
case $said in
"$expected") echo "ok 1 - prints what it should" ;;
*"cannot make a jail"*) echo "ok 1 # SKIP $said" ;;
*) printf '%s\n' "$said" | sed 's/^/# /'; echo "not ok 1 - prints what it should" ;;
esac
