/* SPDX-License-Identifier: Apache-2.0
 *
 * mount_host.c - see mount_host.h.
 *
 * A thread reads what the rclones say, so that none of them waits for a reader,
 * keeps the last of it, and sees their ends. */
#include "sandbox/mount_host.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "core/fd.h"
#include "core/hash.h"
#include "core/proc.h"
#include "sandbox/devices.h"
#include "sandbox/mount_authority.h"
#include "sandbox/mount_flags.h"
#include "sandbox/mount_pending.h"
#include "sandbox/mount_rclone.h"
#include "sandbox/passed.h"
#include "sandbox/program.h"

enum {
  SAID_MAX = 4096,
  PIECE = 2048,
  STACK_BYTES = 128 * 1024,
  LET_GO_MS = 5000, /* for commands of a jail that ends, which wait for storage */
  STORE_MS = 60000, /* for what was written to be stored */
  NOTE_MS = 1000,
  FIRST_FD = 3, /* of rclone: /dev/fuse, its configuration, its life, its cache */
  GIVEN_FDS = 4,
  SAFE_FD = 10,
};

struct served {
  csn_mount mount; /* a copy: its texts are in `arena` */
  csn_arena *arena;
  pid_t pid; /* 0: none, or it was collected */
  int out;   /* what it says; -1 */
  int life;  /* ends when it dies, before its mount does: a dying process lets go of what
                it got last first */
  int cache; /* where it keeps what is not stored yet; -1 */
  csn_buf said;
};

struct csn_mount_host {
  size_t n;
  struct served *all;
  char *root;
  int list_fd;
  pthread_t thread;
  int wake[2]; /* closed by us: the thread is to end */
  bool has_thread;
  pthread_mutex_t lock; /* guards what follows, and pid and said of each */
  pthread_cond_t changed;
  bool is_ending;
  char *lost;
};

/* ---- what they are ---- */

/* All but the strategy, which is of no use later. */
static void
copy_mount(struct served *s, const csn_mount *m)
{
  s->arena = csn_arena_new(0);
  s->mount = *m;
  s->mount.place = csn_arena_dup(s->arena, m->place);
  for (size_t k = 0; k < CSN_MOUNT_FIELDS_MAX; k++) {
    csn_json *v = m->fields[k] ? csn_arena_alloc(s->arena, sizeof *v) : NULL;
    if (v) {
      *v = *m->fields[k];
      v->text = csn_arena_dup(s->arena, v->text);
    }
    s->mount.fields[k] = v;
  }
}

int
csn_mount_host_new(csn_mount_host **out, const csn_mount *const *mounts, const char *root,
                   csn_err *err)
{
  char missing[400];
  size_t n = 0;
  *out = NULL;
  while (mounts && mounts[n])
    n++;
  if (n == 0)
    return 0;
  if (n > CSN_JAIL_MOUNTS_MAX)
    return csn_fail(err, CSN_E_LIMIT, "%zu mounts; a jail can have %d", n, CSN_JAIL_MOUNTS_MAX);
  int rc = csn_mount_flags_check(mounts, root, err);
  if (rc < 0)
    return rc;
  if (csn_mount_host_missing(missing))
    return csn_fail(err, CSN_E_UNSUPPORTED, "%s at %s: %s", csn_mount_word(mounts[0]),
                    mounts[0]->place.p, missing);
  csn_mount_host *h = *out = csn_alloc(sizeof *h);
  *h = (csn_mount_host){.n = n,
                        .all = csn_alloc(n * sizeof *h->all),
                        .root = csn_dupz(csn_cstr(root)),
                        .list_fd = -1,
                        .wake = {-1, -1}};
  pthread_mutex_init(&h->lock, NULL);
  csn_cond_init(&h->changed);
  for (size_t i = 0; i < n; i++) {
    h->all[i] = (struct served){.out = -1, .life = -1, .cache = -1, .said = CSN_BUF(SAID_MAX)};
    copy_mount(&h->all[i], mounts[i]);
  }
  return 0;
}

size_t
csn_mount_host_count(const csn_mount_host *h)
{
  return h ? h->n : 0;
}

int
csn_mount_host_ask(csn_mount_host *h, csn_jail_ask *ask, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf list = CSN_BUF(1 << 20);
  if (!h)
    return 0;
  for (size_t i = 0; i < h->n; i++) {
    csn_buf_addc(&list, h->all[i].mount.is_read_only ? 'r' : 'w');
    csn_buf_addz(&list, h->all[i].mount.place.p);
    csn_buf_addc(&list, '\0');
  }
  csn_closep(&h->list_fd);
  h->list_fd = csn_fd_memory("caisson-mounts", csn_buf_str(&list), err);
  ask->fds[CSN_JAIL_STORAGE] = h->list_fd;
  ask->open.mounts = (uint32_t)h->n;
  return h->list_fd < 0 ? h->list_fd : 0;
}

/* One part of a path that ends in an empty folder, not through links. */
static int
enter(int at, const char *part, int uid, int gid, bool is_last, csn_err *err)
{
  csn_names names = {0};
  bool is_new = mkdirat(at, part, 0755) == 0;
  if (!is_new && errno != EEXIST)
    return csn_fail_errno(err, "make the folder %s", part);
  if (is_new && uid >= 0 && fchownat(at, part, (uid_t)uid, (gid_t)gid, AT_SYMLINK_NOFOLLOW) < 0)
    return csn_fail_errno(err, "set the owner of %s", part);
  int fd = openat(at, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0)
    return csn_fail_errno(err, "%s is in the way", part);
  int rc = is_last && !is_new ? csn_names_read(&names, fd, 1, err) : 0;
  bool has_files = names.n || rc == CSN_E_LIMIT;
  csn_names_fini(&names);
  if (has_files)
    rc = csn_fail(err, CSN_E_CONFLICT, "the folder holds files of the workspace; move them away");
  if (rc < 0)
    close(fd);
  return rc < 0 ? rc : fd;
}

static int
make_folder(const char *path, int workspace_fd, int uid, int gid, csn_err *err)
{
  csn_auto(csn_closep) int at = fcntl(workspace_fd, F_DUPFD_CLOEXEC, 0);
  csn_auto(csn_freep) char *copy = csn_dupz(csn_cstr(path));
  for (char *part = copy, *end; part; part = end) {
    if ((end = strchr(part, '/')))
      *end++ = '\0';
    int next = enter(at, part, uid, gid, !end, err);
    if (next < 0)
      return next;
    csn_closep(&at);
    at = next;
  }
  return 0;
}

int
csn_mount_host_folders(const csn_mount_host *h, int workspace_fd, int uid, int gid, csn_err *err)
{
  size_t n = strlen(h->root);
  for (size_t i = 0; i < h->n; i++) {
    const char *place = h->all[i].mount.place.p;
    if (strncmp(place, h->root, n) != 0 || place[n] != '/')
      continue;
    int rc = make_folder(place + n + 1, workspace_fd, uid, gid, err);
    if (rc < 0)
      return csn_wrap(err, rc, "%s at %s", csn_mount_word(&h->all[i].mount), place);
  }
  return 0;
}

/* ---- what they say ---- */

/* "2026/01/02 03:04:05 " */
static bool
is_dated(csn_str line)
{
  return line.n > 20 && line.p[4] == '/' && line.p[7] == '/' && line.p[13] == ':' &&
         line.p[19] == ' ';
}

/* The last message, of one line or more, without its time and what is secret. */
static void
last_words(const struct served *s, csn_str said, csn_buf *out)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(SAID_MAX);
  csn_str rest = csn_str_trim(said), last = rest, line;
  while (csn_str_line(&rest, &line))
    if (is_dated(line))
      last = csn_strn(line.p + 20, (size_t)(said.p + said.n - line.p) - 20);
  last = csn_str_trim(last);
  for (size_t i = 0; i < last.n; i++)
    if ((unsigned char)last.p[i] > ' ' || (text.n && text.p[text.n - 1] != ' '))
      csn_buf_addc(&text, (unsigned char)last.p[i] <= ' ' ? ' ' : last.p[i]);
  csn_mount_redact(&s->mount, &text);
  csn_buf_add(out, text.n ? csn_buf_str(&text) : CSN_STR("nothing"));
}

/* Locked. */
static void
note_end(csn_mount_host *h, struct served *s)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(2 * SAID_MAX);
  int status = 0;
  while (waitpid(s->pid, &status, 0) < 0 && errno == EINTR)
    continue;
  s->pid = 0;
  pthread_cond_broadcast(&h->changed);
  if (h->is_ending || h->lost)
    return;
  csn_buf_addf(&text, "the mount %s (%s) was lost: its rclone ", s->mount.place.p,
               csn_mount_word(&s->mount));
  if (WIFSIGNALED(status))
    csn_buf_addf(&text, "was killed by signal %d", WTERMSIG(status));
  else
    csn_buf_addf(&text, "ended with %d", WEXITSTATUS(status));
  csn_buf_addz(&text, "; it said last: ");
  last_words(s, csn_buf_str(&s->said), &text);
  h->lost = csn_dupz(csn_buf_str(&text));
}

static void
hear(csn_mount_host *h, struct served *s)
{
  char piece[PIECE];
  ssize_t n = read(s->out, piece, sizeof piece);
  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  pthread_mutex_lock(&h->lock);
  if (n > 0) {
    if (s->said.n + (size_t)n > SAID_MAX)
      csn_buf_drop(&s->said, s->said.n + (size_t)n - SAID_MAX);
    csn_buf_add(&s->said, csn_strn(piece, (size_t)n));
  } else {
    csn_closep(&s->out);
    note_end(h, s);
  }
  pthread_mutex_unlock(&h->lock);
}

static void *
listen_to_all(void *arg)
{
  csn_mount_host *h = arg;
  struct pollfd fds[CSN_JAIL_MOUNTS_MAX + 1];
  for (;;) {
    fds[h->n] = (struct pollfd){.fd = h->wake[0], .events = POLLIN};
    for (size_t i = 0; i < h->n; i++)
      fds[i] = (struct pollfd){.fd = h->all[i].out, .events = POLLIN};
    if (poll(fds, h->n + 1, -1) < 0)
      continue;
    for (size_t i = 0; i < h->n; i++)
      if (fds[i].revents)
        hear(h, &h->all[i]);
    if (fds[h->n].revents)
      return NULL;
  }
}

/* ---- their start ---- */

/* The file that only rclone has. */
static int
write_config(const csn_mount *m, csn_str remote, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(CSN_MOUNT_CONFIG_MAX);
  int rc = csn_mount_rclone_config(m, remote, &text, err);
  if (rc == 0)
    rc = csn_fd_memory("caisson-rclone", csn_buf_str(&text), err);
  if (text.p)
    explicit_bzero(text.p, text.n);
  return rc;
}

/* Nothing that would be a credential or a setting of rclone's. */
struct environment {
  csn_buf store;
  const char *list[CSN_PASSED_VARIABLES + 4];
};

static void
make_environment(struct environment *e)
{
  *e = (struct environment){.store = CSN_BUF(CSN_PASSED_MAX),
                            .list = {"PATH=/nonexistent", "HOME=/nonexistent", "LC_ALL=C"}};
  csn_passed_variables(&e->store, e->list, 3);
}

/* Whether it is there and lets us in. */
static int
look(const struct served *s, csn_scope *sc, const csn_mount *m, csn_str remote, int config,
     csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf said = CSN_BUF(SAID_MAX), text = CSN_BUF(2 * SAID_MAX);
  csn_auto(csn_buf_finip) csn_buf bucket = CSN_BUF(SAID_MAX);
  struct environment env;
  const char *argv[CSN_MOUNT_FLAGS_MAX];
  int rc = csn_mount_flags_look(m, remote, a, argv, err);
  if (rc == 0)
    rc = csn_mount_rclone_path(m, &bucket, err);
  make_environment(&env);
  csn_command c = {.argv = argv, .environment = env.list, .cwd_fd = -1, .stdin_fd = config};
  if (rc == 0)
    rc = csn_command_run(&c, sc, &said, err);
  csn_buf_fini(&env.store);
  if (rc <= 0)
    return rc;
  last_words(s, csn_buf_str(&said), &text);
  if (csn_str_ends(csn_buf_str(&text), CSN_STR("directory not found")))
    return csn_fail(err, CSN_E_NOT_FOUND, "it cannot be mounted: there is no %s", bucket.p);
  return csn_fail(err, CSN_E_UNAVAILABLE, "it cannot be mounted, rclone says: %.360s", text.p);
}

static int
spawn(struct served *s, const char *const *argv, const int fds[GIVEN_FDS], int said)
{
  struct environment env;
  posix_spawn_file_actions_t fa;
  posix_spawnattr_t at;
  sigset_t all, none;
  make_environment(&env);
  posix_spawn_file_actions_init(&fa);
  posix_spawnattr_init(&at);
  posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDWR, 0);
  posix_spawn_file_actions_adddup2(&fa, said, 1);
  posix_spawn_file_actions_adddup2(&fa, said, 2);
  int n = 0;
  for (; n < GIVEN_FDS && fds[n] >= 0; n++)
    posix_spawn_file_actions_adddup2(&fa, fds[n], FIRST_FD + n);
  posix_spawn_file_actions_addclosefrom_np(&fa, FIRST_FD + n);
  sigfillset(&all);
  sigemptyset(&none);
  posix_spawnattr_setsigdefault(&at, &all);
  posix_spawnattr_setsigmask(&at, &none);
  posix_spawnattr_setflags(&at,
                           POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
  union {
    const char *const *in;
    char *const *out; /* posix_spawn changes neither */
  } args = {.in = argv}, vars = {.in = env.list};
  int e = posix_spawnp(&s->pid, argv[0], &fa, &at, args.out, vars.out);
  posix_spawnattr_destroy(&at);
  posix_spawn_file_actions_destroy(&fa);
  csn_buf_fini(&env.store);
  return e;
}

/* Descriptors above those that rclone gets, so that placing one never overwrites
 * another. */
static int
raise_fd(int fd)
{
  return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, SAFE_FD);
}

static int
open_cache(int folder, const char *name, csn_err *err)
{
  int rc = csn_mkdirs(folder, name, 0700, err);
  return rc < 0 ? rc : csn_open_beneath(folder, name, O_RDONLY | O_DIRECTORY, 0, err);
}

static int
start(struct served *s, csn_scope *sc, int fuse, unsigned uid, unsigned gid, csn_err *err)
{
  char id[13];
  csn_digest d = csn_sha256_of(s->mount.place);
  char hex[65];
  csn_digest_hex(&d, hex);
  snprintf(id, sizeof id, "%.12s", hex); /* the same each time: so is what waits to be stored */
  csn_auto(csn_buf_finip) csn_buf remote = CSN_BUF(2 * CSN_MOUNT_REMOTE_MAX);
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const char *argv[CSN_MOUNT_FLAGS_MAX];
  csn_mount m;
  int rc = csn_mount_flags_fields(&m, &s->mount, a, err);
  if (rc == 0)
    rc = csn_mount_rclone_remote(&m, csn_cstr(id), &remote, err);
  csn_auto(csn_closep) int config = rc < 0 ? rc : write_config(&m, csn_buf_str(&remote), err);
  if (config < 0)
    return config;
  rc = look(s, sc, &m, csn_buf_str(&remote), config, err);
  if (rc < 0)
    return rc;
  rc = csn_mount_flags(&m, csn_buf_str(&remote), uid, gid, a, argv, err);
  if (rc < 0)
    return rc;
  s->cache = m.is_read_only ? -1 : open_cache(m.cache_fd, id, err);
  if (s->cache < 0 && !m.is_read_only)
    return s->cache;
  int said[2], life[2];
  if (pipe2(said, O_CLOEXEC) < 0)
    return csn_fail_errno(err, "pipe");
  s->out = said[0];
  csn_auto(csn_closep) int theirs = raise_fd(said[1]);
  close(said[1]);
  if (pipe2(life, O_CLOEXEC) < 0)
    return csn_fail_errno(err, "pipe");
  s->life = life[0];
  csn_auto(csn_closep) int high_life = raise_fd(life[1]);
  close(life[1]);
  fcntl(s->out, F_SETFL, O_NONBLOCK);
  csn_auto(csn_closep) int high_fuse = raise_fd(fuse), high_config = raise_fd(config),
                           high_cache = raise_fd(s->cache);
  const int given[GIVEN_FDS] = {high_fuse, high_config, high_life, high_cache};
  int e = spawn(s, argv, given, theirs);
  if (!e)
    return 0;
  s->pid = 0;
  csn_closep(&s->out);
  errno = e;
  return csn_fail_errno(err, "cannot start rclone");
}

static int
start_thread(csn_mount_host *h, csn_err *err)
{
  pthread_attr_t at;
  sigset_t all, old;
  if (pipe2(h->wake, O_CLOEXEC) < 0)
    return csn_fail_errno(err, "pipe");
  pthread_attr_init(&at);
  pthread_attr_setstacksize(&at, STACK_BYTES);
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old); /* the program's handlers run in its own threads */
  int e = pthread_create(&h->thread, &at, listen_to_all, h);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  pthread_attr_destroy(&at);
  h->has_thread = e == 0;
  return e ? csn_fail(err, CSN_E_UNAVAILABLE, "cannot start a thread for the mounts: error %d", e)
           : 0;
}

int
csn_mount_host_serve(csn_mount_host *h, csn_scope *sc, int *fds, unsigned uid, unsigned gid,
                     csn_err *err)
{
  int rc = 0;
  for (size_t i = 0; i < h->n; i++) {
    struct served *s = &h->all[i];
    if (rc == 0)
      rc = csn_wrap(err, start(s, sc, fds[i], uid, gid, err), "%s at %s", csn_mount_word(&s->mount),
                    s->mount.place.p);
    csn_closep(&fds[i]); /* the last one but rclone's: so its end is the mount's */
  }
  return rc < 0 ? rc : start_thread(h, err);
}

/* ---- their end ---- */

const char *
csn_mount_host_lost(csn_mount_host *h)
{
  if (!h)
    return NULL;
  csn_scope soon;
  csn_scope_init(&soon, NULL, NOTE_MS);
  pthread_mutex_lock(&h->lock);
  for (size_t i = 0; i < h->n; i++) {
    struct pollfd fd = {.fd = h->all[i].life}; /* who saw the mount's end sees this */
    while (!h->lost && h->all[i].pid && h->has_thread && poll(&fd, 1, 0) > 0 &&
           csn_scope_wait(&soon, &h->changed, &h->lock, NULL) == 0)
      continue;
  }
  const char *lost = h->lost;
  pthread_mutex_unlock(&h->lock);
  csn_scope_fini(&soon);
  return lost;
}

int
csn_mount_host_explain(csn_mount_host *h, int rc, csn_err *err)
{
  if (rc >= 0 || !h || !h->has_thread || !err)
    return rc;
  csn_scope soon;
  csn_scope_init(&soon, NULL, NOTE_MS);
  pthread_mutex_lock(&h->lock);
  for (size_t i = 0; i < h->n; i++) {
    struct served *s = &h->all[i];
    if (!strstr(err->msg, s->mount.place.p))
      continue;
    while (!s->said.n && s->pid && csn_scope_wait(&soon, &h->changed, &h->lock, NULL) == 0)
      continue;
    csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(2 * SAID_MAX);
    last_words(s, csn_buf_str(&s->said), &text);
    rc = csn_fail(err, CSN_E_UNAVAILABLE, "%s at %s cannot be mounted: rclone says: %.300s",
                  csn_mount_word(&s->mount), s->mount.place.p, text.p);
    break;
  }
  pthread_mutex_unlock(&h->lock);
  csn_scope_fini(&soon);
  return rc;
}

static void
end_some(csn_mount_host *h, bool only_read_only)
{
  pthread_mutex_lock(&h->lock);
  for (size_t i = 0; i < h->n; i++)
    if (h->all[i].pid && (h->all[i].mount.is_read_only || !only_read_only))
      kill(h->all[i].pid, SIGKILL);
  pthread_mutex_unlock(&h->lock);
}

static bool
has_ended(int life, int ms)
{
  struct pollfd fd = {.fd = life, .events = POLLIN};
  return life < 0 || poll(&fd, 1, ms) > 0;
}

/* Until each has ended by itself, as it does when its mount is gone. */
static bool
await_all(csn_mount_host *h, int64_t ms)
{
  csn_scope sc;
  int rc = 0;
  csn_scope_init(&sc, NULL, ms);
  pthread_mutex_lock(&h->lock);
  for (size_t i = 0; i < h->n && rc == 0; i++)
    while (rc == 0 && h->all[i].pid)
      rc = csn_scope_wait(&sc, &h->changed, &h->lock, NULL);
  pthread_mutex_unlock(&h->lock);
  csn_scope_fini(&sc);
  return rc == 0;
}

/* A file that waits to be stored; the descriptor is closed only when we are. */
static const struct served *
find_pending(csn_mount_host *h, char **name)
{
  const struct served *found = NULL;
  pthread_mutex_lock(&h->lock);
  for (size_t i = 0; i < h->n && !found; i++)
    if (h->all[i].cache >= 0 && (h->all[i].pid || name) &&
        csn_mount_is_pending(h->all[i].cache, name))
      found = &h->all[i];
  pthread_mutex_unlock(&h->lock);
  return found;
}

void
csn_mount_host_store(csn_mount_host *h, csn_buf *told)
{
  int64_t end_ns = csn_now_ns() + STORE_MS * INT64_C(1000000);
  const struct served *s;
  char *name = NULL;
  if (!h || !h->has_thread)
    return;
  while (find_pending(h, NULL) && csn_now_ns() < end_ns) {
    struct timespec pause = {.tv_nsec = 20000000};
    nanosleep(&pause, NULL); /* rclone tells nobody when it is done */
  }
  if ((s = find_pending(h, &name)) && told) {
    csn_buf_addf(told, "the mount %s (%s) has not stored %s; it said last: ", s->mount.place.p,
                 csn_mount_word(&s->mount), name);
    last_words(s, csn_buf_str(&s->said), told);
    csn_buf_addc(told, '\n');
  }
  free(name);
}

void
csn_mount_host_end(csn_mount_host *h, int life)
{
  if (!h)
    return;
  pthread_mutex_lock(&h->lock);
  h->is_ending = true;
  pthread_mutex_unlock(&h->lock);
  end_some(h, true);
  if (!has_ended(life, LET_GO_MS))
    end_some(h, false);
}

void
csn_mount_host_free(csn_mount_host *h)
{
  if (!h)
    return;
  end_some(h, false);
  if (h->has_thread) {
    (void)await_all(h, -1);
    csn_closep(&h->wake[1]);
    pthread_join(h->thread, NULL);
  }
  for (size_t i = 0; i < h->n; i++) {
    struct served *s = &h->all[i];
    csn_mounts_wipe((csn_mount *const[]){&s->mount, NULL});
    while (s->pid && waitpid(s->pid, NULL, 0) < 0 && errno == EINTR)
      continue;
    csn_closep(&s->out);
    csn_closep(&s->life);
    csn_closep(&s->cache);
    csn_buf_fini(&s->said);
    csn_arena_free(s->arena);
  }
  csn_closep(&h->wake[0]);
  csn_closep(&h->wake[1]);
  csn_closep(&h->list_fd);
  pthread_cond_destroy(&h->changed);
  pthread_mutex_destroy(&h->lock);
  free(h->lost);
  free(h->root);
  free(h->all);
  free(h);
}

/* ---- whether there are any ---- */

const char *
csn_mount_host_missing(char room[400])
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_device_state fuse;
  csn_device_look("fuse", &fuse);
  if (!csn_program_on_path(a, "rclone"))
    snprintf(room, 400, "there is no rclone on the PATH (Debian's package rclone)");
  else if (strcmp(fuse.state, "present") != 0)
    snprintf(room, 400, "/dev/fuse cannot be used: %.300s", fuse.note);
  else
    return NULL;
  return room;
}
