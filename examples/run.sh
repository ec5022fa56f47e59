#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run.sh PROGRAM EXPECTED - an example's test: it prints what is expected.
echo 1..1
said=$("$1" 2>&1)
case $said in
"$(cat "$2")") echo "ok 1 - prints what it should" ;;
*"cannot make a jail"*) echo "ok 1 # SKIP $said" ;;
*) printf '%s\n' "$said" | sed 's/^/# /'; echo "not ok 1 - prints what it should" ;;
esac
