# SPDX-License-Identifier: Apache-2.0
# variants.sh - other states of demo/inventory, so that a repair can be shown
# to come from reading.  Each function changes the copy in the current folder.

# Lines are inserted above and inside the functions.
moved_down() {
  sed -i '1i /* Moved down\n * by a\n * comment. */\n' src/money.c src/table.c src/stock.c src/report.c
  sed -i 's|^  for (size_t step = .*|  /* Around the table, once. */\n\n&|' src/table.c
  sed -i 's|^  memcpy(out, name, n);|  /* What fits. */\n&|' src/report.c
}

# stock_is_low stands first, money_percent before money_format.
reordered() {
  lift stock_is_low '#include <string.h>' src/stock.c
  lift money_percent 'enum { MAX_DIGITS' src/money.c
}
# lift FUNCTION LINE FILE: the function stands behind the first line that begins so
lift() {
  awk -v name="$1" 'BEGIN { RS = ""; ORS = "\n\n" } index($0, "\n" name "(")' "$3" >lifted
  awk -v name="$1" 'BEGIN { RS = ""; ORS = "\n\n" } !index($0, "\n" name "(")' "$3" |
    awk -v line="$2" '{ print } index($0, line) == 1 { print ""; while ((getline l < "lifted") > 0) print l }' >rest
  mv rest "$3" && rm lifted
}

# Other names and layout in the faulty lines.
renamed() {
  sed -i '/^table_find(/,/^}/{s/size_t step/size_t offset/;s/step/offset/g}' src/table.c
  sed -i '/^money_percent(/,/^}/s/amount \* percent + 50/percent * amount + 50/' src/money.c
  sed -i '/^report_cut(/,/^}/{s/\bn\b/length/g}' src/report.c
  sed -i '/^stock_is_low(/,/^}/{s/a->/article->/g;s/\*a)/*article)/}' src/stock.c
}

# One mistake is repaired already.
one_fixed() {
  sed -i 's/a->pieces < a->reorder_level/a->pieces <= a->reorder_level/' src/stock.c
}

# All are.
all_fixed() {
  one_fixed
  sed -i 's/t->room - 1; step++/t->room; step++/' src/table.c
  sed -i 's/(amount \* percent + 50)/(amount * percent + (amount < 0 ? -50 : 50))/' src/money.c
  sed -i "s/^  memcpy(out, name, n);/&\n  out[n] = '\\\\0';/" src/report.c
}

# A mistake that the playbook doesn't know: leap years by the old calendar.
unknown() {
  sed -i 's/(year % 4 == 0 \&\& year % 100 != 0) || year % 400 == 0/year % 4 == 0/' src/ledger.c
}

# It doesn't compile.
broken() {
  sed -i 's/^  size_t n = strlen(name);/  size_t n = strlen(nam);/' src/report.c
}
