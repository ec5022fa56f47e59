/* SPDX-License-Identifier: Apache-2.0
 *
 * test_jail.c - what only the jail promises: denials, limits, identity, root
 * file systems, and what happens when parts of it are killed.  What every
 * back-end promises is in tests/port. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>

#include <spawn.h>

#include "identity.h"
#include "sandbox/jail.h"
#include "sandbox/jail_limits.h"

static int probe_fd = -1;

struct cell {
  csn_sandbox *sb;
  char folder[64];
  int fd;
  csn_err err;
  csn_buf out;
};

static void
cell_folder(struct cell *c)
{
  *c = (struct cell){.fd = -1, .out = CSN_BUF(1 << 20)};
  snprintf(c->folder, sizeof c->folder, "/tmp/caisson-jail-XXXXXX");
  assert_non_null(mkdtemp(c->folder));
  c->fd = open(c->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  place_probe(probe_fd, c->fd);
}

static void
cell_open(struct cell *c, csn_sandbox_spec spec)
{
  cell_folder(c);
  spec.workspace_fd = c->fd;
  spec.lock_fd = -1;
  spec.backend = "jail";
  int rc = csn_sandbox_open(&c->sb, NULL, &spec, &c->err);
  if (rc == CSN_E_UNSUPPORTED && !machine_has_namespaces())
    SKIP("%.190s", c->err.msg);
  OK(rc, &c->err);
}

static void
cell_close(struct cell *c)
{
  csn_sandbox_close(c->sb);
  csn_sandbox_spec spec = {.backend = "local", .workspace_fd = -1, .lock_fd = -1};
  const char *argv[] = {"rm", "-rf", c->folder, NULL};
  csn_exit end;
  OK(csn_sandbox_open(&c->sb, NULL, &spec, &c->err), &c->err);
  OK(csn_sandbox_exec(c->sb, NULL, &(csn_exec){.argv = argv, .claim_fd = -1}, &c->out, NULL, &end,
                      &c->err),
     &c->err);
  csn_sandbox_close(c->sb);
  csn_buf_fini(&c->out);
  close(c->fd);
}

static csn_exit
run(struct cell *c, const char *const *argv)
{
  csn_exit end = {-1, -1};
  csn_buf_clear(&c->out);
  OK(csn_sandbox_exec(c->sb, NULL, &(csn_exec){.argv = argv, .claim_fd = -1}, &c->out, NULL, &end,
                      &c->err),
     &c->err);
  return end;
}

static csn_exit
sh(struct cell *c, const char *script)
{
  return run(c, (const char *[]){"sh", "-c", script, NULL});
}

static void
prints(struct cell *c, const char *script, const char *want)
{
  sh(c, script);
  if (!csn_str_eq(csn_buf_str(&c->out), csn_cstr(want)))
    fail_msg("%s printed '%s', expected '%s'", script, c->out.p ? c->out.p : "", want);
}

/* ---- denials ---- */

/* A probe, and the errnos that prove a refusal.  Others would say that the
 * probe was wrong. */
static const struct denial {
  const char *args[6];
  int errnos[3];
} denials[] = {
    {{"mount"}, {EPERM}},
    {{"node", "block"}, {EPERM, EACCES}},
    {{"write", "/etc/passwd", "x"}, {EROFS, EACCES}},
    {{"create", "/x"}, {EROFS, EACCES}},
    {{"create", "/usr/x"}, {EROFS, EACCES}},
    {{"create", "/usr/local/x"}, {EROFS, EACCES}},
    {{"create", "/dev/x"}, {EROFS, EACCES}},
    {{"write", "/proc/sys/kernel/core_pattern", "|/x"}, {EACCES, EROFS}},
    {{"write", "/proc/sys/kernel/modprobe", "/x"}, {EACCES, EROFS, ENOENT}},
    {{"write", "/proc/sysrq-trigger", "b"}, {EACCES, EROFS, ENOENT}},
    {{"write", "/proc/self/oom_score_adj", "-1000"}, {EACCES}},
    {{"write", "/proc/sys/net/ipv4/ip_forward", "1"}, {EACCES, EROFS}},
    {{"link", "/usr/bin/env", "env"}, {EXDEV, EACCES, EPERM}},
    {{"open", "/proc/1/environ"}, {EACCES}},
    {{"open", "/proc/1/mem"}, {EACCES}},
    {{"open", "/proc/1/exe"}, {EACCES}},
    {{"open", "/proc/1/root/etc/passwd"}, {EACCES}},
    {{"open", "/proc/1/fd/3"}, {EACCES}},
    {{"open", "/proc/kmsg"}, {EPERM, EACCES}},
    {{"trace", "1"}, {EPERM}},
    {{"kill-first"}, {EPERM}},
    {{"limit-of-first"}, {EPERM}},
    {{"clone", "0x10000000"}, {EPERM}},
    {{"clone", "0x00020000"}, {EPERM}},
    {{"clone", "0x40000000"}, {EPERM}},
    {{"clone3", "0"}, {ENOSYS}},
    {{"setns"}, {EPERM}},
    {{"terminal", "0x5412"}, {EPERM}},
    {{"terminal", "0x100005412"}, {EPERM}},
    {{"terminal", "0x541c"}, {EPERM}},
    {{"family", "40", "1", "0"}, {EAFNOSUPPORT}},  /* VSOCK: the host of a microVM */
    {{"family", "17", "3", "0"}, {EAFNOSUPPORT}},  /* PACKET */
    {{"family", "38", "5", "0"}, {EAFNOSUPPORT}},  /* ALG */
    {{"family", "16", "3", "15"}, {EAFNOSUPPORT}}, /* NETLINK, events of the kernel */
    {{"family", "2", "3", "1"}, {EPERM, EACCES}},  /* raw ICMP */
    {{"tcp", "169.254.169.254", "80"}, {ENETUNREACH}},
    {{"tcp", "8.8.8.8", "53"}, {ENETUNREACH}},
    {{"raise-limit", "100000"}, {EPERM}},
    {{"priority", "-20"}, {EACCES, EPERM}},
    {{"realtime"}, {EPERM}},
    {{"settime"}, {EPERM}},
    {{"become-root"}, {EPERM, EINVAL}},
};

/* System calls by number with arguments that would be taken outside. */
static const struct {
  long number;
  const char *args[4];
  int error;
} calls[] = {
    {SYS_keyctl, {"0", "-3", "1"}, EPERM},
    {SYS_add_key, {"page", "page", "page", "1"}, EPERM},
    {SYS_request_key, {"page", "page", "page", "0"}, EPERM},
    {SYS_bpf, {"0", "page", "72"}, EPERM},
    {SYS_perf_event_open, {"page", "0", "-1", "-1"}, EPERM},
    {SYS_open_by_handle_at, {"-100", "page", "0"}, EPERM},
    {SYS_name_to_handle_at, {"-100", "page", "page", "page"}, EPERM},
    {SYS_userfaultfd, {"0"}, EPERM},
    {425, {"8", "page"}, EPERM},    /* io_uring_setup */
    {426, {"0", "1", "0"}, EPERM},  /* io_uring_enter */
    {428, {"-100", "page"}, EPERM}, /* open_tree */
    {429, {"-100", "page"}, EPERM}, /* move_mount */
    {430, {"page", "0"}, EPERM},    /* fsopen */
    {432, {"0", "0", "0"}, EPERM},  /* fsmount */
    {442, {"-100", "page"}, EPERM}, /* mount_setattr */
    {438, {"0", "0", "0"}, EPERM},  /* pidfd_getfd */
    {447, {"0"}, ENOSYS},           /* memfd_secret */
    {9999, {"0"}, ENOSYS},
    {SYS_unshare, {"0x10000000"}, EPERM},
    {SYS_pivot_root, {"page", "page"}, EPERM},
    {SYS_chroot, {"page"}, EPERM},
    {SYS_umount2, {"page", "2"}, EPERM},
    {SYS_init_module, {"page", "0", "page"}, EPERM},
    {SYS_finit_module, {"0", "page", "0"}, EPERM},
    {SYS_kexec_load, {"0", "0", "page"}, EPERM},
    {SYS_reboot, {"0", "0", "0"}, EPERM},
    {SYS_swapon, {"page", "0"}, EPERM},
    {SYS_syslog, {"3", "page", "10"}, EPERM},
    {SYS_sethostname, {"page", "1"}, EPERM},
    {SYS_acct, {"0"}, EPERM},
    {SYS_quotactl, {"0", "0", "0"}, EPERM},
    {SYS_socket, {"0x100000028", "1", "0"}, EAFNOSUPPORT},
    {SYS_socketpair, {"17", "3", "0", "page"}, EAFNOSUPPORT},
};

static void
denied(struct cell *c, const char *const *argv, const int *errnos, size_t n)
{
  csn_exit end = run(c, argv);
  int64_t got = 0;
  bool told = csn_str_int(csn_str_trim(csn_buf_str(&c->out)), &got);
  for (size_t i = 0; i < n && told && end.code == 1; i++)
    if (errnos[i] && errnos[i] == got)
      return;
  fail_msg("%s %s: code %d signal %d errno %d", argv[1], argv[2] ? argv[2] : "", end.code,
           end.signal, (int)got);
}

TEST(what_a_command_may_not_do_is_refused)
{
  struct cell c;
  cell_open(&c, (csn_sandbox_spec){0});
  for (size_t i = 0; i < CSN_COUNT(denials); i++) {
    const char *argv[8] = {"./probe"};
    memcpy(argv + 1, denials[i].args, sizeof denials[i].args);
    denied(&c, argv, denials[i].errnos, CSN_COUNT(denials[i].errnos));
  }
  for (size_t i = 0; i < CSN_COUNT(calls); i++) {
    char number[24];
    snprintf(number, sizeof number, "%ld", calls[i].number);
    const char *argv[8] = {"./probe", "syscall", number};
    memcpy(argv + 3, calls[i].args, sizeof calls[i].args);
    denied(&c, argv, &calls[i].error, 1);
  }
  cell_close(&c);
}

TEST(a_foreign_system_call_table_kills)
{
  struct cell c;
  cell_open(&c, (csn_sandbox_spec){0});
  csn_sandbox *outside;
  csn_sandbox_spec spec = {.backend = "local", .workspace_fd = c.fd, .lock_fd = -1};
  OK(csn_sandbox_open(&outside, NULL, &spec, &c.err), &c.err);
  int tried = 0;
  for (int i = 0; i < 2; i++) {
    const char *argv[] = {"./probe", "foreign", i ? "x32" : "i386", NULL};
    csn_sandbox *inside = c.sb;
    c.sb = outside;
    bool works = run(&c, argv).code == 0;
    c.sb = inside;
    if (!works)
      continue; /* this kernel has no such table, so there is nothing to refuse */
    denied(&c, argv, (int[]){EPERM}, 1);
    tried++;
  }
  csn_sandbox_close(outside);
  cell_close(&c);
  if (!tried)
    SKIP("this kernel has neither the i386 nor the x32 table");
}

TEST(commands_have_no_capability_and_cannot_gain_any)
{
  struct cell c;
  cell_open(&c, (csn_sandbox_spec){0});
  prints(&c, "grep -c -E '^Cap...:\t0000000000000000$' /proc/self/status", "5\n");
  prints(&c, "grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status", "NoNewPrivs:\t1\nSeccomp:\t2\n");
  if (csn_jail_user(c.sb) >= 0) { /* a program of the jail's user 0 with the setuid bit */
    assert_int_equal(sh(&c, "cp /usr/bin/id planted").code, 0);
    assert_int_equal(fchownat(c.fd, "planted", (uid_t)csn_jail_user(c.sb) - 1000, 0, 0), 0);
    assert_int_equal(fchmodat(c.fd, "planted", 04755, 0), 0);
    prints(&c, "./planted -u", "1000\n");
  }
  cell_close(&c);
}

/* ---- identity and files ---- */

TEST(commands_are_user_1000_and_own_the_workspace)
{
  struct cell c;
  struct stat st;
  cell_open(&c, (csn_sandbox_spec){0});
  prints(&c, "id -u; id -un; id -g; hostname; cd; pwd; pwd -P >/tmp/x && cat /tmp/x",
         "1000\nuser\n1000\ncaisson\n/home/user\n/home/user\n");
  prints(&c, "echo made >inside; stat -c %U inside .", "user\nuser\n");
  assert_int_equal(fstatat(c.fd, "inside", &st, 0), 0);
  assert_int_equal(st.st_uid, c.sb->uid >= 0 ? (uid_t)c.sb->uid : geteuid());
  int fd = openat(c.fd, "outside", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  assert_true(fd >= 0);
  if (c.sb->uid >= 0)
    assert_int_equal(fchown(fd, (uid_t)c.sb->uid, (gid_t)c.sb->gid), 0);
  close(fd);
  prints(&c, "echo more >>outside && cat outside", "more\n");
  prints(&c, "echo to >/dev/stdout; echo err >/dev/stderr", "to\nerr\n");
  cell_close(&c);
}

/* A folder of root may be anybody's to pass through. */
TEST(no_command_makes_a_file_that_runs_as_its_owner)
{
  struct cell c;
  struct stat st;
  cell_open(&c, (csn_sandbox_spec){0});
  sh(&c, "cp probe own; chmod 4755 own; chmod 2755 own; chmod u+s own; chmod g+s own; "
         "install -m 4755 probe other; mkdir -m 2755 folder; umask 0; cp probe third");
  static const char *const names[] = {"own", "other", "folder", "third"};
  for (size_t i = 0; i < CSN_COUNT(names); i++)
    if (fstatat(c.fd, names[i], &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_mode & 06000)
      fail_msg("%s has mode %o", names[i], st.st_mode);
  prints(&c, "chmod 755 own && echo fine; chmod 4755 own 2>/dev/null || echo no", "fine\nno\n");
  cell_close(&c);
}

TEST(what_commands_make_belongs_to_the_owner_of_the_folder)
{
  struct cell c;
  struct stat st;
  const uid_t uid = geteuid() ? geteuid() : 12345;
  cell_folder(&c);
  assert_int_equal(fchown(c.fd, uid, getegid()), 0);
  csn_sandbox_spec spec = {.workspace_fd = c.fd, .lock_fd = -1};
  int rc = csn_sandbox_open(&c.sb, NULL, &spec, &c.err);
  if (rc == CSN_E_UNSUPPORTED && !machine_has_namespaces())
    SKIP("%.190s", c.err.msg);
  OK(rc, &c.err);
  assert_int_equal(c.sb->uid, geteuid() ? -1 : 12345);
  prints(&c, "echo made >inside; mkdir d; ln -s x l; stat -c %U inside d l .",
         "user\nuser\nuser\nuser\n");
  static const char *const names[] = {"inside", "d", "l", "."};
  for (size_t i = 0; i < CSN_COUNT(names); i++) {
    assert_int_equal(fstatat(c.fd, names[i], &st, AT_SYMLINK_NOFOLLOW), 0);
    assert_int_equal(st.st_uid, uid);
    assert_int_equal(st.st_gid, getegid());
  }
  cell_close(&c);
}

TEST(a_folder_whose_owner_cannot_be_mapped_is_given_away)
{
  if (geteuid() != 0)
    SKIP("an ordinary user needs no mapping");
  fflush(stdout);
  pid_t pid = fork(); /* into mounts of its own, with a file system that has no such mounts */
  if (pid == 0) {
    struct cell c;
    struct stat st;
    cell_folder(&c);
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("none", c.folder, "ramfs", 0, "mode=755") < 0)
      _exit(77);
    close(c.fd);
    c.fd = open(c.folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    csn_sandbox_spec spec = {.workspace_fd = c.fd, .lock_fd = -1};
    for (int i = 0; i < 2; i++) { /* again: it stays the same user's */
      OK(csn_sandbox_open(&c.sb, NULL, &spec, &c.err), &c.err);
      if (c.sb->uid != 1000001000 || csn_jail_user(c.sb) != 1000001000)
        _exit(1);
      prints(&c, "echo made >>inside; stat -c %U inside .", "user\nuser\n");
      csn_sandbox_close(c.sb);
    }
    _exit(fstatat(c.fd, "inside", &st, 0) < 0 || st.st_uid != 1000001000 || st.st_size != 10);
  }
  int status = -1;
  waitpid(pid, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
    SKIP("cannot mount a ramfs");
  assert_int_equal(status, 0);
}

TEST(a_jails_user_ids_are_no_other_jails)
{
  struct cell a, b;
  cell_open(&a, (csn_sandbox_spec){0});
  cell_open(&b, (csn_sandbox_spec){0});
  if (csn_jail_user(a.sb) >= 0)
    assert_int_not_equal(csn_jail_user(a.sb), csn_jail_user(b.sb));
  else
    assert_int_equal(csn_jail_user(b.sb), -1);
  cell_close(&b);
  cell_close(&a);
}

TEST(the_host_is_not_told)
{
  struct cell c;
  cell_open(&c, (csn_sandbox_spec){0});
  prints(&c,
         "cat /proc/cmdline /proc/kallsyms /proc/modules /proc/interrupts /proc/keys 2>/dev/null",
         "caisson\n");
  prints(&c, "cat /proc/self/mountinfo /proc/self/mounts /proc/1/mountinfo | wc -l", "0\n");
  prints(&c, "uniq -c /proc/stat | grep -c 'cpu.* [1-9]'; wc -c </proc/vmstat", "0\n0\n");
  prints(&c,
         "ls -A /sys /run /root /usr/local /var/tmp /home/user /tmp | grep -v '^/' | tr -d '\\n'",
         "");
  prints(&c, "ls -d /proc/[0-9]* | wc -l >n; test $(cat n) -lt 8 && echo few", "few\n");
  prints(&c, "env | cut -d= -f1 | sort | tr '\\n' ' '", "HOME LANG LOGNAME PATH PWD USER ");
  cell_close(&c);
}

TEST(the_workspace_may_be_anywhere_but_in_the_jails_own_folders)
{
  static const char *const good[] = {"/data/projects/one", "/home/user/work/one", "/tmp/work"};
  for (size_t i = 0; i < CSN_COUNT(good); i++) {
    struct cell c;
    char want[80];
    snprintf(want, sizeof want, "%s\nprobe\n", good[i]);
    cell_open(&c, (csn_sandbox_spec){.root = good[i]});
    prints(&c, "pwd; ls", want);
    cell_close(&c);
  }
  static const char *const bad[] = {"/",     "/usr/x", "/etc",   "/proc", "/a/../usr",
                                    "/a//b", "/a/",    "/a/./b", "/.."};
  for (size_t i = 0; i < CSN_COUNT(bad); i++) {
    csn_sandbox *sb;
    csn_err err;
    csn_sandbox_spec spec = {.root = bad[i], .workspace_fd = -1, .lock_fd = -1};
    if (csn_sandbox_open(&sb, NULL, &spec, &err) != CSN_E_INVALID)
      fail_msg("root %s was taken", bad[i]);
  }
}

TEST(a_folder_can_be_the_root_file_system)
{
  struct cell c;
  char rootfs[] = "/tmp/caisson-rootfs-XXXXXX";
  assert_non_null(mkdtemp(rootfs));
  assert_int_equal(chmod(rootfs, 0755), 0);
  csn_auto(csn_closep) int fd = open(rootfs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  assert_int_equal(mkdirat(fd, "programs", 0755), 0);
  csn_auto(csn_closep) int bin = openat(fd, "programs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  place_probe(probe_fd, bin);
  assert_int_equal(symlinkat("programs", fd, "bin"), 0);
  cell_open(&c, (csn_sandbox_spec){.rootfs = rootfs});
  assert_int_equal(run(&c, (const char *[]){"/bin/probe", "open", "/programs", NULL}).code, 0);
  assert_int_equal(run(&c, (const char *[]){"probe", "create", "/tmp/x", NULL}).code, 0);
  assert_int_equal(run(&c, (const char *[]){"probe", "create", "y", NULL}).code, 0);
  denied(&c, (const char *[]){"/bin/probe", "create", "/programs/x", NULL}, (int[]){EROFS, EACCES},
         2);
  denied(&c, (const char *[]){"/bin/probe", "open", "/usr/bin", NULL}, (int[]){ENOENT}, 1);
  cell_close(&c);
  unlinkat(bin, "probe", 0);
  unlinkat(fd, "programs", AT_REMOVEDIR);
  unlinkat(fd, "bin", 0);
  rmdir(rootfs);
}

TEST(a_temporary_workspace_needs_no_folder)
{
  struct cell c = {.out = CSN_BUF(1000)};
  csn_sandbox_spec spec = {.workspace_fd = -1, .lock_fd = -1};
  int rc = csn_sandbox_open(&c.sb, NULL, &spec, &c.err);
  if (rc == CSN_E_UNSUPPORTED && !machine_has_namespaces())
    SKIP("%.190s", c.err.msg);
  OK(rc, &c.err);
  prints(&c, "pwd; echo x >file && cat file", "/workspace\nx\n");
  csn_sandbox_close(c.sb);
  csn_buf_fini(&c.out);
}

TEST(two_jails_do_not_see_each_other)
{
  struct cell a, b;
  cell_open(&a, (csn_sandbox_spec){0});
  cell_open(&b, (csn_sandbox_spec){0});
  sh(&a, "echo secret >/tmp/of-a; echo secret >/dev/shm/of-a; (sleep 98765 &)");
  prints(&b, "ls /tmp /dev/shm | grep of-a; cat /proc/[0-9]*/cmdline | grep -c 'sleep.9876[5]'",
         "0\n");
  prints(&a, "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 'sleep.9876[5]'", "1\n");
  csn_sandbox_close(a.sb);
  prints(&b, "echo still here", "still here\n");
  cell_close(&b);
  a.sb = NULL;
  cell_close(&a);
}

/* ---- limits ---- */

TEST(a_fork_bomb_is_bounded_and_ends_with_the_jail)
{
  struct cell c;
  cell_open(&c, (csn_sandbox_spec){0});
  csn_scope sc;
  csn_scope_init(&sc, NULL, 1500);
  csn_exit end;
  const char *argv[] = {"sh", "-c", "bomb() { bomb | bomb & }; bomb; sleep 60", NULL};
  (void)!csn_sandbox_exec(c.sb, &sc, &(csn_exec){.argv = argv, .claim_fd = -1}, &c.out, NULL, &end,
                          &c.err);
  csn_scope_fini(&sc);
  int64_t began = csn_now_ns();
  csn_sandbox_close(c.sb);
  assert_true(csn_now_ns() - began < 5000000000);
  c.sb = NULL;
  cell_close(&c);
}

TEST(files_and_descriptors_are_limited)
{
  struct cell c;
  cell_open(&c, (csn_sandbox_spec){0});
  prints(&c, "ulimit -n; ulimit -c; umask", "1024\n0\n0022\n");
  sh(&c, "head -c 2000000000 /dev/zero >/tmp/big; stat -c %s /tmp/big; rm /tmp/big");
  assert_non_null(strstr(c.out.p, "No space left"));
  assert_non_null(strstr(c.out.p, "1073741824"));
  cell_close(&c);
}

TEST(many_orphans_are_collected)
{
  struct cell c;
  cell_open(&c, (csn_sandbox_spec){0});
  const char *count = getenv("CSN_ORPHANS") ? getenv("CSN_ORPHANS") : "5000";
  const char *argv[] = {"./probe", "orphans", count, NULL};
  assert_int_equal(run(&c, argv).code, 0);
  /* Those that were just left behind may still be on their way out. */
  for (int i = 0; i < 100; i++) {
    sh(&c, "ls -d /proc/[0-9]* | wc -l");
    if (csn_str_trim(csn_buf_str(&c.out)).n == 1)
      break;
  }
  assert_int_equal(csn_str_trim(csn_buf_str(&c.out)).n, 1);
  cell_close(&c);
}

TEST(a_long_command_fits_and_one_too_long_is_an_error)
{
  struct cell c;
  cell_open(&c, (csn_sandbox_spec){0});
  csn_auto(csn_buf_finip) csn_buf script = CSN_BUF(4 << 20);
  csn_buf_addz(&script, "echo $(wc -c <<'X'\n");
  while (script.n < 120000)
    csn_buf_addz(&script, "0123456789abcdef 0123456789abcdef 0123456789abcdef\n");
  csn_buf_addz(&script, "X\n)");
  sh(&c, script.p);
  assert_true(csn_str_starts(csn_buf_str(&c.out), CSN_STR("120")));
  while (script.n < 2 << 20)
    csn_buf_addz(&script, "0123456789abcdef 0123456789abcdef 0123456789abcdef\n");
  const char *argv[] = {"echo", script.p, NULL};
  csn_proc *p;
  assert_int_equal(
      csn_sandbox_spawn(c.sb, NULL, &(csn_exec){.argv = argv, .claim_fd = -1}, &p, &c.err),
      CSN_E_LIMIT);
  prints(&c, "echo fine", "fine\n");
  cell_close(&c);
}

/* ---- when parts die ---- */

/* The spawner of this process: its one child of that name. */
static pid_t
find_spawner(void)
{
  DIR *proc = opendir("/proc");
  pid_t found = 0;
  for (struct dirent *d; (d = readdir(proc));) {
    char path[300], line[512];
    snprintf(path, sizeof path, "/proc/%s/stat", d->d_name);
    int fd = d->d_name[0] >= '1' && d->d_name[0] <= '9' ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof line - 1);
    if (fd >= 0)
      close(fd);
    if (n <= 0)
      continue;
    line[n] = '\0';
    int pid, parent;
    char state;
    const char *after = strrchr(line, ')');
    if (after && strstr(line, "(caisson-spawner") && sscanf(line, "%d", &pid) == 1 &&
        sscanf(after + 1, " %c %d", &state, &parent) == 2 && parent == getpid() && state != 'Z')
      found = pid;
  }
  closedir(proc);
  return found;
}

/* Fills the pool of the kind of jail that cell_open() asks for. */
static void
fill_pool(struct cell *c, uint32_t n)
{
  csn_jail_ask ask;
  csn_jail_got got;
  csn_jail_ask_init(&ask);
  memcpy(ask.open.root, "/workspace", sizeof "/workspace");
  ask.open.pool = n;
  ask.fds[CSN_JAIL_WORKSPACE] = c->fd;
  csn_jail_limits_ask(NULL, &ask.open.limits);
  OK(csn_jail_request(&ask, &got, &c->err), &c->err);
}

/* Jails, warm jails, for a moment helpers; -1 where the kernel does not tell. */
static int
count_children(void)
{
  int n = -1;
  pid_t spawner = find_spawner();
  char path[64], text[16384];
  snprintf(path, sizeof path, "/proc/%d/task/%d/children", spawner, spawner);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  if (fd >= 0)
    close(fd);
  if (got < 0)
    return n;
  text[got] = '\0';
  n = 0;
  for (char *at = text; (at = strchr(at, ' ')); at++)
    n++;
  return n;
}

static void
await_children(int n)
{
  int have = 0;
  for (int i = 0; i < 500; i++) {
    if ((have = count_children()) < 0 || have == n)
      return;
    nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
  }
  char line[200];
  snprintf(line, sizeof line, "ps -o pid,stat,wchan,etime,comm --ppid %d >&2", find_spawner());
  const char *argv[] = {"sh", "-c", line, NULL};
  pid_t pid;
  if (posix_spawnp(&pid, "sh", NULL, NULL, (char **)(uintptr_t)argv, environ) == 0)
    waitpid(pid, NULL, 0);
  fail_msg("the spawner has %d children, expected %d", have, n);
}

TEST(a_warm_jail_is_used_once_and_is_like_any_other)
{
  struct cell a, b, c;
  cell_open(&a, (csn_sandbox_spec){0});
  fill_pool(&a, 2);
  await_children(3);
  cell_open(&b, (csn_sandbox_spec){.pool = 2});
  cell_open(&c, (csn_sandbox_spec){.pool = 2});
  prints(&b, "id -u; pwd; ls; echo x >f; stat -c %U f; cat f; ls -A /tmp",
         "1000\n/workspace\nprobe\nuser\nx\n");
  prints(&c, "ls; ls -A /tmp; hostname", "probe\ncaisson\n");
  prints(&b, "grep -c -E '^Cap...:\t0000000000000000$' /proc/self/status", "5\n");
  prints(&b, "grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status", "NoNewPrivs:\t1\nSeccomp:\t2\n");
  prints(&b, "ls /proc/self/fd | wc -l; wc -l </proc/1/mountinfo", "4\n0\n");
  for (size_t i = 0; i < CSN_COUNT(denials); i++) {
    const char *argv[8] = {"./probe"};
    memcpy(argv + 1, denials[i].args, sizeof denials[i].args);
    denied(&b, argv, denials[i].errnos, CSN_COUNT(denials[i].errnos));
  }
  csn_sandbox_close(b.sb);
  csn_sandbox_close(c.sb);
  /* Made again while nobody asks: as many as before. */
  await_children(3);
  fill_pool(&a, 0);
  await_children(1);
  b.sb = c.sb = NULL;
  cell_close(&b);
  cell_close(&c);
  cell_close(&a);
}

TEST(a_jail_with_accounts_of_its_own_is_never_a_warm_one)
{
  struct cell a, b, c;
  cell_open(&a, (csn_sandbox_spec){0});
  cell_open(&b, (csn_sandbox_spec){.user = "dev", .pool = 2});
  prints(&b, "id -un", "dev\n");
  cell_open(&c, (csn_sandbox_spec){.user = "ops", .pool = 2});
  prints(&c, "id -un", "ops\n");
  await_children(3);
  cell_close(&c);
  cell_close(&b);
  cell_close(&a);
}

TEST(a_warm_jail_that_dies_is_not_handed_out)
{
  struct cell a, b;
  cell_open(&a, (csn_sandbox_spec){0});
  fill_pool(&a, 3);
  await_children(4);
  pid_t spawner = find_spawner();
  char path[64], text[4096];
  snprintf(path, sizeof path, "/proc/%d/task/%d/children", spawner, spawner);
  csn_auto(csn_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
  if (n <= 0)
    SKIP("this kernel does not list children");
  text[n] = '\0';
  bool first = true; /* that is a's */
  for (char *at = text, *end; *at; at = end) {
    long pid = strtol(at, &end, 10);
    if (end == at)
      break;
    if (!first)
      kill((pid_t)pid, SIGKILL);
    first = false;
  }
  await_children(1);
  cell_open(&b, (csn_sandbox_spec){.pool = 3});
  prints(&b, "echo alive", "alive\n");
  prints(&a, "echo alive", "alive\n");
  fill_pool(&a, 0);
  cell_close(&b);
  cell_close(&a);
}

TEST(when_the_spawner_is_killed_its_jails_end_and_the_next_one_works)
{
  struct cell c, d;
  cell_open(&c, (csn_sandbox_spec){0});
  const char *argv[] = {"sleep", "54321", NULL};
  csn_proc *p;
  csn_exit end;
  OK(csn_sandbox_spawn(c.sb, NULL, &(csn_exec){.argv = argv, .claim_fd = -1}, &p, &c.err), &c.err);
  pid_t spawner = find_spawner();
  assert_true(spawner > 0);
  assert_int_equal(kill(spawner, SIGKILL), 0);
  assert_int_equal(csn_proc_wait(p, NULL, &end, &c.err), CSN_E_SANDBOX);
  csn_proc_close(p);
  assert_int_equal(
      csn_sandbox_spawn(c.sb, NULL, &(csn_exec){.argv = argv, .claim_fd = -1}, &p, &c.err),
      CSN_E_SANDBOX);
  cell_open(&d, (csn_sandbox_spec){0});
  prints(&d, "echo again", "again\n");
  cell_close(&d);
  cell_close(&c);
}

TEST(without_user_namespaces_it_says_what_to_do_and_does_not_fall_back)
{
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    csn_sandbox *sb;
    csn_err err = {0};
    csn_sandbox_spec spec = {.workspace_fd = -1, .lock_fd = -1};
    uid_t uid = geteuid();
    gid_t gid = getegid();
    char map[64];
    if (unshare(CLONE_NEWUSER) < 0)
      _exit(77);
    static const char *const files[] = {"/proc/self/setgroups", "/proc/self/uid_map",
                                        "/proc/self/gid_map", "/proc/sys/user/max_user_namespaces"};
    for (size_t i = 0; i < CSN_COUNT(files); i++) {
      int fd = open(files[i], O_WRONLY | O_CLOEXEC);
      snprintf(map, sizeof map, "0 %u 1", i == 1 ? uid : gid);
      const char *text = i == 0 ? "deny" : i == 3 ? "0" : map;
      if (fd < 0 || write(fd, text, strlen(text)) < 0)
        _exit(78);
      close(fd);
    }
    int rc = csn_sandbox_open(&sb, NULL, &spec, &err);
    if (rc != CSN_E_UNSUPPORTED || !strstr(err.msg, "sysctl -w user.max_user_namespaces"))
      fprintf(stderr, "got %d: %s\n", rc, err.msg);
    _exit(rc == CSN_E_UNSUPPORTED && strstr(err.msg, "sysctl -w user.max_user_namespaces") ? 0 : 1);
  }
  int status = -1;
  waitpid(pid, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) >= 77)
    SKIP("cannot make a namespace that forbids others (%d)", WEXITSTATUS(status));
  assert_int_equal(status, 0);
}

TEST(the_doctor_hears_what_this_machine_enforces)
{
  csn_jail_feature list[CSN_JAIL_FEATURES];
  int n = csn_jail_probe(NULL, list);
  assert_true(n > 10);
  for (int i = 0; i < n; i++) {
    bool known = !strcmp(list[i].state, "enforced") || !strcmp(list[i].state, "soft") ||
                 !strcmp(list[i].state, "absent");
    if (!known)
      fail_msg("%s: %s", list[i].name, list[i].state);
  }
}

static int
tests(void)
{
  const struct CMUnitTest all[] = {
      RUN(what_a_command_may_not_do_is_refused),
      RUN(a_foreign_system_call_table_kills),
      RUN(commands_have_no_capability_and_cannot_gain_any),
      RUN(commands_are_user_1000_and_own_the_workspace),
      RUN(no_command_makes_a_file_that_runs_as_its_owner),
      RUN(what_commands_make_belongs_to_the_owner_of_the_folder),
      RUN(a_folder_whose_owner_cannot_be_mapped_is_given_away),
      RUN(a_jails_user_ids_are_no_other_jails),
      RUN(the_host_is_not_told),
      RUN(the_workspace_may_be_anywhere_but_in_the_jails_own_folders),
      RUN(a_folder_can_be_the_root_file_system),
      RUN(a_temporary_workspace_needs_no_folder),
      RUN(two_jails_do_not_see_each_other),
      RUN(a_fork_bomb_is_bounded_and_ends_with_the_jail),
      RUN(files_and_descriptors_are_limited),
      RUN(many_orphans_are_collected),
      RUN(a_long_command_fits_and_one_too_long_is_an_error),
      RUN(a_warm_jail_is_used_once_and_is_like_any_other),
      RUN(a_jail_with_accounts_of_its_own_is_never_a_warm_one),
      RUN(a_warm_jail_that_dies_is_not_handed_out),
      RUN(when_the_spawner_is_killed_its_jails_end_and_the_next_one_works),
      RUN(without_user_namespaces_it_says_what_to_do_and_does_not_fall_back),
      RUN(the_doctor_hears_what_this_machine_enforces),
  };
  cmocka_set_message_output(CM_OUTPUT_TAP);
  return cmocka_run_group_tests_name("jail", all, NULL, NULL);
}

int
main(int argc, char **argv)
{
  const char *probe = getenv("CSN_JAIL_PROBE");
  probe_fd = probe ? open(probe, O_RDONLY | O_CLOEXEC) : -1;
  if (probe_fd < 0) {
    printf("Bail out! CSN_JAIL_PROBE is missing\n");
    return 1;
  }
  return run_as(argc, argv, tests);
}
