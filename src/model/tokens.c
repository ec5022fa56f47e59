/* SPDX-License-Identifier: Apache-2.0
 * tokens.c - see tokens.h. */
#include "model/tokens.h"

#include "caisson/mem.h"

enum {
  WORD_BYTES = 7,    /* letters that one token holds */
  CAPITAL_BYTES = 3, /* capitals in a row */
  NUMBER_BYTES = 3,  /* digits */
  BLANK_BYTES = 16,  /* blanks in a row */
  SIGN_BYTES = 2,    /* signs in a row: "();" */
  IMAGE_TOKENS = 1600,
  WIDE = 0x2e80 /* from here on writing is dense: about a token a character */
};

/* Per cent of what OpenAI's newer tokenizer makes of English and code. */
static const int scale[] = {
    [CSN_TOKENS_OPENAI] = 100,
    [CSN_TOKENS_CLAUDE] = 125,
    [CSN_TOKENS_GEMINI] = 105,
    [CSN_TOKENS_OTHER] = 115,
};

enum csn_token_family
csn_token_family(csn_str model)
{
  static const struct {
    const char *word;
    enum csn_token_family family;
  } words[] = {{"claude", CSN_TOKENS_CLAUDE}, {"gemini", CSN_TOKENS_GEMINI},
               {"gpt-", CSN_TOKENS_OPENAI},   {"openai/", CSN_TOKENS_OPENAI},
               {"/o1", CSN_TOKENS_OPENAI},    {"/o3", CSN_TOKENS_OPENAI},
               {"/o4", CSN_TOKENS_OPENAI},    {"codex", CSN_TOKENS_OPENAI}};
  for (size_t i = 0; i < CSN_COUNT(words); i++)
    if (csn_str_find(model, csn_cstr(words[i].word), 0) != SIZE_MAX)
      return words[i].family;
  return CSN_TOKENS_OTHER;
}

enum kind { LOWER, UPPER, DIGIT, BLANK, SIGN, NARROW, DENSE };

/* The kind of the character at p[*i], which is passed over. */
static enum kind
next(csn_str s, size_t *i)
{
  unsigned char c = (unsigned char)s.p[(*i)++];
  if (c == '\\' && *i < s.n) { /* an escape of JSON */
    char e = s.p[(*i)++];
    if (e == 'u') {
      *i = *i + 4 < s.n ? *i + 4 : s.n;
      return DENSE;
    }
    return strchr("nrtbf", e) && e ? BLANK : SIGN;
  }
  if (c >= 0x80) {
    size_t n = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
    bool is_dense = c >= 0xf0 || (c >= 0xe0 && ((c & 0xf) << 12) >= (WIDE & 0xf000));
    *i = *i + n < s.n ? *i + n : s.n;
    return is_dense ? DENSE : NARROW;
  }
  if (c >= 'a' && c <= 'z')
    return LOWER;
  if (c >= 'A' && c <= 'Z')
    return UPPER;
  if (c >= '0' && c <= '9')
    return DIGIT;
  return c <= ' ' ? BLANK : SIGN;
}

/* Tokens of n characters of a kind in a row. */
static int64_t
tokens_of(enum kind k, int64_t n)
{
  switch (k) {
  case UPPER:
    return (n + CAPITAL_BYTES - 1) / CAPITAL_BYTES;
  case LOWER:
    return (n + WORD_BYTES - 1) / WORD_BYTES;
  case DIGIT:
    return (n + NUMBER_BYTES - 1) / NUMBER_BYTES;
  case BLANK: /* a single one belongs to the word after it */
    return n == 1 ? 0 : (n + BLANK_BYTES - 1) / BLANK_BYTES;
  case SIGN:
    return (n + SIGN_BYTES - 1) / SIGN_BYTES;
  case NARROW:
    return (n + 1) / 2;
  case DENSE:
    break;
  }
  return n;
}

int64_t
csn_tokens_estimate(enum csn_token_family family, csn_str s)
{
  static const csn_str image = CSN_STR_INIT("data:image/");
  int64_t sum = 0, run = 0;
  enum kind at = BLANK;
  for (size_t i = 0; i < s.n;) {
    if (s.p[i] == 'd' && csn_str_starts(csn_strn(s.p + i, s.n - i), image)) {
      size_t end = csn_str_find(s, CSN_STR("\""), i);
      i = end == SIZE_MAX ? s.n : end;
      sum += IMAGE_TOKENS;
      continue;
    }
    enum kind k = next(s, &i);
    if (k == LOWER && at == UPPER && run == 1) {
      at = LOWER; /* "Word" */
    } else if (k != at) {
      sum += tokens_of(at, run);
      at = k;
      run = 0;
    }
    run++;
  }
  sum += tokens_of(at, run);
  return sum * scale[family] / 100;
}
