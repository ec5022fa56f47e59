/* SPDX-License-Identifier: Apache-2.0
 * strings.c - lists of strings for commands; see strings.h.  The port caps
 * their length, so looking names up one by one is good enough. */
#include "sandbox/strings.h"

size_t
csn_strings_count(const char *const *list)
{
  size_t n = 0;
  while (list && list[n])
    n++;
  return n;
}

static size_t
name_len(const char *assignment)
{
  return (size_t)(strchrnul(assignment, '=') - assignment);
}

static size_t
put_variable(const char **list, size_t n, const char *assignment)
{
  size_t len = name_len(assignment);
  for (size_t i = 0; i < n; i++)
    if (name_len(list[i]) == len && memcmp(list[i], assignment, len) == 0) {
      list[i] = assignment;
      return n;
    }
  list[n] = assignment;
  return n + 1;
}

size_t
csn_variables_put(const char **to, size_t n, const char *const *more)
{
  for (; more && *more; more++)
    n = put_variable(to, n, *more);
  return n;
}

uint32_t
csn_strings_pack(csn_buf *to, const char *const *list)
{
  uint32_t n = 0;
  for (; list && list[n]; n++)
    csn_buf_add(to, csn_strn(list[n], strlen(list[n]) + 1));
  return n;
}

void
csn_strings_to_json(csn_jw *w, const char *key, const char *const *list)
{
  if (!list)
    return;
  csn_jw_key(w, key);
  csn_jw_arr(w);
  for (; *list; list++)
    csn_jw_strz(w, *list);
  csn_jw_end(w);
}
