/* SPDX-License-Identifier: Apache-2.0
 *
 * json.h - JSON (RFC 8259): a strict parser into an arena and a writer.
 *
 * A parsed value is immutable.  It keeps its own source text (`raw`), so that
 * what came from a provider can be written back byte for byte, and numbers
 * keep their spelling: nothing above 2^53 is lost.  Slices borrow from the
 * parsed text or from the arena, so both must outlive the tree.
 *
 * Strict: UTF-8 only, no comments, no trailing commas, no bare words, no
 * bytes after the value.  A lone surrogate escape decodes to U+FFFD (its raw
 * text is kept).  When a name occurs twice in an object the last one counts.
 */
#ifndef CAISSON_JSON_H
#define CAISSON_JSON_H

#include "mem.h"

#ifdef __cplusplus
extern "C" {
#endif

enum csn_json_kind {
  CSN_JSON_NULL,
  CSN_JSON_BOOL,
  CSN_JSON_NUMBER,
  CSN_JSON_STRING,
  CSN_JSON_ARRAY,
  CSN_JSON_OBJECT,
};

typedef struct csn_json {
  uint8_t kind;  /* enum csn_json_kind */
  bool truth;    /* of a BOOL */
  uint32_t n;    /* members of an ARRAY or OBJECT */
  uint32_t line; /* where it, or its name, starts in its file; 0: unknown (YAML sets it) */
  csn_str key;   /* its name, inside an OBJECT */
  csn_str text;  /* decoded STRING (may hold NUL) or spelling of a NUMBER */
  csn_str raw;   /* source text; empty when it did not come from JSON text */
  const struct csn_json *child; /* first member */
  const struct csn_json *next;  /* next member of the parent */
} csn_json;

/* Nesting that the parser accepts; deeper is CSN_E_LIMIT. */
#define CSN_JSON_DEPTH 128

/* Parses the whole of `text`.  Errors: CSN_E_PARSE with line and column,
 * CSN_E_LIMIT for depth or when the arena's limit is reached. */
CSN_API int csn_json_parse(csn_arena *a, csn_str text, const csn_json **out, csn_err *err) CSN_MUST;

#define csn_json_each(it, v) for (const csn_json *it = (v) ? (v)->child : NULL; it; it = it->next)

/* Accessors that cannot fail: v may be NULL, and a missing or differently
 * typed member gives `otherwise`. */
CSN_API const csn_json *csn_json_get(const csn_json *v, const char *key);
CSN_API const csn_json *csn_json_at(const csn_json *v, size_t i);
CSN_API csn_str csn_json_str(const csn_json *v, const char *key, csn_str otherwise);
CSN_API int64_t csn_json_int(const csn_json *v, const char *key, int64_t otherwise);
CSN_API double csn_json_double(const csn_json *v, const char *key, double otherwise);
CSN_API bool csn_json_bool(const csn_json *v, const char *key, bool otherwise);
/* The number as int64; false when it is no NUMBER, has a fraction or overflows. */
CSN_API bool csn_json_to_int(const csn_json *v, int64_t *out);
CSN_API double csn_json_to_double(const csn_json *v);
static inline bool
csn_json_is(const csn_json *v, enum csn_json_kind kind)
{
  return v && v->kind == kind;
}

/* Accessors that fail with the member's name: "usage.model: missing". */
CSN_API int csn_json_need(const csn_json *v, const char *key, enum csn_json_kind kind,
                          const csn_json **out, csn_err *err) CSN_MUST;
CSN_API int csn_json_need_str(const csn_json *v, const char *key, csn_str *out,
                              csn_err *err) CSN_MUST;
CSN_API int csn_json_need_int(const csn_json *v, const char *key, int64_t *out,
                              csn_err *err) CSN_MUST;
/* "an object", "a string": for messages. */
CSN_API const char *csn_json_kind_name(enum csn_json_kind kind);

/* Writes compact JSON into a buffer.  It remembers its first failure (cap
 * reached, a value where a key belongs, no value or a second one, nesting over
 * CSN_JSON_DEPTH), so code that writes has no checks until csn_jw_done().  Invalid UTF-8 in strings
 * becomes U+FFFD. */
typedef struct csn_jw {
  csn_buf *out;
  uint8_t depth;
  bool after_key, bad, has_root;
  uint64_t is_obj[2], has_any[2];
} csn_jw;

CSN_API void csn_jw_init(csn_jw *w, csn_buf *out); /* appends to out */
CSN_API void csn_jw_obj(csn_jw *w);
CSN_API void csn_jw_arr(csn_jw *w);
CSN_API void csn_jw_end(csn_jw *w); /* of the innermost object or array */
CSN_API void csn_jw_key(csn_jw *w, const char *key);
CSN_API void csn_jw_keyn(csn_jw *w, csn_str key);
CSN_API void csn_jw_str(csn_jw *w, csn_str s);
CSN_API void csn_jw_strz(csn_jw *w, const char *z); /* NULL writes null */
CSN_API void csn_jw_int(csn_jw *w, int64_t i);
CSN_API void csn_jw_double(csn_jw *w, double d); /* shortest that reads back; not finite: null */
CSN_API void csn_jw_bool(csn_jw *w, bool b);
CSN_API void csn_jw_null(csn_jw *w);
CSN_API void csn_jw_raw(csn_jw *w, csn_str json); /* splices one serialised value */
/* In an array: splices n values. */
CSN_API void csn_jw_raws(csn_jw *w, const csn_str *json, size_t n);
CSN_API void csn_jw_value(csn_jw *w, const csn_json *v); /* NULL writes null */
CSN_API int csn_jw_done(csn_jw *w, csn_err *err) CSN_MUST;

/* Adds s as a JSON string with its quotes. */
CSN_API void csn_json_quote(csn_buf *out, csn_str s);

#ifdef __cplusplus
}
#endif
#endif
