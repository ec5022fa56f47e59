/* SPDX-License-Identifier: Apache-2.0
 * audit.c - see audit.h. */
#include "audit.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 1 << 30, BLOCK = 1 << 16 };

static csn_digest
mac_of(const unsigned char *key, csn_str run, int64_t records, const csn_digest *head)
{
  char hex[65], text[256];
  csn_digest_hex(head, hex);
  int n = snprintf(text, sizeof text, "caisson audit 1\n%.*s\n%lld\n%s\n", (int)run.n, run.p,
                   (long long)records, hex);
  return csn_hmac_sha256(csn_strn((const char *)key, CSN_KEY_BYTES), csn_strn(text, (size_t)n));
}

/* ---- writing ---- */

static void
member(csn_jw *w, const char *key, csn_str value)
{
  csn_jw_key(w, key);
  csn_jw_str(w, value);
}

static void
hash_member(csn_jw *w, const char *key, const csn_digest *d)
{
  char hex[65];
  csn_digest_hex(d, hex);
  member(w, key, csn_cstr(hex));
}

static int
put_line(csn_jw *w, csn_buf *b, csn_err *err)
{
  int rc = csn_jw_done(w, err);
  if (rc < 0)
    return rc;
  csn_buf_addc(b, '\n');
  fwrite(b->p, 1, b->n, stdout);
  csn_buf_clear(b);
  return 0;
}

static int
export_record(void *user, const csn_record *r, csn_err *err)
{
  csn_buf *b = user;
  csn_jw w;
  csn_jw_init(&w, b);
  csn_jw_obj(&w);
  csn_jw_key(&w, "seq");
  csn_jw_int(&w, r->seq);
  csn_jw_key(&w, "ts");
  csn_jw_int(&w, r->ts_ms);
  member(&w, "kind", r->kind);
  hash_member(&w, "hash", &r->hash);
  member(&w, "stored", r->stored);
  bool is_moved = csn_str_starts(r->stored, CSN_STR("@"));
  if (is_moved && !r->is_erased)
    member(&w, "content", r->data);
  if (r->is_erased) {
    csn_jw_key(&w, "erased");
    csn_jw_bool(&w, true);
  }
  csn_jw_end(&w);
  return put_line(&w, b, err);
}

int
cli_audit_export(csn_journal *j, const unsigned char key[CSN_KEY_BYTES], csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(LINE_MAX_BYTES);
  csn_str run = csn_cstr(csn_journal_id(j));
  csn_digest head = csn_journal_head(j), mac = mac_of(key, run, csn_journal_next_seq(j), &head);
  csn_jw w;
  csn_jw_init(&w, &b);
  csn_jw_obj(&w);
  csn_jw_key(&w, "caisson_audit");
  csn_jw_int(&w, 1);
  member(&w, "run", run);
  csn_jw_key(&w, "records");
  csn_jw_int(&w, csn_journal_next_seq(j));
  hash_member(&w, "head", &head);
  hash_member(&w, "mac", &mac);
  csn_jw_end(&w);
  int rc = put_line(&w, &b, err);
  return rc < 0 ? rc : csn_journal_read(j, 0, export_record, &b, err);
}

/* ---- verifying ---- */

struct check {
  cli_audit *found;
  const unsigned char *key; /* NULL: there is none */
  csn_arena *scratch;       /* of one note */
  csn_digest prev;
};

/* A decision that nobody with the key made is worse than a broken chain. */
static int
check_decision(struct check *c, csn_str kind, csn_str data, int64_t seq, csn_err *err)
{
  const csn_json *v;
  if (!csn_str_eq(kind, CSN_STR("note")))
    return 0;
  csn_arena_clear(c->scratch);
  int rc = csn_json_parse(c->scratch, data, &v, err);
  if (rc < 0)
    return csn_wrap(err, rc, "record %lld", (long long)seq);
  if (!csn_str_eq(csn_json_str(v, "note", CSN_STR("")), CSN_STR("decision")))
    return 0;
  c->found->decisions++;
  if (!c->key)
    c->found->unsigned_decisions++;
  else if (!csn_decision_verify(c->key, c->found->run, &c->prev, v))
    return csn_fail(err, CSN_E_REPLAY,
                    "record %lld: a decision that was not signed with the key of this state folder",
                    (long long)seq);
  return 0;
}

static int
check_record(void *user, const csn_record *r, csn_err *err)
{
  struct check *c = user;
  c->prev = r->prev;
  c->found->records++;
  c->found->erased += r->is_erased;
  c->found->head = r->hash;
  return r->is_erased ? 0 : check_decision(c, r->kind, r->data, r->seq, err);
}

int
cli_audit_run(csn_journal *j, const unsigned char key[CSN_KEY_BYTES], cli_audit *out, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *scratch = csn_arena_new(0);
  struct check c = {.found = out, .key = key, .scratch = scratch};
  *out = (cli_audit){.run = csn_cstr(csn_journal_id(j))};
  return csn_journal_read(j, 0, check_record, &c, err);
}

static int
bad_line(int64_t line, const char *what, csn_err *err)
{
  return csn_fail(err, CSN_E_REPLAY, "line %lld: %s", (long long)line, what);
}

/* "@<sha-256> <size>" and the text that it stands for. */
static int
check_content(csn_str stored, csn_str content, int64_t line, csn_err *err)
{
  csn_digest want, is = csn_sha256_of(content);
  int64_t size = -1;
  if (stored.n < 67 || stored.p[65] != ' ' ||
      !csn_digest_from_hex(csn_strn(stored.p + 1, 64), &want) ||
      !csn_str_int(csn_strn(stored.p + 66, stored.n - 66), &size))
    return bad_line(line, "a malformed reference to its content", err);
  if ((int64_t)content.n != size || !csn_digest_same(&want, &is))
    return bad_line(line, "its content was altered", err);
  return 0;
}

static int
check_line(struct check *c, int64_t line, const csn_json *v, csn_err *err)
{
  csn_str stored = {0}, kind = {0}, hex = {0};
  csn_digest said;
  const csn_json *content = csn_json_get(v, "content");
  int64_t seq = csn_json_int(v, "seq", -1);
  int rc = csn_json_need_str(v, "stored", &stored, err);
  if (rc == 0)
    rc = csn_json_need_str(v, "kind", &kind, err);
  if (rc == 0)
    rc = csn_json_need_str(v, "hash", &hex, err);
  if (rc < 0)
    return csn_wrap(err, rc, "line %lld", (long long)line);
  if (seq != c->found->records)
    return bad_line(line, "a record is missing before it", err);
  csn_digest is = csn_chain_hash(&c->prev, seq, csn_json_int(v, "ts", -1), kind, stored);
  if (!csn_digest_from_hex(hex, &said) || !csn_digest_same(&is, &said))
    return bad_line(line, "the record was altered: its hash does not match", err);
  bool is_moved = csn_str_starts(stored, CSN_STR("@"));
  csn_str data = is_moved ? csn_json_str(v, "content", CSN_STR("null")) : stored;
  c->found->erased += is_moved && !content;
  if (is_moved && content)
    rc = check_content(stored, data, line, err);
  c->found->records++;
  c->found->head = is;
  if (rc == 0)
    rc = check_decision(c, kind, data, seq, err);
  c->prev = is;
  return rc;
}

static int
check_head(struct check *c, csn_arena *a, const csn_json *v, int64_t *records, csn_digest *head,
           csn_err *err)
{
  csn_digest said, mac;
  csn_str run = csn_json_str(v, "run", CSN_STR("")), hex = csn_json_str(v, "head", CSN_STR(""));
  if (csn_json_int(v, "caisson_audit", 0) != 1 || !run.n || run.n > 64 ||
      !csn_digest_from_hex(hex, head))
    return csn_fail(err, CSN_E_PARSE,
                    "line 1: not the head of an audit file of version 1; `caisson audit export` "
                    "writes them");
  *records = csn_json_int(v, "records", -1);
  c->found->run = csn_arena_dup(a, run);
  if (!c->key)
    return 0;
  mac = mac_of(c->key, run, *records, head);
  if (!csn_digest_from_hex(csn_json_str(v, "mac", CSN_STR("")), &said) ||
      !csn_digest_same(&mac, &said))
    return csn_fail(err, CSN_E_REPLAY,
                    "line 1: the head was not signed with the key of this state folder");
  c->found->is_signed = true;
  return 0;
}

/* The next line without its end; 1, or 0 at the end of the file. */
static int
next_line(int fd, csn_buf *pending, csn_str *line, size_t *used, csn_err *err)
{
  csn_buf_drop(pending, *used);
  for (size_t from = 0;;) {
    csn_str s = csn_buf_str(pending);
    const char *lf = s.n > from ? memchr(s.p + from, '\n', s.n - from) : NULL;
    if (lf) {
      *line = csn_strn(s.p, (size_t)(lf - s.p));
      *used = line->n + 1;
      return 1;
    }
    from = s.n;
    char *to = csn_buf_room(pending, BLOCK);
    if (!to)
      return csn_fail(err, CSN_E_LIMIT, "a line of more than %d bytes", LINE_MAX_BYTES);
    ssize_t n = read(fd, to, BLOCK);
    if (n < 0 && errno != EINTR)
      return csn_fail_errno(err, "read");
    if (n == 0 && s.n)
      return csn_fail(err, CSN_E_REPLAY, "the last line has no end: the file was cut");
    if (n == 0)
      return 0;
    pending->n += n > 0 ? (size_t)n : 0;
  }
}

int
cli_audit_file(csn_arena *a, int fd, const unsigned char *key, cli_audit *out, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *scratch = csn_arena_new(0);
  csn_auto(csn_arena_freep) csn_arena *tree = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf pending = CSN_BUF(LINE_MAX_BYTES);
  struct check c = {.found = out, .key = key, .scratch = scratch};
  csn_digest head = {{0}};
  csn_str text;
  size_t used = 0;
  int64_t line = 0, records = -1;
  int rc;
  *out = (cli_audit){0};
  while ((rc = next_line(fd, &pending, &text, &used, err)) > 0) {
    const csn_json *v;
    line++;
    csn_arena_clear(tree);
    rc = csn_json_parse(tree, text, &v, err);
    if (rc < 0)
      return csn_wrap(err, rc, "line %lld", (long long)line);
    rc = line == 1 ? check_head(&c, a, v, &records, &head, err) : check_line(&c, line, v, err);
    if (rc < 0)
      return rc;
  }
  if (rc < 0)
    return rc;
  if (line == 0)
    return csn_fail(err, CSN_E_PARSE, "the file is empty");
  if (out->records != records || !csn_digest_same(&head, &out->head))
    return csn_fail(err, CSN_E_REPLAY, "%lld records, and the head names %lld: the end was cut off",
                    (long long)out->records, (long long)records);
  return 0;
}
