/* SPDX-License-Identifier: Apache-2.0
 * objects.c - a place that keeps objects: what all of them have, above all
 * trying again; see objects.h. */
#include "store/objects.h"

#include "core/hash.h"
#include "store/objects_backend.h"

enum { TRIES = 7, FIRST_PAUSE_MS = 100, LONGEST_PAUSE_MS = 8000, LONGEST_ASKED_MS = 30000 };

int
csn_objects_open(csn_objects **out, struct csn_http *http, const csn_objects_spec *spec,
                 csn_err *err)
{
  static const struct {
    const char *type;
    int (*open)(csn_objects **out, const csn_objects_spec *spec, csn_err *err);
  } types[] = {{"s3", csn_objects_open_s3},
               {"gcs", csn_objects_open_gcs},
               {"azure", csn_objects_open_azure},
               {"folder", csn_objects_open_folder}};
  for (size_t i = 0; i < CSN_COUNT(types); i++) {
    if (strcmp(spec->type, types[i].type) != 0)
      continue;
    int rc = types[i].open(out, spec, err);
    if (rc == 0) {
      csn_objects *o = *out;
      o->http = http;
      if (spec->prefix.n)
        o->prefix = csn_arena_printf(o->arena, "%.*s/", (int)spec->prefix.n, spec->prefix.p);
      csn_str where = spec->folder ? csn_cstr(spec->folder) : spec->bucket;
      o->place = csn_arena_printf(o->arena, "%s://%.*s%s%.*s", spec->type, (int)where.n, where.p,
                                  spec->prefix.n ? "/" : "", (int)spec->prefix.n,
                                  spec->prefix.n ? spec->prefix.p : "")
                     .p;
    }
    return rc;
  }
  return csn_fail(err, CSN_E_INVALID, "no store is of the type %.40s: s3, gcs, azure or folder",
                  spec->type);
}

const char *const *
csn_objects_words(csn_arena *a, const char *const *words)
{
  size_t n = 0;
  while (words && words[n])
    n++;
  const char **copy = csn_arena_alloc(a, (n + 1) * sizeof *copy);
  for (size_t i = 0; i < n; i++)
    copy[i] = csn_arena_dup(a, csn_cstr(words[i])).p;
  return words ? copy : NULL;
}

void
csn_objects_free(csn_objects *o)
{
  if (o)
    o->ops->close(o);
}

const char *
csn_objects_place(const csn_objects *o)
{
  return o->place;
}

bool
csn_objects_is_parallel(const csn_objects *o)
{
  return o->ops->is_parallel;
}

/* ---- trying again ---- */

/* Waits before the next try; 0, or the error of the scope. */
static int
pause_before(int tries, csn_scope *sc, int64_t asked_ms, csn_err *err)
{
  pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t never;
  csn_scope own;
  uint32_t by;
  int64_t ms = FIRST_PAUSE_MS;
  for (int i = 0; i < tries && ms < LONGEST_PAUSE_MS; i++)
    ms *= 2;
  csn_random_bytes(&by, sizeof by);
  ms = ms / 2 + by % (uint32_t)ms; /* those that failed together do not come back together */
  if (asked_ms > ms)
    ms = asked_ms < LONGEST_ASKED_MS ? asked_ms : LONGEST_ASKED_MS;
  csn_scope_init(&own, sc, ms);
  csn_cond_init(&never);
  pthread_mutex_lock(&lock);
  while (csn_scope_wait(&own, &never, &lock, NULL) == 0)
    continue;
  pthread_mutex_unlock(&lock);
  pthread_cond_destroy(&never);
  csn_scope_fini(&own);
  return csn_scope_check(sc, err);
}

/* One call, which is tried until it succeeds or nothing is to be hoped for. */
struct call {
  csn_objects *o;
  csn_scope *sc;
  const char *name;
  csn_buf text;
  csn_str key; /* its name in the store */
  int tries, rc;
  csn_err why;
};

static void
call_fini(struct call *c)
{
  csn_buf_fini(&c->text);
}

static struct call
call_of(csn_objects *o, csn_scope *sc, const char *name)
{
  enum { KEY_MAX = 1024 };
  struct call c = {.o = o, .sc = sc, .name = name, .text = CSN_BUF(KEY_MAX)};
  csn_buf_add(&c.text, o->prefix);
  csn_buf_addz(&c.text, name);
  c.key = csn_buf_str(&c.text);
  c.rc = csn_buf_done(&c.text, "the name of an object", &c.why);
  return c;
}

/* Whether to try, for the first time or again. */
static bool
goes_on(struct call *c)
{
  bool is_first = c->tries == 0, may_pass = c->rc == CSN_E_UNAVAILABLE || c->rc == CSN_E_TIMEOUT;
  if (is_first ? c->rc < 0 : !may_pass || c->tries >= TRIES)
    return false;
  csn_err over;
  int rc = is_first ? csn_scope_check(c->sc, &over)
                    : pause_before(c->tries, c->sc, c->why.retry_after_ms, &over);
  if (rc < 0) {
    c->rc = rc;
    c->why = over;
    return false;
  }
  c->tries++;
  c->why = (csn_err){.retry_after_ms = -1};
  return true;
}

static int
call_end(struct call *c, csn_err *err)
{
  if (c->rc >= 0)
    return c->rc;
  if (err)
    *err = c->why;
  return csn_wrap(err, c->rc, "%s: %s", c->o->place, c->name);
}

int
csn_object_get(csn_objects *o, csn_scope *sc, const char *name, int64_t from, int64_t n,
               csn_buf *out, csn_err *err)
{
  csn_auto(call_fini) struct call c = call_of(o, sc, name);
  while (goes_on(&c))
    c.rc = o->ops->get(o, sc, c.key, from, n, out, &c.why);
  return call_end(&c, err);
}

int
csn_object_put(csn_objects *o, csn_scope *sc, const char *name, csn_str bytes, bool is_new,
               csn_err *err)
{
  csn_auto(call_fini) struct call c = call_of(o, sc, name);
  while (goes_on(&c))
    c.rc = o->ops->put(o, sc, c.key, bytes, is_new, &c.why);
  return call_end(&c, err);
}

int
csn_object_remove(csn_objects *o, csn_scope *sc, const char *name, csn_err *err)
{
  csn_auto(call_fini) struct call c = call_of(o, sc, name);
  while (goes_on(&c))
    c.rc = o->ops->remove(o, sc, c.key, &c.why);
  return call_end(&c, err);
}

int
csn_upload_begin(csn_objects *o, csn_scope *sc, const char *name, csn_buf *id, csn_err *err)
{
  csn_auto(call_fini) struct call c = call_of(o, sc, name);
  while (goes_on(&c))
    c.rc = o->ops->upload_begin(o, sc, c.key, id, &c.why);
  return call_end(&c, err);
}

int
csn_upload_put(csn_objects *o, csn_scope *sc, const char *name, const csn_upload_part *part,
               csn_buf *tag, csn_err *err)
{
  csn_auto(call_fini) struct call c = call_of(o, sc, name);
  while (goes_on(&c))
    c.rc = o->ops->upload_put(o, sc, c.key, part, tag, &c.why);
  return call_end(&c, err);
}

int
csn_upload_end(csn_objects *o, csn_scope *sc, const char *name, csn_str id, const csn_str *tags,
               int n, csn_err *err)
{
  csn_auto(call_fini) struct call c = call_of(o, sc, name);
  while (goes_on(&c))
    c.rc = o->ops->upload_end(o, sc, c.key, id, tags, n, &c.why);
  return call_end(&c, err);
}

int
csn_upload_drop(csn_objects *o, csn_scope *sc, const char *name, csn_str id, csn_err *err)
{
  csn_auto(call_fini) struct call c = call_of(o, sc, name);
  while (goes_on(&c))
    c.rc = o->ops->upload_drop(o, sc, c.key, id, &c.why);
  return call_end(&c, err);
}

/* ---- lists ---- */

/* What a page holds is handed on only when all of the page came. */
struct page {
  const csn_objects *o;
  csn_arena *arena;
  csn_object *p;
  size_t n;
};

static int
keep_object(void *user, const csn_object *object, csn_err *err)
{
  struct page *g = user;
  csn_str name = csn_cstr(object->name);
  if (!csn_str_starts(name, g->o->prefix))
    return csn_fail(err, CSN_E_PARSE, "the store lists what it was not asked for");
  if ((g->n & (g->n + 1)) == 0) /* room doubles */
    g->p = csn_realloc(g->p, 2 * g->n + 2, sizeof *g->p);
  g->p[g->n] = *object;
  g->p[g->n++].name =
      csn_arena_dup(g->arena, csn_strn(name.p + g->o->prefix.n, name.n - g->o->prefix.n)).p;
  return 0;
}

static int
list_page(csn_objects *o, csn_scope *sc, const char *head, struct page *g, csn_buf *next,
          csn_err *err)
{
  csn_auto(call_fini) struct call c = call_of(o, sc, head);
  csn_auto(csn_buf_finip) csn_buf at = CSN_BUF(next->cap);
  csn_buf_add(&at, csn_buf_str(next));
  while (goes_on(&c)) { /* each try begins where the first did */
    g->n = 0;
    csn_buf_clear(next);
    csn_buf_add(next, csn_buf_str(&at));
    c.rc = o->ops->list(o, sc, c.key, next, keep_object, g, &c.why);
  }
  return call_end(&c, err);
}

int
csn_objects_list(csn_objects *o, csn_scope *sc, const char *head, csn_object_fn *fn, void *user,
                 csn_err *err)
{
  enum { PAGES_MAX = 1 << 20, NEXT_MAX = 16 << 10 };
  csn_auto(csn_buf_finip) csn_buf next = CSN_BUF(NEXT_MAX);
  int rc = 0;
  for (int pages = 0; rc == 0 && (pages == 0 || next.n) && pages < PAGES_MAX; pages++) {
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    struct page g = {.o = o, .arena = a};
    rc = list_page(o, sc, head, &g, &next, err);
    for (size_t i = 0; rc == 0 && i < g.n; i++)
      rc = fn(user, &g.p[i], err);
    free(g.p);
  }
  return rc;
}
