/* SPDX-License-Identifier: Apache-2.0
 *
 * patch_tool.c - what the model is told about apply_patch: the grammar its
 * output is constrained to, where the provider can do that, and the text. */
#include "caisson/patch.h"

const char *
csn_patch_grammar(void)
{
  return "start: begin section+ end\n"
         "begin: \"*** Begin Patch\" LF\n"
         "end: \"*** End Patch\" LF?\n"
         "section: add | delete | update\n"
         "add: \"*** Add File: \" PATH LF (\"+\" TEXT? LF)+\n"
         "delete: \"*** Delete File: \" PATH LF\n"
         "update: \"*** Update File: \" PATH LF move? change\n"
         "move: \"*** Move to: \" PATH LF\n"
         "change: (anchor | line)+ eof?\n"
         "anchor: (\"@@\" | \"@@ \" TEXT) LF\n"
         "line: (\"+\" | \"-\" | \" \") TEXT? LF\n"
         "eof: \"*** End of File\" LF\n"
         "PATH: /[^\\n]+/\n"
         "TEXT: /[^\\n]+/\n"
         "%import common.LF\n";
}

const char *
csn_patch_description(void)
{
  return "Edits files. The input is one patch for any number of files; it is applied as a whole "
         "or, "
         "when anything does not fit, not at all, and then the reply says what to correct.\n"
         "\n"
         "A patch starts with the line \"*** Begin Patch\" and ends with \"*** End Patch\". "
         "Between "
         "them stands one section per file, which starts with one of:\n"
         "*** Add File: PATH - a new file; every line of it follows with + in front\n"
         "*** Delete File: PATH - nothing follows\n"
         "*** Update File: PATH - hunks follow; directly below it, \"*** Move to: PATH\" also "
         "renames "
         "the file\n"
         "\n"
         "A hunk starts with a line @@, and each of its lines with a blank (the line is there and "
         "stays), - (it is there and goes) or + (it is new). Give three unchanged lines above and "
         "below each change, copied exactly. If these lines occur several times, put a whole line "
         "that "
         "stands above them, such as the head of the function, behind the marker: \"@@ def "
         "area(self):\". "
         "Hunks stand in the order of the file. A hunk without old lines is added at the end of "
         "the "
         "file; \"*** End of File\" after a hunk says that its lines are the last ones.\n"
         "\n"
         "Paths are relative. Line numbers are not used. Example:\n"
         "\n"
         "*** Begin Patch\n"
         "*** Add File: notes/plan.md\n"
         "+# Plan\n"
         "+Ship it.\n"
         "*** Update File: src/shape.py\n"
         "*** Move to: src/shapes.py\n"
         "@@ class Square:\n"
         "     def area(self):\n"
         "-        return self.a\n"
         "+        return self.a * self.a\n"
         " \n"
         "     def name(self):\n"
         "*** Delete File: old.txt\n"
         "*** End Patch\n";
}
