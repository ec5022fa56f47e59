/* SPDX-License-Identifier: Apache-2.0
 *
 * err.h - the one way caisson reports failure.
 *
 * A function that can fail returns an int: >= 0 on success (0, a count or a
 * file descriptor), or a negative `enum csn_code`.  Its last parameter is a
 * `csn_err *` owned by the caller, usually on the stack; NULL means "the code
 * is enough".  On success *err is left untouched.
 *
 * Nothing here allocates, so an error can always be reported.  Any thread may
 * use its own csn_err.
 */
#ifndef CAISSON_ERR_H
#define CAISSON_ERR_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Chosen by what a caller can do about it, not by the module it came from. */
enum csn_code {
  CSN_OK = 0,
  CSN_E_INVALID = -1,     /* the caller's argument or configuration is wrong */
  CSN_E_NOT_FOUND = -2,   /* the named thing does not exist */
  CSN_E_EXISTS = -3,      /* the named thing exists already */
  CSN_E_UNSUPPORTED = -4, /* this back-end or this machine cannot do that */
  CSN_E_LIMIT = -5,       /* a documented size or count limit was reached */
  CSN_E_TIMEOUT = -6,     /* the scope's deadline passed */
  CSN_E_CANCELLED = -7,   /* the scope was cancelled */
  CSN_E_PARSE = -8,       /* bytes from outside are malformed */
  CSN_E_UNAVAILABLE = -9, /* try again later; see retry_after_ms */
  CSN_E_IO = -10,         /* the system refused; see sys_errno */
  CSN_E_DENIED = -11,     /* a policy or a permission forbids it */
  CSN_E_CONFLICT = -12,   /* somebody else changed it meanwhile */
  CSN_E_REPLAY = -13,     /* the journal and this program disagree */
  CSN_E_MODEL = -14,      /* the model provider refused or misbehaved */
  CSN_E_SANDBOX = -15,    /* the sandbox failed or died */
  CSN_E_TOO_LONG = -16,   /* the request is longer than the model takes */
};

typedef struct csn_err {
  enum csn_code code;
  int sys_errno;          /* 0 when no system call was involved */
  int http_status;        /* 0 when no HTTP reply was involved */
  int64_t retry_after_ms; /* -1: the peer gave no hint */
  char msg[480];          /* one line, no newline, never empty on failure */
} csn_err;

#define CSN_MUST __attribute__((warn_unused_result))
#define CSN_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define CSN_API __attribute__((visibility("default")))

/* Fills *err and returns `code`, so callers write `return csn_fail(...)`.
 * Line breaks in the text become spaces. */
CSN_API int csn_fail(csn_err *err, enum csn_code code, const char *fmt, ...) CSN_PRINTF(3, 4);

/* The same with errno: its number goes to sys_errno and its text to the end
 * of the message.  ENOENT gives NOT_FOUND, EEXIST EXISTS, EACCES and EPERM
 * DENIED, all others IO. */
CSN_API int csn_fail_errno(csn_err *err, const char *fmt, ...) CSN_PRINTF(2, 3);

/* Puts "context: " before err->msg on the way up; returns `rc` unchanged.
 * Does nothing when rc >= 0. */
CSN_API int csn_wrap(csn_err *err, int rc, const char *fmt, ...) CSN_PRINTF(3, 4);

/* "not_found", "limit": the stable word for a code, for logs and JSON. */
CSN_API const char *csn_code_name(enum csn_code code);

#ifdef __cplusplus
}
#endif
#endif
