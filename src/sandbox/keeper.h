/* SPDX-License-Identifier: Apache-2.0
 *
 * keeper.h - what the local back-end and its keeper process say to each other.
 *
 * Harness -> keeper, on the control socket (SOCK_SEQPACKET): one packet per
 * command, a csn_keeper_start followed by its strings, each with its NUL, and
 * the descriptors of CSN_KEEPER_FDS in that order (the claim only if
 * `with_claim`, the folder not if `with_cwd`: then its path is the last string).
 * Its end of file ends the sandbox.  A keeper that was given an argument says
 * by a byte that it is there.
 * A command's own channel is that of core/command.h.
 */
#ifndef CSN_SANDBOX_KEEPER_H
#define CSN_SANDBOX_KEEPER_H

#include <stdint.h>

/* Descriptors that the keeper is started with; LOCK may be absent. */
enum { CSN_KEEPER_CONTROL = 3, CSN_KEEPER_IMAGE = 4, CSN_KEEPER_LOCK = 5 };

enum {
  CSN_KEEPER_CHANNEL_FD,
  CSN_KEEPER_STDIN_FD,
  CSN_KEEPER_STDOUT_FD,
  CSN_KEEPER_STDERR_FD,
  CSN_KEEPER_CWD_FD,
  CSN_KEEPER_CLAIM_FD,
  CSN_KEEPER_FDS
};

/* Bytes of one start packet; one string of Linux is at most 128 KiB. */
enum { CSN_KEEPER_PACKET = 256 * 1024, CSN_KEEPER_STRINGS = 2 * 4096 + 64 };

typedef struct csn_keeper_start {
  uint32_t args, variables; /* strings of argv, then of the environment */
  uint8_t tty, with_claim, with_cwd;
  uint8_t own_tty;     /* made there; stdin and stdout are pipes that lead to and from it, and a
                          packet of two int32 on the channel is its new size */
  uint16_t rows, cols; /* of that */
  uint8_t own_mounts;  /* what it mounts goes with it */
  uint8_t null_stdin;  /* the keeper's own /dev/null, not what came */
} csn_keeper_start;

#endif
