/* SPDX-License-Identifier: Apache-2.0
 *
 * session.c - what is the same for every store of sessions; see session.h. */
#include <stdio.h>

#include "caisson/json.h"
#include "store/backend.h"
#include "store/place.h"
#include "store/session_backend.h"

enum { BYTES_OF_TOKEN = 4, PAGE_MIN = 64, TRIES = 50, AROUND = 60 };

int
csn_sessions_open(csn_sessions **out, csn_store *store, const char *place, csn_err *err)
{
  csn_str p = csn_cstr(place);
  if (!p.n || csn_str_eq(p, CSN_STR("state"))) {
    *out = store->ops->sessions(store);
    return 0;
  }
  if (csn_str_starts(p, CSN_STR("jsonl:")))
    return csn_sessions_jsonl(place + sizeof "jsonl:" - 1, out, err);
  if (csn_str_starts(p, CSN_STR("redis:")))
    return csn_sessions_redis(place, out, err);
  csn_store *own = NULL;
  int rc = csn_place_is_url(p) ? csn_store_connect(&own, place, err)
                               : csn_fail(err, CSN_E_INVALID,
                                          "sessions: expected state, postgres://..., redis://... "
                                          "or jsonl:FOLDER");
  if (rc == 0)
    *out = csn_sessions_postgres(own, true);
  return rc;
}

void
csn_sessions_close(csn_sessions *s)
{
  if (s)
    s->ops->close(s);
}

int
csn_session_check(csn_str name, csn_err *err)
{
  bool good = name.n > 0 && name.n <= CSN_SESSION_NAME_MAX;
  for (size_t i = 0; good && i < name.n; i++) {
    char c = name.p[i];
    good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("_.:@/-", c));
  }
  if (good)
    return 0;
  return csn_fail(err, CSN_E_INVALID,
                  "session '%.*s': a name is 1 to %d of A-Z a-z 0-9 _ . : @ / -",
                  (int)(name.n < 60 ? name.n : 60), name.p, CSN_SESSION_NAME_MAX);
}

int
csn_session_conflict(csn_str name, csn_err *err)
{
  return csn_fail(err, CSN_E_CONFLICT, "session '%.*s' was changed meanwhile", (int)name.n, name.p);
}

int
csn_session_exists(csn_str name, csn_err *err)
{
  return csn_fail(err, CSN_E_EXISTS, "session '%.*s' exists already", (int)name.n, name.p);
}

static int
need(csn_sessions *s, csn_str name, csn_session_stat *out, csn_err *err)
{
  int rc = csn_session_check(name, err);
  if (rc == 0)
    rc = s->ops->find(s, name, out, err);
  else
    return rc;
  if (rc == 0)
    return csn_fail(err, CSN_E_NOT_FOUND, "there is no session '%.*s'", (int)name.n, name.p);
  return rc < 0 ? rc : 0;
}

/* ---- items ---- */

static bool
is_user_message(csn_str item)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_json *v;
  return csn_json_parse(a, item, &v, NULL) == 0 &&
         csn_str_eq(csn_json_str(v, "role", CSN_STR("")), CSN_STR("user"));
}

static void
add_text(csn_buf *out, const csn_json *v)
{
  if (csn_json_is(v, CSN_JSON_STRING)) {
    csn_buf_add(out, v->text);
    csn_buf_addc(out, '\n');
  } else if (csn_json_is(v, CSN_JSON_ARRAY)) {
    csn_json_each (part, v)
      add_text(out, csn_json_get(part, "text"));
  }
}

void
csn_session_text(csn_str item, csn_buf *out)
{
  static const char *const members[] = {"content", "output", "name", "arguments", "input"};
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_json *v;
  if (csn_json_parse(a, item, &v, NULL) == 0)
    for (size_t i = 0; i < CSN_COUNT(members); i++)
      add_text(out, csn_json_get(v, members[i]));
}

/* ---- reading ---- */

/* A part of a session, read back. */
struct page {
  int64_t from;
  int64_t n;
  struct page_item {
    int64_t bytes;
    bool is_user;
  } * items;
  int64_t room;
};

static int
note_item(void *user, int64_t n, csn_str item)
{
  struct page *p = user;
  (void)n;
  if (p->n < p->room)
    p->items[p->n++] = (struct page_item){(int64_t)item.n, is_user_message(item)};
  return 0;
}

struct window {
  int64_t max_items, max_tokens; /* 0: no limit */
  int64_t items, bytes;
  int64_t first;    /* place of the oldest item that is read */
  bool ends_at_one; /* one message of the user is enough */
  bool is_over;
};

static void
look_back(struct window *w, const struct page *p)
{
  for (int64_t i = p->n; i-- > 0 && !w->is_over;) {
    w->bytes += p->items[i].bytes;
    w->items++;
    w->is_over = (w->max_items && w->items > w->max_items) ||
                 (w->max_tokens && w->bytes / BYTES_OF_TOKEN > w->max_tokens);
    if (w->is_over || !p->items[i].is_user)
      continue;
    w->first = p->from + i;
    w->is_over = w->ends_at_one;
  }
}

/* Goes back from the newest item, page by page, and remembers each place to
 * begin at. */
static int
find_window(csn_sessions *s, csn_str name, int64_t items, struct window *w, csn_err *err)
{
  int rc = 0;
  w->first = items;
  for (int64_t to = items, page = PAGE_MIN; to > 0 && !w->is_over && rc >= 0; page *= 2) {
    struct page p = {.from = to > page ? to - page : 0};
    p.room = to - p.from;
    csn_auto(csn_freep) struct page_item *list = csn_alloc((size_t)p.room * sizeof *list);
    p.items = list;
    rc = s->ops->read(s, name, p.from, to, note_item, &p, err);
    look_back(w, &p);
    to = p.from;
  }
  return rc;
}

int
csn_session_read(csn_sessions *s, csn_str name, int64_t max_items, int64_t max_tokens,
                 int (*fn)(void *user, int64_t n, csn_str item), void *user, csn_err *err)
{
  csn_session_stat st = {0};
  struct window w = {.max_items = max_items, .max_tokens = max_tokens};
  int rc = csn_session_check(name, err);
  if (rc == 0)
    rc = s->ops->find(s, name, &st, err);
  if (rc <= 0)
    return rc;
  rc = max_items || max_tokens ? find_window(s, name, st.items, &w, err) : 0;
  if (rc >= 0 && w.first < st.items)
    rc = s->ops->read(s, name, w.first, st.items, fn, user, err);
  return rc < 0 ? rc : 0;
}

int
csn_session_list(csn_sessions *s, int (*fn)(void *user, const csn_session_row *r), void *user,
                 csn_err *err)
{
  return s->ops->list(s, fn, user, err);
}

/* ---- writing ---- */

int
csn_session_append(csn_sessions *s, csn_str name, csn_str run, const csn_str *items, size_t n,
                   csn_err *err)
{
  csn_session_add a = {.name = name, .run = run, .at = -1, .items = items, .n = n};
  int rc = csn_session_check(name, err);
  return rc < 0 ? rc : s->ops->append(s, &a, err);
}

struct copy {
  csn_arena *arena;
  csn_str *items;
  size_t n, room;
};

static int
copy_item(void *user, int64_t n, csn_str item)
{
  struct copy *c = user;
  (void)n;
  if (c->n < c->room)
    c->items[c->n++] = csn_arena_dup(c->arena, item);
  return 0;
}

int
csn_session_fork(csn_sessions *s, csn_str from, csn_str to, int64_t items, csn_err *err)
{
  csn_session_stat st = {0};
  int rc = csn_session_check(to, err);
  if (rc == 0)
    rc = need(s, from, &st, err);
  if (rc == 0 && items > st.items)
    rc = csn_fail(err, CSN_E_INVALID, "session '%.*s' has %lld items only", (int)from.n, from.p,
                  (long long)st.items);
  if (rc < 0)
    return rc;
  int64_t n = items < 0 ? st.items : items;
  csn_auto(csn_arena_freep) csn_arena *arena = csn_arena_new(0);
  csn_auto(csn_freep) csn_str *list = csn_alloc((size_t)(n + 1) * sizeof *list);
  struct copy c = {.arena = arena, .items = list, .room = (size_t)n};
  rc = n ? s->ops->read(s, from, 0, n, copy_item, &c, err) : 0;
  csn_session_add a = {
      .name = to, .parent = from, .is_new = true, .at = -1, .items = list, .n = c.n};
  if (rc >= 0)
    rc = s->ops->append(s, &a, err);
  return rc < 0 ? rc : 0;
}

int
csn_session_undo(csn_sessions *s, csn_str name, csn_err *err)
{
  int rc = CSN_E_CONFLICT;
  for (int i = 0; i < TRIES && rc == CSN_E_CONFLICT; i++) {
    csn_session_stat st = {0};
    rc = need(s, name, &st, err);
    struct window w = {.ends_at_one = true};
    if (rc == 0)
      rc = find_window(s, name, st.items, &w, err);
    int64_t keep = w.is_over ? w.first : 0;
    if (rc >= 0 && st.items > 0)
      rc = s->ops->cut(s, name, st.items, keep, err);
    if (rc >= 0)
      return (int)(st.items - keep);
  }
  return rc;
}

int
csn_session_count(csn_sessions *s, csn_str name, int64_t *out, csn_err *err)
{
  csn_session_stat st = {0};
  int rc = csn_session_check(name, err);
  if (rc == 0)
    rc = s->ops->find(s, name, &st, err);
  *out = st.items;
  return rc < 0 ? rc : 0;
}

int
csn_session_replace(csn_sessions *s, csn_str name, int64_t had, const csn_str *items, size_t n,
                    csn_err *err)
{
  csn_session_add a = {.name = name, .at = had, .replaces = true, .items = items, .n = n};
  int rc = csn_session_check(name, err);
  if (rc == 0)
    rc = s->ops->append(s, &a, err);
  return rc < 0 ? rc : 0;
}

int
csn_session_remove(csn_sessions *s, csn_str name, csn_err *err)
{
  int rc = csn_session_check(name, err);
  if (rc == 0)
    rc = s->ops->remove(s, name, err);
  else
    return rc;
  if (rc == 0)
    return csn_fail(err, CSN_E_NOT_FOUND, "there is no session '%.*s'", (int)name.n, name.p);
  return rc < 0 ? rc : 0;
}

/* ---- search ---- */

struct search {
  csn_str words[64];
  size_t n_words;
  csn_str session;
  int (*fn)(void *user, const csn_session_hit *h);
  void *user;
  int hits;
};

static bool
is_word_byte(char c)
{
  unsigned char u = (unsigned char)c;
  return u >= 0x80 || (u >= '0' && u <= '9') || (u >= 'a' && u <= 'z');
}

static void
lower(csn_buf *b)
{
  for (size_t i = 0; i < b->n; i++)
    if (b->p[i] >= 'A' && b->p[i] <= 'Z')
      b->p[i] = (char)(b->p[i] - 'A' + 'a');
}

/* The word as a whole word of the text, both in lower case. */
static size_t
find_word(csn_str text, csn_str word)
{
  for (size_t at = 0; (at = csn_str_find(text, word, at)) != SIZE_MAX; at++) {
    size_t end = at + word.n;
    if ((at == 0 || !is_word_byte(text.p[at - 1])) && (end == text.n || !is_word_byte(text.p[end])))
      return at;
  }
  return SIZE_MAX;
}

static int
match_item(void *user, int64_t n, csn_str item)
{
  struct search *q = user;
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 20), low = CSN_BUF(1 << 20);
  csn_session_text(item, &text);
  csn_buf_add(&low, csn_buf_str(&text));
  lower(&low);
  size_t first = SIZE_MAX;
  for (size_t i = 0; i < q->n_words; i++) {
    size_t at = find_word(csn_buf_str(&low), q->words[i]);
    if (at == SIZE_MAX)
      return 0;
    first = at < first ? at : first;
  }
  size_t begin = first > AROUND ? first - AROUND : 0, end = first + 2 * AROUND;
  while (begin && ((unsigned char)text.p[begin] & 0xc0) == 0x80)
    begin--;
  csn_str around = csn_strn(text.p + begin, (end < text.n ? end : text.n) - begin);
  around.n = csn_utf8_valid(around);
  csn_session_hit h = {.session = q->session, .n = n, .text = around};
  int rc = q->fn(q->user, &h);
  return rc < 0 || ++q->hits < SESSION_HITS_MAX ? rc : CSN_E_LIMIT;
}

/* Words are runs of letters and digits: what stands between them in what was
 * typed is no operator. */
static void
split_words(struct search *q, csn_str text)
{
  for (size_t i = 0; i < text.n && q->n_words < CSN_COUNT(q->words);) {
    size_t n = 0;
    while (i + n < text.n && is_word_byte(text.p[i + n]))
      n++;
    if (n)
      q->words[q->n_words++] = csn_strn(text.p + i, n);
    i += n + (n == 0);
  }
}

struct names {
  csn_arena *arena;
  struct name {
    struct name *next;
    csn_str name;
    int64_t items;
  } * first, **last;
};

static int
keep_name(void *user, const csn_session_row *r)
{
  struct names *l = user;
  struct name *x = csn_arena_alloc(l->arena, sizeof *x);
  *x = (struct name){.name = csn_arena_dup(l->arena, r->name), .items = r->items};
  *l->last = x;
  l->last = &x->next;
  return 0;
}

static int
search_all(csn_sessions *s, csn_str words, int (*fn)(void *user, const csn_session_hit *h),
           void *user, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *arena = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf low = CSN_BUF(4096);
  struct search q = {.fn = fn, .user = user};
  struct names l = {.arena = arena};
  l.last = &l.first;
  csn_buf_add(&low, words);
  lower(&low);
  split_words(&q, csn_buf_str(&low));
  int rc = q.n_words ? s->ops->list(s, keep_name, &l, err) : 0;
  for (const struct name *x = l.first; rc >= 0 && x; x = x->next) {
    q.session = x->name;
    rc = s->ops->read(s, x->name, 0, x->items, match_item, &q, err);
  }
  return rc < 0 && q.hits < SESSION_HITS_MAX ? rc : 0;
}

int
csn_session_search(csn_sessions *s, csn_str words, int (*fn)(void *user, const csn_session_hit *h),
                   void *user, csn_err *err)
{
  if (!csn_str_trim(words).n || words.n > 4096)
    return csn_fail(err, CSN_E_INVALID, "search: expected some words, at most 4,096 bytes");
  return s->ops->search ? s->ops->search(s, words, fn, user, err)
                        : search_all(s, words, fn, user, err);
}
