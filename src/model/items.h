/* SPDX-License-Identifier: Apache-2.0
 *
 * items.h - what the codecs do with items of the Responses API.
 *
 * An item enters a run once and is sent to the provider at every turn, so it
 * is cleaned when it enters (decoders do it; whoever imports items calls
 * csn_item_clean) and sent as it is.
 */
#ifndef CSN_MODEL_ITEMS_H
#define CSN_MODEL_ITEMS_H

#include "caisson/model.h"

/* The item without what a provider sends but refuses to take back: "created_by",
 * a null "status", an "id" that is null or the placeholder "__fake_id__"; of
 * an unknown type nothing is dropped.  An item that was spread over lines gets
 * on one.  Returns v->raw when there is nothing to do, else text in the arena,
 * empty past its limit. */
csn_str csn_item_clean(csn_arena *a, const csn_json *v);

/* What a call was made with, as the object that some providers want: its
 * arguments, {"input":TEXT} of a free-text tool, {"arguments":TEXT} where the
 * model wrote no object. */
void csn_item_write_input(csn_jw *w, csn_arena *scratch, const csn_json *item, bool is_custom);
/* "data:image/png;base64,AAAA" in its two parts; false: another URL. */
bool csn_data_url_cut(csn_str url, csn_str *type, csn_str *data);

/* The item as another provider than the one that sent it takes it: without
 * "provider_data", and thoughts that only their author can read are left out
 * (empty).  api: the codec's name; NULL: not known. */
csn_str csn_item_for(csn_arena *a, const csn_json *v, const char *api);

/* The item as a provider takes it that did not send it: without "provider_data"
 * and "id"; empty for thoughts and for records of the other's own tools. */
csn_str csn_item_foreign(csn_arena *a, const csn_json *v);

/* The tool of that name when it was declared as free text, else NULL. */
const csn_tool_decl *csn_item_custom_tool(const csn_model_request *rq, csn_str name);

/* Free-text tools for servers that know functions only: the tool is declared
 * with csn_item_custom_schema, and its calls are translated both ways. */
extern const char csn_item_custom_schema[];
/* Whether a serialised item may be a custom_tool_call or its output. */
bool csn_item_maybe_custom(csn_str raw);
/* The "arguments" text that stands for a free-text input. */
void csn_item_custom_arguments(csn_buf *out, csn_str input);
/* The input back from "arguments": member "input", or the only string member,
 * or, as some models forget the object, the text itself. */
csn_str csn_item_custom_input(csn_arena *a, csn_str arguments);
/* {"type":"custom_tool_call",...} in the arena; empty past its limit. */
csn_str csn_item_custom_call(csn_arena *a, csn_str call_id, csn_str name, csn_str arguments);
/* Writes a custom_tool_call(_output) in its function form; false: it is none. */
bool csn_item_write_function(csn_jw *w, const csn_json *v);

#endif
