/* SPDX-License-Identifier: Apache-2.0
 *
 * keeper.h - what the local back-end and its keeper process say to each other.
 *
 * Harness -> keeper, on the control socket (SOCK_SEQPACKET): one packet per
 * command, a csn_keeper_start followed by its strings, each with its NUL, and
 * the descriptors of CSN_KEEPER_FDS in that order (the claim only if
 * `with_claim`).  Its end of file ends the sandbox.
 *
 * On the command's own channel (SOCK_SEQPACKET): keeper -> harness one
 * STARTED or FAILED, then one ENDED; harness -> keeper an int32 signal for the
 * process group.  Closing the channel kills the group.
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
  uint8_t tty, with_claim;
} csn_keeper_start;

enum csn_keeper_kind { CSN_KEEPER_STARTED, CSN_KEEPER_FAILED, CSN_KEEPER_ENDED };
/* What a command was doing when it could not be started. */
enum csn_keeper_stage {
  CSN_KEEPER_AT_SETUP,
  CSN_KEEPER_AT_CWD,
  CSN_KEEPER_AT_CLAIM,
  CSN_KEEPER_AT_EXEC
};

typedef struct csn_keeper_event {
  int32_t kind;
  int32_t value; /* STARTED: pid; FAILED: errno; ENDED: exit code */
  int32_t more;  /* FAILED: stage; ENDED: signal or 0 */
} csn_keeper_event;

#endif
