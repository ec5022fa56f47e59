/* SPDX-License-Identifier: Apache-2.0
 *
 * session_redis.c - sessions in Redis.
 *
 * Keys, all in one slot of a cluster: {caisson}:sessions (names by time of
 * change), and for each session a hash, a list of items and a set of runs.
 * What changes more than one of them is a script, so it is whole or not at all.
 * A command whose connection was lost is repeated once: a script finds out
 * whether it was done before.
 */
#include <pthread.h>
#include <stdio.h>

#include "store/backend.h"
#include "store/place.h"
#include "store/session_backend.h"
#include "wire/redis.h"

#define PREFIX "{caisson}:session"

enum { WAIT_MS = 20000, READ_AT_ONCE = 100, KEY_MAX = 200, NUMBER_MAX = 24 };

/* KEYS: hash, items, runs, names; ARGV: the name first. */
static const char append_lua[] =
    "local there = redis.call('EXISTS', KEYS[1])\n"
    "local n = redis.call('LLEN', KEYS[2])\n"
    "if ARGV[5] == '1' and there == 1 then return -2 end\n"
    "if ARGV[2] ~= '' and redis.call('SISMEMBER', KEYS[3], ARGV[2]) == 1 then return 0 end\n"
    "if ARGV[4] ~= '-1' and tonumber(ARGV[4]) ~= n then return -1 end\n"
    "if ARGV[2] ~= '' then redis.call('SADD', KEYS[3], ARGV[2]) end\n"
    "if there == 0 then redis.call('HSET', KEYS[1], 'parent', ARGV[3], 'created', ARGV[6]) end\n"
    "redis.call('HSET', KEYS[1], 'updated', ARGV[6])\n"
    "redis.call('ZADD', KEYS[4], ARGV[6], ARGV[1])\n"
    "if ARGV[7] == '0' then redis.call('DEL', KEYS[2])\n"
    "elseif ARGV[7] ~= '-1' then redis.call('LTRIM', KEYS[2], 0, tonumber(ARGV[7]) - 1) end\n"
    "for i = 8, #ARGV do redis.call('RPUSH', KEYS[2], ARGV[i]) end\n"
    "return 1\n";
static const char cut_lua[] =
    "local n = redis.call('LLEN', KEYS[2])\n"
    "if n ~= tonumber(ARGV[2]) or redis.call('EXISTS', KEYS[1]) == 0 then return -1 end\n"
    "if ARGV[3] == '0' then redis.call('DEL', KEYS[2])\n"
    "else redis.call('LTRIM', KEYS[2], 0, tonumber(ARGV[3]) - 1) end\n"
    "redis.call('HSET', KEYS[1], 'updated', ARGV[4])\n"
    "redis.call('ZADD', KEYS[4], ARGV[4], ARGV[1])\n"
    "return 1\n";
static const char remove_lua[] =
    "redis.call('ZREM', KEYS[4], ARGV[1])\n"
    "return redis.call('DEL', KEYS[1], KEYS[2], KEYS[3]) > 0 and 1 or 0\n";
static const char find_lua[] =
    "local h = redis.call('HMGET', KEYS[1], 'created', 'updated', 'parent')\n"
    "return {h[1], h[2], h[3], redis.call('LLEN', KEYS[2])}\n";

struct redis {
  csn_sessions base;
  char *host, *port, *user, *password;
  int64_t database;
  pthread_mutex_t lock; /* one command at a time */
  csn_redis *conn;      /* NULL: to be made */
};

static struct redis *
redis_of(csn_sessions *s)
{
  return (struct redis *)s; /* base is the first member */
}

static int
need_conn(struct redis *r, csn_scope *sc, csn_err *err)
{
  if (r->conn && csn_redis_is_broken(r->conn)) {
    csn_redis_close(r->conn);
    r->conn = NULL;
  }
  csn_redis_options o = {.host = r->host,
                         .port = r->port,
                         .user = csn_cstr(r->user),
                         .password = csn_cstr(r->password),
                         .database = r->database};
  return r->conn ? 0 : csn_redis_open(&r->conn, &o, sc, err);
}

typedef int reply_fn(void *user, const csn_resp *reply, csn_err *err);

/* Runs a command and gives the reply to fn; again, once, when the connection
 * is lost.  *again tells that the first time may have been enough. */
static int
call(struct redis *r, const csn_str *words, size_t n, reply_fn *fn, void *user, bool *again,
     csn_err *err)
{
  csn_scope sc;
  const csn_resp *reply = NULL;
  csn_scope_init(&sc, NULL, WAIT_MS);
  pthread_mutex_lock(&r->lock);
  int rc = need_conn(r, &sc, err);
  bool was_open = rc == 0;
  if (rc == 0)
    rc = csn_redis_call(r->conn, &sc, words, n, &reply, err);
  if (rc == CSN_E_UNAVAILABLE && was_open) {
    *again = true;
    rc = need_conn(r, &sc, err);
    if (rc == 0)
      rc = csn_redis_call(r->conn, &sc, words, n, &reply, err);
  }
  if (rc == 0)
    rc = fn(user, reply, err);
  pthread_mutex_unlock(&r->lock);
  csn_scope_fini(&sc);
  if (rc == CSN_E_UNAVAILABLE || rc == CSN_E_TIMEOUT) {
    rc = CSN_E_IO; /* it was tried again already */
    if (err)
      err->code = CSN_E_IO;
  }
  return csn_wrap(err, rc, "sessions");
}

static int
unexpected(csn_err *err)
{
  return csn_fail(err, CSN_E_PARSE, "Redis gave an unexpected answer");
}

static int
take_int(void *user, const csn_resp *reply, csn_err *err)
{
  if (reply->kind != CSN_RESP_INT)
    return unexpected(err);
  *(int64_t *)user = reply->i;
  return 0;
}

/* EVAL with the four keys of a session in front. */
struct eval {
  char keys[4][KEY_MAX];
  csn_str *words;
  size_t n;
};

static void
eval_init(struct eval *e, const char *lua, csn_str name, size_t values)
{
  static const char *const kinds[] = {"", ":items", ":runs"};
  e->words = csn_alloc((7 + values) * sizeof *e->words);
  for (size_t i = 0; i < CSN_COUNT(kinds); i++)
    snprintf(e->keys[i], KEY_MAX, PREFIX ":%.*s%s", (int)name.n, name.p, kinds[i]);
  snprintf(e->keys[3], KEY_MAX, PREFIX "s");
  e->words[0] = CSN_STR("EVAL");
  e->words[1] = csn_cstr(lua);
  e->words[2] = CSN_STR("4");
  for (size_t i = 0; i < 4; i++)
    e->words[3 + i] = csn_cstr(e->keys[i]);
  e->n = 7;
}

static void
eval_add(struct eval *e, csn_str value)
{
  e->words[e->n++] = csn_strn(value.n ? value.p : "", value.n);
}

static csn_str
number(char text[NUMBER_MAX], int64_t i)
{
  snprintf(text, NUMBER_MAX, "%lld", (long long)i);
  return csn_cstr(text);
}

static int
eval_int(struct redis *r, struct eval *e, int64_t *out, bool *again, csn_err *err)
{
  int rc = call(r, e->words, e->n, take_int, out, again, err);
  free(e->words);
  return rc;
}

/* ---- writing ---- */

static int
redis_append(csn_sessions *s, const csn_session_add *a, csn_err *err)
{
  struct eval e;
  char at[NUMBER_MAX], now[NUMBER_MAX], keep[NUMBER_MAX];
  int64_t done = 0;
  bool again = false;
  eval_init(&e, append_lua, a->name, 7 + a->n);
  eval_add(&e, a->name);
  eval_add(&e, a->run);
  eval_add(&e, a->parent);
  eval_add(&e, number(at, a->at));
  eval_add(&e, a->is_new ? CSN_STR("1") : CSN_STR("0"));
  eval_add(&e, number(now, csn_unix_ms()));
  eval_add(&e, number(keep, a->replaces ? a->keep : -1));
  for (size_t i = 0; i < a->n; i++)
    eval_add(&e, a->items[i]);
  int rc = eval_int(redis_of(s), &e, &done, &again, err);
  if (rc < 0)
    return rc;
  if (done == -2)
    return csn_session_exists(a->name, err);
  if (done == -1)
    return csn_session_conflict(a->name, err);
  return done != 0 || again;
}

static int
redis_cut(csn_sessions *s, csn_str name, int64_t items, int64_t keep, csn_err *err)
{
  struct eval e;
  char n[NUMBER_MAX], k[NUMBER_MAX], now[NUMBER_MAX];
  int64_t done = 0;
  bool again = false;
  eval_init(&e, cut_lua, name, 4);
  eval_add(&e, name);
  eval_add(&e, number(n, items));
  eval_add(&e, number(k, keep));
  eval_add(&e, number(now, csn_unix_ms()));
  int rc = eval_int(redis_of(s), &e, &done, &again, err);
  csn_session_stat st = {.items = -1};
  if (rc >= 0 && done < 0 && again)
    rc = s->ops->find(s, name, &st, err);
  if (rc < 0)
    return rc;
  return done < 0 && st.items != keep ? csn_session_conflict(name, err) : 0;
}

static int
redis_remove(csn_sessions *s, csn_str name, csn_err *err)
{
  struct eval e;
  int64_t done = 0;
  bool again = false;
  eval_init(&e, remove_lua, name, 1);
  eval_add(&e, name);
  int rc = eval_int(redis_of(s), &e, &done, &again, err);
  return rc < 0 ? rc : done != 0 || again;
}

/* ---- reading ---- */

static int64_t
int_of(const csn_resp *v)
{
  int64_t i = 0;
  if (v->kind == CSN_RESP_INT)
    return v->i;
  return v->kind == CSN_RESP_TEXT && csn_str_int(v->s, &i) ? i : 0;
}

struct found {
  csn_session_stat *stat;
  int result;
};

static int
take_found(void *user, const csn_resp *reply, csn_err *err)
{
  struct found *f = user;
  if (reply->kind != CSN_RESP_LIST || reply->i != 4)
    return unexpected(err);
  f->result = reply->v[0].kind != CSN_RESP_NULL;
  csn_str parent = reply->v[2].kind == CSN_RESP_TEXT ? reply->v[2].s : CSN_STR("");
  *f->stat = (csn_session_stat){.created_ms = int_of(&reply->v[0]),
                                .updated_ms = int_of(&reply->v[1]),
                                .items = int_of(&reply->v[3])};
  snprintf(f->stat->parent, sizeof f->stat->parent, "%.*s", (int)parent.n, parent.p);
  return 0;
}

static int
redis_find(csn_sessions *s, csn_str name, csn_session_stat *out, csn_err *err)
{
  struct eval e;
  struct found f = {.stat = out};
  bool again = false;
  eval_init(&e, find_lua, name, 0);
  int rc = call(redis_of(s), e.words, e.n, take_found, &f, &again, err);
  free(e.words);
  return rc < 0 ? rc : f.result;
}

/* Texts copied, so that the connection is free while somebody looks at them. */
struct texts {
  csn_arena *arena;
  csn_str *v;
  int64_t n;
};

static int
take_texts(void *user, const csn_resp *reply, csn_err *err)
{
  struct texts *t = user;
  if (reply->kind != CSN_RESP_LIST)
    return unexpected(err);
  csn_arena_clear(t->arena);
  t->n = reply->i;
  t->v = csn_arena_alloc(t->arena, (size_t)(t->n + 1) * sizeof *t->v);
  for (int64_t i = 0; i < t->n; i++) {
    if (reply->v[i].kind != CSN_RESP_TEXT)
      return unexpected(err);
    t->v[i] = csn_arena_dup(t->arena, reply->v[i].s);
  }
  return 0;
}

static int
redis_read(csn_sessions *s, csn_str name, int64_t from, int64_t to, csn_session_item_fn *fn,
           void *user, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *arena = csn_arena_new(0);
  char key[KEY_MAX], first[NUMBER_MAX], last[NUMBER_MAX];
  snprintf(key, sizeof key, PREFIX ":%.*s:items", (int)name.n, name.p);
  int rc = 0;
  for (int64_t at = from; at < to && rc >= 0;) {
    struct texts t = {.arena = arena};
    int64_t end = to - at > READ_AT_ONCE ? at + READ_AT_ONCE : to;
    const csn_str words[] = {CSN_STR("LRANGE"), csn_cstr(key), number(first, at),
                             number(last, end - 1)};
    bool again = false;
    rc = call(redis_of(s), words, CSN_COUNT(words), take_texts, &t, &again, err);
    for (int64_t i = 0; rc >= 0 && i < t.n; i++)
      rc = fn(user, at + i, t.v[i]);
    if (t.n < end - at)
      break;
    at = end;
  }
  return rc;
}

static int
redis_list(csn_sessions *s, int (*fn)(void *user, const csn_session_row *r), void *user,
           csn_err *err)
{
  static const csn_str words[] = {CSN_STR_INIT("ZREVRANGE"), CSN_STR_INIT(PREFIX "s"),
                                  CSN_STR_INIT("0"), CSN_STR_INIT("-1")};
  csn_auto(csn_arena_freep) csn_arena *arena = csn_arena_new(0);
  struct texts t = {.arena = arena};
  bool again = false;
  int rc = call(redis_of(s), words, CSN_COUNT(words), take_texts, &t, &again, err);
  for (int64_t i = 0; rc >= 0 && i < t.n; i++) {
    csn_session_stat st = {0};
    rc = csn_session_check(t.v[i], NULL) == 0 ? redis_find(s, t.v[i], &st, err) : 0;
    if (rc <= 0)
      continue;
    csn_session_row row = {.name = t.v[i],
                           .parent = csn_cstr(st.parent),
                           .created_ms = st.created_ms,
                           .updated_ms = st.updated_ms,
                           .items = st.items};
    rc = fn(user, &row);
  }
  return rc;
}

static void
redis_close(csn_sessions *s)
{
  struct redis *r = redis_of(s);
  csn_redis_close(r->conn);
  if (r->password)
    explicit_bzero(r->password, strlen(r->password));
  free(r->host);
  free(r->port);
  free(r->user);
  free(r->password);
  pthread_mutex_destroy(&r->lock);
  free(r);
}

static const csn_session_ops redis_ops = {
    .name = "redis",
    .close = redis_close,
    .find = redis_find,
    .read = redis_read,
    .append = redis_append,
    .cut = redis_cut,
    .remove = redis_remove,
    .list = redis_list,
};

/* %XX becomes a byte; NULL for the empty text. */
static char *
decoded(csn_str s)
{
  if (!s.n)
    return NULL;
  char *out = csn_dupz(s), *to = out;
  for (const char *from = out; *from; from++) {
    unsigned hi = from[0] == '%' && from[1] ? (unsigned)from[1] : 0,
             lo = hi ? (unsigned)from[2] : 0;
    static const char digits[] = "0123456789abcdefABCDEF";
    const char *h = hi ? strchr(digits, (int)hi) : NULL, *l = lo ? strchr(digits, (int)lo) : NULL;
    if (!h || !l) {
      *to++ = *from;
      continue;
    }
    unsigned high = (unsigned)(h - digits), low = (unsigned)(l - digits);
    *to++ = (char)((high > 15 ? high - 6 : high) << 4 | (low > 15 ? low - 6 : low));
    from += 2;
  }
  *to = '\0';
  return out;
}

int
csn_sessions_redis(const char *url, csn_sessions **out, csn_err *err)
{
  csn_place p;
  int64_t database = 0;
  int rc = csn_place_parse(csn_cstr(url), &p, err);
  if (rc == 0 && p.path.n && (!csn_str_int(p.path, &database) || database < 0))
    rc = csn_fail(err, CSN_E_INVALID, "a database of Redis is a number");
  if (rc < 0)
    return csn_wrap(err, rc, "sessions");
  struct redis *r = csn_alloc(sizeof *r);
  const char *secret = getenv("REDISCLI_AUTH"); /* what redis-cli takes it from, too */
  csn_str host = p.hosts, port = CSN_STR("");
  size_t colon = SIZE_MAX;
  for (size_t i = host.n; i-- > 0 && host.p[i] != ']';)
    if (host.p[i] == ':') {
      colon = i;
      break;
    }
  if (colon != SIZE_MAX) {
    port = csn_strn(host.p + colon + 1, host.n - colon - 1);
    host.n = colon;
  }
  if (csn_str_starts(host, CSN_STR("[")) && csn_str_ends(host, CSN_STR("]")))
    host = csn_strn(host.p + 1, host.n - 2);
  *r = (struct redis){.base.ops = &redis_ops,
                      .host = decoded(host),
                      .port = decoded(port),
                      .user = decoded(p.user),
                      .password = p.password.n
                                      ? decoded(p.password)
                                      : (secret && *secret ? csn_dupz(csn_cstr(secret)) : NULL),
                      .database = database};
  pthread_mutex_init(&r->lock, NULL);
  csn_session_stat st = {0};
  rc = redis_find(&r->base, CSN_STR("-"), &st, err); /* is anybody there? */
  if (rc < 0)
    redis_close(&r->base);
  else
    *out = &r->base;
  return rc < 0 ? rc : 0;
}
