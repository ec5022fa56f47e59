/* SPDX-License-Identifier: Apache-2.0
 *
 * command.h - what the harness and the parent of a command (the keeper of a
 * local sandbox, the warden of a jail) say on the command's own channel, a
 * SOCK_SEQPACKET pair.
 *
 * Parent -> harness: one STARTED or FAILED, then one ENDED.  STARTED brings
 * the terminal's master along when the parent opened it.  Harness -> parent:
 * an int32 signal for the process group.  Closing the channel kills the group
 * of a leader that still runs.
 */
#ifndef CSN_CORE_COMMAND_H
#define CSN_CORE_COMMAND_H

#include <stdint.h>

enum csn_command_kind { CSN_COMMAND_STARTED, CSN_COMMAND_FAILED, CSN_COMMAND_ENDED };

/* What a command was doing when it could not be started. */
enum csn_command_stage {
  CSN_COMMAND_AT_SETUP,
  CSN_COMMAND_AT_CWD,
  CSN_COMMAND_AT_CLAIM,
  CSN_COMMAND_AT_EXEC,
  CSN_COMMAND_AT_SCOPE, /* of a jail: what of the workspace it may use */
};

typedef struct csn_command_event {
  int32_t kind;
  int32_t value; /* STARTED: pid; FAILED: errno; ENDED: exit code, 128 + signal */
  int32_t more;  /* FAILED: stage; ENDED: signal or 0 */
} csn_command_event;

#endif
