/* SPDX-License-Identifier: Apache-2.0
 * transfer.c - much to and from a place of objects; see transfer.h. */
#include "store/transfer.h"

#include <fcntl.h>
#include <stdio.h>

#include "base/pool.h"
#include "core/fd.h"
#include "core/hash.h"

/* ---- several at once ---- */

struct work {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  size_t next, n;
  int threads, rc; /* that run; the first failure */
  csn_err why;
  int (*fn)(void *user, size_t i, csn_err *err);
  void *user;
};

static void
work_on(void *user)
{
  struct work *w = user;
  pthread_mutex_lock(&w->lock);
  while (w->rc == 0 && w->next < w->n) {
    csn_err err = {0};
    size_t i = w->next++;
    pthread_mutex_unlock(&w->lock);
    int rc = w->fn(w->user, i, &err);
    pthread_mutex_lock(&w->lock);
    if (rc < 0 && w->rc == 0) {
      w->rc = rc;
      w->why = err;
    }
  }
  w->threads--;
  pthread_cond_signal(&w->changed);
  pthread_mutex_unlock(&w->lock);
}

static int
bounded(int parallel)
{
  return parallel < 1                           ? 1
         : parallel > CSN_TRANSFER_PARALLEL_MAX ? CSN_TRANSFER_PARALLEL_MAX
                                                : parallel;
}

int
csn_transfer_each(int parallel, size_t n, int (*fn)(void *user, size_t i, csn_err *err), void *user,
                  csn_err *err)
{
  struct work w = {.lock = PTHREAD_MUTEX_INITIALIZER, .n = n, .fn = fn, .user = user};
  int threads = bounded(parallel);
  if ((size_t)threads > n)
    threads = (int)n;
  if (threads == 0)
    return 0;
  csn_pool *pool = csn_pool_new(threads, threads);
  csn_cond_init(&w.changed);
  w.threads = threads;
  for (int i = 0; i < threads; i++)
    csn_pool_add(pool, work_on, &w);
  pthread_mutex_lock(&w.lock);
  while (w.threads)
    pthread_cond_wait(&w.changed, &w.lock);
  pthread_mutex_unlock(&w.lock);
  csn_pool_free(pool);
  pthread_cond_destroy(&w.changed);
  if (w.rc < 0 && err)
    *err = w.why;
  return w.rc;
}

/* ---- uploads ---- */

/* A part that the store has got. */
struct part {
  csn_digest sum;
  char *tag; /* NULL: it has not */
};

struct piece {
  csn_uploader *u;
  struct piece *next; /* while it is free */
  char *bytes;
  size_t n;
  int number;
  bool is_last;
};

struct csn_uploader {
  csn_uploader_spec spec;
  pthread_mutex_t lock; /* guards what follows */
  pthread_cond_t changed;
  struct piece *pieces, *free; /* all of them; those that nobody fills or sends */
  int n_pieces, busy;
  struct part *parts;
  int n_parts;
  int rc;
  csn_err why;
  int64_t sent, kept;
  /* Of the caller's thread. */
  csn_pool *pool;
  struct piece *filling;
  char *id; /* of the upload; NULL: none was begun */
  int n;    /* parts so far */
};

/* Room for a part; with the lock held or before any thread runs. */
static struct part *
part_at(csn_uploader *u, int number)
{
  if (number >= u->n_parts) {
    int n = number * 2 + 8;
    u->parts = csn_realloc(u->parts, (size_t)n, sizeof *u->parts);
    memset(u->parts + u->n_parts, 0, (size_t)(n - u->n_parts) * sizeof *u->parts);
    u->n_parts = n;
  }
  return &u->parts[number];
}

/* "p NUMBER SHA256 TAG"; what is not complete does not count. */
static void
read_note(csn_uploader *u, csn_str line)
{
  int64_t number;
  csn_digest sum;
  size_t at = csn_str_find(line, CSN_STR(" "), 2);
  if (at == SIZE_MAX || line.n < at + 67 || !csn_str_int(csn_strn(line.p + 2, at - 2), &number) ||
      number < 0 || number >= CSN_OBJECT_PARTS_MAX ||
      !csn_digest_from_hex(csn_strn(line.p + at + 1, 64), &sum) || line.p[at + 65] != ' ')
    return;
  struct part *p = part_at(u, (int)number);
  free(p->tag);
  *p = (struct part){sum, csn_dupz(csn_strn(line.p + at + 66, line.n - at - 66))};
}

static int
read_notes(csn_uploader *u, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(8 << 20);
  if (lseek(u->spec.notes_fd, 0, SEEK_SET) < 0)
    return csn_fail_errno(err, "the notes of an upload");
  int rc = csn_fd_read_all(u->spec.notes_fd, &text, err);
  if (rc < 0)
    return rc;
  csn_str rest = csn_buf_str(&text), line;
  const char *end = text.n ? memrchr(text.p, '\n', text.n) : NULL;
  rest.n = end ? (size_t)(end - text.p) + 1 : 0; /* a line that was cut is none */
  /* What follows goes behind the last whole line. */
  if (ftruncate(u->spec.notes_fd, (off_t)rest.n) < 0 || lseek(u->spec.notes_fd, 0, SEEK_END) < 0)
    return csn_fail_errno(err, "the notes of an upload");
  while (csn_str_line(&rest, &line)) {
    if (csn_str_starts(line, CSN_STR("u ")) && !u->id)
      u->id = csn_dupz(csn_strn(line.p + 2, line.n - 2));
    else if (csn_str_starts(line, CSN_STR("p ")))
      read_note(u, line);
  }
  return 0;
}

int
csn_uploader_new(csn_uploader **out, const csn_uploader_spec *spec, csn_err *err)
{
  csn_auto(csn_uploader_freep) csn_uploader *u = csn_alloc(sizeof *u);
  u->spec = *spec;
  pthread_mutex_init(&u->lock, NULL);
  csn_cond_init(&u->changed);
  u->n_pieces = csn_objects_is_parallel(spec->objects) ? bounded(spec->parallel) : 1;
  u->pieces = csn_alloc((size_t)u->n_pieces * sizeof *u->pieces);
  for (int i = 0; i < u->n_pieces; i++) {
    u->pieces[i] = (struct piece){.u = u, .next = u->free};
    u->free = &u->pieces[i];
  }
  u->pool = csn_pool_new(u->n_pieces, u->n_pieces);
  int rc = read_notes(u, err);
  if (rc == 0)
    *out = csn_steal(u);
  return rc;
}

void
csn_uploader_free(csn_uploader *u)
{
  if (!u)
    return;
  csn_pool_free(u->pool);
  for (int i = 0; i < u->n_pieces; i++)
    free(u->pieces[i].bytes);
  for (int i = 0; i < u->n_parts; i++)
    free(u->parts[i].tag);
  free(u->pieces);
  free(u->parts);
  free(u->id);
  pthread_cond_destroy(&u->changed);
  pthread_mutex_destroy(&u->lock);
  free(u);
}

/* With the lock held. */
static void
tell(csn_uploader *u, int64_t n, bool is_sent)
{
  csn_transfer_watch *w = u->spec.watch;
  *(is_sent ? &u->sent : &u->kept) += n;
  if (w) {
    w->done += n;
    w->fn(w->user, w->done, w->all);
  }
}

static void
fail(csn_uploader *u, int rc, const csn_err *why)
{
  if (u->rc == 0) {
    u->rc = rc == CSN_E_NOT_FOUND ? CSN_E_CONFLICT : rc; /* the upload is not known any more */
    u->why = *why;
  }
}

/* In a thread of the pool. */
static void
send_piece(void *user)
{
  struct piece *p = user;
  csn_uploader *u = p->u;
  char line[CSN_OBJECT_TAG_MAX + 120], hex[65];
  csn_auto(csn_buf_finip) csn_buf tag = CSN_BUF(CSN_OBJECT_TAG_MAX);
  csn_err why = {0};
  csn_upload_part part = {csn_cstr(u->id), p->number, p->is_last, csn_strn(p->bytes, p->n)};
  csn_digest sum = csn_sha256_of(part.bytes);
  pthread_mutex_lock(&u->lock);
  struct part *known = part_at(u, p->number);
  bool is_there = known->tag && memcmp(&known->sum, &sum, sizeof sum) == 0;
  int rc = u->rc;
  pthread_mutex_unlock(&u->lock);
  bool is_sent = rc == 0 && !is_there;
  if (is_sent)
    rc = csn_upload_put(u->spec.objects, u->spec.sc, u->spec.name, &part, &tag, &why);
  pthread_mutex_lock(&u->lock);
  if (is_sent && rc == 0) {
    known = part_at(u, p->number);
    free(known->tag);
    *known = (struct part){sum, csn_dupz(csn_buf_str(&tag))};
    csn_digest_hex(&sum, hex);
    int n = snprintf(line, sizeof line, "p %d %s %s\n", p->number, hex, tag.n ? tag.p : "");
    (void)!csn_fd_write_all(u->spec.notes_fd, csn_strn(line, (size_t)n),
                            NULL); /* else sent again */
  }
  if (rc < 0)
    fail(u, rc, &why);
  else
    tell(u, (int64_t)p->n, is_sent);
  p->next = u->free;
  u->free = p;
  u->busy--;
  pthread_cond_signal(&u->changed);
  pthread_mutex_unlock(&u->lock);
}

static int
begin_upload(csn_uploader *u, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf id = CSN_BUF(4096), line = CSN_BUF(8192);
  if (u->id)
    return 0;
  int rc = csn_upload_begin(u->spec.objects, u->spec.sc, u->spec.name, &id, err);
  if (rc < 0)
    return rc;
  u->id = csn_dupz(csn_buf_str(&id));
  csn_buf_addf(&line, "u %s\n", u->id);
  return csn_fd_write_all(u->spec.notes_fd, csn_buf_str(&line), err);
}

/* The piece that is full, or the last one, is on its way. */
static int
send_filling(csn_uploader *u, bool is_last, csn_err *err)
{
  if (u->n >= CSN_OBJECT_PARTS_MAX)
    return csn_fail(err, CSN_E_LIMIT, "an object of more than %d parts", CSN_OBJECT_PARTS_MAX);
  int rc = begin_upload(u, err);
  if (rc < 0)
    return rc;
  struct piece *p = csn_steal(u->filling);
  p->number = u->n++;
  p->is_last = is_last;
  pthread_mutex_lock(&u->lock);
  u->busy++;
  pthread_mutex_unlock(&u->lock);
  csn_pool_add(u->pool, send_piece, p);
  return 0;
}

static int
take_piece(csn_uploader *u, csn_err *err)
{
  pthread_mutex_lock(&u->lock);
  while (!u->free)
    pthread_cond_wait(&u->changed, &u->lock);
  int rc = u->rc;
  if (rc < 0 && err)
    *err = u->why;
  u->filling = rc == 0 ? u->free : NULL;
  if (u->filling)
    u->free = u->filling->next;
  pthread_mutex_unlock(&u->lock);
  if (rc < 0)
    return rc;
  if (!u->filling->bytes)
    u->filling->bytes = csn_realloc(NULL, CSN_OBJECT_PART, 1);
  u->filling->n = 0;
  return 0;
}

int
csn_uploader_add(csn_uploader *u, csn_str bytes, csn_err *err)
{
  while (bytes.n) {
    int rc = 0;
    if (u->filling && u->filling->n == CSN_OBJECT_PART)
      rc = send_filling(u, false, err); /* more follows, so it is not the last */
    if (rc == 0 && !u->filling)
      rc = take_piece(u, err);
    if (rc < 0)
      return rc;
    size_t n = CSN_OBJECT_PART - u->filling->n;
    n = n < bytes.n ? n : bytes.n;
    memcpy(u->filling->bytes + u->filling->n, bytes.p, n);
    u->filling->n += n;
    bytes = csn_strn(bytes.p + n, bytes.n - n);
  }
  return 0;
}

static int
wait_for_all(csn_uploader *u, csn_err *err)
{
  pthread_mutex_lock(&u->lock);
  while (u->busy)
    pthread_cond_wait(&u->changed, &u->lock);
  int rc = u->rc;
  if (rc < 0 && err)
    *err = u->why;
  pthread_mutex_unlock(&u->lock);
  return rc;
}

int
csn_uploader_end(csn_uploader *u, csn_err *err)
{
  if (u->n == 0) { /* it fits into one request */
    csn_str all = u->filling ? csn_strn(u->filling->bytes, u->filling->n) : CSN_STR("");
    int rc = csn_object_put(u->spec.objects, u->spec.sc, u->spec.name, all, false, err);
    pthread_mutex_lock(&u->lock);
    if (rc == 0)
      tell(u, (int64_t)all.n, true);
    pthread_mutex_unlock(&u->lock);
    return rc;
  }
  int rc = u->filling ? send_filling(u, true, err) : 0;
  int end = wait_for_all(u, rc < 0 ? NULL : err);
  if (rc < 0 || end < 0)
    return rc < 0 ? rc : end;
  csn_auto(csn_freep) csn_str *tags = csn_alloc((size_t)u->n * sizeof *tags);
  for (int i = 0; i < u->n; i++)
    tags[i] = csn_cstr(u->parts[i].tag);
  rc = csn_upload_end(u->spec.objects, u->spec.sc, u->spec.name, csn_cstr(u->id), tags, u->n, err);
  return rc == CSN_E_NOT_FOUND ? csn_fail(err, CSN_E_CONFLICT, "the store has forgotten the upload")
                               : rc;
}

void
csn_uploader_count(const csn_uploader *u, int64_t *sent, int64_t *kept)
{
  *sent += u->sent;
  *kept += u->kept;
}
