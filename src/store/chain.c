/* SPDX-License-Identifier: Apache-2.0
 *
 * chain.c - a run's records read back, each verified against the one before.
 *
 * The end of the chain is compared with what the run's row says: a tail that
 * was cut off does not go unnoticed.
 */
#include <stdio.h>

#include "store/backend.h"

enum { KIND_MAX = 64 };

csn_digest
csn_chain_hash(const csn_digest *prev, int64_t seq, int64_t ts_ms, csn_str kind, csn_str stored)
{
  char header[64 + KIND_MAX];
  int n = snprintf(header, sizeof header, "%lld %lld %.*s\n", (long long)seq, (long long)ts_ms,
                   (int)kind.n, kind.p);
  csn_sha256 h;
  csn_sha256_init(&h);
  csn_sha256_add(&h, csn_strn((const char *)prev->b, sizeof prev->b));
  csn_sha256_add(&h, csn_strn(header, (size_t)n));
  csn_sha256_add(&h, stored);
  return csn_sha256_end(&h);
}

bool
csn_kind_check(csn_str k)
{
  if (!k.n || k.n > KIND_MAX)
    return false;
  for (size_t i = 0; i < k.n; i++) {
    char c = k.p[i];
    if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
          c == '.' || c == ':' || c == '-'))
      return false;
  }
  return true;
}

int
csn_chain_fail(const csn_chain *c, int64_t seq, const char *what, csn_err *err)
{
  return csn_fail(err, CSN_E_REPLAY, "journal of run %s: record %lld %s", c->j->id, (long long)seq,
                  what);
}

/* Data that was stored as a reference, from its blob. */
static int
read_moved(csn_chain *c, csn_str reference, csn_err *err)
{
  csn_record *r = &c->record;
  csn_digest d;
  int64_t size;
  if (reference.n < 67 || reference.p[65] != ' ' ||
      !csn_digest_from_hex(csn_strn(reference.p + 1, 64), &d) ||
      !csn_str_int(csn_strn(reference.p + 66, reference.n - 66), &size))
    return csn_chain_fail(c, r->seq, "has a malformed reference to its data", err);
  csn_buf_clear(&c->moved);
  int rc = c->load(c->source, &d, &c->moved, err);
  if (rc == CSN_E_NOT_FOUND) {
    r->is_erased = true;
    r->data = CSN_STR("null");
    return 0;
  }
  if (rc < 0)
    return csn_wrap(err, rc, "journal of run %s: record %lld", c->j->id, (long long)r->seq);
  if (c->moved.n != (size_t)size)
    return csn_chain_fail(c, r->seq, "has data of another size", err);
  r->data = csn_buf_str(&c->moved);
  return 0;
}

int
csn_chain_take(csn_chain *c, int64_t seq, int64_t ts_ms, csn_str kind, csn_str hash, csn_str stored,
               csn_err *err)
{
  csn_record *r = &c->record;
  int64_t expected = c->next;
  *r = (csn_record){
      .seq = seq,
      .ts_ms = ts_ms,
      .kind = kind,
      .data = stored,
      .stored = stored,
      .prev = c->prev,
  };
  if (seq != expected)
    return csn_chain_fail(c, expected, "is missing", err);
  if (expected >= c->run.next_seq)
    return csn_chain_fail(c, expected, "stands after the end that the run's row names", err);
  if (!csn_kind_check(kind) || !csn_digest_read(hash, &r->hash))
    return csn_chain_fail(c, expected, "was altered", err);
  csn_digest want = csn_chain_hash(&c->prev, seq, ts_ms, kind, stored);
  if (memcmp(want.b, r->hash.b, sizeof want.b) != 0)
    return csn_chain_fail(c, expected, "was altered: its hash does not match", err);
  int rc = csn_str_starts(stored, CSN_STR("@")) ? read_moved(c, stored, err) : 0;
  if (rc < 0)
    return rc;
  c->prev = want; /* fn may change the record */
  c->next++;
  return c->fn(c->user, r, err);
}

/* After the last row. */
static int
check_end(const csn_chain *c, csn_err *err)
{
  if (c->from > c->run.next_seq)
    return 0;
  if (c->next != c->run.next_seq)
    return csn_chain_fail(c, c->next, "is missing", err);
  if (memcmp(c->prev.b, c->run.head.b, sizeof c->prev.b) != 0)
    return csn_chain_fail(c, c->next - 1, "is not the one that the run's row names", err);
  return 0;
}

int
csn_journal_read(csn_journal *j, int64_t from,
                 int (*fn)(void *user, const csn_record *r, csn_err *err), void *user, csn_err *err)
{
  if (from < 0)
    return csn_fail(err, CSN_E_INVALID, "journal of run %s: record %lld", j->id, (long long)from);
  csn_chain c = {
      .j = j, .from = from, .next = from, .fn = fn, .user = user, .moved = CSN_BUF(CSN_BLOB_MAX)};
  int rc = j->store->ops->read(j->store, &c, err);
  if (rc >= 0)
    rc = check_end(&c, err);
  csn_buf_fini(&c.moved);
  return rc < 0 ? rc : 0;
}

int64_t
csn_journal_last(csn_journal *j, const char *kind)
{
  return j->store->ops->last(j, csn_cstr(kind));
}
