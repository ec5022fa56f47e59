/* SPDX-License-Identifier: Apache-2.0
 * test_xml_text.c - texts out of small XML documents. */
#include "wire/xml_text.h"

#include "check.h"

TEST(elements_are_found_by_their_whole_name)
{
  csn_str rest = CSN_STR("<?xml version=\"1.0\"?><L xmlns=\"x\"><KeyCount>2</KeyCount>"
                         "<Contents><Key>a</Key></Contents>\n<Contents ><Key>b</Key></Contents>"
                         "<Contents/></L>"),
          inside;
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(100);
  assert_true(csn_xml_text(rest, "KeyCount", &text));
  assert_true(csn_xml_next(&rest, "Contents", &inside));
  assert_true(csn_xml_text(inside, "Key", &text));
  assert_true(csn_xml_next(&rest, "Contents", &inside));
  assert_true(csn_xml_text(inside, "Key", &text));
  STR_EQ(csn_buf_str(&text), "2ab");
  assert_true(csn_xml_next(&rest, "Contents", &inside));
  assert_int_equal(inside.n, 0);
  assert_false(csn_xml_next(&rest, "Contents", &inside));
}

TEST(texts_are_decoded_and_what_is_none_is_refused)
{
  static const struct {
    const char *xml, *want; /* NULL: none */
  } rows[] = {
      {"<K>a&amp;b&lt;&gt;&quot;&apos;&#34;&#39;</K>", "a&b<>\"'\"'"},
      {"<K></K>", ""},
      {"<K/>", ""},
      {"<K a=\"b\">x</K>", "x"},
      {"<K>a<b>c</b></K>", NULL},
      {"<K>&nbsp;</K>", NULL},
      {"<K>&</K>", NULL},
      {"<K>a", NULL},
      {"<K", NULL},
      {"<Key>a</Key>", NULL},
      {"<Key>a</Key><K>b</K>", "b"},
      {"", NULL},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(100);
    csn_buf_addz(&text, "");
    bool is_there = csn_xml_text(csn_cstr(rows[i].xml), "K", &text);
    assert_int_equal(is_there, rows[i].want != NULL);
    if (rows[i].want)
      STR_EQ(csn_buf_str(&text), rows[i].want);
  }
}

TEST(what_is_written_comes_back)
{
  csn_auto(csn_buf_finip) csn_buf xml = CSN_BUF(100), text = CSN_BUF(100);
  csn_buf_addz(&xml, "<K>");
  csn_xml_add(&xml, CSN_STR("\"a\" & <b>"));
  csn_buf_addz(&xml, "</K>");
  assert_true(csn_xml_text(csn_buf_str(&xml), "K", &text));
  STR_EQ(csn_buf_str(&text), "\"a\" & <b>");
}

RUN_TESTS("wire/xml_text", RUN(elements_are_found_by_their_whole_name),
          RUN(texts_are_decoded_and_what_is_none_is_refused), RUN(what_is_written_comes_back))
