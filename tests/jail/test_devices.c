/* SPDX-License-Identifier: Apache-2.0
 *
 * test_devices.c - devices of the host in a jail.  Each scene is a process with
 * a /dev of its own, in which nodes have the owner and mode that the scene
 * wants; their drivers need not be there, unless they are opened. */
#include <elf.h>
#include <errno.h>
#include <sys/sysmacros.h>

#include "core/fd.h"
#include "identity.h"
#include "sandbox/devices.h"

enum { SKIPPED = 77, GROUP = 4242 };

struct scene {
  const char *name;
  /* Of the one device that is not like on other machines: */
  const char *node;
  mode_t mode;
  int major, minor;
  gid_t gid;
  bool is_user, is_lent, is_member; /* of the node's group */
  const char *device;
  const char *user;    /* of the commands */
  const char *refusal; /* NULL: a jail is made, */
  const char *script;  /* and prints */
  const char *want;
};

#define OPENS "exec 3<>/dev/fuse && echo opened"
#define FUSE .node = "fuse", .device = "fuse", .major = 10, .minor = 229

static const struct scene scenes[] = {
    {.name = "root gives a closed node to who commands are",
     FUSE,
     .mode = 0600,
     .script = "stat -c '%F %t:%T %a %u:%g' /dev/fuse; " OPENS,
     .want = "character special file a:e5 600 1000:1000\nopened\n"},
    {.name = "who commands are may be another user",
     FUSE,
     .mode = 0600,
     .user = "33:50",
     .script = "stat -c '%u:%g' /dev/fuse; " OPENS,
     .want = "33:50\nopened\n"},
    {.name = "the rest of dev is as ever",
     FUSE,
     .mode = 0600,
     .script = "echo x >/dev/null && head -c 2 /dev/zero | wc -c; touch /dev/shm/x && test -e "
               "/dev/ptmx && rm /dev/fuse 2>&1 | grep -c Read-only; ls /dev | wc -l",
     .want = "2\n1\n14\n"},
    {.name = "a user has what it has outside",
     FUSE,
     .mode = 0666,
     .is_user = true,
     .script = OPENS,
     .want = "opened\n"},
    {.name = "a user has it by a group that the jail does not know",
     FUSE,
     .mode = 0660,
     .gid = GROUP,
     .is_user = true,
     .is_member = true,
     .script = OPENS,
     .want = "opened\n"},
    {.name = "a user with lent ids has it by such a group",
     FUSE,
     .mode = 0660,
     .gid = GROUP,
     .is_user = true,
     .is_lent = true,
     .is_member = true,
     .script = OPENS,
     .want = "opened\n"},
    {.name = "what a user cannot open is refused before the start",
     FUSE,
     .mode = 0660,
     .gid = GROUP,
     .is_user = true,
     .refusal = "/dev/fuse belongs to user 0 and group 4242 with mode 660"},
    {.name = "what is something else is refused",
     .node = "fuse",
     .device = "fuse",
     .major = 10,
     .minor = 228,
     .mode = 0666,
     .refusal = "is not what it should be, the character device 10:229"},
    {.name = "what is missing is named",
     .device = "dri",
     .refusal = "device dri: there is no /dev/dri/renderD*"},
    {.name = "drivers come with their libraries",
     .node = "nvidia0",
     .mode = 0600,
     .major = 195,
     .device = "nvidia",
     .script = "stat -c %t:%T /dev/nvidia0 /dev/nvidiactl; echo $LD_LIBRARY_PATH; ls /run/drivers; "
               "cmp /run/drivers/libcuda.so.1 /bin/true && echo same; "
               "{ echo x >/run/drivers/libcuda.so.1; } 2>&1 | grep -c Read-only",
     .want = "c3:0\nc3:ff\n/run/drivers\nlibcuda.so.1\nsame\n1\n"},
};

/* ---- the stage ---- */

static bool
make_node(const char *dev, const char *name, mode_t mode, unsigned at_major, unsigned at_minor)
{
  char path[100];
  snprintf(path, sizeof path, "%s/%s", dev, name);
  return mknod(path, S_IFCHR | mode, makedev(at_major, at_minor)) == 0 && chmod(path, mode) == 0;
}

/* A cache of the dynamic linker with two libraries, of which the second is for
 * another machine. */
static void
make_cache(csn_buf *out, const char *const paths[2])
{
  static const char names[2][16] = {"libcuda.so.1", "libnvidia-ml.so"};
  uint32_t head[7] = {2}, text = 48 + 2 * 24;
  csn_buf_addz(out, "glibc-ld.so.cache1.1");
  csn_buf_add(out, csn_strn((const char *)head, sizeof head));
  for (int i = 0; i < 2; i++) {
    uint32_t entry[6] = {0x0303, text, text + 16};
    text += 16 + (uint32_t)strlen(paths[i]) + 1;
    csn_buf_add(out, csn_strn((const char *)entry, sizeof entry));
  }
  for (int i = 0; i < 2; i++) {
    csn_buf_add(out, csn_strn(names[i], 16));
    csn_buf_addz(out, paths[i]);
    csn_buf_addc(out, '\0');
  }
}

static bool
make_libraries(const char *folder)
{
  char path[2][100];
  csn_auto(csn_buf_finip) csn_buf program = CSN_BUF(1 << 20), cache = CSN_BUF(1000);
  csn_auto(csn_closep) int fd = open("/bin/true", O_RDONLY | O_CLOEXEC);
  csn_auto(csn_closep) int at = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (csn_fd_read_all(fd, &program, NULL) < 0 ||
      csn_file_write(at, "a.so", csn_buf_str(&program), 0644, false, NULL) < 0)
    return false;
  program.p[EI_CLASS] = ELFCLASS32;
  if (csn_file_write(at, "b.so", csn_buf_str(&program), 0644, false, NULL) < 0)
    return false;
  for (int i = 0; i < 2; i++)
    snprintf(path[i], sizeof path[i], "/dev/%c.so", 'a' + i);
  make_cache(&cache, (const char *const[]){path[0], path[1]});
  return csn_file_write(at, "cache", csn_buf_str(&cache), 0644, false, NULL) == 0 &&
         snprintf(path[0], sizeof path[0], "%s/cache", folder) > 0 &&
         mount(path[0], "/etc/ld.so.cache", NULL, MS_BIND, NULL) == 0;
}

static bool
set_stage(const struct scene *s)
{
  char folder[] = "/tmp/csn-dev-XXXXXX", path[100];
  static const struct {
    const char *name;
    unsigned minor;
  } usual[] = {{"null", 3}, {"zero", 5}, {"full", 7}, {"random", 8}, {"urandom", 9}};
  if (!mkdtemp(folder) || unshare(CLONE_NEWNS) < 0 ||
      mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
      mount("tmpfs", folder, "tmpfs", MS_NOSUID, "mode=755") < 0)
    return false;
  bool good =
      make_node(folder, "tty", 0666, 5, 0) && make_node(folder, "nvidiactl", 0600, 195, 255);
  for (size_t i = 0; i < CSN_COUNT(usual); i++)
    good = good && make_node(folder, usual[i].name, 0666, 1, usual[i].minor);
  if (s->node) {
    snprintf(path, sizeof path, "%s/%s", folder, s->node);
    good = good && make_node(folder, s->node, s->mode, (unsigned)s->major, (unsigned)s->minor) &&
           chown(path, 0, s->gid) == 0;
  }
  if (good && strcmp(s->device, "nvidia") == 0)
    good = make_libraries(folder);
  return good && mount(folder, "/dev", NULL, MS_BIND, NULL) == 0 &&
         umount2(folder, MNT_DETACH) == 0 && rmdir(folder) == 0;
}

static bool
become_user(const struct scene *s)
{
  const gid_t group = GROUP;
  return (!s->is_lent || lend_ids(lent_range)) && setgroups(s->is_member, &group) == 0 &&
         setresgid(1000, 1000, 1000) == 0 && setresuid(1000, 1000, 1000) == 0 &&
         prctl(PR_SET_DUMPABLE, 1) == 0;
}

/* In a process of its own; 0 when all is as it should be. */
static int
play(const struct scene *s)
{
  csn_sandbox *sb = NULL;
  csn_err err = {0};
  csn_exit end;
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1 << 16);
  const char *devices[] = {s->device, s->device, NULL}, *argv[] = {"sh", "-c", s->script, NULL};
  csn_sandbox_spec spec = {
      .backend = "jail", .workspace_fd = -1, .lock_fd = -1, .user = s->user, .devices = devices};
  if (!set_stage(s) || (s->is_user && !become_user(s)))
    return SKIPPED;
  int rc = csn_sandbox_open(&sb, NULL, &spec, &err);
  if (s->refusal) {
    bool said = rc == CSN_E_UNSUPPORTED && strstr(err.msg, s->refusal);
    printf(said ? "" : "# %s: %d %s\n", s->name, rc, err.msg);
    return !said;
  }
  if (rc == 0)
    rc = csn_sandbox_exec(sb, NULL, &(csn_exec){.argv = argv, .claim_fd = -1}, &out, NULL, &end,
                          &err);
  bool same = rc == 0 && csn_str_eq(csn_buf_str(&out), csn_cstr(s->want));
  if (!same)
    printf("# %s: %d %s; printed %s\n", s->name, rc, err.msg, out.p ? out.p : "nothing");
  csn_sandbox_close(sb);
  return !same;
}

static void
scene(void **state)
{
  const struct scene *s = *state;
  if (geteuid() != 0)
    SKIP("other devices can be there for root only");
  if (s->is_lent && access("/usr/bin/newuidmap", X_OK) < 0)
    SKIP("newuidmap is not installed (package uidmap)");
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    int rc = play(s);
    fflush(stdout);
    _exit(rc);
  }
  int status = -1;
  waitpid(pid, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED)
    SKIP("the stage cannot be set here");
  assert_int_equal(status, 0);
}

int
main(void)
{
  struct CMUnitTest all[CSN_COUNT(scenes)];
  for (size_t i = 0; i < CSN_COUNT(scenes); i++)
    all[i] = (struct CMUnitTest){
        .name = scenes[i].name, .test_func = scene, .initial_state = (void *)(uintptr_t)&scenes[i]};
  cmocka_set_message_output(CM_OUTPUT_TAP);
  tap_stdout();
  return _cmocka_run_group_tests("jail/devices", all, CSN_COUNT(all), NULL, NULL);
}
