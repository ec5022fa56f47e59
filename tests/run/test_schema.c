/* SPDX-License-Identifier: Apache-2.0
 * Schemas of tools in their strict form. */
#include "caisson/tool.h"
#include "check.h"

static const struct {
  const char *name, *in, *out; /* out NULL: refused */
} rows[] = {
    {"the empty schema", "{}",
     "{\"additionalProperties\":false,\"type\":\"object\",\"properties\":{},\"required\":[]}"},
    {"null default and oneOf",
     "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"default\":null},"
     "\"b\":{\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"null\"}]}}}",
     "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"},"
     "\"b\":{\"anyOf\":[{\"type\":\"integer\"},{\"type\":\"null\"}]}},"
     "\"additionalProperties\":false,\"required\":[\"a\",\"b\"]}"},
    {"references with notes and an allOf of one are inlined",
     "{\"$defs\":{\"P\":{\"type\":\"object\",\"properties\":{\"x\":{\"type\":\"number\"}}}},"
     "\"type\":\"object\",\"properties\":{\"p\":{\"$ref\":\"#/$defs/P\",\"description\":\"pt\"},"
     "\"q\":{\"allOf\":[{\"$ref\":\"#/$defs/P\"}]}}}",
     "{\"$defs\":{\"P\":{\"type\":\"object\",\"properties\":{\"x\":{\"type\":\"number\"}},"
     "\"additionalProperties\":false,\"required\":[\"x\"]}},\"type\":\"object\",\"properties\":{"
     "\"p\":{\"description\":\"pt\",\"type\":\"object\",\"properties\":{\"x\":{\"type\":\"number\"}"
     "},"
     "\"additionalProperties\":false,\"required\":[\"x\"]},"
     "\"q\":{\"type\":\"object\",\"properties\":{\"x\":{\"type\":\"number\"}},"
     "\"additionalProperties\":false,\"required\":[\"x\"]}},"
     "\"additionalProperties\":false,\"required\":[\"p\",\"q\"]}"},
    {"properties make an object",
     "{\"properties\":{\"a\":{\"type\":\"array\",\"items\":{\"properties\":{}}}}}",
     "{\"properties\":{\"a\":{\"type\":\"array\",\"items\":{\"properties\":{},\"type\":\"object\","
     "\"additionalProperties\":false,\"required\":[]}}},\"type\":\"object\","
     "\"additionalProperties\":false,\"required\":[\"a\"]}"},
    {"a bare reference stays",
     "{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#/$defs/A\"}},"
     "\"$defs\":{\"A\":{\"type\":\"string\"}}}",
     "{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#/$defs/A\"}},"
     "\"$defs\":{\"A\":{\"type\":\"string\"}},\"additionalProperties\":false,\"required\":[\"a\"]"
     "}"},
    {"an open object", "{\"type\":\"object\",\"additionalProperties\":true}", NULL},
    {"anyOf at the root", "{\"anyOf\":[{\"type\":\"object\"}]}", NULL},
    {"a reference to elsewhere",
     "{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"other.json\",\"title\":\"t\"}}}",
     NULL},
    {"a reference to nothing",
     "{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#/$defs/N\",\"title\":\"t\"}}}", NULL},
    {"rules beside a reference",
     "{\"$defs\":{\"A\":{\"type\":\"string\"}},\"type\":\"object\",\"properties\":{\"a\":"
     "{\"$ref\":\"#/$defs/A\",\"minLength\":1}}}",
     NULL},
    {"a reference to itself",
     "{\"$defs\":{\"A\":{\"$ref\":\"#/$defs/A\",\"title\":\"t\"}},\"type\":\"object\","
     "\"properties\":{\"a\":{\"$ref\":\"#/$defs/A\",\"title\":\"t\"}}}",
     NULL},
    {"no object at all", "[]", NULL},
};

TEST(schemas_become_strict_or_are_refused)
{
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1 << 20);
    const csn_json *v;
    csn_err err;
    OK(csn_json_parse(a, csn_cstr(rows[i].in), &v, &err), &err);
    int rc = csn_schema_strict(a, v, &out, &err);
    if (!rows[i].out) {
      if (rc != CSN_E_INVALID)
        fail_msg("%s: was not refused: %s", rows[i].name, out.p);
      continue;
    }
    if (rc < 0)
      fail_msg("%s: %s", rows[i].name, err.msg);
    STR_EQ(csn_buf_str(&out), rows[i].out);
  }
}

RUN_TESTS("run/schema", RUN(schemas_become_strict_or_are_refused))
