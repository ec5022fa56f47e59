/* SPDX-License-Identifier: Apache-2.0
 * Schemas of tools in their strict form. */
#include "caisson/model.h"
#include "caisson/tool.h"
#include "check.h"
#include "run/schema_check.h"

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
    {"definitions of the older name, and an allOf of several",
     "{\"definitions\":{\"P\":{\"properties\":{\"x\":{}}}},\"type\":\"object\",\"properties\":{"
     "\"a\":{\"allOf\":[{\"properties\":{\"y\":{}}},{\"properties\":{\"z\":{}}}]}}}",
     "{\"definitions\":{\"P\":{\"properties\":{\"x\":{}},\"type\":\"object\","
     "\"additionalProperties\":false,\"required\":[\"x\"]}},\"type\":\"object\",\"properties\":{"
     "\"a\":{\"allOf\":[{\"properties\":{\"y\":{}},\"type\":\"object\","
     "\"additionalProperties\":false,\"required\":[\"y\"]},{\"properties\":{\"z\":{}},\"type\":"
     "\"object\",\"additionalProperties\":false,\"required\":[\"z\"]}]}},"
     "\"additionalProperties\":false,\"required\":[\"a\"]}"},
    {"a list of types", "{\"type\":[\"object\"],\"properties\":{\"a\":{}}}",
     "{\"type\":[\"object\"],\"properties\":{\"a\":{}},\"additionalProperties\":false,"
     "\"required\":[\"a\"]}"},
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

static const struct {
  const char *schema, *value, *complaint; /* NULL: it fits */
} fits[] = {
    {"{}", "1", NULL},
    {"{\"type\":\"object\"}", "[]", "answer: expected object, got a list"},
    {"{\"type\":[\"string\",\"null\"]}", "null", NULL},
    {"{\"type\":[\"string\",\"null\"]}", "1", "a number is none of the types"},
    {"{\"type\":\"integer\"}", "2.0", NULL},
    {"{\"type\":\"integer\"}", "2.5", "expected integer"},
    {"{\"properties\":{\"a\":{\"type\":\"string\"}},\"required\":[\"a\"]}", "{\"a\":\"x\"}", NULL},
    {"{\"properties\":{\"a\":{\"type\":\"string\"}},\"required\":[\"a\"]}", "{}", "a is missing"},
    {"{\"properties\":{\"a\":{\"type\":\"string\"}}}", "{\"a\":1}",
     "answer.a: expected string, got a number"},
    {"{\"properties\":{},\"additionalProperties\":false}", "{\"b\":1}", "b is not a member"},
    {"{\"additionalProperties\":{\"type\":\"number\"}}", "{\"b\":\"x\"}",
     "answer.b: expected number"},
    {"{\"items\":{\"type\":\"number\"}}", "[1,\"x\"]", "answer[1]: expected number"},
    {"{\"items\":{\"properties\":{\"n\":{\"enum\":[1,\"a\"]}}}}", "[{\"n\":\"a\"},{\"n\":2}]",
     "answer[1].n: the value"},
    {"{\"minItems\":2}", "[1]", "at least 2 members"},
    {"{\"maxItems\":0}", "[1]", "at most 0 members"},
    {"{\"minLength\":2}", "\"\\u00e4\"", "at least 2 characters, got 1"},
    {"{\"maxLength\":1}", "\"\\u00e4\"", NULL},
    {"{\"minimum\":1,\"exclusiveMaximum\":3}", "3", "less than 3"},
    {"{\"minimum\":1}", "0.5", "at least 1"},
    {"{\"const\":{\"a\":[1.0]}}", "{\"a\":[1]}", NULL},
    {"{\"const\":1}", "2", "not the one"},
    {"{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"number\"}]}", "1", NULL},
    {"{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"number\"}]}", "[]", "none of the forms"},
    {"{\"oneOf\":[{},{\"type\":\"number\"}]}", "1", "more than one"},
    {"{\"allOf\":[{\"minimum\":1},{\"maximum\":2}]}", "3", "at most 2"},
    {"{\"$defs\":{\"P\":{\"type\":\"string\"}},\"properties\":{\"a\":{\"$ref\":\"#/$defs/P\"}}}",
     "{\"a\":1}", "answer.a: expected string"},
    {"{\"$defs\":{\"L\":{\"properties\":{\"next\":{\"$ref\":\"#/$defs/"
     "L\"}},\"required\":[\"v\"]}},\"$ref\":"
     "\"#/$defs/L\"}",
     "{\"v\":1,\"next\":{\"v\":2,\"next\":{}}}", "answer.next.next: v is missing"},
    {"{\"$ref\":\"#\"}", "1", "leads nowhere"}, /* to itself */
    {"{\"$ref\":\"#/x\"}", "1", "leads nowhere"},
    {"{\"properties\":{\"a\":false}}", "{\"a\":1}", "nothing is allowed"},
};

TEST(values_are_what_a_schema_describes_or_the_place_is_named)
{
  for (size_t i = 0; i < CSN_COUNT(fits); i++) {
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    const csn_json *schema, *value;
    csn_err err = {0};
    OK(csn_json_parse(a, csn_cstr(fits[i].schema), &schema, &err), &err);
    OK(csn_json_parse(a, csn_cstr(fits[i].value), &value, &err), &err);
    int rc = csn_schema_check(schema, value, "answer", &err);
    if ((rc == 0) != (fits[i].complaint == NULL))
      fail_msg("%s and %s: %d %s", fits[i].schema, fits[i].value, rc, err.msg);
    if (rc < 0 && fits[i].complaint && !strstr(err.msg, fits[i].complaint))
      fail_msg("%s and %s: got '%s', expected '%s'", fits[i].schema, fits[i].value, err.msg,
               fits[i].complaint);
  }
}

TEST(the_schema_of_the_answer_is_in_the_request)
{
  static const struct {
    const char *api, *want;
  } apis[] = {
      {"responses", "\"text\":{\"format\":{\"type\":\"json_schema\",\"name\":\"final_output\","
                    "\"schema\":{\"x\":1},"
                    "\"strict\":true},\"verbosity\":\"low\"}"},
      {"chat",
       "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"final_output\","
       "\"strict\":true,\"schema\":{\"x\":1}}}"},
      {"gemini", "\"responseMimeType\":\"application/json\",\"responseJsonSchema\":{\"x\":1}"},
  };
  for (size_t i = 0; i < CSN_COUNT(apis); i++) {
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    csn_auto(csn_buf_finip) csn_buf body = CSN_BUF(1 << 20), path = CSN_BUF(1000);
    const csn_json *settings;
    csn_err err;
    OK(csn_json_parse(a, CSN_STR("{\"verbosity\":\"low\"}"), &settings, &err), &err);
    csn_endpoint ep = {.base_url = CSN_STR("http://x")};
    csn_str item = CSN_STR("{\"role\":\"user\",\"content\":\"hi\"}");
    csn_model_request rq = {.model = CSN_STR("m"),
                            .items = &item,
                            .n_items = 1,
                            .settings = settings,
                            .output_schema = CSN_STR("{\"x\":1}")};
    OK(csn_model_find(csn_cstr(apis[i].api))->encode(&ep, &rq, &body, &path, &err), &err);
    if (csn_str_find(csn_buf_str(&body), csn_cstr(apis[i].want), 0) == SIZE_MAX)
      fail_msg("%s: %s", apis[i].api, body.p);
  }
}

RUN_TESTS("run/schema", RUN(schemas_become_strict_or_are_refused),
          RUN(values_are_what_a_schema_describes_or_the_place_is_named),
          RUN(the_schema_of_the_answer_is_in_the_request))
