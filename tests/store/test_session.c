/* SPDX-License-Identifier: Apache-2.0
 * test_session.c - conversation memory: appended once, read within limits,
 * forked, undone, searched, removed; in every store there is, and encrypted. */
#include "store/session.h"

#include <pthread.h>
#include <sched.h>

#include "caisson/json.h"
#include "folder.h"
#include "store/keyring.h"
#include "wire/redis.h"

#define USER(text) CSN_STR("{\"role\":\"user\",\"content\":\"" text "\"}")
#define CALL(id) CSN_STR("{\"type\":\"function_call\",\"call_id\":\"" id "\",\"name\":\"t\"}")
#define OUTPUT(id)                                                                                 \
  CSN_STR("{\"type\":\"function_call_output\",\"call_id\":\"" id "\",\"output\":\"o\"}")
#define SAID(text)                                                                                 \
  CSN_STR("{\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\","   \
          "\"text\":\"" text "\"}]}")

static const csn_str first[] = {USER("one"), CALL("a"), OUTPUT("a"), SAID("first answer")};
static const csn_str second[] = {USER("two"), SAID("second answer")};

/* ---- every store ---- */

#define KEY_ONE "k1 MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n"
#define KEY_TWO "k2 6162636465666768696a6b6c6d6e6f707172737475767778797a303132333435\n"

/* The stores to be tried: where, and whether encrypted. */
enum { IN_STATE, IN_STATE_SEALED, IN_FILES, IN_FILES_SEALED, IN_REDIS, IN_REDIS_SEALED, KINDS };

typedef struct kept {
  folder f;
  int kind;
  csn_store *store;
  csn_sessions *s;
} kept;

static bool
is_sealed(const kept *k)
{
  return k->kind & 1;
}

static void
flush_redis(void)
{
  csn_scope sc;
  csn_err err;
  csn_redis *r;
  const csn_resp *reply;
  const csn_str words[] = {CSN_STR("FLUSHALL")};
  const char *url = getenv("CAISSON_TEST_REDIS");
  csn_auto(csn_freep) char *port = csn_dupz(csn_strn(url + sizeof "redis://127.0.0.1:" - 1, 5));
  port[strcspn(port, "/")] = '\0';
  csn_redis_options o = {.port = port};
  csn_scope_init(&sc, NULL, 5000);
  OK(csn_redis_open(&r, &o, &sc, &err), &err);
  OK(csn_redis_call(r, &sc, words, 1, &reply, &err), &err);
  csn_redis_close(r);
  csn_scope_fini(&sc);
}

static void
kept_open(kept *k, const char *keys)
{
  csn_err err;
  char place[100] = "state";
  k->store = store_in(&k->f);
  if (k->kind / 2 == IN_FILES / 2)
    snprintf(place, sizeof place, "jsonl:%s/sessions", k->f.path);
  if (k->kind / 2 == IN_REDIS / 2)
    snprintf(place, sizeof place, "%s", getenv("CAISSON_TEST_REDIS"));
  OK(csn_sessions_open(&k->s, k->store, place, &err), &err);
  if (!is_sealed(k))
    return;
  csn_keyring *ring;
  OK(csn_keyring_parse(csn_cstr(keys), &ring, &err), &err);
  OK(csn_sessions_seal(&k->s, ring, &err), &err);
}

static void
kept_close(kept *k)
{
  csn_sessions_close(k->s);
  csn_store_close(k->store);
}

static bool
kept_begin(kept *k, int kind)
{
  if (kind / 2 == IN_REDIS / 2 && !getenv("CAISSON_TEST_REDIS"))
    return false;
  *k = (kept){.f = folder_new(), .kind = kind};
  if (kind / 2 == IN_REDIS / 2)
    flush_redis();
  kept_open(k, KEY_ONE);
  return true;
}

static void
kept_end(kept *k)
{
  kept_close(k);
  folder_free(&k->f);
}

/* The body once for each store. */
#define EACH_STORE(k)                                                                              \
  for (int kind_ = 0; kind_ < KINDS; kind_++)                                                      \
    for (bool on_ = kept_begin(&(k), kind_); on_; on_ = (kept_end(&(k)), false))

static void
add_two_runs(csn_sessions *s)
{
  csn_err err;
  int rc = csn_session_append(s, CSN_STR("a"), CSN_STR("r1"), first, 4, &err);
  OK(rc, &err);
  assert_int_equal(rc, 1);
  assert_int_equal(csn_session_append(s, CSN_STR("a"), CSN_STR("r2"), second, 2, &err), 1);
}

static int
take(void *user, int64_t n, csn_str item)
{
  csn_buf *b = user;
  bool is_user = csn_str_find(item, CSN_STR("\"content\":\""), 0) != SIZE_MAX;
  if (b->n)
    csn_buf_addc(b, ' ');
  csn_buf_addf(b, "%lld%s", (long long)n, is_user ? "u" : "");
  return 0;
}

static void
reads(csn_sessions *s, const char *name, int64_t items, int64_t tokens, const char *want)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(1000);
  csn_err err;
  OK(csn_session_read(s, csn_cstr(name), items, tokens, take, &b, &err), &err);
  assert_string_equal(b.p ? b.p : "", want);
}

TEST(what_a_run_appends_is_read_in_order_and_only_once)
{
  csn_err err;
  kept k;
  EACH_STORE(k)
  {
    add_two_runs(k.s);
    reads(k.s, "a", 0, 0, "0u 1 2 3 4u 5");
    assert_int_equal(csn_session_append(k.s, CSN_STR("a"), CSN_STR("r1"), first, 4, &err), 0);
    reads(k.s, "a", 0, 0, "0u 1 2 3 4u 5");
    reads(k.s, "nobody", 0, 0, "");
    kept_close(&k);
    kept_open(&k, KEY_ONE);
    reads(k.s, "a", 0, 0, "0u 1 2 3 4u 5");
    assert_int_equal(csn_session_append(k.s, CSN_STR("a"), CSN_STR("r1"), first, 4, &err), 0);
  }
}

TEST(a_session_that_was_never_written_is_empty)
{
  csn_err err;
  kept k;
  EACH_STORE(k)
  {
    reads(k.s, "a", 0, 0, "");
    assert_int_equal(csn_session_undo(k.s, CSN_STR("a"), &err), CSN_E_NOT_FOUND);
    assert_int_equal(csn_session_remove(k.s, CSN_STR("a"), &err), CSN_E_NOT_FOUND);
    if (k.kind == IN_STATE && !test_postgres())
      assert_int_equal(sql(&k.f, "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'session%'"),
                       0);
  }
}

TEST(limits_cut_at_a_message_of_the_user)
{
  static const struct {
    int64_t items, tokens;
    const char *want;
  } rows[] = {
      {6, 0, "0u 1 2 3 4u 5"},    {5, 0, "4u 5"},  {2, 0, "4u 5"}, {1, 0, ""},
      {0, 1000, "0u 1 2 3 4u 5"}, {0, 40, "4u 5"}, {0, 5, ""},
  };
  kept k;
  EACH_STORE(k)
  {
    add_two_runs(k.s);
    for (size_t i = 0; i < CSN_COUNT(rows); i++)
      reads(k.s, "a", rows[i].items, rows[i].tokens, rows[i].want);
  }
}

TEST(a_fork_goes_its_own_way)
{
  csn_err err;
  kept k;
  EACH_STORE(k)
  {
    csn_sessions *s = k.s;
    add_two_runs(s);
    OK(csn_session_fork(s, CSN_STR("a"), CSN_STR("b"), 4, &err), &err);
    OK(csn_session_fork(s, CSN_STR("a"), CSN_STR("c"), -1, &err), &err);
    assert_int_equal(csn_session_fork(s, CSN_STR("a"), CSN_STR("c"), -1, &err), CSN_E_EXISTS);
    assert_int_equal(csn_session_fork(s, CSN_STR("a"), CSN_STR("d"), 7, &err), CSN_E_INVALID);
    assert_int_equal(csn_session_fork(s, CSN_STR("x"), CSN_STR("d"), 7, &err), CSN_E_NOT_FOUND);
    /* The same run may go on in the fork. */
    assert_int_equal(csn_session_append(s, CSN_STR("b"), CSN_STR("r1"), second, 2, &err), 1);
    reads(s, "b", 0, 0, "0u 1 2 3 4u 5");
    reads(s, "c", 0, 0, "0u 1 2 3 4u 5");
    assert_int_equal(csn_session_undo(s, CSN_STR("c"), &err), 2);
    reads(s, "c", 0, 0, "0u 1 2 3");
    reads(s, "a", 0, 0, "0u 1 2 3 4u 5");
  }
}

TEST(others_take_the_place_of_all_items_whole_or_not_at_all)
{
  csn_err err;
  kept k;
  EACH_STORE(k)
  {
    csn_sessions *s = k.s;
    int64_t n;
    add_two_runs(s);
    OK(csn_session_count(s, CSN_STR("a"), &n, &err), &err);
    assert_int_equal(n, 6);
    OK(csn_session_count(s, CSN_STR("nobody"), &n, &err), &err);
    assert_int_equal(n, 0);
    assert_int_equal(csn_session_replace(s, CSN_STR("a"), 5, second, 2, &err), CSN_E_CONFLICT);
    reads(s, "a", 0, 0, "0u 1 2 3 4u 5");
    OK(csn_session_replace(s, CSN_STR("a"), 6, second, 2, &err), &err);
    reads(s, "a", 0, 0, "0u 1");
    kept_close(&k);
    kept_open(&k, KEY_ONE);
    s = k.s;
    assert_int_equal(csn_session_append(s, CSN_STR("a"), CSN_STR("r1"), first, 4, &err), 0);
    assert_int_equal(csn_session_append(s, CSN_STR("a"), CSN_STR("r9"), first, 4, &err), 1);
    reads(s, "a", 0, 0, "0u 1 2u 3 4 5");
    OK(csn_session_replace(s, CSN_STR("a"), 6, NULL, 0, &err), &err);
    reads(s, "a", 0, 0, "");
    OK(csn_session_count(s, CSN_STR("a"), &n, &err), &err);
    assert_int_equal(n, 0);
  }
}

TEST(undo_takes_the_last_turn_back)
{
  csn_err err;
  kept k;
  EACH_STORE(k)
  {
    csn_sessions *s = k.s;
    add_two_runs(s);
    assert_int_equal(csn_session_undo(s, CSN_STR("a"), &err), 2);
    reads(s, "a", 0, 0, "0u 1 2 3");
    assert_int_equal(csn_session_undo(s, CSN_STR("a"), &err), 4);
    assert_int_equal(csn_session_undo(s, CSN_STR("a"), &err), 0);
    assert_int_equal(csn_session_append(s, CSN_STR("a"), CSN_STR("r3"), second, 2, &err), 1);
    reads(s, "a", 0, 0, "0u 1");
  }
}

static int
take_hit(void *user, const csn_session_hit *h)
{
  csn_buf *b = user;
  csn_buf_addf(b, "%.*s:%lld ", (int)h->session.n, h->session.p, (long long)h->n);
  return 0;
}

static void
finds(csn_sessions *s, const char *words, const char *want)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(1000);
  csn_err err;
  OK(csn_session_search(s, csn_cstr(words), take_hit, &b, &err), &err);
  assert_string_equal(b.p ? b.p : "", want);
}

TEST(search_finds_words_and_takes_none_for_an_operator)
{
  csn_err err;
  kept k;
  EACH_STORE(k)
  {
    csn_sessions *s = k.s;
    add_two_runs(s);
    finds(s, "second", "a:5 ");
    finds(s, "ANSWER first", "a:3 ");
    finds(s, "nothing", "");
    finds(s, "second OR first", "");
    finds(s, "\"second", "a:5 ");
    finds(s, "two*", "a:4 ");
    finds(s, "text:two", "");
    OK(csn_session_remove(s, CSN_STR("a"), &err), &err);
    finds(s, "second", "");
    if (k.kind == IN_STATE)
      assert_int_equal(sql(&k.f,
                           "SELECT (SELECT count(*) FROM session_items) + (SELECT count(*) FROM "
                           "session_runs) + (SELECT count(*) FROM sessions)"),
                       0);
  }
}

TEST(names_are_checked)
{
  static const struct {
    const char *name;
    int rc;
  } rows[] = {{"a", 0},
              {"team/x.y:z@1_-", 0},
              {"", CSN_E_INVALID},
              {"a b", CSN_E_INVALID},
              {"a\n", CSN_E_INVALID},
              {"\xc3\xbc", CSN_E_INVALID},
              {"'", CSN_E_INVALID}};
  csn_err err;
  for (size_t i = 0; i < CSN_COUNT(rows); i++)
    assert_int_equal(csn_session_check(csn_cstr(rows[i].name), &err), rows[i].rc);
}

/* The times of sessions are milliseconds. */
static void
wait_for_the_clock(void)
{
  for (int64_t from = csn_now_ns(); csn_now_ns() < from + 2000000;)
    sched_yield();
}

static int
take_row(void *user, const csn_session_row *r)
{
  csn_buf_addf(user, "%.*s<%.*s:%lld ", (int)r->name.n, r->name.p, (int)r->parent.n, r->parent.p,
               (long long)r->items);
  return r->created_ms > 1600000000000 && r->updated_ms >= r->created_ms ? 0 : CSN_E_INVALID;
}

TEST(sessions_are_listed_newest_first)
{
  csn_err err;
  kept k;
  EACH_STORE(k)
  {
    csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(1000);
    add_two_runs(k.s);
    wait_for_the_clock();
    OK(csn_session_fork(k.s, CSN_STR("a"), CSN_STR(".team/x.y:z@1_-"), 4, &err), &err);
    OK(csn_session_list(k.s, take_row, &b, &err), &err);
    assert_string_equal(b.p, ".team/x.y:z@1_-<a:4 a<:6 ");
    wait_for_the_clock();
    assert_int_equal(csn_session_append(k.s, CSN_STR("a"), CSN_STR("r3"), second, 2, &err), 1);
    csn_buf_clear(&b);
    OK(csn_session_list(k.s, take_row, &b, &err), &err);
    assert_string_equal(b.p, "a<:8 .team/x.y:z@1_-<a:4 ");
  }
}

static int
same_item(void *user, int64_t n, csn_str item)
{
  const csn_str *want = user;
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_json *x, *y;
  csn_err err;
  OK(csn_json_parse(a, item, &x, &err), &err);
  OK(csn_json_parse(a, want[n], &y, &err), &err);
  csn_str p = csn_json_str(x, "content", CSN_STR("")), q = csn_json_str(y, "content", CSN_STR(""));
  if (!csn_str_eq(p, q))
    fail_msg("item %lld: %zu bytes, expected %zu", (long long)n, p.n, q.n);
  return 0;
}

/* Big ones, line breaks, what looks like a line of the store itself. */
TEST(items_come_back_as_they_were)
{
  csn_auto(csn_buf_finip) csn_buf big = CSN_BUF(4 << 20);
  csn_buf_addz(&big, "{\"role\":\"user\",\"content\":\"");
  for (int i = 0; i < 200000; i++)
    csn_buf_addz(&big, "0123456789");
  csn_buf_addz(&big, "\"}");
  const csn_str items[] = {
      csn_buf_str(&big),
      CSN_STR("{\n \"content\": \"a\\nb\",\r\n \"x\": [1,\n2]}"),
      CSN_STR(
          "{\"type\":\"caisson.append\",\"run\":\"\",\"items\":9,\"bytes\":1,\"content\":\"c\"}"),
      CSN_STR("{\"sealed\":1,\"key\":\"k1\",\"content\":\"\\u0000\xc3\xbc\"}"),
  };
  csn_err err;
  kept k;
  EACH_STORE(k)
  {
    int rc = csn_session_append(k.s, CSN_STR("a"), CSN_STR("r"), items, CSN_COUNT(items), &err);
    OK(rc, &err);
    OK(csn_session_read(k.s, CSN_STR("a"), 0, 0, same_item, (void *)items, &err), &err);
    OK(csn_session_append(k.s, CSN_STR("a"), CSN_STR("s"), second, 2, &err), &err);
    assert_int_equal(csn_session_undo(k.s, CSN_STR("a"), &err), 2);
    OK(csn_session_read(k.s, CSN_STR("a"), 0, 0, same_item, (void *)items, &err), &err);
  }
}

enum { WRITERS = 4, ROUNDS = 8 };

struct writer {
  pthread_t thread;
  csn_sessions *s;
  int nth, rc;
  csn_err err;
};

static void *
append_some(void *user)
{
  struct writer *w = user;
  for (int i = 0; i < ROUNDS && w->rc >= 0; i++) {
    char run[32];
    snprintf(run, sizeof run, "w%dr%d", w->nth, i);
    w->rc = csn_session_append(w->s, CSN_STR("a"), csn_cstr(run), first, 4, &w->err);
  }
  return NULL;
}

static int
in_fours(void *user, int64_t n, csn_str item)
{
  bool is_first = csn_str_find(item, CSN_STR("\"role\":\"user\""), 0) != SIZE_MAX;
  ++*(int *)user;
  return is_first == (n % 4 == 0) ? 0 : CSN_E_INVALID;
}

TEST(those_who_append_at_the_same_time_are_appended_whole)
{
  kept k;
  EACH_STORE(k)
  {
    struct writer w[WRITERS] = {0};
    csn_err err;
    int n = 0;
    for (int i = 0; i < WRITERS; i++) {
      w[i].s = k.s;
      w[i].nth = i;
      assert_int_equal(pthread_create(&w[i].thread, NULL, append_some, &w[i]), 0);
    }
    for (int i = 0; i < WRITERS; i++) {
      pthread_join(w[i].thread, NULL);
      OK(w[i].rc, &w[i].err);
    }
    OK(csn_session_read(k.s, CSN_STR("a"), 0, 0, in_fours, &n, &err), &err);
    assert_int_equal(n, WRITERS * ROUNDS * 4);
  }
}

/* ---- encryption ---- */

static int
count_item(void *user, int64_t n, csn_str item)
{
  (void)n, (void)item;
  ++*(int *)user;
  return 0;
}

static int
count_items(csn_sessions *s, const char *name, csn_err *err)
{
  int n = 0, rc = csn_session_read(s, csn_cstr(name), 0, 0, count_item, &n, err);
  return rc < 0 ? rc : n;
}

TEST(old_keys_read_and_the_newest_writes)
{
  csn_err err;
  kept k;
  EACH_STORE(k)
  {
    if (!is_sealed(&k))
      continue;
    add_two_runs(k.s);
    kept_close(&k);
    kept_open(&k, KEY_ONE KEY_TWO);
    assert_int_equal(csn_session_append(k.s, CSN_STR("a"), CSN_STR("r3"), second, 2, &err), 1);
    reads(k.s, "a", 0, 0, "0u 1 2 3 4u 5 6u 7");
    kept_close(&k);
    kept_open(&k, KEY_ONE);
    assert_int_equal(count_items(k.s, "a", &err), CSN_E_DENIED);
    assert_non_null(strstr(err.msg, "item 6 of session 'a' is encrypted with the key 'k2'"));
    kept_close(&k);
    kept_open(&k, KEY_TWO);
    assert_int_equal(count_items(k.s, "a", &err), CSN_E_DENIED);
    assert_non_null(strstr(err.msg, "item 0 of session 'a' is encrypted with the key 'k1'"));
    kept_close(&k);
    kept_open(&k, "k1 6162636465666768696a6b6c6d6e6f707172737475767778797a303132333435");
    assert_int_equal(count_items(k.s, "a", &err), CSN_E_DENIED);
    assert_non_null(strstr(err.msg, "item 0 of session 'a' cannot be read: its key is another"));
    OK(csn_session_remove(k.s, CSN_STR("a"), &err), &err);
  }
}

TEST(a_sealed_item_cannot_be_read_moved_or_replaced_in_the_store)
{
  static const char *const changes[] = {
      "UPDATE session_items SET data = (SELECT data FROM session_items WHERE pos & 4294967295 = 4) "
      "WHERE pos & 4294967295 = 0",
      "UPDATE session_items SET data = replace(data, '\"data\":\"', '\"data\":\"A') "
      "WHERE pos & 4294967295 = 0",
      "UPDATE session_items SET data = '{\"role\":\"user\",\"content\":\"mine\"}' "
      "WHERE pos & 4294967295 = 0",
      "UPDATE session_items SET data = '{\"sealed\":1,\"key\":\"k1\"}'",
      "UPDATE session_items SET data = '[]'",
      "UPDATE sessions SET name = 'b'",
  };
  if (test_postgres())
    SKIP("the same code with SQLite");
  for (size_t i = 0; i < CSN_COUNT(changes); i++) {
    csn_err err = {0};
    kept k;
    assert_true(kept_begin(&k, IN_STATE_SEALED));
    add_two_runs(k.s);
    assert_int_equal(sql(&k.f, "SELECT count(*) FROM session_items WHERE data LIKE '%answer%'"), 0);
    assert_int_equal(sql(&k.f, "SELECT count(*) FROM session_text WHERE text LIKE '%answer%'"), 0);
    sql(&k.f, changes[i]);
    int rc = count_items(k.s, i + 1 < CSN_COUNT(changes) ? "a" : "b", &err);
    if (rc != CSN_E_DENIED)
      fail_msg("%s: %d %s", changes[i], rc, err.msg);
    kept_end(&k);
  }
}

TEST(keys_that_are_none_are_refused_without_a_word_of_them)
{
  static const struct {
    const char *text, *message;
  } rows[] = {
      {"", "there is no key"},
      {"# nothing\n\n", "there is no key"},
      {"swordfish", "line 1: expected \"NAME KEY\""},
      {"k swordfish", "line 1: a key is 32 random bytes"},
      {KEY_ONE "k2 c3dvcmRmaXNo", "line 2: a key is 32 random bytes"},
      {KEY_ONE KEY_TWO KEY_ONE, "line 3: a key of this name stands above"},
      {"a/b MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "line 1: expected"},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_keyring *ring = NULL;
    csn_err err = {0};
    int rc = csn_keyring_parse(csn_cstr(rows[i].text), &ring, &err);
    if (rc != CSN_E_INVALID || !strstr(err.msg, rows[i].message) || strstr(err.msg, "fish"))
      fail_msg("%s: %d %s", rows[i].text, rc, err.msg);
  }
}

TEST(keys_come_from_a_file_of_ones_own_or_from_a_command)
{
  folder f = folder_new();
  char path[96];
  csn_err err;
  csn_keyring *ring;
  snprintf(path, sizeof path, "%s/keys", f.path);
  OK(csn_file_write(f.fd, "keys", CSN_STR("# mine\n" KEY_ONE KEY_TWO), 0600, false, &err), &err);
  OK(csn_keyring_from_file(path, "keys", &ring, &err), &err);
  assert_string_equal(csn_keyring_newest(ring)->name, "k2");
  assert_memory_equal(csn_keyring_find(ring, CSN_STR("k1"))->key, "0123456789abcdef", 16);
  assert_null(csn_keyring_find(ring, CSN_STR("k3")));
  csn_keyring_free(ring);
  const char *const cat[] = {"cat", path, NULL}, *const bad[] = {"sh", "-c", "echo x >&2; exit 3",
                                                                 NULL};
  OK(csn_keyring_from_command(cat, "keys", &ring, &err), &err);
  assert_string_equal(csn_keyring_newest(ring)->name, "k2");
  csn_keyring_free(ring);
  assert_int_equal(csn_keyring_from_command(bad, "keys", &ring, &err), CSN_E_DENIED);
  assert_non_null(strstr(err.msg, "exit code 3"));
  OK(csn_file_write(f.fd, "keys", CSN_STR(KEY_ONE), 0640, false, &err), &err);
  assert_int_equal(csn_keyring_from_file(path, "keys", &ring, &err), CSN_E_DENIED);
  assert_non_null(strstr(err.msg, "chmod 600"));
  folder_free(&f);
}

/* ---- files ---- */

TEST(what_was_cut_off_in_a_file_was_never_appended)
{
  csn_err err;
  kept k;
  assert_true(kept_begin(&k, IN_FILES));
  add_two_runs(k.s);
  csn_auto(csn_buf_finip) csn_buf all = CSN_BUF(1 << 20);
  OK(csn_file_read(k.f.fd, "sessions/a.jsonl", &all, &err), &err);
  size_t head = csn_str_find(csn_buf_str(&all), CSN_STR("\n"), 0) + 1;
  int last = 0;
  for (size_t n = head; n <= all.n; n++) {
    OK(csn_file_write(k.f.fd, "sessions/a.jsonl", csn_strn(all.p, n), 0600, false, &err), &err);
    int rc = count_items(k.s, "a", &err);
    OK(rc, &err);
    assert_true(rc >= last && (rc == 0 || rc == 4 || rc == 6));
    if (n % 7 == 0 && n < all.n) { /* and goes when the next is appended */
      assert_int_equal(csn_session_append(k.s, CSN_STR("a"), CSN_STR("r9"), second, 2, &err), 1);
      assert_int_equal(count_items(k.s, "a", &err), rc + 2);
    }
    last = rc;
  }
  assert_int_equal(last, 6);
  OK(csn_file_write(k.f.fd, "sessions/a.jsonl", CSN_STR("{}\n"), 0600, false, &err), &err);
  assert_int_equal(count_items(k.s, "a", &err), CSN_E_PARSE);
  kept_end(&k);
}

RUN_TESTS("store/session", RUN(what_a_run_appends_is_read_in_order_and_only_once),
          RUN(a_session_that_was_never_written_is_empty), RUN(limits_cut_at_a_message_of_the_user),
          RUN(a_fork_goes_its_own_way), RUN(others_take_the_place_of_all_items_whole_or_not_at_all),
          RUN(undo_takes_the_last_turn_back),
          RUN(search_finds_words_and_takes_none_for_an_operator), RUN(names_are_checked),
          RUN(sessions_are_listed_newest_first), RUN(items_come_back_as_they_were),
          RUN(those_who_append_at_the_same_time_are_appended_whole),
          RUN(old_keys_read_and_the_newest_writes),
          RUN(a_sealed_item_cannot_be_read_moved_or_replaced_in_the_store),
          RUN(keys_that_are_none_are_refused_without_a_word_of_them),
          RUN(keys_come_from_a_file_of_ones_own_or_from_a_command),
          RUN(what_was_cut_off_in_a_file_was_never_appended))
