#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# demo/fix.yaml repairs demo/inventory by reading: also when mistakes stand
# elsewhere, look different or are fewer; and it says so when it cannot.
. "$SOURCE/tests/e2e/lib.sh"
. "$SOURCE/tests/demo/variants.sh"
unset MAKEFLAGS MAKELEVEL

# fresh [variant]...: a copy in ws/inventory with these changes
fresh() {
  rm -rf ws && mkdir ws && cp -r "$SOURCE/demo/inventory" ws/ && rm -rf ws/inventory/build || return 1
  cp -r ws/inventory before
  for v in "$@"; do
    (cd ws/inventory && "$v") || return 1
  done
  [ $# = 0 ] || ! diff -r before ws/inventory >/dev/null || { echo "$* changed nothing"; return 1; }
  rm -rf before
}
tests_pass() { (cd ws/inventory && make clean test); }
failures() { (cd ws/inventory && make test) | tail -n 1; }

# repairs FAILING [variant]...: so many tests fail, then none, and no file but sources changed
repairs() {
  wanted=$1
  shift
  fresh "$@" && has "$(failures 2>/dev/null)" " passed, $wanted failed" || return 1
  cp -r ws/inventory was
  "$PLAY" "$SOURCE/demo/fix.yaml" ws && tests_pass && diff -r was/tests ws/inventory/tests &&
    diff was/Makefile ws/inventory/Makefile
  result=$?
  for h in was/src/*.h; do
    cmp "$h" "ws/inventory/src/${h##*/}" || result=1
  done
  rm -rf was
  return $result
}
# refuses TEXT [variant]...: it ends with a refusal that has this text, and the tests fail
refuses() {
  text=$1
  shift
  fresh "$@" || return 1
  out=$("$PLAY" "$SOURCE/demo/fix.yaml" ws)
  is $? 1 && has "$out" 'REFUSED: I did not repair the program' && has "$out" "$text" && ! tests_pass
}
changes_nothing() {
  fresh all_fixed && cp -r ws/inventory/src was && "$PLAY" "$SOURCE/demo/fix.yaml" ws &&
    diff -r was ws/inventory/src && rm -rf was
}
proves_it() {
  fresh && has "$("$PLAY" "$SOURCE/demo/fix.yaml" ws | tail -n 2)" \
    'Every test passes, also after building everything anew: 22 passed, 0 failed.'
}

check 'the playbook repairs the program' repairs 4
check 'it ends with what the tests said after a build from scratch' proves_it
check 'it repairs mistakes that stand on other lines' repairs 4 moved_down
check 'it repairs them when functions have another order' repairs 4 reordered
check 'it repairs them when names differ' repairs 4 renamed
check 'it repairs them when all of that is so' repairs 4 renamed reordered moved_down
check 'it repairs what is left when a test passes already' repairs 3 one_fixed
check 'it changes nothing when there is nothing to repair' changes_nothing
check 'it says that it cannot when a mistake is unknown' refuses 'tests/test_ledger.c:' unknown
check 'it says that it cannot when the program does not compile' refuses 'src/report.c:' broken
finish
