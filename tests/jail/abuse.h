/* SPDX-License-Identifier: Apache-2.0
 * abuse.h - what the suite of abuse (test_abuse.c) and those of its cases that
 * need the harness's side (abuse_host.c) share. */
#ifndef CSN_TESTS_JAIL_ABUSE_H
#define CSN_TESTS_JAIL_ABUSE_H

#include "identity.h"

/* Statuses of an attempt: as lib.sh says, and: not made. */
enum { WORKED = 0, REFUSED = 1, UNTRIED = -1, BEGAN = -2 };

struct attempt {
  char what[64], how[8], errnos[96];
  char said[200], told[200]; /* inside, outside */
  int inside, outside;       /* statuses */
};
enum { ATTEMPTS = 80 };

/* One case while it runs. */
struct abuse {
  csn_sandbox *sb;
  char base[64];    /* a folder of ours on the host; the workspace is work/ in it */
  char secret[128]; /* a file that everybody on the host may read */
  int base_fd, work_fd;
  char missing[100]; /* limits that are not enforced here */
  struct attempt list[ATTEMPTS];
  size_t n;
  csn_err err;
};

/* An attempt of the harness's side, with what came of it. */
void abuse_tell(struct abuse *a, const char *what, int status, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Runs a command in the jail for at most `ms` (-1: for ever). */
int abuse_run(struct abuse *a, const char *const *argv, csn_buf *out, int ms, csn_exit *end);

/* Between the start of a case's script in the jail and the reading of its
 * output; may be NULL. */
typedef void (*abuse_hook)(struct abuse *a);
void abuse_move_folder(struct abuse *a); /* 48 */

/* Cases without a script. */
void abuse_case_34(struct abuse *a);
void abuse_case_38(struct abuse *a);
void abuse_case_39(struct abuse *a);
void abuse_case_40(struct abuse *a);
void abuse_case_44(struct abuse *a);

#endif
