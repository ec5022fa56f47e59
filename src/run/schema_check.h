/* SPDX-License-Identifier: Apache-2.0
 *
 * schema_check.h - whether a value is what a JSON Schema describes.
 *
 * The parts of draft 2020-12 that strict schemas for models use: type, enum,
 * const, properties, required, additionalProperties, items, minItems,
 * maxItems, minimum, maximum, exclusiveMinimum, exclusiveMaximum, minLength,
 * maxLength, anyOf, oneOf, allOf, and $ref within the schema.  What else it
 * says (pattern, format, descriptions) is for the model to heed.
 */
#ifndef CSN_RUN_SCHEMA_CHECK_H
#define CSN_RUN_SCHEMA_CHECK_H

#include "caisson/json.h"

/* 0, or CSN_E_INVALID with the place and what was expected: with `what` "answer"
 * "answer.items[2].name: expected a string, got a number".  The machine of a run
 * calls it (hand-offs): with other verdicts or texts than before CSN_STEP_VERSION
 * is to be raised. */
int csn_schema_check(const csn_json *schema, const csn_json *value, const char *what,
                     csn_err *err) CSN_MUST;

#endif
