/* SPDX-License-Identifier: Apache-2.0
 *
 * proc.h - commands whose parent on this machine (a keeper, a warden) speaks
 * core/command.h: the harness's half of them, and descriptors over sockets.
 */
#ifndef CSN_SANDBOX_PROC_H
#define CSN_SANDBOX_PROC_H

#include <sys/types.h>

#include "caisson/sandbox.h"

struct csn_piped {
  csn_proc base;
  pthread_mutex_t lock;
  int channel;
  int out[2]; /* stdout and stderr, or the terminal's master; -1 when not there */
  bool eof[2];
  int in;                  /* stdin's pipe; -1: none or closed by close_stdin */
  bool ended, lost, drain; /* drain: `left` is known */
  size_t left;             /* bytes that the leader may have left behind */
  csn_exit exit;
};

struct csn_piped *csn_piped_new(bool tty);
/* Also kills a command that was started. */
void csn_piped_free(struct csn_piped *p);
static inline void
csn_piped_freep(struct csn_piped **p)
{
  csn_piped_free(*p);
}

/* Makes the channel; *theirs is for the parent and the caller's to close. */
int csn_piped_channel(struct csn_piped *p, int *theirs, csn_err *err) CSN_MUST;
/* Makes the pipes that x asks for; the command's ends of stdin, stdout and
 * stderr go to theirs, which must hold -1 before and is the caller's. */
int csn_piped_pipes(struct csn_piped *p, const csn_exec *x, int theirs[3], csn_err *err) CSN_MUST;
/* Waits until the parent has started x, or says why not. */
int csn_piped_await(struct csn_piped *p, csn_scope *sc, const csn_exec *x, csn_err *err) CSN_MUST;

enum { CSN_FDS_MAX = 253 }; /* what SCM_RIGHTS carries */
/* Sends all of `bytes`, with descriptors beside the first of them. */
int csn_fds_send(int sock, csn_scope *sc, csn_str bytes, const int *fds, size_t n,
                 csn_err *err) CSN_MUST;
/* One recvmsg without waiting; fds gets the descriptors that came along, at
 * most n, and -1 for the others. */
ssize_t csn_fds_recv(int sock, void *to, size_t room, int *fds, size_t n);

#endif
