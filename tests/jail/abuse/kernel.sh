# SPDX-License-Identifier: Apache-2.0
# kernel.sh - what a command may ask the kernel for.

case_3() {
  for place in . /tmp /dev/shm; do
    as_root "block device in $place" made node "$place/device-$$"
    as_root "character device in $place" made node "$place/device-$$" char
  done
}

made() {
  probe "$@"
  rc=$?
  rm -f "$2"
  return $rc
}

case_4() {
  as_root 'mount of a tmpfs' probe mount-type tmpfs /mnt
  as_root 'mount of proc' probe mount-type proc /mnt
  as_root bind probe bind / /mnt
  as_root remount probe remount /mnt
  as_root 'fsopen to move_mount' probe new-mount /mnt
  as_root open_tree probe open-tree /
  as_root mount_setattr probe mount-setattr /mnt
  as_root chroot probe chroot /tmp
  as_root umount probe unmount /mnt
}

case_6() {
  maybe EPERM keyctl probe syscall 250 0 -3 1
  maybe EPERM add_key probe add-key
  alone EPERM request_key probe syscall 249 page page page 0
}

case_7() {
  maybe EPERM io_uring_setup probe io-uring
}

case_8() {
  as_root bpf probe bpf
  maybe EPERM perf_event_open probe perf
  as_root open_by_handle_at probe handle /
  alone EPERM name_to_handle_at probe syscall 303 -100 page page page 0
}

case_9() {
  maybe EPERM userfaultfd probe syscall 323 1
}

case_10() {
  maybe EPERM x32 probe foreign x32
  maybe EPERM i386 probe foreign i386
}

case_11() {
  maybe EPERM TIOCSTI probe terminal 0x5412
  maybe EPERM 'TIOCSTI with high bits' probe terminal 0x100005412
  maybe EPERM 'TIOCSTI with a sign' probe terminal 0xffffffff00005412
  maybe EPERM TIOCLINUX probe terminal 0x541c
  maybe EPERM 'TIOCLINUX with high bits' probe terminal 0x10000541c
  maybe EPERM 'a line discipline' probe line-discipline 3
}

case_12() {
  maybe EAFNOSUPPORT vsock probe family 40 1 0
  as_root packet probe family 17 3 0
  maybe EAFNOSUPPORT alg probe family 38 5 0
  alone EAFNOSUPPORT 'vsock with high bits' probe syscall 41 0x100000028 1 0
  alone EAFNOSUPPORT 'a pair of vsock' probe syscall 53 40 1 0 page
  try 'any other family' probe families
  try 'any netlink but routes' probe netlinks
  maybe EPROTONOSUPPORT sctp probe family 2 1 132
  maybe EPROTONOSUPPORT 'multipath TCP' probe family 2 1 262
}

case_13() {
  as_root 'raw ICMP' probe family 2 3 1
  as_root 'raw ICMPv6' probe family 10 3 58
}

case_16() {
  for path in kernel/core_pattern kernel/modprobe kernel/hotplug fs/binfmt_misc/register vm/overcommit_memory \
    net/ipv4/ip_forward kernel/hostname; do
    alone 'EACCES EROFS ENOENT EPERM' "$path" probe write "/proc/sys/$path" '|/x'
  done
}

case_17() {
  alone 'EACCES EROFS ENOENT' sysrq-trigger probe write /proc/sysrq-trigger b
}

case_18() {
  as_root symbols probe symbols
  as_root kmsg probe open /proc/kmsg
  as_root 'the log' probe syscall 103 10 0 0
  for path in /proc/kcore /proc/kpageflags /dev/kmsg /dev/mem /dev/port /sys/kernel /sys/class /proc/vmallocinfo \
    /proc/timer_list /proc/sched_debug /proc/keys; do
    [ "$ROOT" = yes ] && [ "$WHERE" = outside ] && [ ! -e "$path" ] && continue
    maybe 'EACCES ENOENT EPERM' "$path" seen "$path"
  done
}

# There and not empty.
seen() {
  if [ -d "$1" ]; then probe list "$1"; else probe mentions "$1" ''; fi
}

case_19() {
  maybe EPERM 'mount of version 1' probe mount-type cgroup /mnt memory
  maybe EPERM 'mount of version 2' probe mount-type cgroup2 /mnt
  maybe ENOENT 'the host tree' probe list /sys/fs/cgroup
}

case_27() {
  alone EPERM settimeofday probe settime
  alone EPERM clock_settime probe syscall 227 0 page
  alone EPERM adjtimex probe syscall 159 page
  as_root sethostname probe syscall 170 page 1
  as_root setdomainname probe syscall 171 page 1
}
