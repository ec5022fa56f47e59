/* SPDX-License-Identifier: Apache-2.0
 * depot_names.c - snapshots in another place: their names and records; see
 * depot.h. */
#include <stdio.h>

#include "sandbox/depot_int.h"

void
csn_depot_record_fini(csn_depot_record *r)
{
  free(r->packs);
  r->packs = NULL;
  r->n_packs = 0;
}

bool
csn_depot_name_key(const csn_depot *d, const char *name, size_t i, char key[200])
{
  char hex[65];
  if (!d->vault) {
    snprintf(key, 200, "names/%s", name);
    return i == 0;
  }
  if (i >= csn_vault_keys(d->vault))
    return false;
  csn_digest blind = csn_vault_blind(d->vault, i, "name", csn_cstr(name));
  csn_digest_hex(&blind, hex);
  snprintf(key, 200, "names/%s", hex);
  return true;
}

static int
read_packs(const csn_json *v, csn_depot_record *out, csn_err *err)
{
  const csn_json *packs = csn_json_get(v, "packs");
  if (!csn_json_is(packs, CSN_JSON_ARRAY) || packs->n > CSN_DEPOT_PACKS_MAX)
    return csn_fail(err, CSN_E_PARSE, "it is of another version, or damaged");
  out->packs = csn_alloc((packs->n + 1) * sizeof *out->packs);
  csn_json_each (p, packs) {
    if (p->kind != CSN_JSON_STRING || !csn_depot_is_id(p->text))
      return csn_fail(err, CSN_E_PARSE, "it is of another version, or damaged");
    memcpy(out->packs[out->n_packs++], p->text.p, CSN_DEPOT_ID);
  }
  return 0;
}

/* A record as it is stored at `key`. */
static int
read_record(csn_depot *d, const char *key, csn_str stored, csn_depot_record *out, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new((size_t)4 * CSN_DEPOT_RECORD_MAX);
  csn_auto(csn_buf_finip) csn_buf plain = CSN_BUF(CSN_DEPOT_RECORD_MAX);
  const csn_json *v = NULL;
  csn_str name = {NULL, 0};
  size_t which = 0;
  char want[200] = "";
  *out = (csn_depot_record){0};
  int rc = d->vault ? csn_vault_open(d->vault, csn_cstr(key), stored, &plain, &which, err) : 0;
  csn_str json = d->vault ? csn_buf_str(&plain) : stored;
  if (rc == 0)
    rc = csn_snapshot_record_open(&json, err);
  if (rc == 0)
    rc = csn_json_parse(a, json, &v, err);
  if (rc == 0)
    rc = csn_json_need_str(v, "name", &name, err);
  if (rc == 0)
    rc = csn_snapshot_record_read(v, &out->snapshot, err);
  if (rc == 0)
    rc = read_packs(v, out, err);
  if (rc < 0)
    return rc == CSN_E_DENIED ? rc : CSN_E_PARSE;
  if (name.n < sizeof out->snapshot.name)
    snprintf(out->snapshot.name, sizeof out->snapshot.name, "%.*s", (int)name.n, name.p);
  if (csn_snapshot_name_check(out->snapshot.name, NULL) < 0 ||
      !csn_depot_name_key(d, out->snapshot.name, which, want) || strcmp(want, key) != 0)
    return csn_fail(err, CSN_E_PARSE, "it is the record of another name");
  return 0;
}

int
csn_depot_record_at(csn_depot *d, csn_scope *sc, const char *key, csn_depot_record *out,
                    csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(CSN_DEPOT_RECORD_MAX);
  *out = (csn_depot_record){0};
  int rc = csn_object_get(d->o, sc, key, 0, -1, &text, err);
  if (rc == 0) {
    rc = read_record(d, key, csn_buf_str(&text), out, err);
    csn_wrap(err, rc, "%s: %s", csn_depot_place(d), key);
  }
  if (rc < 0)
    csn_depot_record_fini(out);
  return rc;
}

int
csn_depot_record_get(csn_depot *d, csn_scope *sc, const char *name, csn_depot_record *out,
                     csn_err *err)
{
  char key[200];
  int rc = csn_snapshot_name_check(name, err);
  *out = (csn_depot_record){0};
  if (rc < 0)
    return rc;
  rc = CSN_E_NOT_FOUND;
  for (size_t i = 0; rc == CSN_E_NOT_FOUND && csn_depot_name_key(d, name, i, key); i++)
    rc = csn_depot_record_at(d, sc, key, out, err);
  return rc == CSN_E_NOT_FOUND
             ? csn_fail(err, rc, "there is no snapshot %s at %s", name, csn_depot_place(d))
             : rc;
}

static int
put(csn_depot *d, csn_scope *sc, const csn_depot_record *r, bool is_new, csn_err *err)
{
  char key[200];
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(CSN_DEPOT_RECORD_MAX),
                                  sealed = CSN_BUF(CSN_DEPOT_RECORD_MAX);
  csn_jw w;
  csn_jw_init(&w, &text);
  csn_jw_obj(&w);
  csn_jw_key(&w, "name");
  csn_jw_strz(&w, r->snapshot.name);
  csn_snapshot_record_write(&r->snapshot, &w);
  csn_jw_key(&w, "packs");
  csn_jw_arr(&w);
  for (size_t i = 0; i < r->n_packs; i++)
    csn_jw_strz(&w, r->packs[i]);
  csn_jw_end(&w);
  csn_jw_end(&w);
  csn_snapshot_record_close(&text);
  int rc = csn_buf_done(&text, "the snapshot's record", err);
  if (rc < 0 || !csn_depot_name_key(d, r->snapshot.name, 0, key))
    return rc;
  if (d->vault)
    rc = csn_vault_seal(d->vault, csn_cstr(key), csn_buf_str(&text), &sealed, err);
  return rc < 0
             ? rc
             : csn_object_put(d->o, sc, key, csn_buf_str(d->vault ? &sealed : &text), is_new, err);
}

int
csn_depot_record_put(csn_depot *d, csn_scope *sc, const csn_depot_record *r, csn_err *err)
{
  return put(d, sc, r, true, err);
}

int
csn_depot_record_replace(csn_depot *d, csn_scope *sc, const csn_depot_record *r, csn_err *err)
{
  char key[200];
  int rc = put(d, sc, r, false, err);
  for (size_t i = 1; rc == 0 && csn_depot_name_key(d, r->snapshot.name, i, key); i++)
    rc = csn_object_remove(d->o, sc, key, err);
  return rc;
}

/* ---- all of them ---- */

static int
add_key(void *user, const csn_object *object, csn_err *err)
{
  csn_depot_keys *l = user;
  if (strlen(object->name) >= sizeof *l->p)
    return csn_fail(err, CSN_E_PARSE, "%.100s: this is no name of ours", object->name);
  if (l->n == CSN_DEPOT_NAMES_MAX)
    return csn_fail(err, CSN_E_LIMIT, "more than %d snapshots", CSN_DEPOT_NAMES_MAX);
  if ((l->n & (l->n + 1)) == 0) /* room doubles */
    l->p = csn_realloc(l->p, 2 * l->n + 2, sizeof *l->p);
  snprintf(l->p[l->n++], sizeof *l->p, "%s", object->name);
  return 0;
}

int
csn_depot_keys_list(csn_depot *d, csn_scope *sc, csn_depot_keys *out, csn_err *err)
{
  *out = (csn_depot_keys){0};
  return csn_objects_list(d->o, sc, "names/", add_key, out, err);
}

struct looking {
  csn_depot *d;
  csn_scope *sc;
  csn_depot_keys keys;
  pthread_mutex_t lock;
  int (*fn)(void *user, const csn_depot_record *r, csn_err *err);
  void *user;
};

static int
look_at(void *user, size_t i, csn_err *err)
{
  struct looking *l = user;
  csn_auto(csn_depot_record_fini) csn_depot_record r = {0};
  int rc = csn_depot_record_at(l->d, l->sc, l->keys.p[i], &r, err);
  if (rc < 0)
    return rc;
  pthread_mutex_lock(&l->lock);
  rc = l->fn(l->user, &r, err);
  pthread_mutex_unlock(&l->lock);
  return rc;
}

int
csn_depot_records(csn_depot *d, csn_scope *sc,
                  int (*fn)(void *user, const csn_depot_record *r, csn_err *err), void *user,
                  csn_err *err)
{
  struct looking l = {.d = d, .sc = sc, .fn = fn, .user = user, .lock = PTHREAD_MUTEX_INITIALIZER};
  int rc = csn_depot_keys_list(d, sc, &l.keys, err);
  if (rc == 0)
    rc = csn_transfer_each(d->parallel, l.keys.n, look_at, &l, err);
  free(l.keys.p);
  return rc;
}

/* ---- for others ---- */

int
csn_depot_find(csn_depot *d, csn_scope *sc, const char *name, csn_snapshot *out, csn_err *err)
{
  csn_auto(csn_depot_record_fini) csn_depot_record r = {0};
  int rc = csn_depot_check_place(d, sc, err);
  if (rc == 0)
    rc = csn_depot_record_get(d, sc, name, &r, err);
  *out = r.snapshot;
  return rc;
}

struct listing {
  csn_snapshot *p;
  size_t n;
};

static int
add_snapshot(void *user, const csn_depot_record *r, csn_err *err)
{
  struct listing *l = user;
  (void)err;
  if ((l->n & (l->n + 1)) == 0) /* room doubles */
    l->p = csn_realloc(l->p, 2 * l->n + 2, sizeof *l->p);
  l->p[l->n++] = r->snapshot;
  return 0;
}

int
csn_depot_list(csn_depot *d, csn_scope *sc, csn_snapshot **list, size_t *n, csn_err *err)
{
  struct listing l = {0};
  int rc = csn_depot_check_place(d, sc, err);
  if (rc == 0)
    rc = csn_depot_records(d, sc, add_snapshot, &l, err);
  csn_snapshot_sort(l.p, l.n);
  *list = l.p;
  *n = l.n;
  return rc;
}

int
csn_depot_remove(csn_depot *d, csn_scope *sc, const char *name, csn_err *err)
{
  csn_auto(csn_depot_record_fini) csn_depot_record r = {0};
  char key[200];
  int rc = csn_depot_check_place(d, sc, err);
  if (rc == 0)
    rc = csn_depot_record_get(d, sc, name, &r, err);
  if (rc == CSN_E_PARSE) /* a damaged one can be removed */
    rc = 0;
  for (size_t i = 0; rc == 0 && csn_depot_name_key(d, name, i, key); i++)
    rc = csn_object_remove(d->o, sc, key, err);
  return rc;
}
