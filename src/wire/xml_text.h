/* SPDX-License-Identifier: Apache-2.0
 *
 * xml_text.h - texts out of the small XML documents that object stores send:
 * elements by their name, without attributes or name spaces.  No tree is made
 * and entities are the five of XML and the two quotation marks by number.
 */
#ifndef CSN_WIRE_XML_TEXT_H
#define CSN_WIRE_XML_TEXT_H

#include "caisson/str.h"

/* What stands inside the next element of that name; *rest goes on behind it.
 * False when there is none. */
bool csn_xml_next(csn_str *rest, const char *name, csn_str *inside);
/* The text of the first such element, decoded, appended to out; false when
 * there is none or it does not fit. */
bool csn_xml_text(csn_str xml, const char *name, csn_buf *out);
/* Text for between two tags. */
void csn_xml_add(csn_buf *out, csn_str text);

#endif
