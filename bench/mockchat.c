/* SPDX-License-Identifier: Apache-2.0
 * mockchat.c - replies of the mock in the form of Chat Completions. */
#include "mockmodel.h"

enum { PIECE_MAX = 64 << 10 };

static void
usage(csn_buf *b, csn_str body)
{
  csn_buf_addf(b, "\"usage\":{\"prompt_tokens\":%zu,\"completion_tokens\":16,\"total_tokens\":%zu}",
               body.n / 4, body.n / 4 + 16);
}

static void
call(csn_buf *b, const struct script *s, csn_str body)
{
  csn_buf arguments = CSN_BUF(200);
  const char *name = mock_arguments(&arguments, s, body);
  csn_buf_addf(b,
               "[{\"index\":0,\"id\":\"call_%lld\",\"type\":\"function\",\"function\":{\"name\":"
               "\"%s\",\"arguments\":\"%s\"}}]",
               (long long)s->turn, name, arguments.p);
  csn_buf_fini(&arguments);
}

void
mock_chat(csn_buf *out, const struct script *s, csn_str body)
{
  csn_buf_addf(out,
               "{\"id\":\"chatcmpl-%lld\",\"object\":\"chat.completion\",\"created\":1760000000,"
               "\"model\":\"%.*s\",\"choices\":[{\"index\":0,\"logprobs\":null,\"finish_reason\":"
               "\"%s\",\"message\":{\"role\":\"assistant\",\"refusal\":null,\"content\":",
               (long long)s->turn, (int)s->name.n, s->name.p,
               mock_calls(s) ? "tool_calls" : "stop");
  if (mock_calls(s)) {
    csn_buf_addz(out, "null,\"tool_calls\":");
    call(out, s, body);
  } else {
    csn_buf_addc(out, '"');
    for (int64_t i = 0; i < mock_words(s); i++)
      csn_buf_addz(out, "word ");
    csn_buf_addc(out, '"');
  }
  csn_buf_addz(out, "}}],");
  usage(out, body);
  csn_buf_addc(out, '}');
}

/* A chunk of the answer: a delta and what follows it in the choice. */
static void
chunk(csn_buf *out, const struct script *s, csn_str delta, const char *reason)
{
  csn_buf one = CSN_BUF(PIECE_MAX);
  csn_buf_addf(&one,
               "data: {\"id\":\"chatcmpl-%lld\",\"object\":\"chat.completion.chunk\",\"created\":"
               "1760000000,\"model\":\"%.*s\",\"choices\":[{\"index\":0,\"delta\":%.*s,"
               "\"finish_reason\":%s}]}\n\n",
               (long long)s->turn, (int)s->name.n, s->name.p, (int)delta.n, delta.p, reason);
  csn_buf_addf(out, "%zx\r\n", one.n);
  csn_buf_add(out, csn_buf_str(&one));
  csn_buf_addz(out, "\r\n");
  csn_buf_fini(&one);
}

void
mock_chat_stream(csn_buf *out, const struct script *s, csn_str body)
{
  csn_buf piece = CSN_BUF(PIECE_MAX);
  chunk(out, s, CSN_STR("{\"role\":\"assistant\",\"content\":\"\"}"), "null");
  if (mock_calls(s)) {
    csn_buf_addz(&piece, "{\"tool_calls\":");
    call(&piece, s, body);
    csn_buf_addc(&piece, '}');
    chunk(out, s, csn_buf_str(&piece), "null");
  }
  for (int64_t i = 0; !mock_calls(s) && i < mock_words(s); i++)
    chunk(out, s, CSN_STR("{\"content\":\"word \"}"), "null");
  chunk(out, s, CSN_STR("{}"), mock_calls(s) ? "\"tool_calls\"" : "\"stop\"");
  csn_buf_clear(&piece);
  csn_buf_addz(&piece, "data: {\"choices\":[],");
  usage(&piece, body);
  csn_buf_addz(&piece, "}\n\n");
  csn_buf_addf(out, "%zx\r\n", piece.n);
  csn_buf_add(out, csn_buf_str(&piece));
  csn_buf_addz(out, "\r\ne\r\ndata: [DONE]\n\n\r\n");
  csn_buf_fini(&piece);
}
