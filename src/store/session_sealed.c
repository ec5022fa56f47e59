/* SPDX-License-Identifier: Apache-2.0
 *
 * session_sealed.c - sessions whose items are encrypted, in any other store.
 *
 * An item becomes {"sealed":1,"key":NAME,"nonce":...,"data":...}: AES-256-GCM
 * with a random nonce, bound to the session's name and the item's place, so
 * that it cannot stand elsewhere.  Names, numbers of items, times and the ids of
 * runs are not hidden.  An item that is not encrypted is refused: who can write
 * the store could have put it there.
 */
#include <stdio.h>

#include "caisson/json.h"
#include "core/hash.h"
#include "store/keyring.h"
#include "store/session_backend.h"

enum { TRIES = 100, WITH_MAX = 256, ITEM_MAX = 256 << 20 };

struct sealed {
  csn_sessions base;
  csn_sessions *inner; /* owned */
  csn_keyring *keys;   /* owned */
  const csn_seal_module *m;
};

static struct sealed *
sealed_of(csn_sessions *s)
{
  return (struct sealed *)s; /* base is the first member */
}

/* What an item is bound to. */
static csn_str
binding(char text[WITH_MAX], csn_str name, int64_t n, const char *key)
{
  int len = snprintf(text, WITH_MAX, "caisson session 1\n%.*s\n%lld\n%s", (int)name.n, name.p,
                     (long long)n, key);
  return csn_strn(text, (size_t)len);
}

static int
seal(const struct sealed *s, csn_str name, int64_t n, csn_str item, csn_buf *out, csn_err *err)
{
  const csn_session_key *key = csn_keyring_newest(s->keys);
  unsigned char nonce[CSN_SEAL_NONCE];
  char with[WITH_MAX];
  csn_auto(csn_freep) unsigned char *data = csn_alloc(item.n + CSN_SEAL_TAG);
  csn_random_bytes(nonce, sizeof nonce);
  if (s->m->seal(key->key, nonce, binding(with, name, n, key->name), item, data) < 0)
    return csn_fail(err, CSN_E_IO, "session '%.*s': an item cannot be encrypted", (int)name.n,
                    name.p);
  csn_buf_addf(out, "{\"sealed\":1,\"key\":\"%s\",\"nonce\":\"", key->name);
  csn_base64_add(out, csn_strn((const char *)nonce, sizeof nonce));
  csn_buf_addz(out, "\",\"data\":\"");
  csn_base64_add(out, csn_strn((const char *)data, item.n + CSN_SEAL_TAG));
  csn_buf_addz(out, "\"}");
  return csn_buf_done(out, "an encrypted item", err);
}

/* ---- reading ---- */

struct reading {
  const struct sealed *s;
  csn_str name;
  csn_session_item_fn *fn;
  void *user;
  csn_err *err;
};

static int
fail_item(const struct reading *r, int64_t n, enum csn_code code, const char *what)
{
  return csn_fail(r->err, code, "item %lld of session '%.*s' %s", (long long)n, (int)r->name.n,
                  r->name.p, what);
}

static int
open_item(void *user, int64_t n, csn_str item)
{
  const struct reading *r = user;
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf nonce = CSN_BUF(64), data = CSN_BUF(ITEM_MAX);
  const csn_json *v;
  char with[WITH_MAX];
  if (csn_json_parse(a, item, &v, NULL) < 0 || csn_json_int(v, "sealed", 0) != 1)
    return fail_item(r, n, CSN_E_DENIED,
                     "is not encrypted: somebody else wrote it, or it is older than the keys; to "
                     "read it, leave the keys out");
  csn_str name = csn_json_str(v, "key", CSN_STR(""));
  const csn_session_key *key = csn_keyring_find(r->s->keys, name);
  if (!key) {
    char what[120];
    snprintf(what, sizeof what, "is encrypted with the key '%.*s', which is not among the keys",
             (int)(name.n < CSN_KEY_NAME_MAX ? name.n : CSN_KEY_NAME_MAX), name.n ? name.p : "");
    return fail_item(r, n, CSN_E_DENIED, what);
  }
  if (!csn_base64_decode(&nonce, csn_json_str(v, "nonce", CSN_STR(""))) ||
      !csn_base64_decode(&data, csn_json_str(v, "data", CSN_STR(""))) ||
      nonce.n != CSN_SEAL_NONCE || data.n < CSN_SEAL_TAG || nonce.over || data.over)
    return fail_item(r, n, CSN_E_DENIED, "was altered");
  csn_auto(csn_freep) char *plain = csn_alloc(data.n);
  if (r->s->m->open(key->key, (const unsigned char *)nonce.p, binding(with, r->name, n, key->name),
                    csn_buf_str(&data), (unsigned char *)plain) < 0)
    return fail_item(
        r, n, CSN_E_DENIED,
        "cannot be read: its key is another one now, or the item was altered or moved");
  int rc = r->fn(r->user, n, csn_strn(plain, data.n - CSN_SEAL_TAG));
  explicit_bzero(plain, data.n);
  return rc;
}

static int
sealed_find(csn_sessions *s, csn_str name, csn_session_stat *out, csn_err *err)
{
  csn_sessions *in = sealed_of(s)->inner;
  return in->ops->find(in, name, out, err);
}

static int
sealed_read(csn_sessions *s, csn_str name, int64_t from, int64_t to, csn_session_item_fn *fn,
            void *user, csn_err *err)
{
  struct reading r = {sealed_of(s), name, fn, user, err};
  csn_sessions *in = sealed_of(s)->inner;
  return in->ops->read(in, name, from, to, open_item, &r, err);
}

static int
sealed_list(csn_sessions *s, int (*fn)(void *user, const csn_session_row *r), void *user,
            csn_err *err)
{
  csn_sessions *in = sealed_of(s)->inner;
  return in->ops->list(in, fn, user, err);
}

/* ---- writing ---- */

static void
free_all(csn_buf *items, size_t n)
{
  for (size_t i = 0; i < n; i++)
    csn_buf_fini(&items[i]);
  free(items);
}

/* The items sealed for their places, and appended if the session still ends at
 * `at`. */
static int
append_at(struct sealed *s, const csn_session_add *a, int64_t at, csn_err *err)
{
  csn_buf *sealed = csn_alloc((a->n + 1) * sizeof *sealed);
  csn_auto(csn_freep) csn_str *items = csn_alloc((a->n + 1) * sizeof *items);
  int rc = 0;
  size_t n = 0;
  for (; n < a->n && rc >= 0; n++) {
    sealed[n] = CSN_BUF(ITEM_MAX);
    rc = seal(s, a->name, (a->replaces ? a->keep : at) + (int64_t)n, a->items[n], &sealed[n], err);
    items[n] = csn_buf_str(&sealed[n]);
  }
  csn_session_add own = *a;
  own.items = items;
  own.at = at;
  if (rc >= 0)
    rc = s->inner->ops->append(s->inner, &own, err);
  free_all(sealed, n);
  return rc;
}

static int
sealed_append(csn_sessions *base, const csn_session_add *a, csn_err *err)
{
  struct sealed *s = sealed_of(base);
  int rc = CSN_E_CONFLICT;
  for (int i = 0; i < TRIES && rc == CSN_E_CONFLICT; i++) {
    csn_session_stat st = {0};
    rc = s->inner->ops->find(s->inner, a->name, &st, err);
    if (rc < 0)
      return rc;
    if (rc > 0 && a->is_new)
      return csn_session_exists(a->name, err);
    if (a->at >= 0 && a->at != st.items)
      return csn_session_conflict(a->name, err);
    rc = append_at(s, a, rc ? st.items : 0, err);
  }
  return rc;
}

static int
sealed_cut(csn_sessions *s, csn_str name, int64_t items, int64_t keep, csn_err *err)
{
  csn_sessions *in = sealed_of(s)->inner;
  return in->ops->cut(in, name, items, keep, err);
}

static int
sealed_remove(csn_sessions *s, csn_str name, csn_err *err)
{
  csn_sessions *in = sealed_of(s)->inner;
  return in->ops->remove(in, name, err);
}

static void
sealed_close(csn_sessions *base)
{
  struct sealed *s = sealed_of(base);
  csn_sessions_close(s->inner);
  csn_keyring_free(s->keys);
  free(s);
}

static const csn_session_ops sealed_ops = {
    .name = "sealed",
    .close = sealed_close,
    .find = sealed_find,
    .read = sealed_read,
    .append = sealed_append,
    .cut = sealed_cut,
    .remove = sealed_remove,
    .list = sealed_list,
};

int
csn_sessions_seal(csn_sessions **s, csn_keyring *keys, csn_err *err)
{
  const csn_module *m = NULL;
  int rc = csn_module_open("caisson-seal.so", "csn_seal_entry", CSN_SEAL_ABI, &m, err);
  if (rc < 0) {
    csn_keyring_free(keys);
    return rc;
  }
  struct sealed *own = csn_alloc(sizeof *own);
  *own = (struct sealed){.base.ops = &sealed_ops,
                         .inner = *s,
                         .keys = keys,
                         .m = (const csn_seal_module *)m}; /* it is the first member */
  *s = &own->base;
  return 0;
}
