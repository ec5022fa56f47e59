/* SPDX-License-Identifier: Apache-2.0
 * box_ports.c - the ports that a run's sandbox exposes: each gets one of this
 * machine's loopback interface; listeners hear which, and the state folder
 * tells other processes. */
#include <stdio.h>

#include "run/box_network.h"
#include "sandbox/forward.h"

static void
tell(struct csn_box *b, uint16_t port, uint16_t here)
{
  char text[160], of[CSN_BOX_NAME_MAX + 20] = "";
  if (b->name)
    snprintf(of, sizeof of, ",\"sandbox\":\"%s\"", b->name);
  int n =
      snprintf(text, sizeof text, "{\"port\":%u,\"address\":\"127.0.0.1:%u\"%s}", port, here, of);
  csn_run_notify(b->run, "port", csn_strn(text, (size_t)n));
}

int
csn_box_ports_open(struct csn_box *b, csn_err *err)
{
  const struct csn_agent_sandbox *s = &b->agent->sandbox;
  if (s->n_expose == 0)
    return 0;
  csn_auto(csn_freep) csn_port *list = csn_alloc(s->n_expose * sizeof *list);
  b->forwards = csn_alloc(s->n_expose * sizeof *b->forwards);
  for (size_t i = 0; i < s->n_expose; i++) {
    int rc = csn_forward_open(&b->forwards[i], b->sb, s->expose[i], 0, err);
    if (rc < 0)
      return csn_wrap(err, rc, "port %u of the sandbox", s->expose[i]);
    b->n_forwards++;
    list[i] = (csn_port){s->expose[i], csn_forward_port(b->forwards[i])};
  }
  int rc = csn_ports_tell(&b->told, b->run->rt->state_fd, csn_box_id(b), list, s->n_expose, err);
  for (size_t i = 0; rc == 0 && i < s->n_expose; i++)
    tell(b, list[i].port, list[i].here);
  return rc;
}

void
csn_box_ports_close(struct csn_box *b)
{
  csn_ports_forget(&b->told);
  while (b->n_forwards)
    csn_forward_close(b->forwards[--b->n_forwards]);
  free(csn_steal(b->forwards));
}
