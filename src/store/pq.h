/* SPDX-License-Identifier: Apache-2.0
 *
 * pq.h - between the PostgreSQL back-end, which is in every program, and the
 * module caisson-postgres.so, the only part that is linked with libpq.
 *
 * A connection runs one statement at a time and every wait is under a scope.
 * Values go and come in binary form, so nothing is quoted.
 */
#ifndef CSN_STORE_PQ_H
#define CSN_STORE_PQ_H

#include "caisson/scope.h"
#include "wire/module.h"

/* Raised with every change of the tables below. */
enum { CSN_PQ_ABI = 1 };

typedef struct csn_pq csn_pq; /* one thread at a time */

/* PostgreSQL's numbers of the types that are used here. */
enum csn_pq_type {
  CSN_PQ_BYTES = 17,
  CSN_PQ_INT = 20,
  CSN_PQ_TEXT = 25,
  CSN_PQ_BYTES_LIST = 1001,
  CSN_PQ_TEXT_LIST = 1009,
  CSN_PQ_INT_LIST = 1016,
};

/* A parameter in its binary form; bytes.p NULL: null. */
typedef struct csn_pq_value {
  enum csn_pq_type type;
  csn_str bytes;
} csn_pq_value;

typedef struct csn_pq_module {
  csn_module base; /* version: both files come from one build */
  /* url: postgres://...; what is not in it comes from libpq's variables and
   * files (PGPASSFILE, PGSERVICEFILE, ...).  CSN_E_UNAVAILABLE: nobody there. */
  int (*open)(csn_pq **out, const char *url, csn_scope *sc, csn_err *err);
  void (*close)(csn_pq *c);
  /* Runs a statement; `name` is one that never changes its text, which is then
   * parsed once a connection; NULL: parsed each time.  The number of rows,
   * which stay until the next call.  CSN_E_UNAVAILABLE: the connection is of no
   * use any more, or the statement may be tried again (is_broken() tells);
   * CSN_E_EXISTS: a unique key is taken. */
  int (*run)(csn_pq *c, csn_scope *sc, const char *name, const char *sql, const csn_pq_value *v,
             int n, csn_err *err);
  /* Bytes of a cell in binary form; p NULL: null. */
  csn_str (*cell)(const csn_pq *c, int row, int column);
  /* Rows that the last statement changed. */
  int64_t (*changed)(const csn_pq *c);
  bool (*is_broken)(const csn_pq *c);
} csn_pq_module;

/* The one symbol that the module exports. */
CSN_API extern const csn_pq_module csn_pq_entry;

#endif
