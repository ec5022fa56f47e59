/* SPDX-License-Identifier: Apache-2.0
 * jail_spec.c - what may be asked of a jail; see jail_spec.h. */
#include "sandbox/jail_spec.h"

#include "jail/proto.h"

static int
bad_root(const char *root, const char *why, csn_err *err)
{
  return csn_fail(err, CSN_E_INVALID, "root \"%.100s\": %s; /workspace is the usual place", root,
                  why);
}

bool
csn_jail_owns_top(csn_str path)
{
  static const char *const taken[] = {"bin",    "dev",  "etc",  "lib", "lib32", "lib64",
                                      "libx32", "proc", "sbin", "sys", "usr"};
  size_t end = csn_str_find(path, CSN_STR("/"), 1);
  csn_str top = csn_strn(path.p + 1, (end == SIZE_MAX ? path.n : end) - 1);
  for (size_t i = 0; i < CSN_COUNT(taken); i++)
    if (csn_str_eq(top, csn_cstr(taken[i])))
      return true;
  return false;
}

/* The workspace's place is made beside the jail's own folders, not in them. */
static int
check_root(const char *root, csn_err *err)
{
  size_t n = strlen(root);
  if (root[0] != '/' || n < 2 || root[n - 1] == '/')
    return bad_root(root, "not an absolute path of a folder", err);
  if (n >= CSN_JAIL_ROOT_MAX)
    return bad_root(root, "too long", err);
  csn_str rest = csn_strn(root + 1, n - 1);
  if (csn_jail_owns_top(csn_strn(root, n)))
    return bad_root(root, "this folder belongs to the jail", err);
  while (rest.p) {
    size_t end = csn_str_find(rest, CSN_STR("/"), 0);
    csn_str part = csn_strn(rest.p, end == SIZE_MAX ? rest.n : end);
    if (part.n == 0 || csn_str_eq(part, CSN_STR(".")) || csn_str_eq(part, CSN_STR("..")))
      return bad_root(root, "empty parts, \".\" and \"..\" are not allowed", err);
    rest = end == SIZE_MAX ? csn_strn(NULL, 0) : csn_strn(rest.p + end + 1, rest.n - end - 1);
  }
  return 0;
}

int
csn_jail_spec_check(const csn_sandbox_spec *spec, csn_err *err)
{
  if (spec->options && spec->options->child)
    return csn_fail(err, CSN_E_INVALID, "options.%.*s: the jail has no such option",
                    (int)(spec->options->child->key.n & 0xff), spec->options->child->key.p);
  return check_root(spec->root ? spec->root : "/workspace", err);
}
