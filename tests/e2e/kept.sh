# SPDX-License-Identifier: Apache-2.0
# Sandboxes that have a name: made, used, copied from and to, saved, moved to
# another back-end, removed.
. "$(dirname "$0")/lib.sh"

export CAISSON_STATE=$work/state
box() { "$CAISSON" sandbox "$@"; }
backend=jail
box run -- true >/dev/null 2>&1 || backend=local
echo "# the back-end is $backend"

check 'one is made' is "$(box create one --backend $backend -e GREETING=hello)" one
check 'a name is taken once' exits 1 box create one --backend $backend
check 'and has to be one' exits 2 box create ../one
check 'a back-end has to be there' exits 2 box create other --backend nowhere
check 'and what cannot be made leaves nothing' is "$(ls state/kept)" one
check 'its options hold for each command' is "$(box exec one -- sh -c 'echo "$GREETING" >said; cat said')" hello
check 'what one command made the next one finds' is "$(box exec one cat said)" hello
check 'variables can be added' is "$(box exec -e MORE=x one -- sh -c 'echo "$GREETING $MORE"')" 'hello x'
check 'the status is the command'"'"'s' exits 7 box exec one -- sh -c 'exit 7'
check 'a program that is not there is 127' exits 127 box exec one nothing-like-it
check 'a sandbox that is not there is told' exits 2 box exec two true
check 'stdin goes in' is "$(echo through | box exec one cat)" through
check 'they are listed' has "$(box ls)" one
check 'as JSON too' has "$(box ls --json)" '"options":{"backend":"'$backend'","env":["GREETING=hello"]}'

mkdir -p folder/deep
echo file >file
echo deep >folder/deep/down
ln -s deep/down folder/link
chmod 755 file
check 'a file is copied in' box cp file one:a/b/file
check 'with its mode' is "$(box exec one -- sh -c 'cat a/b/file; stat -c %a a/b/file')" 'file
755'
check 'a folder is copied in under a name' box cp folder one:copied
check 'and under its own' box cp folder one:into/
check 'with all in it' is "$(box exec one -- sh -c 'cat copied/link into/folder/deep/down')" 'deep
deep'
check 'a file is copied out' box cp one:a/b/file back
check 'as it was' is "$(cat back; stat -c %a back)" 'file
755'
check 'a folder is copied out' box cp one:copied .
check 'with its links' is "$(readlink copied/link; cat copied/link)" 'deep/down
deep'
mkdir there
check 'into a folder that is there' box cp one:said there
check 'under its own name' is "$(cat there/said)" hello
check 'all of it goes out' box cp one: all
check 'too' is "$(cat all/said all/copied/deep/down)" 'hello
deep'
check 'nothing is copied from above' exits 1 box cp one:../sandbox.json x
check 'nor from elsewhere' exits 1 box cp one:/etc/passwd x
check 'what is missing is told' exits 2 box cp one:nothing x
check 'two paths of this machine are not a sandbox' exits 2 box cp file back
echo secret >secret
box exec one ln -s "$work/secret" stolen
box cp one:stolen link
check 'and comes as a link' is "$(readlink link)" "$work/secret"

check 'it is saved' box snapshot one saved
check 'another one begins with that' is "$(box create two --backend $backend --from saved)" two
check 'and has the files' is "$(box exec two cat said copied/link)" 'hello
deep'
box exec two -- sh -c 'echo changed >said'
check 'which are its own' is "$(box exec one cat said)" hello
check 'it is carried to another back-end' box move two --backend local
check 'with its files' is "$(box exec two cat said copied/link)" 'changed
deep'
check 'and modes' is "$(box exec two stat -c %a a/b/file)" 755
check 'under the same name' has "$(box ls --json)" '"name":"two","backend":"local"'
check 'and nothing else is there' is "$(ls state/kept)" 'one
two'
check 'what cannot rest says so' exits 2 box pause one
check 'why' has "$(box pause one 2>&1)" 'nothing to pause'

mkfifo gate never
box exec one cat <gate >used 2>&1 &
exec 3>gate
echo line >&3
for _ in $(seq 500); do
  [ -s used ] && break
  read -r -t 0.02 <>never
done
check 'one in use is not removed' exits 1 box rm one
exec 3>&-
wait
check 'one that nobody uses is' box rm one two
check 'with all its files' is "$(ls state/kept)" ''
check 'none are an empty list' is "$(box ls --json)" '[]'
check 'gc has nothing to look for on this machine' exits 2 box gc --backend local
finish
