/* SPDX-License-Identifier: Apache-2.0
 *
 * journal_bench.c - CPU of an append, against the floor.
 *
 *   journal_bench [FOLDER] [APPENDS]     (/dev/shm and 10000 when not given)
 *
 * An append is three records of 300 bytes and a summary.  The floor is SQLite
 * alone in the same mode: a prepared BEGIN, three INSERTs of the same bytes,
 * COMMIT.  Both run in turn, five times; medians and their ratio are printed,
 * then what one and eight threads reach, with each durability.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/statfs.h>

#include "bench.h"
#include "store/journal.h"

enum { RECORDS = 3, DATA_BYTES = 300, ROUNDS = 5, THREADS = 8 };

static char data[DATA_BYTES];

/* Memory of this process alone: not the code pages that all share. */
static long
private_kib(void)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(65536);
  csn_auto(csn_closep) int fd = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
  if (fd < 0 || csn_fd_read_all(fd, &b, NULL) < 0)
    return 0;
  const char *at = strstr(b.p, "Anonymous:");
  int64_t kib = 0;
  csn_str line = csn_cstr(at ? at + 10 : "");
  csn_str n = csn_str_trim(csn_strn(line.p, line.n < 32 ? line.n : 32));
  size_t end = csn_str_find(n, CSN_STR(" "), 0);
  (void)csn_str_int(csn_strn(n.p, end == SIZE_MAX ? n.n : end), &kib);
  return (long)kib;
}

/* --- the journal */

static void
append(csn_journal *j, int i)
{
  csn_err err;
  csn_record r[RECORDS];
  for (int k = 0; k < RECORDS; k++)
    r[k] = (csn_record){.ts_ms = 1700000000000 + i,
                        .kind = CSN_STR("tool_returned"),
                        .data = csn_strn(data, sizeof data)};
  csn_run_row row = {.state = CSN_STR("running"), .model = CSN_STR("openai/gpt"), .turns = i};
  bench_must(csn_journal_append(j, r, RECORDS, &row, &err), &err);
}

static double
journal_us(csn_store *s, int appends, double *slowest_us)
{
  csn_err err;
  csn_journal *j;
  bench_must(csn_journal_new(s, &j, &err), &err);
  double from = bench_cpu_us();
  *slowest_us = 0;
  for (int i = 0; i < appends; i++) {
    int64_t at = csn_now_ns();
    append(j, i);
    double took = (double)(csn_now_ns() - at) / 1e3;
    *slowest_us = took > *slowest_us ? took : *slowest_us;
  }
  double per = (bench_cpu_us() - from) / appends;
  csn_journal_close(j);
  return per;
}

/* --- the floor */

static void
step(sqlite3_stmt *st)
{
  if (sqlite3_step(st) != SQLITE_DONE) {
    fprintf(stderr, "journal_bench: sqlite: %s\n", sqlite3_errmsg(sqlite3_db_handle(st)));
    exit(1);
  }
  sqlite3_reset(st);
}

static double
floor_us(const char *path, int appends)
{
  sqlite3 *db;
  sqlite3_stmt *begin, *add, *commit;
  sqlite3_open(path, &db);
  sqlite3_exec(db,
               "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
               "CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, ts INTEGER, kind TEXT, "
               "hash BLOB, data TEXT)",
               NULL, NULL, NULL);
  sqlite3_prepare_v3(db, "BEGIN IMMEDIATE", -1, SQLITE_PREPARE_PERSISTENT, &begin, NULL);
  sqlite3_prepare_v3(db, "COMMIT", -1, SQLITE_PREPARE_PERSISTENT, &commit, NULL);
  sqlite3_prepare_v3(db, "INSERT INTO t(ts, kind, hash, data) VALUES(?, ?, ?, ?)", -1,
                     SQLITE_PREPARE_PERSISTENT, &add, NULL);
  double from = bench_cpu_us();
  for (int i = 0; i < appends; i++) {
    step(begin);
    for (int k = 0; k < RECORDS; k++) {
      sqlite3_bind_int64(add, 1, 1700000000000 + i);
      sqlite3_bind_text(add, 2, "tool_returned", 13, SQLITE_STATIC);
      sqlite3_bind_blob(add, 3, data, 32, SQLITE_STATIC);
      sqlite3_bind_text(add, 4, data, sizeof data, SQLITE_STATIC);
      step(add);
    }
    step(commit);
  }
  double per = (bench_cpu_us() - from) / appends;
  sqlite3_finalize(begin);
  sqlite3_finalize(add);
  sqlite3_finalize(commit);
  sqlite3_close(db);
  return per;
}

/* --- many runs at once */

struct worker {
  pthread_t thread;
  csn_store *store;
  int appends;
};

static void *
work(void *arg)
{
  struct worker *w = arg;
  double slowest;
  journal_us(w->store, w->appends, &slowest);
  return NULL;
}

static void
print_threads(int dir, enum csn_durability d, int threads, int appends)
{
  struct worker w[THREADS];
  csn_err err;
  csn_store *s;
  bench_must(csn_store_open(&s, dir, d, &err), &err);
  double cpu = bench_cpu_us();
  int64_t from = csn_now_ns();
  for (int i = 0; i < threads; i++) {
    w[i] = (struct worker){.store = s, .appends = appends / threads};
    pthread_create(&w[i].thread, NULL, work, &w[i]);
  }
  for (int i = 0; i < threads; i++)
    pthread_join(w[i].thread, NULL);
  int n = appends / threads * threads;
  printf("%-7s x %d %6.1f us CPU/append, %.0f appends/s\n",
         d == CSN_DURABLE_POWER ? "power" : "process", threads, (bench_cpu_us() - cpu) / n,
         n * 1e9 / (double)(csn_now_ns() - from));
  csn_store_close(s);
}

static int
by_value(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

int
main(int argc, char **argv)
{
  char base[200];
  snprintf(base, sizeof base, "%s/journal-bench-XXXXXX", argc > 1 ? argv[1] : "/dev/shm");
  int64_t appends = 10000;
  if (!mkdtemp(base) || (argc > 2 && !csn_str_int(csn_cstr(argv[2]), &appends)) || appends < 100) {
    fprintf(stderr, "usage: journal_bench [FOLDER] [APPENDS >= 100]\n");
    return 2;
  }
  memset(data, 'x', sizeof data);
  data[0] = data[sizeof data - 1] = '"';
  struct statfs fs;
  int dir = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  fstatfs(dir, &fs);
  char floor_path[240];
  snprintf(floor_path, sizeof floor_path, "%s/floor.db", base);

  csn_err err;
  csn_store *s;
  double ours[ROUNDS], floors[ROUNDS], slowest[ROUNDS];
  sqlite3_initialize();
  long before = private_kib();
  int64_t from = csn_now_ns();
  bench_must(csn_store_open(&s, dir, CSN_DURABLE_PROCESS, &err), &err);
  double made_ms = (double)(csn_now_ns() - from) / 1e6;
  long opened = private_kib();
  csn_store_close(s);
  from = csn_now_ns();
  bench_must(csn_store_open(&s, dir, CSN_DURABLE_PROCESS, &err), &err);
  double open_ms = (double)(csn_now_ns() - from) / 1e6;
  for (int i = 0; i < ROUNDS; i++) {
    floors[i] = floor_us(floor_path, (int)appends);
    ours[i] = journal_us(s, (int)appends, &slowest[i]);
    bench_sample("journal-append", "floor", floors[i]);
    bench_sample("journal-append", "ours", ours[i]);
  }
  qsort(ours, ROUNDS, sizeof *ours, by_value);
  qsort(floors, ROUNDS, sizeof *floors, by_value);
  qsort(slowest, ROUNDS, sizeof *slowest, by_value);
  printf("%s: %lld appends of %d records of %d bytes, %s\n", base, (long long)appends, RECORDS,
         DATA_BYTES, fs.f_type == 0x01021994 ? "tmpfs" : "not tmpfs");
  printf("open        %6.2f ms new, %.2f ms again, %ld KiB of private memory\n", made_ms, open_ms,
         opened - before);
  printf("floor       %6.1f us CPU/append (%.1f..%.1f)\n", floors[ROUNDS / 2], floors[0],
         floors[ROUNDS - 1]);
  printf("journal     %6.1f us CPU/append (%.1f..%.1f), slowest %.0f us\n", ours[ROUNDS / 2],
         ours[0], ours[ROUNDS - 1], slowest[ROUNDS / 2]);
  printf("ratio       %6.2f\n", ours[ROUNDS / 2] / floors[ROUNDS / 2]);
  csn_store_close(s);
  for (int threads = 1; threads <= THREADS; threads *= THREADS) {
    print_threads(dir, CSN_DURABLE_PROCESS, threads, (int)appends);
    print_threads(dir, CSN_DURABLE_POWER, threads, (int)appends / 10);
  }
  close(dir);
  csn_auto(csn_closep) int top = open(argc > 1 ? argv[1] : "/dev/shm", O_RDONLY | O_DIRECTORY);
  bench_must(csn_remove_tree(top, strrchr(base, '/') + 1, &err), &err);
  return 0;
}
