/* SPDX-License-Identifier: Apache-2.0
 *
 * text.h - words and numbers into a fixed text, for programs without stdio.
 * `at` is where to go on; what does not fit is cut, and the end stays a NUL. */
#ifndef CSN_JAIL_TEXT_H
#define CSN_JAIL_TEXT_H

#include <stddef.h>
#include <stdint.h>

static inline size_t
text_add(char *to, size_t room, size_t at, const char *word)
{
  while (*word && at + 1 < room)
    to[at++] = *word++;
  to[at] = '\0';
  return at;
}

static inline size_t
text_number(char *to, size_t room, size_t at, uint64_t value)
{
  char digits[24];
  size_t n = sizeof digits;
  digits[--n] = '\0';
  do
    digits[--n] = (char)('0' + value % 10);
  while (value /= 10);
  return text_add(to, room, at, digits + n);
}

/* The number at *text, which moves behind it; 0 when there is none. */
static inline uint64_t
text_take(const char **text)
{
  uint64_t value = 0;
  for (; **text >= '0' && **text <= '9'; ++*text)
    value = value * 10 + (uint64_t)(**text - '0');
  return value;
}

#endif
