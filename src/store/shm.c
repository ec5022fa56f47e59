/* SPDX-License-Identifier: Apache-2.0
 *
 * shm.c - fewer locks for each commit.
 *
 * SQLite begins a transaction by reading: it moves a "read mark" of the log's
 * index to the newest commit, under an exclusive lock of that mark, and keeps a
 * shared lock of it, so that nobody copies later commits into the database or
 * begins the log anew while it reads.  Then it takes the lock of who writes, and
 * looks whether anybody committed since.  Those are six system calls a commit.
 *
 * Who writes from the newest commit on needs no mark: as long as he has the lock
 * of the writer there are no later commits, and nobody can begin the log anew.
 * So for a transaction of which we know that it takes that lock at once (BEGIN
 * IMMEDIATE), and when the index still says what it said after our last commit
 * (what SQLite has in memory is true then, it reads nothing before it has the
 * lock), the marks are left alone: to move one is answered "busy", as if another
 * process used it, and the shared lock is taken in name only.  Two system calls
 * are left.  All others, readers above all, lock as ever.
 */
#include <stddef.h>

#include "store/db.h"

/* Locks of the log's index: WRITE, CKPT, RECOVER, READ 0 to 4; READ 0 has no mark. */
enum { WRITE_LOCK = 0, FIRST_MARK = 4, REGION_BYTES = 32768 };

static struct csn_marks *
marks_of(sqlite3_file *f)
{
  return (struct csn_marks *)(void *)((char *)(uintptr_t)f->pMethods -
                                      offsetof(struct csn_marks, own));
}

static bool
is_unchanged(const struct csn_marks *m)
{
  return m->index && memcmp((const void *)(uintptr_t)m->index, m->seen, sizeof m->seen) == 0;
}

/* After our commit, before anybody else's. */
static void
remember(struct csn_marks *m, sqlite3_file *f)
{
  volatile void *p = NULL;
  if (!m->index && m->real->xShmMap(f, 0, REGION_BYTES, 0, &p) == SQLITE_OK)
    m->index = p;
  if (m->index)
    memcpy(m->seen, (const void *)(uintptr_t)m->index, sizeof m->seen);
}

static int
shm_lock(sqlite3_file *f, int at, int n, int how)
{
  struct csn_marks *m = marks_of(f);
  bool is_mark = at >= FIRST_MARK && n == 1, locks = how & SQLITE_SHM_LOCK;
  bool is_exclusive = how & SQLITE_SHM_EXCLUSIVE;
  if (is_mark && !locks && !is_exclusive && m->unlocked == at) {
    m->unlocked = 0;
    return SQLITE_OK;
  }
  if (is_mark && locks && m->begins && is_unchanged(m)) {
    unsigned bit = 1u << at;
    if (!is_exclusive) {
      m->refused = 0;
      m->unlocked = at;
      return SQLITE_OK;
    }
    /* The second time there is no mark that it could use: it gets one. */
    if (!(m->refused & bit)) {
      m->refused |= bit;
      return SQLITE_BUSY;
    }
  }
  if (at == WRITE_LOCK && !locks)
    remember(m, f);
  int rc = m->real->xShmLock(f, at, n, how);
  if (at == WRITE_LOCK && locks && rc == SQLITE_OK)
    m->begins = false;
  return rc;
}

static int
shm_unmap(sqlite3_file *f, int is_deleted)
{
  struct csn_marks *m = marks_of(f);
  m->index = NULL;
  return m->real->xShmUnmap(f, is_deleted);
}

void
csn_marks_setup(struct csn_marks *m, sqlite3 *sq)
{
  sqlite3_file *f = NULL;
  sqlite3_file_control(sq, "main", SQLITE_FCNTL_FILE_POINTER, &f);
  if (!f || !f->pMethods || f->pMethods->iVersion < 2 || !f->pMethods->xShmLock)
    return;
  m->real = f->pMethods;
  m->own = *m->real;
  m->own.xShmLock = shm_lock;
  m->own.xShmUnmap = shm_unmap;
  f->pMethods = &m->own;
}

void
csn_marks_begin(struct csn_marks *m, bool begins)
{
  m->begins = begins;
  m->refused = 0;
}
