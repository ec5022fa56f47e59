# SPDX-License-Identifier: Apache-2.0
# Snapshots as their users see them: the command, archives of other programs,
# sandboxes that begin with one and end as one.
. "$(dirname "$0")/lib.sh"

export CAISSON_STATE=$work/state
snap() { "$CAISSON" snapshot "$@"; }

mkdir -p src/d/e
echo one >src/a
echo two >src/d/e/f
ln -s ../a src/d/link
chmod 755 src/a
check 'a folder is saved' is "$(snap save first src 2>/dev/null)" first
check 'and listed' has "$(snap ls)" first
check 'what it holds is shown' has "$(snap show first)" 'd/link -> ../a'
check 'a name is taken once' exits 1 snap save first src
check 'a path is no name' exits 2 snap save ../x src
echo more >>src/a
rm -r src/d/e
mkfifo src/pipe
check 'what cannot be saved is told' has "$(snap save second src 2>&1)" 'left out: pipe'
check 'differences are listed' is "$(snap diff first second)" 'M a
D d/e
D d/e/f'
check 'as JSON too' is "$(snap diff first second --json)" \
  '[{"change":"changed","path":"a"},{"change":"deleted","path":"d/e"},{"change":"deleted","path":"d/e/f"}]'
check 'a snapshot is restored into a new folder' snap restore first out
check 'as it was' is "$(cat out/a out/d/link out/d/e/f; stat -c %a out/a)" 'one
one
two
755'
check 'and not into one that is there' exits 1 snap restore first out

snap export first first.tar
check 'GNU tar reads the export' is "$(tar -tf first.tar)" 'a
d/
d/e/
d/e/f
d/link'
mkdir unpacked
tar -C unpacked -xf first.tar
check 'and gets the same files' diff -r unpacked out
snap export first - >again.tar
check 'the same snapshot gives the same bytes' cmp first.tar again.tar
check 'an export is imported' snap import third first.tar
check 'and is the same but for fractions of seconds' is "$(snap diff first third)" ''
tar -C src --exclude pipe -czf packed.tar.gz .
check 'an archive of GNU tar, packed, is imported' snap import fourth packed.tar.gz
check 'and holds what was packed' is "$(snap diff second fourth)" ''
ln -s /etc/passwd src/out
tar -C src --exclude pipe -cf bad.tar .
check 'a link that leads out is refused' exits 1 snap import bad bad.tar
check 'and leaves no snapshot' exits 2 snap show bad
rm src/out
if command -v python3 >/dev/null; then
  # As the software of others saves a workspace: pax, "." first, links last.
  python3 - src pax.tar <<'PY'
import os, sys, tarfile
top, to = sys.argv[1:]
links = []
with tarfile.open(to, "w", format=tarfile.PAX_FORMAT) as tar:
    for folder, names, files in os.walk(top):
        for name in ([""] if folder == top else []) + sorted(names + files):
            path = os.path.join(folder, name) if name else top
            inside = "." if path == top else "./" + os.path.relpath(path, top)
            if os.path.islink(path):
                links.append((path, inside))
            elif os.path.isfile(path) or os.path.isdir(path):
                tar.add(path, inside, recursive=False)
    for path, inside in links:
        tar.add(path, inside, recursive=False)
PY
  check 'a pax archive with ./ before its names is imported' snap import fifth pax.tar
  check 'with the same files' is "$(snap diff second fifth)" ''
else
  skip 'a pax archive with ./ before its names is imported' 'no python3'
fi

if "$CAISSON" sandbox run -- true 2>/dev/null; then
  box() { "$CAISSON" sandbox run "$@"; }
  check 'a sandbox begins with a snapshot' is "$(box --from first -- cat a d/e/f)" 'one
two'
  check 'and changes nothing in it' is "$(box --from first -- rm -r d a; snap diff first third)" ''
  check 'it ends as one' has "$(box --from first --snapshot sixth -- \
    sh -c 'echo new >n; rm -r d; (sleep 60 &)' 2>&1)" 'snapshot sixth: 2 files'
  check 'with what was changed' is "$(snap diff first sixth)" 'D d
D d/e
D d/e/f
D d/link
A n'
  check 'again from there' is "$(box --from sixth --snapshot seventh -- sh -c 'mkdir d; ls')" 'a
d
n'
  check 'where a folder was and is again' is "$(snap diff sixth seventh)" 'A d'
  check 'a status is handed on' exits 7 box --from first --snapshot eighth -- sh -c 'exit 7'
  check 'and the snapshot is made' snap show eighth
  check 'a name that is taken is told before' exits 1 box --snapshot first -- touch never
  check 'a workspace of the user is saved' is \
    "$(box --workspace out --snapshot ninth -- true 2>/dev/null; snap diff first ninth)" ''
  check '--from and a workspace exclude each other' exits 2 box --from first --workspace out -- true
  check 'a snapshot that is not there' exits 2 box --from nothing -- true
  check 'nothing of the workspaces is left' is "$(ls -A state/snapshots/work)" ''
else
  skip 'sandboxes begin with snapshots and end as them' 'no jail can be made here'
fi

if "$CAISSON" sandbox run -- true 2>/dev/null; then
  cat >work.yaml <<'END'
about: Writes a file and stops.
rules:
  - name: write
    when: {first: true}
    reply:
      - exec_command: {cmd: "echo made >made; rm -f kept; mkfifo pipe; (sleep 60 &)"}
  - name: answer
    reply: Done.
END
  cat >refuse.yaml <<'END'
about: Refuses.
rules:
  - name: refuse
    fail: true
    reply: I would rather not.
END
  cat >agent.yaml <<'END'
name: worker
capabilities: [shell]
manifest:
  entries:
    in.txt: {type: file, content: given}
    passing: {type: file, content: gone, ephemeral: true}
    folder: {type: dir, children: {also: {type: file, content: x, ephemeral: true}}}
END
  check 'a run is saved when it is over' exits 0 "$CAISSON" run agent.yaml -m script:work.yaml \
    --snapshot tenth 'Work.'
  check 'without what is ephemeral' is "$(snap show tenth | sed 's/.* //')" 'folder
in.txt
made'
  check 'and what is left out is told' has "$(cat .err)" 'left out: pipe'
  check 'one that failed, too' exits 1 "$CAISSON" run agent.yaml -m script:refuse.yaml \
    --snapshot eleventh 'Work.'
  check 'with what there was' is "$(snap diff tenth eleventh)" 'D made'
  cat >slow.yaml <<'END'
about: Waits, and is done when it hears anything.
rules:
  - name: wait
    when: {first: true}
    reply:
      - exec_command: {cmd: "echo 1 >begun; exec sleep 60"}
  - name: answer
    reply: Done.
END
  killed() { # while its command runs; then it goes on
    "$CAISSON" run agent.yaml -m script:slow.yaml --snapshot twelfth 'Work.' >/dev/null 2>&1 &
    for _ in $(seq 400); do
      ls state/sandboxes/*/workspace/begun >/dev/null 2>&1 && break
      sleep 0.05
    done
    kill -9 $!
    wait $! 2>/dev/null
    for run in state/sandboxes/*; do :; done
    exits 0 "$CAISSON" resume "${run##*/}" && has "$(snap show twelfth)" begun
  }
  check 'one that was killed is saved when it was resumed' killed
  check 'a name that is taken ends nothing that began' exits 1 "$CAISSON" run agent.yaml \
    -m script:work.yaml --snapshot tenth 'Work.'
  check 'a sandbox goes on from there' is "$("$CAISSON" sandbox run --from tenth -- cat in.txt)" given
else
  skip 'runs are saved' 'no jail can be made here'
fi

check 'all of it is sound' exits 0 snap verify
for pack in state/snapshots/packs/*.pack; do
  truncate -s 10 "$pack"
  break
done
check 'a pack that was cut is found' exits 1 snap verify
check 'and told' has "$(snap verify --json)" 'damaged'
check 'gc drops nothing then' exits 2 snap gc
rm -r state
snap save keep src >/dev/null 2>&1
snap save drop out >/dev/null 2>&1
snap rm drop
check 'what nobody needs is dropped' has "$(snap gc --json)" '"snapshots":0,"layers":0,"bytes":'
check 'and the rest is there' snap restore keep kept
check 'snapshots that are too old are forgotten' has "$(snap gc --days 1 --json)" '"snapshots":0'
check 'none are listed as an empty list' is "$(snap rm keep; snap ls --json)" '[]'
finish
