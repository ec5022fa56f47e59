/* SPDX-License-Identifier: Apache-2.0
 *
 * Golden files of the model codecs: tests/golden/model/<codec>/<case>.*
 *   req.json    a request in neutral form
 *   body.json   the body that encode makes of it, byte for byte
 *   reply       "HTTP 200", header lines, an empty line, then the body's bytes
 *   items.json  what decode makes of it: deltas, items, usage or the error
 * A case has the first two, the last two, or all four.  Each reply is fed at
 * every cut (at about a thousand of them when it is long) and cut short at
 * each.  UPDATE_GOLDEN=1 rewrites body.json and items.json.
 *
 * tests/golden/recorded/<server>/<codec>_<case>.reply are what real servers
 * sent, with framing and all headers; their items.json stand beside them.
 */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>

#include "caisson/model.h"
#include "check.h"
#include "model/reply.h"

enum { FILE_MAX = 8 << 20, EVERY_CUT = 4096, SOME_CUTS = 1000 };

static csn_str
read_file(csn_arena *a, const char *dir, const char *name, const char *ext)
{
  csn_str path = csn_arena_printf(a, "%s/%s.%s", dir, name, ext);
  FILE *f = fopen(path.p, "rb");
  if (!f)
    return (csn_str){NULL, 0};
  char *p = csn_arena_alloc(a, FILE_MAX);
  size_t n = fread(p, 1, FILE_MAX - 1, f);
  fclose(f);
  return csn_strn(p, n);
}

/* Compares with the golden file, or rewrites it. */
static void
same_as_file(csn_arena *a, const char *dir, const char *name, const char *ext, csn_str got)
{
  if (getenv("UPDATE_GOLDEN")) {
    FILE *f = fopen(csn_arena_printf(a, "%s/%s.%s", dir, name, ext).p, "wb");
    assert_non_null(f);
    fwrite(got.p, 1, got.n, f);
    fputc('\n', f);
    fclose(f);
    return;
  }
  csn_str want = csn_str_trim(read_file(a, dir, name, ext));
  if (!csn_str_eq(want, got))
    fail_msg("%s/%s.%s\n got      %.*s\n expected %.*s", dir, name, ext, (int)got.n, got.p,
             (int)want.n, want.p ? want.p : "");
}

static csn_str
raw_of(const csn_json *v, const char *key)
{
  const csn_json *m = csn_json_get(v, key);
  return m ? m->raw : CSN_STR("");
}

static void
read_request(csn_arena *a, const csn_json *v, csn_model_request *rq, csn_endpoint *ep)
{
  const csn_json *items = csn_json_get(v, "items"), *tools = csn_json_get(v, "tools");
  csn_str *texts = csn_arena_alloc(a, (items ? items->n : 0) * sizeof *texts);
  csn_tool_decl *decls = csn_arena_alloc(a, (tools ? tools->n : 0) * sizeof *decls);
  *rq = (csn_model_request){.model = csn_json_str(v, "model", CSN_STR("")),
                            .instructions = csn_json_str(v, "instructions", CSN_STR("")),
                            .items = texts,
                            .tools = decls,
                            .settings = csn_json_get(v, "settings"),
                            .stream = csn_json_bool(v, "stream", false)};
  *ep = (csn_endpoint){.base_url = CSN_STR("http://localhost/v1"),
                       .custom_tools = csn_json_bool(v, "custom_tools", false),
                       .no_null_content = !csn_json_bool(v, "null_content", true)};
  csn_json_each (m, items)
    texts[rq->n_items++] = m->raw;
  csn_json_each (t, tools)
    decls[rq->n_tools++] =
        (csn_tool_decl){.name = csn_json_str(t, "name", CSN_STR("")),
                        .description = csn_json_str(t, "description", CSN_STR("")),
                        .schema = raw_of(t, "schema"),
                        .format = raw_of(t, "format"),
                        .strict = csn_json_bool(t, "strict", false)};
}

struct head {
  csn_reply_head h;
  csn_str body;
};

static csn_str
without_chunks(csn_arena *a, csn_str framed)
{
  csn_buf body = CSN_BUF(FILE_MAX);
  csn_str line;
  for (unsigned size = 1; size > 0;) {
    assert_true(csn_str_line(&framed, &line) && line.n > 0 && line.n < 9);
    assert_int_equal(sscanf(csn_arena_dup(a, line).p, "%x", &size), 1);
    assert_true(size + 2 <= framed.n);
    csn_buf_add(&body, csn_strn(framed.p, size));
    framed = csn_strn(framed.p + size + 2, framed.n - size - 2);
  }
  csn_str out = csn_arena_dup(a, csn_buf_str(&body));
  csn_buf_fini(&body);
  return out;
}

static struct head
read_recorded(csn_arena *a, csn_str reply)
{
  struct head out = {.body = reply};
  csn_header headers[64];
  size_t n = 0;
  csn_str line;
  int64_t status = 0;
  bool is_chunked = false;
  assert_true(csn_str_line(&out.body, &line) && line.n > 12);
  assert_true(csn_str_int(csn_strn(line.p + 9, 3), &status));
  while (csn_str_line(&out.body, &line) && line.n) {
    size_t colon = csn_str_find(line, CSN_STR(": "), 0);
    assert_true(colon != SIZE_MAX && n < CSN_COUNT(headers));
    char *name = csn_arena_alloc(a, colon + 1);
    for (size_t i = 0; i < colon; i++)
      name[i] = (char)tolower(line.p[i]);
    headers[n++] =
        (csn_header){csn_strn(name, colon), csn_strn(line.p + colon + 2, line.n - colon - 2)};
    is_chunked = is_chunked || csn_str_eq(headers[n - 1].name, CSN_STR("transfer-encoding"));
  }
  csn_reply_head_read(&out.h, (int)status, headers, n);
  if (is_chunked)
    out.body = without_chunks(a, out.body);
  return out;
}

static struct head
read_head(csn_arena *a, csn_str reply)
{
  if (csn_str_starts(reply, CSN_STR("HTTP/")))
    return read_recorded(a, reply);
  struct head out = {.body = reply};
  csn_str line;
  int64_t status = 0;
  while (csn_str_line(&out.body, &line) && line.n) {
    size_t colon = csn_str_find(line, CSN_STR(": "), 0);
    if (csn_str_starts(line, CSN_STR("HTTP ")))
      assert_true(csn_str_int(csn_strn(line.p + 5, line.n - 5), &status));
    if (colon == SIZE_MAX)
      continue;
    csn_str name = csn_strn(line.p, colon),
            value = csn_strn(line.p + colon + 2, line.n - colon - 2);
    if (csn_str_eq(name, CSN_STR("content-type")))
      out.h.content_type = value;
    else if (csn_str_eq(name, CSN_STR("retry-after")))
      out.h.retry_after = value;
    else if (csn_str_eq(name, CSN_STR("retry-after-ms")))
      out.h.retry_after_ms = value;
    else if (csn_str_eq(name, CSN_STR("date")))
      out.h.date = value;
    else if (csn_str_eq(name, CSN_STR("x-should-retry")))
      out.h.should_retry = value;
    else if (csn_str_eq(name, CSN_STR("x-request-id")))
      out.h.request_id = value;
    else
      fail_msg("unknown header %.*s", (int)name.n, name.p);
  }
  out.h.status = (int)status;
  return out;
}

/* Deltas as they come; neighbours of one kind are joined, as cuts do not matter. */
struct deltas {
  csn_buf text, now;
  int kind;
};

static void
close_delta(struct deltas *d)
{
  static const char *const names[] = {"text", "reasoning", "refusal", "arguments"};
  if (d->kind < 0)
    return;
  csn_buf_addf(&d->text, "%s{\"%s\":", d->text.n ? ",\n " : "", names[d->kind]);
  csn_json_quote(&d->text, csn_buf_str(&d->now));
  csn_buf_addc(&d->text, '}');
  csn_buf_clear(&d->now);
  d->kind = -1;
}

static void
on_delta(void *user, enum csn_delta_kind kind, csn_str text)
{
  struct deltas *d = user;
  if (d->kind != (int)kind)
    close_delta(d);
  d->kind = (int)kind;
  csn_buf_add(&d->now, text);
}

static void
render_reply(csn_buf *out, const csn_model_reply *r, struct deltas *d)
{
  csn_buf_addf(out, "{\"deltas\":[%s],\n\"items\":[", d->text.n ? d->text.p : "");
  for (size_t i = 0; i < r->n_items; i++)
    csn_buf_addf(out, "%s\n %.*s", i ? "," : "", (int)r->items[i].n, r->items[i].p);
  const csn_usage *u = &r->usage;
  csn_buf_addf(out, "],\n\"usage\":[%lld,%lld,%lld,%lld,%lld", (long long)u->input_tokens,
               (long long)u->cached_tokens, (long long)u->output_tokens,
               (long long)u->reasoning_tokens, (long long)u->total_tokens);
  if (u->cache_write_tokens)
    csn_buf_addf(out, ",%lld,%lld", (long long)u->cache_write_tokens,
                 (long long)u->cache_write_1h_tokens);
  csn_buf_addf(out, "],\"response_id\":\"%.*s\"}", (int)r->response_id.n,
               r->response_id.p ? r->response_id.p : "");
}

struct fed {
  int rc;
  csn_buf text;
};

/* Feeds [0, cut) and [cut, end) and renders what comes out. */
static void
feed_once(const csn_model_ops *ops, const struct head *h, const csn_model_request *rq, size_t cut,
          size_t end, struct fed *out)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  struct deltas d = {.text = CSN_BUF(FILE_MAX), .now = CSN_BUF(FILE_MAX), .kind = -1};
  csn_model_reply reply = {0};
  csn_err err = {0};
  csn_decoder *dec = ops->decoder(a, &h->h, rq, on_delta, &d);
  int rc = ops->feed(dec, csn_strn(h->body.p, cut), &err);
  if (rc == 0)
    rc = ops->feed(dec, csn_strn(h->body.p + cut, end - cut), &err);
  if (rc == 0)
    rc = ops->finish(dec, &reply, &err);
  ops->close(dec);
  close_delta(&d);
  csn_buf_clear(&out->text);
  out->rc = rc;
  if (rc == 0) {
    render_reply(&out->text, &reply, &d);
  } else {
    csn_buf_addf(&out->text,
                 "{\"deltas\":[%s],\n\"error\":\"%s\",\"http_status\":%d,\"retry_after_ms\":%lld,\n"
                 "\"message\":",
                 d.text.n ? d.text.p : "", csn_code_name(err.code), err.http_status,
                 (long long)err.retry_after_ms);
    csn_json_quote(&out->text, csn_cstr(err.msg));
    csn_buf_addc(&out->text, '}');
  }
  csn_buf_fini(&d.text);
  csn_buf_fini(&d.now);
}

/* What a run acts on: numbers of tokens may come behind it, and be missed. */
static csn_str
items_of(const csn_buf *rendered)
{
  csn_str s = csn_buf_str(rendered);
  size_t from = csn_str_find(s, CSN_STR("\n\"items\":["), 0);
  size_t to = csn_str_find(s, CSN_STR("],\n\"usage\""), 0);
  return from == SIZE_MAX || to == SIZE_MAX ? s : csn_strn(s.p + from, to - from);
}

static void
check_reply(csn_arena *a, const csn_model_ops *ops, const char *dir, const char *name,
            csn_str reply, const csn_model_request *rq)
{
  struct head h = read_head(a, reply);
  struct fed whole = {.text = CSN_BUF(FILE_MAX)}, part = {.text = CSN_BUF(FILE_MAX)};
  feed_once(ops, &h, rq, 0, h.body.n, &whole);
  same_as_file(a, dir, name, "items.json", csn_buf_str(&whole.text));
  size_t step = h.body.n <= EVERY_CUT ? 1 : h.body.n / SOME_CUTS + 1;
  for (size_t cut = 0; cut <= h.body.n; cut += step) {
    feed_once(ops, &h, rq, cut, h.body.n, &part);
    if (!csn_str_eq(csn_buf_str(&part.text), csn_buf_str(&whole.text)))
      fail_msg("%s cut at %zu: got %s", name, cut, part.text.p);
    feed_once(ops, &h, rq, cut / 2, cut, &part);
    if (whole.rc == 0 && part.rc < 0)
      assert_int_equal(part.rc, CSN_E_UNAVAILABLE);
    else if (whole.rc == 0 && !csn_str_eq(items_of(&part.text), items_of(&whole.text)))
      fail_msg("%s, cut off at %zu, is taken for %s", name, cut, part.text.p);
  }
  csn_buf_fini(&whole.text);
  csn_buf_fini(&part.text);
}

static void
check_case(const csn_model_ops *ops, const char *dir, const char *name)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_model_request rq = {0};
  csn_endpoint ep = {0};
  csn_err err;
  csn_str text = read_file(a, dir, name, "req.json"), reply = read_file(a, dir, name, "reply");
  if (text.p) {
    const csn_json *v;
    OK(csn_json_parse(a, text, &v, &err), &err);
    read_request(a, v, &rq, &ep);
    csn_auto(csn_buf_finip) csn_buf body = CSN_BUF(FILE_MAX);
    csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(4096);
    const csn_json *again;
    OK(ops->encode(&ep, &rq, &body, &path, &err), &err);
    assert_true(csn_str_starts(csn_buf_str(&path), CSN_STR("/")));
    OK(csn_json_parse(a, csn_buf_str(&body), &again, &err), &err);
    same_as_file(a, dir, name, "body.json", csn_buf_str(&body));
  }
  if (reply.p)
    check_reply(a, ops, dir, name, reply, &rq);
  if (!text.p && !reply.p)
    fail_msg("%s/%s: neither req.json nor reply", dir, name);
}

static int
by_name(const void *a, const void *b)
{
  return strcmp(*(char *const *)a, *(char *const *)b);
}

static void
check_folder(const char *codec, const char *dir, csn_str begin)
{
  DIR *d = opendir(dir);
  assert_non_null(d);
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  char *names[512];
  size_t n = 0;
  for (struct dirent *e; (e = readdir(d));) {
    csn_str file = csn_cstr(e->d_name);
    csn_str ext =
        csn_str_ends(file, CSN_STR(".req.json")) ? CSN_STR(".req.json") : CSN_STR(".reply");
    if (!csn_str_ends(file, ext) || !csn_str_starts(file, begin))
      continue;
    csn_str name = csn_arena_dup(a, csn_strn(file.p, file.n - ext.n));
    assert_true(n < CSN_COUNT(names));
    names[n++] = (char *)(uintptr_t)name.p;
  }
  closedir(d);
  qsort(names, n, sizeof *names, by_name);
  for (size_t i = 0; i < n; i++)
    if (i == 0 || strcmp(names[i], names[i - 1]) != 0)
      check_case(csn_model_find(csn_cstr(codec)), dir, names[i]);
  assert_true(n > 0);
}

static void
check_codec(const char *codec)
{
  char dir[1024];
  snprintf(dir, sizeof dir, "%s/model/%s", GOLDEN_DIR, codec);
  check_folder(codec, dir, CSN_STR(""));
}

TEST(responses_bodies_and_replies_are_as_recorded)
{
  check_codec("responses");
}

TEST(chat_bodies_and_replies_are_as_recorded)
{
  check_codec("chat");
}

TEST(anthropic_bodies_and_replies_are_as_recorded)
{
  check_codec("anthropic");
}

TEST(bedrock_bodies_and_replies_are_as_recorded)
{
  check_codec("bedrock");
}

TEST(gemini_bodies_and_replies_are_as_recorded)
{
  check_codec("gemini");
}

TEST(what_real_servers_sent_is_understood)
{
  static const struct {
    const char *server, *codec, *begin;
  } all[] = {
      {"llama_cpp_python", "chat", "chat_"},       {"litellm", "chat", "chat_"},
      {"litellm", "responses", "responses_"},      {"transformers", "chat", "chat_"},
      {"transformers", "responses", "responses_"},
  };
  for (size_t i = 0; i < CSN_COUNT(all); i++) {
    char dir[1024];
    snprintf(dir, sizeof dir, "%s/recorded/%s", GOLDEN_DIR, all[i].server);
    check_folder(all[i].codec, dir, csn_cstr(all[i].begin));
  }
}

TEST(what_an_api_cannot_say_is_refused)
{
  static const struct {
    const char *api, *item, *text;
  } rows[] = {
      {"chat", "{\"type\":\"item_reference\",\"id\":\"x\"}", "item_reference"},
      {"chat", "{\"type\":\"compaction\",\"encrypted_content\":\"x\"}", "compaction"},
      {"chat", "{\"role\":\"user\",\"content\":[{\"type\":\"hologram\"}]}",
       "no content of type 'hologram'"},
      {"chat", "{\"role\":\"user\",\"content\":[{\"type\":\"input_image\",\"file_id\":\"f\"}]}",
       "images by URL or data URL only"},
      {"chat", "{\"role\":\"root\",\"content\":\"x\"}", "unknown role 'root'"},
      {"anthropic", "{\"type\":\"item_reference\",\"id\":\"x\"}", "item_reference"},
      {"anthropic", "{\"role\":\"user\",\"content\":[{\"type\":\"input_audio\"}]}",
       "'input_audio'"},
      {"gemini", "{\"type\":\"compaction\"}", "compaction"},
      {"gemini", "{\"role\":\"user\",\"content\":[{\"type\":\"input_file\",\"file_id\":\"f\"}]}",
       "by URL or data URL only"},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    const csn_model_ops *ops = csn_model_find(csn_cstr(rows[i].api));
    csn_auto(csn_buf_finip) csn_buf body = CSN_BUF(4096), path = CSN_BUF(1000);
    csn_err err = {0};
    csn_str item = csn_cstr(rows[i].item);
    csn_endpoint ep = {.base_url = CSN_STR("http://localhost")};
    csn_model_request rq = {.model = CSN_STR("m"), .items = &item, .n_items = 1};
    assert_int_equal(ops->encode(&ep, &rq, &body, &path, &err), CSN_E_UNSUPPORTED);
    if (!strstr(err.msg, rows[i].text))
      fail_msg("row %zu: got %s, expected %s", i, err.msg, rows[i].text);
  }
}

RUN_TESTS("model/golden", RUN(responses_bodies_and_replies_are_as_recorded),
          RUN(chat_bodies_and_replies_are_as_recorded),
          RUN(anthropic_bodies_and_replies_are_as_recorded),
          RUN(bedrock_bodies_and_replies_are_as_recorded),
          RUN(gemini_bodies_and_replies_are_as_recorded), RUN(what_real_servers_sent_is_understood),
          RUN(what_an_api_cannot_say_is_refused))
