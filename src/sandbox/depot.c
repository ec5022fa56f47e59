/* SPDX-License-Identifier: Apache-2.0
 * depot.c - snapshots in another place: what is there, and what we note of it;
 * see depot.h. */
#include "sandbox/depot.h"

#include <fcntl.h>
#include <stdio.h>
#include <time.h>

#include "core/fd.h"
#include "sandbox/depot_int.h"

static const char marker[] = "caisson.json";

/* ---- the depot ---- */

/* A folder of our own store for this place. */
static int
open_notes(csn_depot *d, csn_err *err)
{
  char hex[65], path[100];
  csn_digest of = csn_sha256_of(csn_cstr(csn_objects_place(d->o)));
  csn_digest_hex(&of, hex);
  snprintf(path, sizeof path, "depots/%.24s", hex);
  int rc = csn_mkdirs(d->s->dir, path, 0700, err);
  if (rc == 0)
    rc = csn_open_beneath(d->s->dir, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, err);
  d->notes = rc;
  return rc < 0 ? csn_wrap(err, rc, "snapshots/%s", path) : 0;
}

int
csn_depot_open(csn_depot **out, csn_objects *objects, csn_vault *vault, csn_snapshots *s,
               int parallel, csn_err *err)
{
  csn_auto(csn_depot_freep) csn_depot *d = csn_alloc(sizeof *d);
  *d = (csn_depot){
      .o = objects, .vault = vault, .s = s, .parallel = parallel, .notes = -1, .is_sorted = true};
  if (parallel <= 0)
    d->parallel = CSN_TRANSFER_PARALLEL;
  pthread_mutex_init(&d->lock, NULL);
  int rc = open_notes(d, err);
  if (rc == 0)
    *out = csn_steal(d);
  return rc;
}

void
csn_depot_free(csn_depot *d)
{
  if (!d)
    return;
  csn_objects_free(d->o);
  csn_vault_free(d->vault);
  csn_closep(&d->notes);
  pthread_mutex_destroy(&d->lock);
  free(d->packs);
  free(d->rows);
  free(d);
}

const char *
csn_depot_place(const csn_depot *d)
{
  return csn_objects_place(d->o);
}

void
csn_depot_watch(csn_depot *d, void (*fn)(void *user, int64_t done, int64_t all), void *user)
{
  d->watch = (csn_transfer_watch){.fn = fn, .user = user};
}

int
csn_depot_spool(const csn_depot *d, csn_err *err)
{
  int fd = openat(d->notes, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd >= 0)
    return fd;
  char name[26] = "."; /* of a file system without such files */
  csn_random_name(name + 1, 24);
  fd = openat(d->notes, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd >= 0)
    (void)!unlinkat(d->notes, name, 0);
  return fd < 0 ? csn_fail_errno(err, "make a temporary file") : fd;
}

/* ---- the mark of the place ---- */

int
csn_depot_check_place(csn_depot *d, csn_scope *sc, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(4096);
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(1 << 16);
  const csn_json *v = NULL;
  int rc = csn_object_get(d->o, sc, marker, 0, -1, &text, err);
  if (rc == CSN_E_NOT_FOUND)
    return csn_fail(err, rc, "there are no snapshots at %s yet", csn_depot_place(d));
  if (rc == 0 && (csn_json_parse(a, csn_buf_str(&text), &v, NULL) < 0 ||
                  csn_json_int(v, "caisson_snapshots", 0) != 1))
    return csn_fail(err, CSN_E_PARSE, "%s holds no snapshots that this version knows",
                    csn_depot_place(d));
  if (rc == 0 && csn_json_bool(v, "sealed", false) != (d->vault != NULL))
    return csn_fail(err, CSN_E_DENIED,
                    d->vault ? "%s is not encrypted, and there are keys for it: leave them out, or "
                               "name another prefix"
                             : "%s is encrypted, and there are no keys for it: name them in "
                               "caisson.yaml, stores.NAME.keys",
                    csn_depot_place(d));
  return rc;
}

int
csn_depot_mark_place(csn_depot *d, csn_scope *sc, csn_err *err)
{
  csn_str text = d->vault ? CSN_STR("{\"caisson_snapshots\":1,\"sealed\":true}\n")
                          : CSN_STR("{\"caisson_snapshots\":1,\"sealed\":false}\n");
  int rc = csn_object_put(d->o, sc, marker, text, true, err);
  return rc == CSN_E_EXISTS ? csn_depot_check_place(d, sc, err) : rc;
}

/* ---- locks ---- */

bool
csn_depot_lock_is_over(const csn_object *lock)
{
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return lock->modified_ms &&
         (int64_t)now.tv_sec * 1000 - lock->modified_ms > (int64_t)CSN_DEPOT_LOCK_HOURS * 3600000;
}

void
csn_depot_unlock(csn_depot *d, const char *lock)
{
  enum { END_MS = 10000 };
  csn_scope own;
  csn_scope_init(&own, NULL, END_MS);
  (void)!csn_object_remove(d->o, &own, lock, NULL);
  csn_scope_fini(&own);
}

/* ---- packs and what they hold ---- */

size_t
csn_depot_pack_of(csn_depot *d, const char *id)
{
  for (size_t i = d->n_packs; i-- > 0;)
    if (strcmp(d->packs[i].id, id) == 0)
      return i;
  if ((d->n_packs & (d->n_packs + 1)) == 0) /* room doubles */
    d->packs = csn_realloc(d->packs, 2 * d->n_packs + 2, sizeof *d->packs);
  d->packs[d->n_packs] = (csn_depot_pack){0};
  snprintf(d->packs[d->n_packs].id, sizeof d->packs->id, "%s", id);
  return d->n_packs++;
}

static int
by_digest(const void *a, const void *b)
{
  return memcmp(&((const csn_depot_row *)a)->digest, &((const csn_depot_row *)b)->digest,
                sizeof(csn_digest));
}

void
csn_depot_row_add(csn_depot *d, const csn_depot_row *row)
{
  if (d->n_rows == d->room) {
    d->room = d->room ? d->room * 2 : 1024;
    d->rows = csn_realloc(d->rows, d->room, sizeof *d->rows);
  }
  d->rows[d->n_rows++] = *row;
  d->is_sorted = false;
}

const csn_depot_row *
csn_depot_row_find(csn_depot *d, const csn_digest *digest)
{
  const csn_depot_row key = {.digest = *digest};
  if (!d->is_sorted)
    qsort(d->rows, d->n_rows, sizeof *d->rows, by_digest);
  d->is_sorted = true;
  return d->n_rows ? bsearch(&key, d->rows, d->n_rows, sizeof *d->rows, by_digest) : NULL;
}

/* ---- the text of an index ---- */

enum { ROW = 56 };
static const char index_head[] = "caisson-index 1\n";

static void
put_number(csn_buf *out, int64_t value)
{
  char bytes[8];
  for (int i = 0; i < 8; i++)
    bytes[i] = (char)(((uint64_t)value >> (8 * i)) & 0xff);
  csn_buf_add(out, csn_strn(bytes, sizeof bytes));
}

static int64_t
get_number(const char *p)
{
  uint64_t value = 0;
  for (int i = 7; i >= 0; i--)
    value = value << 8 | (unsigned char)p[i];
  return (int64_t)value;
}

void
csn_depot_index_write(const csn_depot_row *rows, size_t n, csn_buf *out)
{
  csn_buf_addz(out, index_head);
  for (size_t i = 0; i < n; i++) {
    csn_buf_add(out, csn_strn((const char *)rows[i].digest.b, 32));
    put_number(out, rows[i].offset);
    put_number(out, rows[i].size);
    put_number(out, rows[i].stored);
  }
  csn_digest sum = csn_sha256_of(csn_buf_str(out));
  csn_buf_add(out, csn_strn((const char *)sum.b, 32));
}

static bool
is_sane(const csn_depot_row *r)
{
  return r->offset >= 0 && r->size >= 0 && r->stored >= 0 && r->size <= CSN_SNAP_BYTES_MAX &&
         r->stored <= 2 * CSN_SNAP_BYTES_MAX && r->offset <= 4 * CSN_SNAP_BYTES_MAX;
}

/* Notes what it says of a pack, all or nothing; with the lock held. */
static int
index_read(csn_depot *d, size_t pack, csn_str text, csn_err *err)
{
  enum { HEAD = sizeof index_head - 1 };
  size_t n = text.n < HEAD + 32 ? 0 : (text.n - HEAD - 32) / ROW;
  csn_digest sum = csn_sha256_of(csn_strn(text.p, text.n < 32 ? 0 : text.n - 32));
  if (text.n != HEAD + n * ROW + 32 || !csn_str_starts(text, csn_cstr(index_head)) ||
      memcmp(sum.b, text.p + text.n - 32, 32) != 0)
    return csn_fail(err, CSN_E_PARSE, "the index of a pack is damaged");
  if (d->n_rows + n > CSN_DEPOT_ROWS_MAX)
    return csn_fail(err, CSN_E_LIMIT, "the place holds more than %d contents", CSN_DEPOT_ROWS_MAX);
  size_t before = d->n_rows;
  for (size_t i = 0; i < n; i++) {
    const char *p = text.p + HEAD + i * ROW;
    csn_depot_row row = {.pack = (uint32_t)pack,
                         .offset = get_number(p + 32),
                         .size = get_number(p + 40),
                         .stored = get_number(p + 48)};
    memcpy(row.digest.b, p, 32);
    if (!is_sane(&row)) {
      d->n_rows = before;
      return csn_fail(err, CSN_E_PARSE, "the index of a pack is damaged");
    }
    if (row.offset + row.stored > d->packs[pack].bytes)
      d->packs[pack].bytes = row.offset + row.stored;
    csn_depot_row_add(d, &row);
  }
  d->packs[pack].is_loaded = true;
  return 0;
}

/* Opens an index as it is stored, and notes it. */
static int
take_index(csn_depot *d, size_t pack, csn_str stored, csn_err *err)
{
  char name[80];
  size_t key = 0;
  csn_auto(csn_buf_finip) csn_buf plain = CSN_BUF(CSN_DEPOT_INDEX_MAX);
  snprintf(name, sizeof name, "index/%s", d->packs[pack].id);
  int rc = d->vault ? csn_vault_open(d->vault, csn_cstr(name), stored, &plain, &key, err) : 0;
  pthread_mutex_lock(&d->lock);
  if (rc == 0)
    rc = index_read(d, pack, d->vault ? csn_buf_str(&plain) : stored, err);
  d->packs[pack].key = key;
  pthread_mutex_unlock(&d->lock);
  return rc;
}

struct loading {
  csn_depot *d;
  csn_scope *sc;
  size_t *which;
};

/* From our notes if it is sound there, else from the place. */
static int
load_one(void *user, size_t i, csn_err *err)
{
  const struct loading *l = user;
  csn_depot *d = l->d;
  char name[80], note[80];
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(CSN_DEPOT_INDEX_MAX);
  snprintf(name, sizeof name, "index/%s", d->packs[l->which[i]].id);
  snprintf(note, sizeof note, "i-%s", d->packs[l->which[i]].id);
  if (!d->is_wary && csn_file_read(d->notes, note, &text, NULL) >= 0 &&
      take_index(d, l->which[i], csn_buf_str(&text), NULL) == 0)
    return 0;
  csn_buf_clear(&text);
  int rc = csn_object_get(d->o, l->sc, name, 0, -1, &text, err);
  if (rc == 0)
    rc = csn_wrap(err, take_index(d, l->which[i], csn_buf_str(&text), err), "%s: %s",
                  csn_depot_place(d), name);
  if (d->is_wary)
    return rc == CSN_E_PARSE || rc == CSN_E_DENIED || rc == CSN_E_LIMIT ? 0 : rc;
  if (rc == 0)
    (void)!csn_file_write(d->notes, note, csn_buf_str(&text), 0600, false, NULL);
  return rc;
}

int
csn_depot_load(csn_depot *d, csn_scope *sc, csn_err *err)
{
  csn_auto(csn_freep) size_t *which = csn_alloc((d->n_packs + 1) * sizeof *which);
  struct loading l = {d, sc, which};
  size_t n = 0;
  for (size_t i = 0; i < d->n_packs; i++)
    if (!d->packs[i].is_loaded)
      which[n++] = i;
  return csn_transfer_each(d->parallel, n, load_one, &l, err);
}

bool
csn_depot_is_id(csn_str id)
{
  for (size_t i = 0; i < id.n; i++)
    if (!((id.p[i] >= '0' && id.p[i] <= '9') || (id.p[i] >= 'a' && id.p[i] <= 'f')))
      return false;
  return id.n == CSN_DEPOT_ID;
}

static int
note_index(void *user, const csn_object *object, csn_err *err)
{
  csn_depot *d = user;
  csn_str id = csn_strn(object->name + 6, strlen(object->name) - 6);
  if (!csn_depot_is_id(id))
    return 0; /* of somebody else */
  if (d->n_packs == CSN_DEPOT_PACKS_MAX)
    return csn_fail(err, CSN_E_LIMIT, "more than %d packs", CSN_DEPOT_PACKS_MAX);
  (void)csn_depot_pack_of(d, id.p);
  return 0;
}

int
csn_depot_load_all(csn_depot *d, csn_scope *sc, csn_err *err)
{
  int rc = csn_objects_list(d->o, sc, "index/", note_index, d, err);
  return rc < 0 ? rc : csn_depot_load(d, sc, err);
}
