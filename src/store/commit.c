/* SPDX-License-Identifier: Apache-2.0
 *
 * commit.c - group commit without a thread of its own ("flat combining").
 *
 * Who brings a job while nobody leads becomes the leader: it runs its job and
 * everything queued meanwhile in one transaction, hands the lead to the first
 * of those that came later, tells the others, and goes.  A single run thus
 * commits in its own thread without a context switch; a thousand runs share
 * commits.  docs/decisions/0001-group-commit-without-a-thread.md.
 */
#include "store/db.h"

static int
finish(csn_db *db, enum csn_sql how, csn_err *err)
{
  if (sqlite3_get_autocommit(db->sq))
    return 0; /* SQLite has rolled back by itself */
  return csn_db_run(db, csn_db_stmt(db, how), err);
}

static int
begin(csn_lite *s, csn_err *err)
{
  csn_marks_begin(&s->marks, true);
  int rc = csn_db_run(s->writer, csn_db_stmt(s->writer, SQL_BEGIN), err);
  csn_marks_begin(&s->marks, false);
  return rc;
}

/* One job in a transaction of its own. */
static int
run_alone(csn_lite *s, csn_job *job)
{
  csn_db *db = s->writer;
  csn_err why = {0};
  int rc = begin(s, &why);
  if (rc >= 0) {
    rc = job->fn(job, db, &why);
    bool gone = sqlite3_get_autocommit(db->sq);
    if (rc >= 0 && gone)
      rc = csn_fail(&why, CSN_E_IO, "state database: the transaction was rolled back");
    csn_err commit;
    int done = finish(db, rc >= 0 ? SQL_COMMIT : SQL_ROLLBACK, &commit);
    if (rc >= 0 && done < 0) {
      rc = done;
      why = commit;
      (void)!finish(db, SQL_ROLLBACK, NULL);
    }
  }
  if (rc < 0 && job->err)
    *job->err = why;
  return rc;
}

/* All jobs in one transaction.  False: nothing of it remains, not even the
 * outcome of jobs.  A job that fails before it wrote anything fails alone. */
static bool
run_together(csn_lite *s, csn_job *jobs)
{
  csn_db *db = s->writer;
  if (begin(s, NULL) < 0)
    return false;
  for (csn_job *j = jobs; j; j = j->next) {
    int64_t before = sqlite3_total_changes64(db->sq);
    csn_err why = {0};
    j->rc = j->fn(j, db, &why);
    bool gone = sqlite3_get_autocommit(db->sq);
    if (gone || (j->rc < 0 && sqlite3_total_changes64(db->sq) != before)) {
      (void)!finish(db, SQL_ROLLBACK, NULL);
      return false;
    }
    if (j->rc < 0 && j->err)
      *j->err = why;
  }
  if (finish(db, SQL_COMMIT, NULL) >= 0)
    return true;
  (void)!finish(db, SQL_ROLLBACK, NULL);
  return false;
}

/* Moves the log into the database in this thread, while others go on
 * committing.  It fails when a reader is in the way: next time then. */
static void
checkpoint(csn_lite *s)
{
  csn_db *db;
  if (csn_reader_take(s, &db, NULL) >= 0) {
    sqlite3_wal_checkpoint_v2(db->sq, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    csn_reader_give(s, db);
  }
  pthread_mutex_lock(&s->lock);
  s->is_checkpointing = false;
  pthread_mutex_unlock(&s->lock);
}

/* Due after each STORE_CHECKPOINT_PAGES that the log has grown by, so that a
 * reader in the way does not make every commit try. */
static bool
is_checkpoint_due(csn_lite *s)
{
  if (s->wal_pages < STORE_CHECKPOINT_PAGES)
    s->checkpoint_at = STORE_CHECKPOINT_PAGES; /* the log has started anew */
  if (s->wal_pages < s->checkpoint_at)
    return false;
  s->checkpoint_at = s->wal_pages + STORE_CHECKPOINT_PAGES;
  return true;
}

/* True when the log should be moved into the database. */
static bool
run_batch(csn_lite *s, csn_job *jobs)
{
  if (!jobs->next)
    jobs->rc = run_alone(s, jobs);
  else if (!run_together(s, jobs))
    for (csn_job *j = jobs; j; j = j->next)
      j->rc = run_alone(s, j);
  if (!is_checkpoint_due(s))
    return false;
  if (s->wal_pages < 16 * STORE_CHECKPOINT_PAGES)
    return true;
  /* One beside the commits does not catch up with them. */
  sqlite3_wal_checkpoint_v2(s->writer->sq, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
  return false;
}

/* Called with the lock held and `own` queued, returns with it released. */
static void
lead(csn_lite *s, csn_job *own)
{
  csn_job *jobs = s->first;
  s->first = NULL;
  s->last = &s->first;
  pthread_mutex_unlock(&s->lock);

  bool is_due = run_batch(s, jobs);

  pthread_mutex_lock(&s->lock);
  is_due = is_due && !s->is_checkpointing;
  if (is_due)
    s->is_checkpointing = true;
  csn_job *heir = s->first; /* stays queued; nobody but the leader takes it from there */
  if (!heir)
    s->has_leader = false;
  pthread_mutex_unlock(&s->lock);
  if (heir) {
    heir->leads = true;
    sem_post(&heir->wake);
  }
  for (csn_job *j = jobs, *next; j; j = next) {
    next = j->next; /* its owner may be gone as soon as it is woken */
    if (j != own)
      sem_post(&j->wake);
  }
  if (is_due)
    checkpoint(s);
}

int
csn_store_commit(csn_lite *s, csn_job *job, csn_err *err)
{
  job->err = err;
  job->next = NULL;
  pthread_mutex_lock(&s->lock);
  *s->last = job;
  s->last = &job->next;
  job->leads = !s->has_leader;
  if (job->leads) {
    s->has_leader = true;
    lead(s, job);
    return job->rc;
  }
  sem_init(&job->wake, 0, 0); /* nobody takes the job while the lock is held */
  pthread_mutex_unlock(&s->lock);
  /* A semaphore of its own: who is woken needs no lock that others want. */
  while (sem_wait(&job->wake) < 0)
    continue; /* a signal */
  if (job->leads) {
    pthread_mutex_lock(&s->lock);
    lead(s, job);
  }
  sem_destroy(&job->wake);
  return job->rc;
}
