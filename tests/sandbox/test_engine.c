/* SPDX-License-Identifier: Apache-2.0
 * test_engine.c - what comes from a container engine: the streams of a command
 * however they are cut, and answers that are wrong, strange or endless. */
#include "sandbox/engine.h"

#include "../wire/server.h"
#include "caisson/sandbox.h"
#include "check.h"
#include "sandbox/engine_stream.h"

/* ---- streams ---- */

static void
frame(csn_buf *b, int stream, csn_str bytes)
{
  const unsigned char n[4] = {0, 0, (unsigned char)(bytes.n >> 8), (unsigned char)bytes.n};
  csn_buf_addc(b, (char)stream);
  csn_buf_add(b, CSN_STR("\0\0\0"));
  csn_buf_add(b, csn_strn((const char *)n, 4));
  csn_buf_add(b, bytes);
}

/* WORD stands for the stream's word; frames end at "|", of stderr they begin with "!". */
static void
compose(csn_buf *b, const csn_engine_stream *s, const char *text, bool framed)
{
  csn_auto(csn_buf_finip) csn_buf one = CSN_BUF(65536);
  int stream = 1;
  for (const char *c = text;; c++) {
    if (*c == '!' && one.n == 0) {
      stream = 2;
    } else if (strncmp(c, "WORD", 4) == 0) {
      csn_buf_addz(&one, s->word);
      c += 3;
    } else if (*c != '|' && *c) {
      csn_buf_addc(&one, *c);
    } else {
      if (framed)
        frame(b, stream, csn_buf_str(&one));
      else
        csn_buf_add(b, csn_buf_str(&one));
      csn_buf_clear(&one);
      stream = 1;
    }
    if (!*c)
      return;
  }
}

static const struct {
  const char *name, *text, *out, *err, *begun, *ended;
  bool framed, split, over;
} streams[] = {
    {"one stream", "\036WORD ok 12\036|a|b\036WORD end 3 0\036", "ab", "", "ok 12", "3 0", true,
     false, true},
    {"what follows the end is another's", "\036WORD ok 1\036x\036WORD end 0 0\036y|z", "x", "",
     "ok 1", "0 0", true, false, true},
    {"both streams have an end",
     "\036WORD ok 1\036a|!e1|\036WORD end 0 0\036|!e2\036WORD end 0 0\036|!e3", "a", "e1e2", "ok 1",
     "0 0", true, true, true},
    {"one of two ends is none", "\036WORD ok 1\036|!e\036WORD end 0 0\036|more", "more", "e",
     "ok 1", "0 0", true, true, false},
    {"separators of others are output", "\036\036x\036WOR \036WORDS end 1 0\036\036", NULL, "", "",
     "", true, false, false},
    {"a separator right before ours", "a\036\036WORD end 9 0\036", "a\036", "", "", "9 0", true,
     false, true},
    {"a saying that never ends is output",
     "\036WORD ok 1234567890123456789012345678901234567890123456789012345678901234567890", NULL, "",
     "", "", true, false, false},
    {"a frame may be empty", "|a||b|", "ab", "", "", "", true, false, false},
    {"a terminal has no frames", "\036WORD ok 7\036a\r\nb|c\036WORD end 255 0\036", "a\r\nbc", "",
     "ok 7", "255 0", false, false, true},
};

static void
expect_stream(size_t i, const size_t *cuts, size_t n_cuts)
{
  csn_engine_stream s;
  csn_err err;
  csn_auto(csn_buf_finip) csn_buf all = CSN_BUF(65536);
  csn_buf out[2] = {CSN_BUF(65536), CSN_BUF(65536)};
  csn_engine_stream_init(&s, streams[i].framed, streams[i].split);
  compose(&all, &s, streams[i].text, streams[i].framed);
  size_t at = 0;
  for (size_t k = 0; k <= n_cuts; k++) {
    size_t to = k < n_cuts && cuts[k] < all.n ? cuts[k] : all.n;
    if (k < n_cuts && cuts[k] == SIZE_MAX) { /* every byte alone */
      for (; at < all.n; at++)
        OK(csn_engine_stream_feed(&s, csn_strn(all.p + at, 1), out, &err), &err);
    } else {
      OK(csn_engine_stream_feed(&s, csn_strn(all.p + at, to - at), out, &err), &err);
      at = to;
    }
  }
  assert_int_equal(csn_engine_stream_is_over(&s), streams[i].over);
  csn_engine_stream_flush(&s, out);
  if (streams[i].out)
    STR_EQ(csn_buf_str(&out[0]), streams[i].out);
  else /* all of it came out, the word too */
    assert_int_equal(out[0].n, all.n - 8);
  STR_EQ(csn_buf_str(&out[1]), streams[i].err);
  assert_string_equal(s.begun, streams[i].begun);
  assert_string_equal(s.ended, streams[i].ended);
  csn_buf_fini(&out[0]);
  csn_buf_fini(&out[1]);
}

TEST(a_stream_is_the_same_however_it_is_cut)
{
  const size_t bytes = SIZE_MAX;
  for (size_t i = 0; i < CSN_COUNT(streams); i++) {
    expect_stream(i, NULL, 0);
    expect_stream(i, &bytes, 1);
    for (size_t cut = 1; cut < 200; cut++)
      expect_stream(i, &cut, 1);
  }
}

TEST(what_is_no_frame_is_refused)
{
  static const csn_str bad[] = {CSN_STR_INIT("\3\0\0\0\0\0\0\1x"),
                                CSN_STR_INIT("\1\1\0\0\0\0\0\1x"),
                                CSN_STR_INIT("HTTP/1.1 200 OK\r\n")};
  for (size_t i = 0; i < CSN_COUNT(bad); i++) {
    csn_engine_stream s;
    csn_err err;
    csn_buf out[2] = {CSN_BUF(100), CSN_BUF(100)};
    csn_engine_stream_init(&s, true, false);
    assert_int_equal(csn_engine_stream_feed(&s, bad[i], out, &err), CSN_E_PARSE);
  }
}

/* ---- an engine that cannot be trusted ---- */

#define JSON(status, body) "HTTP/1.1 " status "\r\nConnection: close\r\n\r\n" body
#define IMAGE                                                                                      \
  {                                                                                                \
    "/v1.41/images/box/json", JSON("200 OK", "{\"Id\":\"sha256:1\",\"Config\":{}}"), CLOSE, 0,     \
        NULL                                                                                       \
  }
#define ID64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define CREATED                                                                                    \
  {                                                                                                \
    "/v1.41/containers/create", JSON("201 Created", "{\"Id\":\"" ID64 "\"}"), CLOSE, 0, NULL       \
  }
#define REMOVED                                                                                    \
  {                                                                                                \
    "/v1.41/containers/" ID64, JSON("204 No Content", ""), CLOSE, 0, NULL                          \
  }
#define ATTACHED                                                                                   \
  {                                                                                                \
    "/v1.41/containers/" ID64 "/attach",                                                           \
        "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n", HOLD, 0, NULL      \
  }

static int
open_at(struct server *s, csn_sandbox **sb, csn_err *err)
{
  char text[200];
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_json *options;
  csn_scope sc;
  snprintf(text, sizeof text, "{\"image\":\"box\",\"host\":\"tcp://127.0.0.1:%d\"}", s->port);
  OK(csn_json_parse(a, csn_cstr(text), &options, err), err);
  csn_sandbox_spec spec = {
      .backend = "docker", .workspace_fd = -1, .lock_fd = -1, .options = options};
  csn_scope_init(&sc, NULL, 5000);
  int rc = csn_sandbox_open(sb, &sc, &spec, err);
  csn_scope_fini(&sc);
  return rc;
}

TEST(answers_that_are_wrong_or_strange_are_errors)
{
  static const struct {
    const char *name;
    enum csn_code code;
    const char *says;
    struct page pages[5];
  } rows[] = {
      {"not HTTP",
       CSN_E_PARSE,
       "HTTP",
       {{"/v1.41/images/box/json", "SSH-2.0-OpenSSH\r\n\r\n", CLOSE, 0, NULL}}},
      {"no JSON",
       CSN_E_PARSE,
       "images/box",
       {{"/v1.41/images/box/json", JSON("200 OK", "<html>"), CLOSE, 0, NULL}}},
      {"an answer that stops",
       CSN_E_PARSE,
       "ended",
       {{"/v1.41/images/box/json", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", CLOSE, 0,
         NULL}}},
      {"nothing",
       CSN_E_UNAVAILABLE,
       "without an answer",
       {{"/v1.41/images/box/json", "", CLOSE, 0, NULL}}},
      {"its words are shown without what steers a terminal",
       CSN_E_SANDBOX,
       "a  [31mb (500)",
       {{"/v1.41/images/box/json", JSON("500 Oh", "{\"message\":\"a\\r\\u001b[31mb\"}"), CLOSE, 0,
         NULL}}},
      {"an image that cannot be fetched",
       CSN_E_UNAVAILABLE,
       "no such host",
       {{"/v1.41/images/box/json", JSON("404 Not Found", "{\"message\":\"no such image\"}"), CLOSE,
         0, NULL},
        {"/v1.41/images/create",
         JSON("200 OK", "{\"status\":\"Pulling\"}\n{\"error\":\"no such host\"}\n"), CLOSE, 3,
         NULL}}},
      {"an id that is a path",
       CSN_E_PARSE,
       "strange id",
       {IMAGE,
        {"/v1.41/containers/create", JSON("201 Created", "{\"Id\":\"../../../images/prune\"}"),
         CLOSE, 0, NULL}}},
      {"an id that is none",
       CSN_E_PARSE,
       "strange id",
       {IMAGE, {"/v1.41/containers/create", JSON("201 Created", "[]"), CLOSE, 0, NULL}}},
      {"no stream",
       CSN_E_PARSE,
       "gives no stream",
       {IMAGE,
        CREATED,
        {"/v1.41/containers/" ID64 "/attach", JSON("200 OK", "{}"), CLOSE, 0, NULL},
        REMOVED}},
      {"one that will not start",
       CSN_E_SANDBOX,
       "no cgroups",
       {IMAGE,
        CREATED,
        ATTACHED,
        {"/v1.41/containers/" ID64 "/start", JSON("500 Oh", "{\"message\":\"no cgroups\"}"), CLOSE,
         0, NULL},
        REMOVED}},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    struct server s;
    csn_sandbox *sb = NULL;
    csn_err err = {0};
    server_start(&s, rows[i].pages, 5);
    int rc = open_at(&s, &sb, &err);
    if (rc != (int)rows[i].code || !strstr(err.msg, rows[i].says))
      fail_msg("%s: %s: %s", rows[i].name, csn_code_name((enum csn_code)rc), err.msg);
    for (const char *c = err.msg; *c; c++)
      assert_true((unsigned char)*c >= ' ');
    /* What was made is removed again. */
    if (rows[i].pages[3].path)
      assert_true(csn_str_find(csn_buf_str(&s.requests),
                               CSN_STR("DELETE /v1.41/containers/" ID64 "?force=true&v=true"),
                               0) != SIZE_MAX);
    server_stop(&s);
  }
}

TEST(an_answer_without_end_is_cut)
{
  csn_auto(csn_buf_finip) csn_buf big = CSN_BUF(40 << 20);
  csn_buf_addz(&big, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n\"");
  memset(csn_buf_room(&big, 20 << 20), 'x', 20 << 20);
  big.n += 20 << 20;
  csn_buf_addc(&big, '\0');
  const struct page pages[] = {{"/v1.41/images/box/json", big.p, CLOSE, 0, NULL}};
  struct server s;
  csn_sandbox *sb = NULL;
  csn_err err = {0};
  server_start(&s, pages, 1);
  assert_int_equal(open_at(&s, &sb, &err), CSN_E_LIMIT);
  server_stop(&s);
}

TEST(where_an_engine_is_must_be_said_in_one_of_two_forms)
{
  static const struct {
    const char *host;
    int rc;
  } rows[] = {{"unix:///run/x.sock", 0},   {"tcp://127.0.0.1:2375", 0}, {"tcp://[::1]:2375", 0},
              {"unix://relative", -1},     {"tcp://127.0.0.1", -1},     {"https://a:2376", -1},
              {"/var/run/docker.sock", -1}};
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_engine e;
    csn_err err;
    assert_int_equal(csn_engine_init(&e, csn_cstr(rows[i].host), &err), rows[i].rc);
    csn_engine_fini(&e);
  }
  csn_engine e;
  csn_err err;
  setenv("DOCKER_HOST", "unix:///elsewhere", 1);
  OK(csn_engine_init(&e, CSN_STR(""), &err), &err);
  assert_string_equal(e.place.path, "/elsewhere");
  csn_engine_fini(&e);
  unsetenv("DOCKER_HOST");
}

TEST(nobody_there_is_told_with_the_place)
{
  csn_engine e;
  csn_err err;
  OK(csn_engine_init(&e, CSN_STR("unix:///tmp/caisson-no-such-socket"), &err), &err);
  assert_int_equal(csn_engine_ask(&e, NULL, "GET", "/info", (csn_str){0}, NULL, NULL, &err),
                   CSN_E_UNAVAILABLE);
  assert_non_null(strstr(err.msg, "/tmp/caisson-no-such-socket"));
  csn_engine_fini(&e);
}

RUN_TESTS("sandbox/engine", RUN(a_stream_is_the_same_however_it_is_cut),
          RUN(what_is_no_frame_is_refused), RUN(answers_that_are_wrong_or_strange_are_errors),
          RUN(an_answer_without_end_is_cut),
          RUN(where_an_engine_is_must_be_said_in_one_of_two_forms),
          RUN(nobody_there_is_told_with_the_place))
