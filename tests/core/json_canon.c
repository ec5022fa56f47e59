/* SPDX-License-Identifier: Apache-2.0
 * json_canon.c - for diff_json.py: reads documents, each after a line with its
 * size, and answers each with a line: `R` refused, `L` over a limit, or `A`
 * and the tree with strings in hexadecimal and numbers as spelled. */
#include <stdio.h>

#include "caisson/json.h"

static void
put_text(csn_str s)
{
  putchar('"');
  for (size_t i = 0; i < s.n; i++)
    printf("%02x", (unsigned char)s.p[i]);
  putchar('"');
}

static void
put(const csn_json *v)
{
  static const char *const open[] = {[CSN_JSON_ARRAY] = "[", [CSN_JSON_OBJECT] = "{"};
  switch ((enum csn_json_kind)v->kind) {
  case CSN_JSON_NULL:
    putchar('n');
    break;
  case CSN_JSON_BOOL:
    putchar(v->truth ? 't' : 'f');
    break;
  case CSN_JSON_NUMBER:
    printf("%.*s", (int)v->text.n, v->text.p);
    break;
  case CSN_JSON_STRING:
    put_text(v->text);
    break;
  case CSN_JSON_ARRAY:
  case CSN_JSON_OBJECT:
    fputs(open[v->kind], stdout);
    csn_json_each (m, v) {
      if (v->kind == CSN_JSON_OBJECT)
        put_text(m->key);
      put(m);
      putchar(',');
    }
    putchar(v->kind == CSN_JSON_OBJECT ? '}' : ']');
  }
}

int
main(void)
{
  size_t n;
  while (scanf("%zu", &n) == 1 && n < 1u << 20 && getchar() == '\n') {
    csn_auto(csn_freep) char *text = csn_alloc(n);
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    const csn_json *v;
    if (fread(text, 1, n, stdin) != n)
      return 1;
    int rc = csn_json_parse(a, csn_strn(text, n), &v, NULL);
    putchar(rc == 0 ? 'A' : rc == CSN_E_LIMIT ? 'L' : 'R');
    if (rc == 0)
      put(v);
    putchar('\n');
  }
  return 0;
}
