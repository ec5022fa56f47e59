/* SPDX-License-Identifier: Apache-2.0
 *
 * keeper_tty.h - terminals of commands where the harness's own cannot be handed
 * in: made beside the command, and passed on through two pipes.
 */
#ifndef CSN_SANDBOX_KEEPER_TTY_H
#define CSN_SANDBOX_KEEPER_TTY_H

#include <sys/types.h>

struct keeper_tty {
  int master; /* -1: there is none */
  int stop;   /* closing it makes the relay pass on what is there, and end */
  pid_t relay;
};

/* A new terminal; its other end, for the command, or -1 with errno. */
int keeper_tty_open(struct keeper_tty *t, unsigned rows, unsigned cols);
void keeper_tty_resize(const struct keeper_tty *t, unsigned rows, unsigned cols);
/* Starts the process that moves bytes from pipes[0] to it and from it to
 * pipes[1].  It ends when the command's last holder of the terminal has. */
void keeper_tty_relay(struct keeper_tty *t, const int pipes[2]);
void keeper_tty_close(struct keeper_tty *t);

#endif
