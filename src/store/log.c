/* SPDX-License-Identifier: Apache-2.0
 *
 * log.c - SQLite's write-ahead log, written once a commit.
 *
 * SQLite writes each page of a commit as a frame, and each frame in two calls:
 * 24 bytes of head, then the page.  A tool turn would be a dozen system calls.
 * Between SQLite and its own file layer this one gathers the frames and writes
 * them at once when the head of a frame says that it ends a commit (bytes 4 to
 * 7, not zero), and earlier when the room is used up or anything but the next
 * write is asked for.  SQLite makes a commit known to readers only after that
 * write came back, so what it promises about crashes and full disks stays as
 * it is.
 *
 * After a big transaction SQLite writes the heads of some frames anew, each
 * after having read that frame: no page follows those, so a head is the begin
 * of a frame only beyond what was written or read last.
 */
#include <stddef.h>

#include "store/db.h"

enum { FRAME_HEAD = 24, ROOM = 64 << 10 };

struct log_file {
  sqlite3_file base;  /* first */
  sqlite3_file *real; /* behind this struct */
  char *buf;          /* ROOM bytes, made at the first frame; the last n of what was written */
  int n;
  sqlite3_int64 next; /* behind what was written last */
  sqlite3_int64 end;  /* behind what was written or read last */
  bool goes_on;       /* what was written last belongs to a commit that has more frames */
};

static struct log_file *
log_of(sqlite3_file *f)
{
  return (struct log_file *)f;
}

static int
write_out(struct log_file *l)
{
  int n = l->n;
  l->n = 0;
  return n ? l->real->pMethods->xWrite(l->real, l->buf, n, l->next - n) : SQLITE_OK;
}

static bool
ends_commit(const unsigned char *head)
{
  return head[4] || head[5] || head[6] || head[7];
}

static int
log_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
  struct log_file *l = log_of(f);
  bool is_next = at == l->next, is_head = n == FRAME_HEAD && at >= l->end;
  int rc = l->n && (!is_next || n > ROOM - l->n) ? write_out(l) : SQLITE_OK;
  if (rc != SQLITE_OK)
    return rc;
  l->goes_on = is_head ? !ends_commit(p) : l->goes_on && is_next;
  l->next = l->end = at + n;
  if (!l->n && !is_head && !l->goes_on)
    return l->real->pMethods->xWrite(l->real, p, n, at);
  if (!l->buf)
    l->buf = csn_alloc(ROOM);
  memcpy(l->buf + l->n, p, (size_t)n);
  l->n += n;
  return is_head || l->goes_on ? SQLITE_OK : write_out(l);
}

static int
log_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
  struct log_file *l = log_of(f);
  int rc = write_out(l);
  if (at + n > l->end)
    l->end = at + n;
  return rc == SQLITE_OK ? l->real->pMethods->xRead(l->real, p, n, at) : rc;
}

/* ---- the rest is passed on, after what was gathered ---- */

static int
log_close(sqlite3_file *f)
{
  struct log_file *l = log_of(f);
  free(l->buf);
  return l->real->pMethods->xClose(l->real);
}

static int
log_truncate(sqlite3_file *f, sqlite3_int64 size)
{
  struct log_file *l = log_of(f);
  int rc = write_out(l);
  return rc == SQLITE_OK ? l->real->pMethods->xTruncate(l->real, size) : rc;
}

static int
log_sync(sqlite3_file *f, int flags)
{
  struct log_file *l = log_of(f);
  int rc = write_out(l);
  return rc == SQLITE_OK ? l->real->pMethods->xSync(l->real, flags) : rc;
}

static int
log_size(sqlite3_file *f, sqlite3_int64 *size)
{
  struct log_file *l = log_of(f);
  int rc = write_out(l);
  return rc == SQLITE_OK ? l->real->pMethods->xFileSize(l->real, size) : rc;
}

static int
log_lock(sqlite3_file *f, int kind)
{
  return log_of(f)->real->pMethods->xLock(log_of(f)->real, kind);
}

static int
log_unlock(sqlite3_file *f, int kind)
{
  return log_of(f)->real->pMethods->xUnlock(log_of(f)->real, kind);
}

static int
log_is_reserved(sqlite3_file *f, int *out)
{
  return log_of(f)->real->pMethods->xCheckReservedLock(log_of(f)->real, out);
}

static int
log_control(sqlite3_file *f, int op, void *arg)
{
  return log_of(f)->real->pMethods->xFileControl(log_of(f)->real, op, arg);
}

static int
log_sector(sqlite3_file *f)
{
  return log_of(f)->real->pMethods->xSectorSize(log_of(f)->real);
}

static int
log_device(sqlite3_file *f)
{
  return log_of(f)->real->pMethods->xDeviceCharacteristics(log_of(f)->real);
}

static const sqlite3_io_methods log_methods = {
    .iVersion = 1,
    .xClose = log_close,
    .xRead = log_read,
    .xWrite = log_write,
    .xTruncate = log_truncate,
    .xSync = log_sync,
    .xFileSize = log_size,
    .xLock = log_lock,
    .xUnlock = log_unlock,
    .xCheckReservedLock = log_is_reserved,
    .xFileControl = log_control,
    .xSectorSize = log_sector,
    .xDeviceCharacteristics = log_device,
};

/* The copy of SQLite's own layer that the store registers holds its xOpen. */
static int
open_file(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *out)
{
  const csn_lite *s = (const csn_lite *)(void *)((char *)vfs - offsetof(csn_lite, vfs));
  if (!(flags & SQLITE_OPEN_WAL))
    return s->open_file(vfs, name, f, flags, out);
  struct log_file *l = log_of(f);
  *l = (struct log_file){.real = (sqlite3_file *)(void *)(l + 1)};
  int rc = s->open_file(vfs, name, l->real, flags, out);
  if (l->real->pMethods) /* else SQLite does not close it */
    l->base.pMethods = &log_methods;
  return rc;
}

void
csn_log_setup(csn_lite *s)
{
  s->open_file = s->vfs.xOpen;
  s->vfs.xOpen = open_file;
  s->vfs.szOsFile += (int)sizeof(struct log_file);
}

int
csn_log_is_written(sqlite3 *sq)
{
  sqlite3_file *f = NULL;
  sqlite3_file_control(sq, "main", SQLITE_FCNTL_JOURNAL_POINTER, &f);
  return f && f->pMethods == &log_methods ? write_out(log_of(f)) : SQLITE_OK;
}
