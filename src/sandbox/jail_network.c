/* SPDX-License-Identifier: Apache-2.0
 * jail_network.c - see jail_network.h. */
#include "sandbox/jail_network.h"

#include <errno.h>

#include "core/fd.h"
#include "core/poll.h"
#include "sandbox/jail.h"
#include "sandbox/proc.h"

enum { CONFIG_MAX = 1 << 20 };

int
csn_jail_network_begin(csn_jail_network_plan *p, const csn_network *policy, csn_arena *a,
                       csn_err *err)
{
  *p = (csn_jail_network_plan){.policy = policy};
  if (!policy)
    return 0;
  int rc = csn_egress_start(&p->egress, policy, err);
  p->placeholders = csn_network_placeholders(a, policy);
  p->variables = csn_network_variables(a, policy, p->placeholders);
  int n = csn_network_ports(policy, p->ports, err);
  p->n_ports = n < 0 ? 0 : (size_t)n; /* not: it was checked */
  return rc;
}

void
csn_jail_network_ask(const csn_jail_network_plan *p, csn_jail_open *open)
{
  open->networked = p->policy != NULL;
  open->n_ports = (uint16_t)p->n_ports;
  memcpy(open->ports, p->ports, sizeof p->ports);
}

int
csn_jail_await(int control, csn_scope *sc, int kind, csn_jail_note *note, int *fds, size_t n,
               csn_err *err)
{
  struct pollfd fd = {.fd = control, .events = POLLIN};
  note->kind = 0;
  int rc = csn_poll(sc, &fd, 1, err);
  if (rc < 0)
    return rc;
  if (csn_fds_recv(control, note, sizeof *note, fds, n) != sizeof *note)
    return csn_fail(err, CSN_E_SANDBOX, "its first process was killed while it started");
  note->step[sizeof note->step - 1] = '\0';
  if (note->kind == kind)
    return 0;
  errno = note->error;
  return csn_fail_errno(err, "%s", note->step);
}

int
csn_jail_network_join(const csn_jail_network_plan *p, int control, csn_scope *sc, csn_buf *trust,
                      csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *tmp = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf config = CSN_BUF(CONFIG_MAX);
  int fds[CSN_JAIL_LISTENERS_MAX];
  size_t n = CSN_JAIL_PORT_FDS + p->n_ports;
  csn_jail_note note;
  csn_str ca_pem = {0};
  int rc = csn_jail_await(control, sc, CSN_JAIL_LISTENING, &note, fds, n, err);
  if (rc < 0)
    return note.kind == CSN_JAIL_FAILED ? csn_jail_explain(rc, note.step, err) : rc;
  rc = csn_network_config(&config, p->policy, p->placeholders, p->ports, p->n_ports, err);
  if (rc == 0)
    rc = csn_egress_configure(p->egress, sc, csn_buf_str(&config), fds, n, tmp, &ca_pem, err);
  if (config.p)
    explicit_bzero(config.p, config.n);
  for (size_t i = 0; i < n; i++)
    csn_closep(&fds[i]);
  return rc < 0 ? rc : csn_network_bundle(trust, p->policy, ca_pem, err);
}
