# SPDX-License-Identifier: Apache-2.0
# limits.sh - more than a sandbox should have.  The jail has the limits
# MEMORY MiB, PIDS processes and CPU hundredths of a processor.

case_41() {
  bound processes probe hoard-processes $((PIDS + 100))
  bound threads probe hoard-threads $((PIDS + 100))
  bound memory probe hoard-memory $((MEMORY * 2))
  bound '/dev/shm' probe hoard-file $((MEMORY * 2)) /dev/shm
  bound '/tmp' probe hoard-file $((MEMORY * 2)) /tmp
  bound 'processor' probe hoard-time 500 $((CPU + CPU / 2))
  bound 'a huge file' probe hoard-sparse 100000
}

case_42() {
  bound 'descriptors of a process' probe hoard-descriptors 5000
  bound 'descriptors of all' probe hoard-all-descriptors 100 $((MEMORY * 6000))
  bound 'inotify instances' probe hoard-watchers 4000
  bound 'nested epoll' probe hoard-epolls 100
  bound 'message queues' probe hoard-queue
  bound 'locked memory' probe hoard-locked 16
  bound 'pipes' probe hoard-pipes $((MEMORY * 2))
  bound 'shared memory' probe hoard-shared $((MEMORY * 2))
  bound 'memfd' probe hoard-memfd $((MEMORY * 2))
}

case_50() {
  bound 'orphans' orphans
}

# None may be left for long, and process 1 has still to answer.
orphans() {
  probe orphans "$ORPHANS" || return 3
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    set -- /proc/[0-9]*
    [ $# -gt 12 ] || { echo "$ORPHANS were collected"; return 1; }
    /bin/sleep 0.2
  done
}
