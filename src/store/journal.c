/* SPDX-License-Identifier: Apache-2.0
 *
 * journal.c - one run's records: open, own, append.
 *
 * Hashing and compressing happen in the caller's thread, before the
 * transaction, which other runs may share.
 */
#include <stdio.h>
#include <time.h>

#include "store/backend.h"

enum {
  APPEND_ON_STACK = 8,
  DYING_MS = 250,
  ID_TIME = 9, /* base-32 digits of milliseconds: until the year 3084 */
  ID_RANDOM = 4,
};

/* --- open and close */

void
csn_run_id_new(int64_t now_ms, char out[32])
{
  static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";
  unsigned char r[ID_RANDOM];
  csn_random_bytes(r, sizeof r);
  for (int i = 0; i < ID_TIME; i++)
    out[i] = digits[(now_ms >> (5 * (ID_TIME - 1 - i))) & 31];
  for (int i = 0; i < ID_RANDOM; i++)
    out[ID_TIME + i] = digits[r[i] & 31];
  out[ID_TIME + ID_RANDOM] = '\0';
}

static csn_journal *
journal_of(csn_store *s, const csn_run_head *h, bool owns)
{
  csn_journal *j = csn_alloc(sizeof *j);
  *j = (csn_journal){
      .store = s,
      .no = h->no,
      .fence = h->fence,
      .next_seq = h->next_seq,
      .head = h->head,
      .owns = owns,
  };
  memcpy(j->id, h->id, sizeof j->id);
  return j;
}

/* What fails is owed: it is tried again when the next journal is opened or
 * closed, and the end of this process gives the run free in any case. */
static void
release(csn_store *s, struct csn_owed owed)
{
  if (s->ops->run_release(s, owed.no, owed.fence, NULL) >= 0)
    return;
  pthread_mutex_lock(&s->owed_lock);
  s->owed = csn_realloc(s->owed, s->n_owed + 1, sizeof *s->owed);
  s->owed[s->n_owed++] = owed;
  pthread_mutex_unlock(&s->owed_lock);
}

void
csn_store_settle(csn_store *s)
{
  pthread_mutex_lock(&s->owed_lock);
  size_t n = s->n_owed;
  struct csn_owed *owed = csn_steal(s->owed);
  s->n_owed = 0;
  pthread_mutex_unlock(&s->owed_lock);
  for (size_t i = 0; i < n; i++)
    release(s, owed[i]);
  free(owed);
}

int
csn_journal_new(csn_store *s, csn_journal **out, csn_err *err)
{
  csn_run_head head = {0};
  csn_store_settle(s);
  int rc = s->ops->run_add(s, &head, err);
  if (rc >= 0)
    *out = journal_of(s, &head, true);
  return rc;
}

int
csn_journal_open(csn_store *s, csn_str id, bool own, csn_journal **out, csn_err *err)
{
  csn_run_head head = {0};
  csn_store_settle(s);
  int rc = own ? s->ops->run_take(s, id, &head, err) : s->ops->run_find(s, id, &head, err);
  /* A killed process is dying for some milliseconds: then it is no owner. */
  int64_t until_ns = csn_now_ns() + DYING_MS * INT64_C(1000000);
  for (int wait_us = 50; own && rc == CSN_E_CONFLICT && csn_now_ns() < until_ns &&
                         !csn_str_eq(csn_cstr(head.owner), csn_cstr(s->self));
       wait_us += 50) {
    struct timespec t = {.tv_nsec = wait_us * 1000L};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
    rc = s->ops->run_take(s, id, &head, err);
  }
  if (rc >= 0)
    *out = journal_of(s, &head, own);
  return rc;
}

void
csn_journal_close(csn_journal *j)
{
  if (!j)
    return;
  csn_store_settle(j->store);
  if (j->owns)
    release(j->store, (struct csn_owed){j->no, j->fence});
  free(j);
}

const char *
csn_journal_id(const csn_journal *j)
{
  return j->id;
}

int64_t
csn_journal_next_seq(const csn_journal *j)
{
  return j->next_seq;
}

csn_digest
csn_journal_head(const csn_journal *j)
{
  return j->head;
}

/* --- append */

static int
check_records(const csn_journal *j, const csn_record *r, size_t n, csn_err *err)
{
  if (!j->owns)
    return csn_fail(err, CSN_E_INVALID, "run %s: its journal was opened for reading only", j->id);
  if (j->next_seq + (int64_t)n > (int64_t)UINT32_MAX)
    return csn_fail(err, CSN_E_LIMIT, "run %s: its journal is full (2^32 records)", j->id);
  for (size_t i = 0; i < n; i++) {
    if (!csn_kind_check(r[i].kind))
      return csn_fail(err, CSN_E_INVALID, "record %zu: bad kind '%.*s'", i,
                      (int)(r[i].kind.n < 80 ? r[i].kind.n : 80), r[i].kind.p ? r[i].kind.p : "");
    if (!r[i].data.n || r[i].data.p[0] == '@')
      return csn_fail(err, CSN_E_INVALID, "record %zu (%.*s): data is no JSON value", i,
                      (int)r[i].kind.n, r[i].kind.p);
    if (r[i].data.n > CSN_BLOB_MAX)
      return csn_fail(err, CSN_E_LIMIT, "record %zu (%.*s): %zu bytes, at most %zu", i,
                      (int)r[i].kind.n, r[i].kind.p, r[i].data.n, CSN_BLOB_MAX);
  }
  return 0;
}

static void
store_form(csn_stored *s, csn_str data)
{
  s->data = data;
  s->is_moved = data.n > CSN_RECORD_INLINE;
  if (!s->is_moved)
    return;
  csn_packed_init(&s->packed, data);
  char hex[65];
  csn_digest_hex(&s->packed.digest, hex);
  int n = snprintf(s->reference, sizeof s->reference, "@%s %zu", hex, data.n);
  s->data = csn_strn(s->reference, (size_t)n);
}

csn_str
csn_summary_text(csn_str s)
{
  if (s.n > STORE_SUMMARY_MAX)
    s.n = csn_utf8_valid(csn_strn(s.p, STORE_SUMMARY_MAX));
  return s;
}

int
csn_fail_fence(const csn_journal *j, const csn_run_head *h, csn_err *err)
{
  if (h->fence == j->fence)
    return csn_fail(err, CSN_E_REPLAY, "run %s: its row was altered: next is %lld, expected %lld",
                    j->id, (long long)h->next_seq, (long long)j->next_seq);
  return csn_fail(err, CSN_E_CONFLICT, "run %s was taken over%s%s; this process no longer owns it",
                  j->id, *h->owner ? " by " : "", h->owner);
}

int
csn_journal_append(csn_journal *j, csn_record *records, size_t n, const csn_run_row *summary,
                   csn_err *err)
{
  int rc = check_records(j, records, n, err);
  if (rc < 0)
    return rc;
  csn_stored few[APPEND_ON_STACK];
  csn_auto(csn_freep) csn_stored *many =
      n > APPEND_ON_STACK ? csn_realloc(NULL, n, sizeof *many) : NULL;
  csn_stored *stored = many ? many : few;
  const csn_digest *prev = &j->head;
  for (size_t i = 0; i < n; i++) {
    csn_record *r = &records[i];
    store_form(&stored[i], r->data);
    r->seq = j->next_seq + (int64_t)i;
    r->prev = *prev;
    r->hash = csn_chain_hash(&r->prev, r->seq, r->ts_ms, r->kind, stored[i].data);
    prev = &r->hash;
  }
  csn_append a = {
      .j = j,
      .records = records,
      .stored = stored,
      .n = n,
      .summary = summary,
  };
  rc = j->store->ops->append(j->store, &a, err);
  if (rc >= 0) {
    j->next_seq += (int64_t)n;
    j->head = *prev;
  }
  for (size_t i = 0; i < n; i++)
    if (stored[i].is_moved)
      csn_packed_fini(&stored[i].packed);
  return rc < 0 ? rc : 0;
}
