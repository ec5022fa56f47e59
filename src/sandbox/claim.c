/* SPDX-License-Identifier: Apache-2.0
 * claim.c - see claim.h. */
#include "sandbox/claim.h"

#include <sys/stat.h>
#include <unistd.h>

int
csn_claim(int fd, off_t *was, csn_err *err)
{
  struct stat st;
  *was = -1;
  if (fd < 0)
    return 0;
  if (fstat(fd, &st) < 0)
    return csn_fail_errno(err, "claim_fd");
  *was = st.st_size;
  return pwrite(fd, "1", 1, *was) == 1 ? 0 : csn_fail_errno(err, "cannot write to claim_fd");
}

void
csn_claim_back(int fd, off_t was)
{
  if (fd >= 0 && was >= 0)
    (void)!ftruncate(fd, was);
}
