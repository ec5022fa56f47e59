/* SPDX-License-Identifier: Apache-2.0
 *
 * pq.c - what libpq does for us: caisson-postgres.so.
 *
 * libpq's asynchronous calls only, so that no server and no network can keep
 * a thread for longer than its scope allows.  A wait that was given up leaves
 * the connection in the middle of an answer: it is broken from then on.
 */
#include "store/pq.h"

#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>

#include "core/poll.h"

enum { STATEMENTS_MAX = 64, VALUES_MAX = 24 };

struct csn_pq {
  PGconn *conn;
  PGresult *result;
  bool is_broken;
  const char *prepared[STATEMENTS_MAX]; /* names, which are literals */
  int n_prepared;
};

/* What a server's five-character state means for who asked. */
static const struct meaning {
  const char *state; /* or the head of it */
  enum csn_code code;
  const char *advice;
} meanings[] = {
    {"23505", CSN_E_EXISTS, ""},
    {"40", CSN_E_UNAVAILABLE, ""}, /* serialization, deadlock: again */
    {"55P03", CSN_E_UNAVAILABLE, ""},
    {"57014", CSN_E_UNAVAILABLE, ""}, /* statement_timeout */
    {"57P", CSN_E_UNAVAILABLE, ""},
    {"57P", CSN_E_UNAVAILABLE, ""}, /* it shuts down or starts up */
    {"08", CSN_E_UNAVAILABLE, ""},
    {"53300", CSN_E_UNAVAILABLE, "; raise max_connections"},
    {"53100", CSN_E_IO, "; free space on the server, nothing was written"},
    {"25006", CSN_E_DENIED, "; name a server that may be written"},
    {"28", CSN_E_DENIED, "; see PGPASSFILE, PGSERVICE and the server's pg_hba.conf"},
    {"42501", CSN_E_DENIED, "; grant the user CREATE on the database"},
    {"3D000", CSN_E_INVALID, "; make it with createdb"},
};

/* What libpq says, without its tabs. */
static int
fail_conn(const csn_pq *c, enum csn_code code, csn_err *err)
{
  char text[300];
  csn_str said = csn_str_trim(csn_cstr(PQerrorMessage(c->conn)));
  if (!said.n)
    said = CSN_STR("the connection was lost");
  size_t n = 0;
  for (size_t i = 0; i < said.n && n < sizeof text; i++)
    if (said.p[i] != '\t')
      text[n++] = said.p[i];
  int rc = csn_fail(err, code, "PostgreSQL: %.*s", (int)n, text);
  if (err && code == CSN_E_UNAVAILABLE)
    err->retry_after_ms = 1000;
  return rc;
}

static int
fail_result(csn_pq *c, csn_err *err)
{
  const char *state = PQresultErrorField(c->result, PG_DIAG_SQLSTATE);
  const char *text = PQresultErrorField(c->result, PG_DIAG_MESSAGE_PRIMARY);
  enum csn_code code = CSN_E_IO;
  const char *advice = "";
  c->is_broken = c->is_broken || PQstatus(c->conn) != CONNECTION_OK;
  if (!state || c->is_broken) {
    c->is_broken = true;
    return fail_conn(c, CSN_E_UNAVAILABLE, err);
  }
  for (size_t i = 0; i < CSN_COUNT(meanings); i++)
    if (csn_str_starts(csn_cstr(state), csn_cstr(meanings[i].state))) {
      code = meanings[i].code;
      advice = meanings[i].advice;
      break;
    }
  int rc = csn_fail(err, code, "PostgreSQL: %s (%s)%s", text ? text : "it refused", state, advice);
  if (err && code == CSN_E_UNAVAILABLE)
    err->retry_after_ms = 1000;
  return rc;
}

static int
wait_for(csn_pq *c, csn_scope *sc, short events, csn_err *err)
{
  struct pollfd fd = {.fd = PQsocket(c->conn), .events = events};
  if (fd.fd < 0)
    return fail_conn(c, CSN_E_UNAVAILABLE, err);
  int rc = csn_poll(sc, &fd, 1, err);
  return rc < 0 ? csn_wrap(err, rc, "PostgreSQL does not answer") : 0;
}

/* libpq says why it was refused in words only. */
static enum csn_code
code_of_refusal(const char *text)
{
  static const struct {
    const char *words;
    enum csn_code code;
  } rows[] = {
      {"password", CSN_E_DENIED},       {"authentication", CSN_E_DENIED},
      {"pg_hba.conf", CSN_E_DENIED},    {"role \"", CSN_E_DENIED},
      {"certificate", CSN_E_DENIED},    {"database \"", CSN_E_INVALID},
      {"definition of", CSN_E_INVALID}, {"invalid", CSN_E_INVALID},
  };
  if (strstr(text, "starting up") || strstr(text, "shutting down"))
    return CSN_E_UNAVAILABLE;
  for (size_t i = 0; i < CSN_COUNT(rows); i++)
    if (strstr(text, rows[i].words))
      return rows[i].code;
  return CSN_E_UNAVAILABLE;
}

static void
pq_close(csn_pq *c)
{
  PQclear(c->result);
  PQfinish(c->conn);
  free(c);
}

static int
connect_under(csn_pq *c, csn_scope *sc, csn_err *err)
{
  PostgresPollingStatusType at = PGRES_POLLING_WRITING;
  while (at != PGRES_POLLING_OK) {
    int rc = wait_for(c, sc, at == PGRES_POLLING_READING ? POLLIN : POLLOUT, err);
    if (rc < 0)
      return rc;
    at = PQconnectPoll(c->conn);
    if (at == PGRES_POLLING_FAILED)
      return fail_conn(c, code_of_refusal(PQerrorMessage(c->conn)), err);
  }
  return PQsetnonblocking(c->conn, 1) == 0 ? 0 : fail_conn(c, CSN_E_UNAVAILABLE, err);
}

static void
ignore_notice(void *user, const PGresult *r)
{
  (void)user, (void)r;
}

static int
pq_open(csn_pq **out, const char *url, csn_scope *sc, csn_err *err)
{
  /* What the URL says counts, since it comes last. */
  static const char *const keys[] = {"client_encoding",  "fallback_application_name",
                                     "tcp_user_timeout", "keepalives_idle",
                                     "dbname",           NULL};
  const char *const values[] = {"UTF8", "caisson", "30000", "20", url, NULL};
  csn_pq *c = csn_alloc(sizeof *c);
  c->conn = PQconnectStartParams(keys, values, 1);
  if (!c->conn)
    abort(); /* out of memory */
  int rc = PQstatus(c->conn) == CONNECTION_BAD
               ? fail_conn(c, code_of_refusal(PQerrorMessage(c->conn)), err)
               : connect_under(c, sc, err);
  if (rc < 0) {
    pq_close(c);
    return rc;
  }
  PQsetNoticeReceiver(c->conn, ignore_notice, NULL);
  *out = c;
  return 0;
}

/* Sends what is left, and meanwhile takes what comes. */
static int
flush(csn_pq *c, csn_scope *sc, csn_err *err)
{
  int left;
  while ((left = PQflush(c->conn)) > 0) {
    int rc = wait_for(c, sc, POLLIN | POLLOUT, err);
    if (rc < 0)
      return rc;
    if (!PQconsumeInput(c->conn))
      return fail_conn(c, CSN_E_UNAVAILABLE, err);
  }
  return left < 0 ? fail_conn(c, CSN_E_UNAVAILABLE, err) : 0;
}

/* The last result of what was sent. */
static int
receive(csn_pq *c, csn_scope *sc, csn_err *err)
{
  PQclear(c->result);
  c->result = NULL;
  for (;;) {
    while (PQisBusy(c->conn)) {
      int rc = wait_for(c, sc, POLLIN, err);
      if (rc < 0)
        return rc;
      if (!PQconsumeInput(c->conn))
        return fail_conn(c, CSN_E_UNAVAILABLE, err);
    }
    PGresult *r = PQgetResult(c->conn);
    if (!r)
      return c->result ? 0 : fail_conn(c, CSN_E_UNAVAILABLE, err);
    PQclear(c->result);
    c->result = r;
  }
}

static int
exchange(csn_pq *c, csn_scope *sc, int sent, csn_err *err)
{
  int rc = sent ? flush(c, sc, err) : fail_conn(c, CSN_E_UNAVAILABLE, err);
  if (rc == 0)
    rc = receive(c, sc, err);
  if (rc < 0) {
    c->is_broken = true;
    return rc;
  }
  ExecStatusType s = PQresultStatus(c->result);
  return s == PGRES_COMMAND_OK || s == PGRES_TUPLES_OK ? PQntuples(c->result) : fail_result(c, err);
}

static bool
is_prepared(const csn_pq *c, const char *name)
{
  for (int i = 0; i < c->n_prepared; i++)
    if (strcmp(c->prepared[i], name) == 0)
      return true;
  return false;
}

static int
pq_run(csn_pq *c, csn_scope *sc, const char *name, const char *sql, const csn_pq_value *v, int n,
       csn_err *err)
{
  Oid types[VALUES_MAX];
  const char *values[VALUES_MAX];
  int lengths[VALUES_MAX], formats[VALUES_MAX];
  if (n > VALUES_MAX)
    return csn_fail(err, CSN_E_INVALID, "PostgreSQL: %d values", n);
  for (int i = 0; i < n; i++) {
    types[i] = (Oid)v[i].type;
    values[i] = v[i].bytes.p;
    lengths[i] = (int)v[i].bytes.n;
    formats[i] = 1;
  }
  if (c->is_broken)
    return fail_conn(c, CSN_E_UNAVAILABLE, err);
  bool keep = name && c->n_prepared < STATEMENTS_MAX;
  if (keep && !is_prepared(c, name)) {
    int rc = exchange(c, sc, PQsendPrepare(c->conn, name, sql, n, types), err);
    if (rc < 0)
      return rc;
    c->prepared[c->n_prepared++] = name;
  }
  int sent = keep ? PQsendQueryPrepared(c->conn, name, n, values, lengths, formats, 1)
                  : PQsendQueryParams(c->conn, sql, n, types, values, lengths, formats, 1);
  return exchange(c, sc, sent, err);
}

static csn_str
pq_cell(const csn_pq *c, int row, int column)
{
  if (PQgetisnull(c->result, row, column))
    return csn_strn(NULL, 0);
  return csn_strn(PQgetvalue(c->result, row, column), (size_t)PQgetlength(c->result, row, column));
}

static int64_t
pq_changed(const csn_pq *c)
{
  int64_t n = 0;
  csn_str text = csn_cstr(PQcmdTuples(c->result));
  return text.n && csn_str_int(text, &n) ? n : 0;
}

static bool
pq_is_broken(const csn_pq *c)
{
  return c->is_broken;
}

const csn_pq_module csn_pq_entry = {
    .base = {.abi = CSN_PQ_ABI, .version = CSN_VERSION},
    .open = pq_open,
    .close = pq_close,
    .run = pq_run,
    .cell = pq_cell,
    .changed = pq_changed,
    .is_broken = pq_is_broken,
};
