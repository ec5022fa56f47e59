# SPDX-License-Identifier: Apache-2.0
# processes.sh - other processes: the first of the jail, those of the host.

case_1() { # VICTIM: process 1 inside, a process of the harness's user outside
  try environment probe open "/proc/$VICTIM/environ"
  try memory probe open "/proc/$VICTIM/mem"
  try maps probe open "/proc/$VICTIM/maps"
  try descriptors probe list "/proc/$VICTIM/fd"
  try 'reading it' probe peek "$VICTIM" "$ADDRESS"
  try attaching probe trace "$VICTIM"
  try 'of the harness' probe open "/proc/$HARNESS/environ"
}

case_2() {
  try root probe open "/proc/$VICTIM/root$SECRET"
  try 'listing root' probe list "/proc/$VICTIM/root"
  try 'folder at hand' probe list "/proc/$VICTIM/cwd"
}

case_5() {
  try 'clone of a user namespace' probe clone 0x10000000
  try 'unshare of a user namespace' probe unshare 0x10000000
  try 'clone3 of a user namespace' probe clone3 0x10000000
  for space in mount=0x20000 cgroup=0x2000000 uts=0x4000000 ipc=0x8000000 pid=0x20000000 net=0x40000000; do
    as_root "clone of a ${space%=*} namespace" probe clone "${space#*=}"
  done
  as_root 'unshare of a mount namespace' probe unshare 0x20000
  as_root 'unshare of a time namespace' probe unshare 0x80
}

case_23() {
  trap '' TERM
  alone EPERM 'killing process 1' probe kill-first
  alone EPERM 'limits of process 1' probe limit-of-first
  try 'signalling the harness' probe signal "$HARNESS" 0
  alone EPERM 'everything at once' kill_everything
}

# The jail must be there afterwards, which the program around us looks at.
kill_everything() {
  { kill -TERM -1; kill -STOP 1; kill -TERM 1; } 2>/dev/null
  [ -e /proc/1/stat ] && echo EPERM && return 1
}

case_24() {
  as_root 'a namespace of our own' probe setns
  as_root 'all of a process' probe setns-process "$VICTIM"
}

case_26() {
  try 'its program' probe open "/proc/$VICTIM/exe"
  alone 'EACCES EPERM ETXTBSY EROFS' 'writing its program' probe write /proc/1/exe x
}

case_28() {
  maybe EPERM 'more descriptors' probe raise-limit 100000
  as_root priority probe priority -20
  as_root 'real time' probe realtime
  as_root 'real-time I/O' probe io-priority
}

case_29() {
  maybe EACCES 'score down' probe write /proc/self/oom_score_adj -900
}

case_31() {
  try 'abstract socket' probe abstract "$ABSTRACT"
  try 'names of sockets' probe mentions /proc/net/unix "$ABSTRACT"
}

case_33() {
  try 'shared memory' probe shared-memory "$SHARED"
  maybe 'ENOENT ENOSYS EACCES' 'message queue' probe queue "$QUEUE"
}

case_49() {
  as_root 'raising the limit' probe core-limit
  alone EPERM 'a core file' probe core-file
  try "the host's program for cores" probe core-program
  maybe EACCES 'what process 1 dumps' probe write "/proc/$VICTIM/coredump_filter" 0xff
}
