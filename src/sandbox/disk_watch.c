/* SPDX-License-Identifier: Apache-2.0
 *
 * disk_watch.c - see disk_watch.h.
 *
 * Every look walks the whole folder by descriptors and never follows a link.
 * It takes at most a tenth of one processor: the pause after a look is at
 * least nine times as long.  What cannot be opened is not counted, so the limit
 * is a soft one. */
#include "sandbox/disk_watch.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "core/thread.h"

enum { PAUSE_MS = 200, DEEPEST = 64 };

struct csn_disk_watch {
  int folder_fd;
  int64_t most[2]; /* bytes, inodes */
  int64_t last[2]; /* at the last call; the thread's */
  void (*end)(void *user);
  void *user;
  csn_scope life;
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t never; /* only the scope ends a pause */
  int64_t ended[2];     /* calls for either */
};

struct size {
  int64_t bytes, inodes;
  dev_t device;
};

static void add_folder(struct size *s, const csn_scope *life, int fd, int depth);

/* A file with several names counts as a part under each. */
static void
add_entry(struct size *s, const csn_scope *life, int folder, const char *name, int depth)
{
  struct stat st;
  if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_dev != s->device)
    return;
  s->inodes++;
  s->bytes += (int64_t)st.st_blocks * 512 /
              (S_ISDIR(st.st_mode) || !st.st_nlink ? 1 : (int64_t)st.st_nlink);
  if (S_ISDIR(st.st_mode) && depth < DEEPEST)
    add_folder(s, life, openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC),
               depth + 1);
}

/* Takes the descriptor. */
static void
add_folder(struct size *s, const csn_scope *life, int fd, int depth)
{
  DIR *folder = fd < 0 ? NULL : fdopendir(fd);
  if (!folder) {
    csn_closep(&fd);
    return;
  }
  for (struct dirent *d; csn_scope_check(life, NULL) == 0 && (d = readdir(folder));)
    if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
      add_entry(s, life, dirfd(folder), d->d_name, depth);
  closedir(folder);
}

static struct size
look(const csn_scope *life, int folder_fd)
{
  struct stat st;
  struct size s = {0};
  if (fstat(folder_fd, &st) < 0)
    return s;
  s.device = st.st_dev;
  add_folder(&s, life, openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), 0);
  return s;
}

int64_t
csn_disk_used(const csn_scope *sc, int folder_fd)
{
  return look(sc, folder_fd).bytes;
}

/* False when the watch is over. */
static bool
rest(csn_disk_watch *w, int64_t ms)
{
  csn_scope pause;
  int rc = 0;
  csn_scope_init(&pause, &w->life, ms);
  pthread_mutex_lock(&w->lock);
  while (rc == 0)
    rc = csn_scope_wait(&pause, &w->never, &w->lock, NULL);
  pthread_mutex_unlock(&w->lock);
  csn_scope_fini(&pause);
  return rc == CSN_E_TIMEOUT;
}

static void *
watch(void *arg)
{
  csn_disk_watch *w = arg;
  int64_t took_ms = 0;
  while (rest(w, PAUSE_MS + took_ms * 9)) {
    int64_t began = csn_now_ns();
    struct size s = look(&w->life, w->folder_fd);
    int64_t now[2] = {s.bytes, s.inodes};
    took_ms = (csn_now_ns() - began) / 1000000;
    for (int i = 0; i < 2; i++) {
      if (w->most[i] == CSN_UNLIMITED || now[i] <= w->most[i]) {
        w->last[i] = 0;
      } else if (now[i] > w->last[i]) {
        pthread_mutex_lock(&w->lock);
        w->ended[i]++;
        pthread_mutex_unlock(&w->lock);
        w->end(w->user);
        w->last[i] = now[i];
      }
    }
  }
  return NULL;
}

static void
destroy(csn_disk_watch *w)
{
  csn_closep(&w->folder_fd);
  pthread_cond_destroy(&w->never);
  pthread_mutex_destroy(&w->lock);
  csn_scope_fini(&w->life);
  free(w);
}

int
csn_disk_watch_new(csn_disk_watch **out, int folder_fd, int64_t bytes, int64_t inodes,
                   void (*end)(void *user), void *user, csn_err *err)
{
  csn_disk_watch *w = csn_alloc(sizeof *w);
  *w = (csn_disk_watch){.folder_fd = fcntl(folder_fd, F_DUPFD_CLOEXEC, 0),
                        .most = {bytes, inodes},
                        .end = end,
                        .user = user};
  csn_scope_init(&w->life, NULL, -1);
  pthread_mutex_init(&w->lock, NULL);
  csn_cond_init(&w->never);
  int rc = w->folder_fd < 0 ? csn_fail_errno(err, "workspace") : 0;
  struct size first = look(&w->life, w->folder_fd); /* what is there already is nobody's fault */
  w->last[0] = first.bytes;
  w->last[1] = first.inodes;
  if (rc == 0)
    rc = csn_thread_start(&w->thread, watch, w, "the disk limit", err);
  if (rc == 0)
    *out = w;
  else
    destroy(w);
  return rc;
}

void
csn_disk_watch_free(csn_disk_watch *w)
{
  if (!w)
    return;
  csn_scope_cancel(&w->life);
  pthread_join(w->thread, NULL);
  destroy(w);
}

void
csn_disk_watch_count(csn_disk_watch *w, csn_sandbox_usage *u)
{
  pthread_mutex_lock(&w->lock);
  u->reached[CSN_LIMIT_DISK] += w->ended[0];
  u->reached[CSN_LIMIT_INODES] += w->ended[1];
  pthread_mutex_unlock(&w->lock);
}
