# SPDX-License-Identifier: Apache-2.0
# files.sh - files of the host, and what of them shows through.

case_20() { # planted: the probe as root's, mode 4755, put there by the harness
  case $PLANTED in
  user) maybe EPERM 'planted for root' ./planted gained ;;
  root)
    alone EPERM 'planted for root' ./planted gained
    alone EPERM "planted for the jail's own root" ./planted-inside gained
    ;;
  esac
  alone ENOENT 'one on a mount that honours it' honoured
  alone 'EPERM EINVAL' 'becoming root' probe become-root
}

# Mounts without nosuid that have such a program.
honoured() {
  while read -r _ path _ options _; do
    case ,$options, in *,nosuid,*) continue ;; esac
    [ -d "$path" ] && ! probe find-setuid "$path" >/dev/null || return 0
  done </proc/self/mounts
  echo ENOENT
  return 1
}

case_21() {
  as_root "a host's file" unlinked link "$SECRET" "$NEAR_SECRET"
  alone 'EXDEV EPERM EACCES' "the jail's own" unlinked link /usr/bin/env ./link
  alone 'EXDEV EPERM EACCES ENOENT' 'through a descriptor' unlinked link /proc/self/fd/0 ./link
}

unlinked() {
  probe "$@"
  rc=$?
  rm -f "$3"
  return $rc
}

case_22() {
  alone 'EROFS EACCES' /etc/passwd probe write /etc/passwd x
  alone 'EROFS EACCES' /usr/bin/env probe write /usr/bin/env x
  for path in /x /usr/x /usr/local/x /etc/x /dev/x /lib/x /var/x /run/x /sys/x /proc/x /home/x /root/x; do
    alone 'EROFS EACCES ENOENT' "$path" probe create "$path"
  done
}

case_25() { # the harness has a descriptor open that is inherited, and stands elsewhere
  try 'a descriptor or folder' probe leaked "$WORKSPACE"
  alone 'ENOENT EACCES ENOTDIR' 'through 3 to 20' through_descriptors
  alone ENOENT "a root left under ours" probe open "/usr/../..$SECRET"
}

through_descriptors() {
  fd=3
  while [ $fd -le 20 ]; do
    probe open "/proc/self/fd/$fd/../../../../$SECRET" >/dev/null && return 0
    fd=$((fd + 1))
  done
  echo ENOENT
  return 1
}

case_30() {
  alone ENOENT 'paths of the host' probe mentions /proc/self/mountinfo "$HOST_FOLDER"
  try 'kernel command line' probe mentions /proc/cmdline "$HOST_CMDLINE"
  maybe ENOENT 'load average' loaded
  try 'amount of memory' probe mentions /proc/meminfo "$HOST_MEMORY"
  try 'amount of memory by sysinfo' probe sysinfo memory "$HOST_BYTES" 0
  try 'uptime by sysinfo' probe sysinfo uptime "$HOST_UPTIME" 120
  try 'boot time' probe mentions /proc/stat "btime $HOST_BOOTED"
  maybe ENOENT processor probe mentions /proc/cpuinfo "$HOST_PROCESSOR"
  try 'kernel version' probe mentions /proc/version "$HOST_KERNEL"
  try 'host name' probe mentions /proc/sys/kernel/hostname "$HOST_NAME"
  maybe ENOENT 'network interfaces' probe mentions /proc/net/dev eth0: ens enp wlan veth docker0: br-
  maybe ENOENT disks probe mentions /proc/diskstats ' 0 '
  maybe ENOENT modules probe mentions /proc/modules ' 0x'
  maybe ENOENT interrupts probe mentions /proc/interrupts CPU0
  maybe ENOENT 'machine by sysfs' probe list /sys/class
}

loaded() {
  read -r first second third _ </proc/loadavg
  [ "$first $second $third" != '0.00 0.00 0.00' ] || { echo ENOENT; return 1; }
}

case_32() {
  try 'a socket of the harness' probe socket "$SOCKET"
  maybe 'ENOENT EACCES' docker.sock probe socket /var/run/docker.sock
  maybe 'ENOENT EACCES' 'system bus' probe socket /run/dbus/system_bus_socket
  try 'any that can be found' found "$SOCKET"
}

found() {
  if inside; then probe find-sockets /; else probe find-sockets "${1%/*}"; fi
}

case_43() {
  bound /dev/shm probe hoard-names /dev/shm 20000
  bound /tmp probe hoard-names /tmp 270000
}

case_48() {
  alone 'ENOENT EACCES' 'a folder that is gone' gone
  alone 'ENOENT EACCES' 'a folder that the harness moved out' moved
}

gone() {
  mkdir gone && cd gone && rmdir ../gone && "$OLDPWD"/probe open "../../../../..$SECRET"
}

# The harness moves it beside the workspace when it sees the mark.
moved() {
  mkdir -p moving/a && cd moving/a && : >../../ready || return 3
  waits=0
  while [ -e ../../ready ] && [ $waits -lt 500 ]; do
    waits=$((waits + 1))
    /bin/sleep 0.01
  done
  [ $waits -lt 500 ] || return 3
  for up in ../.. ../../.. ../../../.. ../../../../../..; do
    "$WORKSPACE/probe" open "$up/beside/secret" >/dev/null && return 0
    "$WORKSPACE/probe" open "$up$SECRET" >/dev/null && return 0
  done
  echo ENOENT
  return 1
}
