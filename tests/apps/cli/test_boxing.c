/* SPDX-License-Identifier: Apache-2.0
 * The options of a sandbox: as they are kept, and what they become. */
#include "apps/cli/boxing.h"
#include "check.h"

static const char *
as_json(const cli_box_opts *o, csn_buf *text)
{
  csn_jw w;
  csn_err err;
  csn_buf_clear(text);
  csn_jw_init(&w, text);
  cli_box_to_json(o, &w);
  OK(csn_jw_done(&w, &err), &err);
  return text->p;
}

TEST(what_is_kept_comes_back_and_nothing_else_is_kept)
{
  csn_err err;
  cli c = {.arena = csn_arena_new(0)};
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(10000), again = CSN_BUF(10000);
  cli_box_opts o = {.backend = "docker",
                    .user = "me",
                    .env = {(const char *[]){"A=b", "C=", NULL}, 2},
                    .options = {(const char *[]){"image=debian:12", NULL}, 1},
                    .limits = {[CSN_LIMIT_MEMORY] = "1GiB", [CSN_LIMIT_OUTPUT] = "5MiB"},
                    .strict = true,
                    .network = {.network = "allow:example.com"}},
               back;
  const csn_json *v;
  OK(csn_json_parse(c.arena, csn_cstr(as_json(&o, &text)), &v, &err), &err);
  OK(cli_box_from_json(&c, v, &back, &err), &err);
  assert_string_equal(as_json(&back, &again), text.p);
  assert_string_equal(back.limits[CSN_LIMIT_MEMORY], "1GiB");
  assert_int_equal(back.env.n, 2);
  assert_null(back.env.v[2]);
  assert_true(back.strict);
  assert_string_equal(as_json(&(cli_box_opts){0}, &text), "{}");
  csn_arena_free(c.arena);
}

TEST(what_another_version_wrote_is_refused_by_name)
{
  static const char *const rows[] = {"{\"nothing\":\"x\"}", "{\"env\":\"A=b\"}", "{\"env\":[1]}",
                                     "{\"strict\":\"yes\"}", "{\"memory\":1}"};
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_err err;
    cli c = {.arena = csn_arena_new(0)};
    cli_box_opts o;
    const csn_json *v;
    OK(csn_json_parse(c.arena, csn_cstr(rows[i]), &v, &err), &err);
    assert_int_equal(cli_box_from_json(&c, v, &o, &err), CSN_E_INVALID);
    assert_non_null(strstr(err.msg, "another version"));
    csn_arena_free(c.arena);
  }
}

TEST(options_of_a_back_end_are_json_where_they_can_be)
{
  static const struct {
    const char *words[4], *want; /* want NULL: refused */
  } rows[] = {
      {{"image=debian:12"}, "{\"image\":\"debian:12\"}"},
      {{"n=5", "is=true", "list=[1]"}, "{\"n\":5,\"is\":true,\"list\":[1]}"},
      {{"empty="}, "{\"empty\":\"\"}"},
      {{"a=b=c"}, "{\"a\":\"b=c\"}"},
      {{"image"}, NULL},
      {{"=x"}, NULL},
      {{"a=1", "a=2"}, NULL},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_err err;
    cli c = {.arena = csn_arena_new(0)};
    cli_box box;
    cli_box_opts o = {.options = {(const char **)rows[i].words, 0}};
    while (rows[i].words[o.options.n])
      o.options.n++;
    int rc = cli_box_read(&c, &o, &box, &err);
    if (rows[i].want)
      OK(rc, &err);
    else
      assert_int_equal(rc, CSN_E_INVALID);
    if (rows[i].want) {
      csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1000);
      csn_jw w;
      csn_jw_init(&w, &text);
      csn_jw_value(&w, box.spec.options);
      STR_EQ(csn_buf_str(&text), rows[i].want);
    }
    cli_box_fini(&box);
    csn_arena_free(c.arena);
  }
}

RUN_TESTS("apps/cli/boxing", RUN(what_is_kept_comes_back_and_nothing_else_is_kept),
          RUN(what_another_version_wrote_is_refused_by_name),
          RUN(options_of_a_back_end_are_json_where_they_can_be))
