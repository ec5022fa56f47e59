/* SPDX-License-Identifier: Apache-2.0
 *
 * conversation.h - what the files of the API for kept conversations share.
 */
#ifndef CSN_RUN_CONVERSATION_H
#define CSN_RUN_CONVERSATION_H

#include "caisson/session.h"
#include "store/session.h"

struct csn_conversation {
  csn_rt *rt;
  csn_sessions *sessions; /* the runtime's */
  char *name;
};

#endif
