/* SPDX-License-Identifier: Apache-2.0
 * What is said when a jail cannot be made must be about what is in the way. */
#include <errno.h>

#include "check.h"
#include "sandbox/jail.h"

static csn_err
explain(int e, const char *step)
{
  csn_err err = {0};
  errno = e;
  int rc = csn_jail_explain(csn_fail_errno(&err, "%s", step), step, &err);
  assert_int_equal(rc, CSN_E_UNSUPPORTED);
  assert_non_null(strstr(err.msg, step));
  return err;
}

TEST(a_folder_that_cannot_be_reached_is_not_blamed_on_the_container)
{
  csn_err err = explain(EACCES, "bind /closed/workspace");
  assert_non_null(strstr(err.msg, "each folder above it"));
  assert_null(strstr(err.msg, "--security-opt"));
}

TEST(used_up_namespaces_are_not_blamed_on_the_container)
{
  csn_err err = explain(ENOSPC, "make user, process and mount namespaces");
  assert_non_null(strstr(err.msg, "user.max_"));
  assert_null(strstr(err.msg, "--security-opt"));
}

RUN_TESTS("sandbox/jail_probe", RUN(a_folder_that_cannot_be_reached_is_not_blamed_on_the_container),
          RUN(used_up_namespaces_are_not_blamed_on_the_container))
