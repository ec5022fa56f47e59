/* SPDX-License-Identifier: Apache-2.0
 *
 * test_ladder.c - machines that lack something: each rung takes one feature
 * away from a process of its own, by a seccomp filter or by hiding a folder,
 * and looks at what a jail and the doctor make of it there.  What the walls
 * need is refused by name; what only strengthens them is told to be absent. */
#include <errno.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "core/fd.h"
#include "identity.h"
#include "sandbox/jail.h"

/* ---- taking away ---- */

/* A system call that fails, always or when its first argument has a bit. */
struct missing {
  int number;
  uint32_t mask;
  int error;
};

static bool
take_calls(const struct missing *calls, size_t n)
{
  struct sock_filter code[64];
  size_t at = 0;
  code[at++] =
      (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
  for (size_t i = 0; i < n && at + 6 < CSN_COUNT(code); i++) {
    uint32_t fail = SECCOMP_RET_ERRNO | (uint32_t)calls[i].error;
    uint8_t skip = calls[i].mask ? 4 : 1;
    code[at++] =
        (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)calls[i].number, 0, skip);
    if (calls[i].mask) {
      code[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                                                offsetof(struct seccomp_data, args));
      code[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, calls[i].mask, 0, 1);
    }
    code[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, fail);
    if (calls[i].mask)
      code[at++] =
          (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
  }
  code[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  struct sock_fprog program = {.len = (unsigned short)at, .filter = code};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0;
}

static bool
own_mounts(void)
{
  return geteuid() == 0 && unshare(CLONE_NEWNS) == 0 &&
         mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

enum { SKIPPED = 77, NR_clone3 = 435, NR_mount_setattr = 442, NR_landlock = 444 };

static bool
without_user_namespaces(void)
{
  return take_calls((const struct missing[]){{NR_clone3, 0, ENOSYS},
                                             {SYS_clone, CLONE_NEWUSER, EPERM},
                                             {SYS_unshare, CLONE_NEWUSER, EPERM}},
                    3);
}

static bool
without_network_namespaces(void)
{
  return take_calls((const struct missing[]){{NR_clone3, 0, ENOSYS},
                                             {SYS_clone, CLONE_NEWNET, EPERM},
                                             {SYS_unshare, CLONE_NEWNET, EPERM}},
                    3);
}

static bool
without_process_namespaces(void)
{
  return take_calls((const struct missing[]){{NR_clone3, 0, ENOSYS},
                                             {SYS_clone, CLONE_NEWPID, EINVAL},
                                             {SYS_unshare, CLONE_NEWPID, EINVAL}},
                    3);
}

static bool
without_mounts(void)
{
  return take_calls((const struct missing[]){{SYS_mount, 0, EPERM}}, 1);
}

static bool
without_new_mounts(void)
{
  return take_calls((const struct missing[]){{NR_mount_setattr, 0, ENOSYS}}, 1);
}

static bool
without_seccomp(void)
{
  return take_calls((const struct missing[]){{SYS_seccomp, 0, EINVAL}}, 1);
}

static bool
without_landlock(void)
{
  return take_calls((const struct missing[]){{NR_landlock, 0, ENOSYS},
                                             {NR_landlock + 1, 0, ENOSYS},
                                             {NR_landlock + 2, 0, ENOSYS}},
                    3);
}

static bool
without_clone3(void)
{
  return take_calls((const struct missing[]){{NR_clone3, 0, ENOSYS}}, 1);
}

static bool
without_groups(void)
{
  return own_mounts() && mount("none", "/sys/fs/cgroup", "tmpfs", MS_RDONLY, "size=4k") == 0;
}

/* As containers have it: something lies over a part of /proc. */
static bool
without_whole_proc(void)
{
  return own_mounts() && mount("/dev/null", "/proc/filesystems", NULL, MS_BIND, NULL) == 0;
}

/* Root as containers leave it. */
static bool
without_admin(void)
{
  struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct caps[2] = {{0}};
  if (geteuid() != 0 || syscall(SYS_capget, &head, caps) < 0)
    return false;
  caps[0].effective &= ~(1u << CAP_SYS_ADMIN);
  caps[0].permitted &= ~(1u << CAP_SYS_ADMIN);
  return prctl(PR_CAPBSET_DROP, CAP_SYS_ADMIN) == 0 && syscall(SYS_capset, &head, caps) == 0;
}

static bool
become_lender(void)
{
  return setgroups(0, NULL) == 0 && setresgid(1000, 1000, 1000) == 0 &&
         setresuid(1000, 1000, 1000) == 0 && prctl(PR_SET_DUMPABLE, 1) == 0 && chdir("/tmp") == 0;
}

/* A user to whom ids are lent, on a machine that has a script of `owner` for a
 * program. */
static bool
lent_with(const char *path, uid_t owner)
{
  char name[] = "/tmp/csn-ladder-XXXXXX";
  int fd = mkstemp(name);
  bool done = fd >= 0 && write(fd, "#!/bin/false\n", 13) == 13 && fchown(fd, owner, owner) == 0 &&
              fchmod(fd, 04755) == 0 && close(fd) == 0 && lend_ids(lent_range) &&
              mount(name, path, NULL, MS_BIND, NULL) == 0;
  unlink(name);
  return done && become_lender();
}

static bool
without_trusted_newuidmap(void)
{
  return lent_with("/usr/bin/newuidmap", 1000);
}

static bool
without_working_newgidmap(void)
{
  return lent_with("/usr/bin/newgidmap", 0);
}

static bool
without_lent_ids(void)
{
  return geteuid() == 0 && lend_ids("lender:700000000:65000\n") && become_lender();
}

/* ---- looking ---- */

static const csn_jail_feature *
find_feature(const csn_jail_feature *list, int n, const char *name)
{
  static const csn_jail_feature none = {.state = "not listed"};
  for (int i = 0; i < n; i++)
    if (strcmp(list[i].name, name) == 0)
      return &list[i];
  return &none;
}

static bool
runs_commands(csn_sandbox *sb)
{
  csn_err err;
  csn_exit end;
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1000);
  const char *argv[] = {"sh", "-c", "test -r /proc/1/environ || echo walled; touch x", NULL};
  return csn_sandbox_exec(sb, NULL, &(csn_exec){.argv = argv, .claim_fd = -1}, &out, NULL, &end,
                          &err) == 0 &&
         end.code == 0 && csn_str_eq(csn_buf_str(&out), CSN_STR("walled\n"));
}

static const struct rung {
  const char *name;
  bool (*take)(void);
  const char *message; /* in the refusal; NULL: a jail is made */
  const char *feature; /* of the doctor, that is not "enforced" then */
  const char *state;
  bool needs_root;
  const char *note; /* in what the doctor says of it, or NULL */
} rungs[] = {
    {"user namespaces", without_user_namespaces, "namespaces", "jail", "absent", false},
    {"network namespaces", without_network_namespaces, "namespaces", "jail", "absent", false},
    {"process namespaces", without_process_namespaces, "namespaces", "jail", "absent", false},
    {"mounts", without_mounts, "mount", "jail", "absent", false},
    {"mount_setattr", without_new_mounts, "mount", "jail", "absent", false},
    {"seccomp", without_seccomp, "seccomp", "jail", "absent", false},
    {"Landlock", without_landlock, NULL, "landlock", "absent", false},
    {"clone3", without_clone3, NULL, "jail", "enforced", false},
    {"control groups", without_groups, NULL, "limit: memory", "soft", true},
    {"CAP_SYS_ADMIN", without_admin, "SYS_ADMIN", "jail", "absent", true},
    {"a newuidmap of root's", without_trusted_newuidmap, NULL, "user ids", "absent", true,
     "not installed"},
    {"a newgidmap that works", without_working_newgidmap, NULL, "user ids", "absent", true,
     "refused"},
    {"a range in subuid", without_lent_ids, NULL, "user ids", "absent", true, "usermod"},
    {"all of proc", without_whole_proc, "mount proc", "jail", "absent", true},
};

/* In a process of its own; 0 when all is as it should be. */
static int
climb(const struct rung *r)
{
  csn_jail_feature list[CSN_JAIL_FEATURES];
  csn_sandbox *sb = NULL;
  csn_err err = {0};
  csn_sandbox_limits limits = {.memory_bytes = 128 << 20, .strict = true};
  csn_sandbox_spec spec = {.backend = "jail", .workspace_fd = -1, .lock_fd = -1};
  if (!r->take())
    return SKIPPED;
  int rc = csn_sandbox_open(&sb, NULL, &spec, &err);
  if (r->message && (rc != CSN_E_UNSUPPORTED || !strstr(err.msg, r->message))) {
    printf("# %s: %d %s\n", r->name, rc, rc < 0 ? err.msg : "a jail was made");
    return 1;
  }
  if (!r->message && (rc < 0 || !runs_commands(sb))) {
    printf("# %s: %d %s\n", r->name, rc, rc < 0 ? err.msg : "it does not run commands");
    return 1;
  }
  csn_sandbox_close(sb);
  int n = csn_jail_probe(NULL, list);
  const csn_jail_feature *f = find_feature(list, n, r->feature);
  if (strcmp(f->state, r->state) != 0 || (r->note && !strstr(f->note, r->note))) {
    printf("# %s: the doctor says %s of %s: %s\n", r->name, f->state, r->feature, f->note);
    return 1;
  }
  bool is_soft = strcmp(r->state, "soft") == 0;
  spec.limits = &limits;
  rc = is_soft ? csn_sandbox_open(&sb, NULL, &spec, &err) : CSN_E_UNSUPPORTED;
  if (rc != CSN_E_UNSUPPORTED)
    printf("# %s: strict gave %d\n", r->name, rc);
  return rc != CSN_E_UNSUPPORTED;
}

static void
rung(void **state)
{
  const struct rung *r = *state;
  if (!machine_has_namespaces())
    SKIP("no user namespaces here");
  if (r->needs_root && geteuid() != 0)
    SKIP("hiding it takes root");
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    int rc = climb(r);
    fflush(stdout);
    _exit(rc);
  }
  int status = -1;
  waitpid(pid, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED)
    SKIP("it cannot be taken away here");
  assert_int_equal(status, 0);
}

static int
tests(void)
{
  struct CMUnitTest all[CSN_COUNT(rungs)];
  char names[CSN_COUNT(rungs)][60];
  for (size_t i = 0; i < CSN_COUNT(rungs); i++) {
    snprintf(names[i], sizeof names[i], "without %s", rungs[i].name);
    all[i] = (struct CMUnitTest){
        .name = names[i], .test_func = rung, .initial_state = (void *)(uintptr_t)&rungs[i]};
  }
  cmocka_set_message_output(CM_OUTPUT_TAP);
  return _cmocka_run_group_tests("jail/ladder", all, CSN_COUNT(all), NULL, NULL);
}

int
main(int argc, char **argv)
{
  return run_as(argc, argv, tests);
}
