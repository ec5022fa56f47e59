/* SPDX-License-Identifier: Apache-2.0
 *
 * netlog.c - sums up connections that are alike; see netlog.h.
 *
 * What makes two alike is one text, the key, found by walking a small table:
 * there are as many connections as the kernel and the egress process can make
 * in the meantime, and each costs a commit, so the walk is the least of it.
 */
#include "run/netlog.h"

enum { ROWS = 256, KEY_MAX = 700, NOTE_MAX = 8192 };

/* How many of a kind are told one by one. */
enum { SINGLE_REFUSED = 1, SINGLE_ALLOWED = 64 };

struct row {
  char key[KEY_MAX];
  int64_t count;               /* so far */
  int64_t times, up, down, ms; /* not told yet */
  char *like;                  /* one of them, as JSON */
};

struct csn_netlog {
  void (*tell)(void *user, csn_str json);
  void *user;
  struct row *rows; /* the last one is for those for which there is no room */
  size_t n;
};

csn_netlog *
csn_netlog_new(void (*tell)(void *user, csn_str json), void *user)
{
  csn_netlog *l = csn_alloc(sizeof *l);
  *l = (csn_netlog){.tell = tell, .user = user, .rows = csn_realloc(NULL, ROWS, sizeof *l->rows)};
  return l;
}

void
csn_netlog_free(csn_netlog *l)
{
  if (!l)
    return;
  for (size_t i = 0; i < l->n; i++)
    free(l->rows[i].like);
  free(l->rows);
  free(l);
}

static void
add_part(csn_buf *key, const csn_json *v, const char *name)
{
  csn_buf_add(key, csn_json_str(v, name, CSN_STR("")));
  csn_buf_addc(key, '\n');
}

/* Length-bounded: what is longer is cut and may be taken for another. */
static void
key_of(const csn_json *v, char out[KEY_MAX])
{
  static const char *const parts[] = {"at", "verdict", "how", "host", "reason", "method"};
  csn_auto(csn_buf_finip) csn_buf key = CSN_BUF(NOTE_MAX);
  for (size_t i = 0; i < CSN_COUNT(parts); i++)
    add_part(&key, v, parts[i]);
  csn_buf_addf(&key, "%lld", (long long)csn_json_int(v, "port", 0));
  size_t n = key.n < KEY_MAX - 1 ? key.n : KEY_MAX - 1;
  memcpy(out, key.p, n);
  out[n] = '\0';
}

static struct row *
find_row(csn_netlog *l, const char *key)
{
  for (size_t i = 0; i < l->n; i++)
    if (strcmp(l->rows[i].key, key) == 0)
      return &l->rows[i];
  if (l->n == ROWS)
    return &l->rows[ROWS - 1];
  struct row *r = &l->rows[l->n++];
  *r = (struct row){0};
  memcpy(r->key, key, strlen(key) + 1);
  return r;
}

/* The members of v with the sums in the place of its own numbers. */
static void
tell_sum(csn_netlog *l, const csn_json *v, const struct row *r)
{
  static const char *const own[] = {"up", "down", "ms", "count"};
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(NOTE_MAX);
  csn_jw w;
  csn_jw_init(&w, &out);
  csn_jw_obj(&w);
  csn_json_each (m, v) {
    bool is_own = false;
    for (size_t i = 0; i < CSN_COUNT(own); i++)
      is_own |= csn_str_eq(m->key, csn_cstr(own[i]));
    if (is_own)
      continue;
    csn_jw_keyn(&w, m->key);
    csn_jw_value(&w, m);
  }
  const int64_t sums[] = {r->up, r->down, r->ms, r->times};
  for (size_t i = 0; i < CSN_COUNT(own); i++) {
    if (sums[i] == 0 || (i == 3 && r->times == 1))
      continue;
    csn_jw_key(&w, own[i]);
    csn_jw_int(&w, sums[i]);
  }
  csn_jw_end(&w);
  if (csn_jw_done(&w, NULL) == 0)
    l->tell(l->user, csn_buf_str(&out));
}

static void
forget_sum(struct row *r)
{
  r->times = r->up = r->down = r->ms = 0;
  free(csn_steal(r->like));
}

static bool
is_power_of_two(int64_t n)
{
  return (n & (n - 1)) == 0;
}

void
csn_netlog_add(csn_netlog *l, csn_str json)
{
  csn_auto(csn_arena_freep) csn_arena *tmp = csn_arena_new(0);
  char key[KEY_MAX];
  const csn_json *v;
  if (json.n > NOTE_MAX || csn_json_parse(tmp, json, &v, NULL) < 0 || v->kind != CSN_JSON_OBJECT)
    return;
  key_of(v, key);
  struct row *r = find_row(l, key);
  int64_t times = csn_json_int(v, "count", 1), before = r->count;
  bool is_allowed = csn_str_eq(csn_json_str(v, "verdict", CSN_STR("")), CSN_STR("allowed"));
  times = times < 1 ? 1 : times;
  r->count += times;
  r->times += times;
  r->up += csn_json_int(v, "up", 0);
  r->down += csn_json_int(v, "down", 0);
  r->ms += csn_json_int(v, "ms", 0);
  bool doubled = is_power_of_two(r->count);
  for (int64_t n = before + 1; n < r->count && !doubled; n++)
    doubled = is_power_of_two(n);
  if (r->count <= (is_allowed ? SINGLE_ALLOWED : SINGLE_REFUSED) || doubled) {
    tell_sum(l, v, r);
    forget_sum(r);
  } else {
    free(r->like);
    r->like = csn_dupz(json);
  }
}

void
csn_netlog_flush(csn_netlog *l)
{
  for (size_t i = 0; i < l->n; i++) {
    csn_auto(csn_arena_freep) csn_arena *tmp = csn_arena_new(0);
    struct row *r = &l->rows[i];
    const csn_json *v;
    if (r->like && csn_json_parse(tmp, csn_cstr(r->like), &v, NULL) == 0)
      tell_sum(l, v, r);
    forget_sum(r);
  }
}
