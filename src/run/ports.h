/* SPDX-License-Identifier: Apache-2.0
 *
 * ports.h - where the exposed ports of running sandboxes are, told to other
 * processes of this user: a file in the state folder's ports/ for each
 * sandbox, locked by the process that serves its ports for as long as it does.
 */
#ifndef CSN_RUN_PORTS_H
#define CSN_RUN_PORTS_H

#include <stdint.h>
#include <sys/types.h>

#include "caisson/mem.h"

enum { CSN_PORTS_MAX = 64, CSN_PORTS_ID_MAX = 80 };

/* A port of a sandbox, and where it is on 127.0.0.1. */
typedef struct csn_port {
  uint16_t port, here;
} csn_port;

/* What one process tells.  {.fd = -1, .folder = -1}: nothing. */
typedef struct csn_ports_told {
  int folder, fd;
  char name[24]; /* of the file */
} csn_ports_told;

/* Tells the ports of the sandbox `id` until csn_ports_forget() or the end of
 * this process. */
int csn_ports_tell(csn_ports_told *t, int state_fd, const char *id, const csn_port *ports, size_t n,
                   csn_err *err) CSN_MUST;
void csn_ports_forget(csn_ports_told *t);

/* One sandbox whose ports are served now. */
typedef struct csn_ports_seen {
  char id[CSN_PORTS_ID_MAX];
  pid_t pid; /* who serves them */
  csn_port ports[CSN_PORTS_MAX];
  size_t n;
} csn_ports_seen;

/* Calls fn for each; the first result that is not 0 ends it and is given.
 * Files of processes that died are removed. */
int csn_ports_each(int state_fd, int (*fn)(void *user, const csn_ports_seen *s), void *user,
                   csn_err *err) CSN_MUST;

#endif
