/* SPDX-License-Identifier: Apache-2.0
 *
 * Journals recorded by released versions (tests/journals/VERSION/, the lines
 * of `caisson show --json`) are read into a fresh store: hashes come out as
 * recorded, replay asks for the same effects, and a run that was pending goes
 * on.  What was altered since is refused and stays as it is. */
#include <fcntl.h>
#include <stdio.h>

#include "caisson/run.h"
#include "check.h"
#include "core/fd.h"
#include "store/journal.h"

enum { RECORDS_MAX = 200, TEXT_MAX = 1 << 20 };

struct place {
  char folder[64];
  int fd;
  char id[40];
};

static void
place_init(struct place *p)
{
  *p = (struct place){.folder = "/tmp/caisson-journals-XXXXXX"};
  assert_non_null(mkdtemp(p->folder));
  p->fd = open(p->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  assert_true(p->fd >= 0);
}

static void
place_fini(struct place *p)
{
  csn_err err;
  csn_closep(&p->fd);
  csn_auto(csn_closep) int top = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  OK(csn_remove_tree(top, p->folder + 1, &err), &err);
}

static void
read_file(const char *name, csn_buf *out)
{
  csn_err err;
  char path[500];
  snprintf(path, sizeof path, JOURNALS "/%s", name);
  csn_auto(csn_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    fail_msg("cannot open %s", path);
  OK(csn_fd_read_all(fd, out, &err), &err);
}

/* A copy of the line with the first `from` replaced. */
static csn_str
edited(csn_arena *a, csn_str line, const char *from, const char *to)
{
  size_t at = csn_str_find(line, csn_cstr(from), 0), n = strlen(from);
  assert_true(at != SIZE_MAX);
  return csn_arena_printf(a, "%.*s%s%.*s", (int)at, line.p, to, (int)(line.n - at - n),
                          line.p + at + n);
}

/* One record of the file, altered: `from` becomes `to`; to NULL drops it. */
struct edit {
  int seq;
  const char *from, *to;
};

/* Appends the file's records and, unless edited, compares the hashes. */
static void
import(struct place *p, const char *name, const struct edit *e)
{
  csn_err err;
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(TEXT_MAX);
  static csn_record recs[RECORDS_MAX];
  csn_digest want[RECORDS_MAX];
  size_t n = 0;
  read_file(name, &text);
  csn_str rest = csn_buf_str(&text), line;
  for (int seq = 0; csn_str_line(&rest, &line); seq++) {
    const csn_json *v;
    if (e && e->seq == seq && !e->to)
      continue;
    if (e && e->seq == seq)
      line = edited(a, line, e->from, e->to);
    assert_true(n < RECORDS_MAX);
    OK(csn_json_parse(a, line, &v, &err), &err);
    const csn_json *data = csn_json_get(v, "data");
    assert_non_null(data);
    assert_true(csn_digest_from_hex(csn_json_str(v, "hash", CSN_STR("")), &want[n]));
    recs[n++] = (csn_record){.ts_ms = csn_json_int(v, "ts", 0),
                             .kind = csn_json_str(v, "kind", CSN_STR("")),
                             .data = data->raw};
  }
  csn_store *s = NULL;
  csn_journal *j = NULL;
  OK(csn_store_open(&s, p->fd, CSN_DURABLE_PROCESS, &err), &err);
  OK(csn_journal_new(s, &j, &err), &err);
  OK(csn_journal_append(j, recs, n, NULL, &err), &err);
  for (size_t i = 0; !e && i < n; i++)
    assert_memory_equal(recs[i].hash.b, want[i].b, sizeof want[i].b);
  snprintf(p->id, sizeof p->id, "%s", csn_journal_id(j));
  csn_journal_close(j);
  csn_store_close(s);
}

static int64_t
count_records(struct place *p)
{
  csn_err err;
  csn_store *s = NULL;
  csn_journal *j = NULL;
  OK(csn_store_open(&s, p->fd, CSN_DURABLE_PROCESS, &err), &err);
  OK(csn_journal_open(s, csn_cstr(p->id), false, &j, &err), &err);
  int64_t n = csn_journal_next_seq(j);
  csn_journal_close(j);
  csn_store_close(s);
  return n;
}

static int
never(csn_call *c, void *user, csn_err *err)
{
  return csn_fail(err, CSN_E_INVALID, "called again");
}

/* Resumes and waits; on success *state and *output tell how it ended. */
static int
resume(struct place *p, enum csn_run_state *state, csn_buf *output, csn_err *err)
{
  static const csn_tool add = {
      .size = sizeof add,
      .name = "add",
      .description = "Adds two whole numbers.",
      .schema = "{\"type\":\"object\",\"properties\":{}}",
      .replay = CSN_REPLAY_ASK,
      .call = never,
  };
  csn_auto(csn_rt_freep) csn_rt *rt = NULL;
  csn_auto(csn_run_freep) csn_run *r = NULL;
  csn_rt_options ro = {.state_dir = p->folder};
  csn_run_options o = {.tools = &add, .n_tools = 1};
  csn_scope sc;
  csn_result res;
  csn_scope_init(&sc, NULL, 20000);
  OK(csn_rt_new(&rt, &ro, err), err);
  int rc = csn_run_resume(rt, csn_cstr(p->id), &o, &r, err);
  if (rc == 0)
    rc = csn_run_wait(r, &sc, &res, err);
  if (rc == 0) {
    *state = res.state;
    csn_buf_add(output, res.output);
  }
  csn_scope_fini(&sc);
  return rc;
}

static void
check_resume(const char *name, const struct edit *e, enum csn_run_state want, const char *output,
             int64_t new_records)
{
  struct place p;
  csn_err err;
  enum csn_run_state state = CSN_RUN_RUNNING;
  csn_auto(csn_buf_finip) csn_buf said = CSN_BUF(TEXT_MAX);
  place_init(&p);
  import(&p, name, e);
  int64_t n = count_records(&p);
  OK(resume(&p, &state, &said, &err), &err);
  assert_int_equal(state, want);
  STR_EQ(csn_buf_str(&said), output);
  assert_int_equal(count_records(&p) - n, new_records);
  place_fini(&p);
}

TEST(a_run_that_ended_is_replayed_to_its_end)
{
  check_resume("v0.1.0/done.jsonl", NULL, CSN_RUN_DONE, "Changed: src/a.txt, src/new.txt", 0);
}

TEST(a_run_that_was_pending_goes_on)
{
  check_resume("v0.1.0/waiting.jsonl", NULL, CSN_RUN_WAITING, "", 2); /* resumed, ask */
}

TEST(a_run_of_another_step_version_starts_from_its_last_state)
{
  struct edit e = {0, "\"step_version\":1", "\"step_version\":99"};
  check_resume("v0.1.0/done.jsonl", &e, CSN_RUN_DONE, "Changed: src/a.txt, src/new.txt", 0);
}

static const struct {
  const char *name;
  struct edit edit;
  const char *complaint;
} altered[] = {
    {"done", {0, "\"format\":1,\"step", "\"format\":2,\"step"}, "record 0 (run): not a run that"},
    {"done", {0, "\"turns\":10", "\"turns\":99"}, "the agent does not match its hash"},
    {"done", {1, "Change the", "Delete the"}, "record 5 (model_call): this program would ask for"},
    {"done", {5, "\"turn\":1", "\"turn\":2"}, "record 5 (model_call): this program would ask for"},
    {"done", {7, "cat src", "rm -r src"}, "record 7 (tool_call): this program would ask for"},
    {"done", {9, "code 3", "code 0"}, "record 11 (model_call): this program would ask for"},
    {"done", {14, NULL, NULL}, "an effect is missing before it"},
    {"done", {30, "\"done\"", "\"failed\""}, "record 30 (finish)"},
    {"done", {3, "sandbox_open", "sandbox_dream"}, "record 3 (sandbox_dream): unknown kind"},
    {"waiting", {4, NULL, NULL}, "ends in the middle of a step"},
    {"waiting", {0, "\"step_version\":1", "\"step_version\":99"}, "no state to start from"},
    {"waiting", {0, "\"agent\":{", "\"agent\":{\"novel\":1,"}, "does not match its hash"},
};

TEST(what_was_altered_is_refused_and_stays_as_it_is)
{
  for (size_t i = 0; i < CSN_COUNT(altered); i++) {
    struct place p;
    csn_err err = {0};
    char name[100];
    enum csn_run_state ended;
    csn_auto(csn_buf_finip) csn_buf said = CSN_BUF(TEXT_MAX);
    snprintf(name, sizeof name, "v0.1.0/%s.jsonl", altered[i].name);
    place_init(&p);
    import(&p, name, &altered[i].edit);
    int64_t n = count_records(&p);
    int rc = resume(&p, &ended, &said, &err);
    if (rc != CSN_E_REPLAY || !strstr(err.msg, altered[i].complaint))
      fail_msg("%zu: got %d '%s', expected '%s'", i, rc, rc < 0 ? err.msg : "",
               altered[i].complaint);
    assert_int_equal(count_records(&p), n);
    place_fini(&p);
  }
}

RUN_TESTS("run/journals", RUN(a_run_that_ended_is_replayed_to_its_end),
          RUN(a_run_that_was_pending_goes_on),
          RUN(a_run_of_another_step_version_starts_from_its_last_state),
          RUN(what_was_altered_is_refused_and_stays_as_it_is))
