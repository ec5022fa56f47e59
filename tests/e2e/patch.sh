#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# caisson patch: all of a patch or nothing of it.
. "$(dirname "$0")/lib.sh"

start() { rm -rf dir; mkdir dir; printf 'one\ntwo\nthree\n' >dir/a; printf 'gone\n' >dir/b; }
text() { cat <<'END'
*** Begin Patch
*** Update File: a
@@
 one
-two
+TWO
 three
*** Add File: sub/c
+new
*** Delete File: b
*** End Patch
END
}
applies() {
  start
  out=$(text | "$CAISSON" patch -C dir) || return 1
  is "$(cat dir/a)" "$(printf 'one\nTWO\nthree')" && is "$(cat dir/sub/c)" new && [ ! -e dir/b ] &&
    has "$out" 'Updated a' && has "$out" 'Created sub/c' && has "$out" 'Deleted b'
}
nothing_of_a_bad_one() {
  start
  text | sed 's/-two/-2/' | "$CAISSON" patch -C dir >out 2>err
  is $? 1 && is "$(cat dir/a)" "$(printf 'one\ntwo\nthree')" && [ -e dir/b ] && [ ! -e dir/sub ] &&
    is "$(cat out)" '' && [ -s err ]
}
only_checked() {
  start
  text | "$CAISSON" patch -C dir --check || return 1
  is "$(cat dir/a)" "$(printf 'one\ntwo\nthree')" && [ -e dir/b ] && is "$(ls -A dir | wc -l)" 2
}
outside() {
  start
  printf '*** Begin Patch\n*** Add File: ../evil\n+x\n*** End Patch\n' | "$CAISSON" patch -C dir
  is $? 1 && [ ! -e evil ]
}
no_folder() { text | "$CAISSON" patch -C nowhere; is $? 2; }

check 'a patch is applied and reported' applies
check 'of a patch that does not fit nothing is applied, and the status is 1' nothing_of_a_bad_one
check 'a patch can be checked without applying it' only_checked
check 'a patch cannot leave its folder' outside
check 'a folder that is not there is a usage error' no_folder
finish
