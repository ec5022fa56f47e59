/* SPDX-License-Identifier: Apache-2.0
 * The files of a memory: appended, written from the index, and forgotten. */
#include "place.h"
#include "run/memory_store.h"

static void
read_text(const csn_memory_store *m, const char *path, csn_buf *out)
{
  csn_err err;
  csn_buf_clear(out);
  OK(csn_file_read(m->dir, path, out, &err), &err);
}

static void
open_new(place *pl, csn_memory_store *m)
{
  csn_err err;
  open_place(pl);
  OK(csn_memory_open(m, pl->fd, "a", true, &err), &err);
  OK(csn_memory_lock(m, &err), &err);
}

TEST(names_of_rollouts_are_checked)
{
  static const struct {
    const char *id;
    bool is_good;
  } rows[] = {{"a", true},    {"A-1_b.c", true}, {"", false},    {".a", false},
              {"a/b", false}, {"-a", false},     {"a b", false}, {"a\xc3\xbc", false}};
  for (size_t i = 0; i < CSN_COUNT(rows); i++)
    assert_int_equal(csn_rollout_id_check(csn_cstr(rows[i].id)), rows[i].is_good);
  char longest[CSN_ROLLOUT_ID_MAX + 1];
  memset(longest, 'a', sizeof longest);
  assert_true(csn_rollout_id_check(csn_strn(longest, CSN_ROLLOUT_ID_MAX)));
  assert_false(csn_rollout_id_check(csn_strn(longest, CSN_ROLLOUT_ID_MAX + 1)));
}

TEST(a_line_is_appended_and_a_torn_one_stays_alone)
{
  place pl;
  csn_err err;
  csn_auto(csn_memory_close) csn_memory_store m;
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1000);
  open_new(&pl, &m);
  OK(csn_memory_append(&m, CSN_STR("s"), CSN_STR("{\"a\":1}"), &err), &err);
  OK(csn_memory_append(&m, CSN_STR("s"), CSN_STR("{\"b\":2}"), &err), &err);
  read_text(&m, "sessions/s.jsonl", &text);
  STR_EQ(csn_buf_str(&text), "{\"a\":1}\n{\"b\":2}\n");
  put(&pl, "memory/a/sessions/s.jsonl", "{\"a\":1}\n{\"b", 0600);
  OK(csn_memory_append(&m, CSN_STR("s"), CSN_STR("{\"c\":3}"), &err), &err);
  read_text(&m, "sessions/s.jsonl", &text);
  STR_EQ(csn_buf_str(&text), "{\"a\":1}\n{\"b\n{\"c\":3}\n");
  close_place(&pl);
}

TEST(a_rollout_that_is_too_long_takes_no_more)
{
  place pl;
  csn_err err;
  csn_auto(csn_memory_close) csn_memory_store m;
  open_new(&pl, &m);
  put(&pl, "memory/a/sessions/s.jsonl", "{}\n", 0600);
  csn_auto(csn_closep) int fd = openat(pl.fd, "memory/a/sessions/s.jsonl", O_RDWR | O_CLOEXEC);
  assert_int_equal(ftruncate(fd, CSN_ROLLOUT_MAX - 4), 0);
  OK(csn_memory_append(&m, CSN_STR("s"), CSN_STR("{}"), &err), &err);
  assert_int_equal(csn_memory_append(&m, CSN_STR("s"), CSN_STR("{}"), &err), CSN_E_LIMIT);
  assert_non_null(strstr(err.msg, "caisson memory forget"));
  close_place(&pl);
}

TEST(only_one_process_makes_memories)
{
  place pl;
  csn_err err;
  csn_auto(csn_memory_close) csn_memory_store m, other;
  open_new(&pl, &m);
  OK(csn_memory_open(&other, pl.fd, "a", false, &err), &err);
  OK(csn_memory_begin(&m, &err), &err);
  assert_int_equal(csn_memory_begin(&other, &err), CSN_E_CONFLICT);
  close_place(&pl);
}

static const char index_json[] =
    "{\"version\":1,\"rollouts\":[{\"id\":\"x\",\"updated_ms\":1,\"segments\":1,\"slug\":\"first\","
    "\"made_by\":[\"r1\"]},{\"id\":\"y\",\"updated_ms\":2,\"segments\":1,\"slug\":\"second\","
    "\"made_by\":[\"r2\"]}],\"summary\":[{\"text\":\"of x\",\"from\":[\"x\"]},{\"text\":\"of y\","
    "\"from\":[\"y\"]}],\"entries\":[{\"group\":\"g\",\"kind\":\"Failures\",\"text\":\"both\","
    "\"from\":[\"x\",\"y\"]},{\"group\":\"g\",\"kind\":\"Failures\",\"text\":\"only y\",\"from\":"
    "[\"y\"]}],\"told\":[{\"sha256\":\"aa\",\"from\":[\"x\"]},{\"sha256\":\"bb\",\"from\":[\"y\"]}]"
    ","
    "\"made_by\":[\"r3\"]}";

TEST(forgetting_takes_a_rollout_out_of_every_file)
{
  place pl;
  csn_err err;
  csn_auto(csn_memory_close) csn_memory_store m;
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(100000), said = CSN_BUF(100000);
  open_new(&pl, &m);
  put(&pl, "memory/a/sessions/x.jsonl", "{\"run\":\"r0\"}\n", 0600);
  put(&pl, "memory/a/memories/raw_memories/x.md", "notes of x\n", 0600);
  put(&pl, "memory/a/memories/raw_memories/y.md", "notes of y\n", 0600);
  put(&pl, "memory/a/memories/rollout_summaries/x_first.md", "about x\n", 0600);
  put(&pl, "memory/a/memories/rollout_summaries/xx_other.md", "of another\n", 0600);
  OK(csn_memory_write(&m, csn_cstr(index_json), &err), &err);
  read_text(&m, "memories/MEMORY.md", &text);
  STR_EQ(csn_buf_str(&text),
         "# Task Group: g\n\n## Failures\n\n- both (from x y)\n- only y (from y)\n");
  read_text(&m, "memories/raw_memories.md", &text);
  STR_EQ(csn_buf_str(&text), "notes of x\n\nnotes of y\n");

  OK(csn_memory_forget(&m, CSN_STR("x"), &said, &err), &err);
  if (strncmp(said.p, "{\"told\":[\"aa\"],\"made_by\":[\"r1\",\"r3\"],\"runs\":[\"r0\"],", 50) != 0)
    fail_msg("%s", said.p);
  read_text(&m, "memories/MEMORY.md", &text);
  STR_EQ(csn_buf_str(&text), "# Task Group: g\n\n## Failures\n\n- only y (from y)\n");
  read_text(&m, "memories/memory_summary.md", &text);
  STR_EQ(csn_buf_str(&text), "- of y\n");
  read_text(&m, "memories/raw_memories.md", &text);
  STR_EQ(csn_buf_str(&text), "notes of y\n");
  read_text(&m, "index.json", &text);
  assert_null(strstr(text.p, "\"x\""));
  static const char *const gone[] = {"sessions/x.jsonl", "memories/raw_memories/x.md",
                                     "memories/rollout_summaries/x_first.md"};
  for (size_t i = 0; i < CSN_COUNT(gone); i++)
    assert_int_equal(csn_file_read(m.dir, gone[i], &text, &err), CSN_E_NOT_FOUND);
  read_text(&m, "memories/rollout_summaries/xx_other.md", &text);
  assert_int_equal(csn_memory_forget(&m, CSN_STR("x"), &said, &err), CSN_E_NOT_FOUND);
  assert_int_equal(csn_memory_forget(&m, CSN_STR("../y"), &said, &err), CSN_E_INVALID);
  close_place(&pl);
}

RUN_TESTS("run/memory", RUN(names_of_rollouts_are_checked),
          RUN(a_line_is_appended_and_a_torn_one_stays_alone),
          RUN(a_rollout_that_is_too_long_takes_no_more), RUN(only_one_process_makes_memories),
          RUN(forgetting_takes_a_rollout_out_of_every_file))
