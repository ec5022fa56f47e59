# SPDX-License-Identifier: Apache-2.0
# The front door.  Meson and Ninja build; this file names what one can ask for.
#
#   make           the program build/caisson and the library
#   make run       set-up, then the demo: an agent repairs a program in a jail
#   make check     set-up, then every test and gate; last line "N passed, N failed"
#   make bench     the measurements of bench/ (PEERS=1: beside other software, PEERS=only: that alone)
#   make install   DESTDIR=, PREFIX=/usr/local
#   make asan tsan fuzz soak interop   the longer checks, each on its own
#   make check-llm LLM_PYTHON=    a small real model in a real server
BUILD  ?= build
PREFIX ?= /usr/local
DESTDIR ?=
LLM_PYTHON ?= python3

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD)

# Meson itself comes from the set-up, so nothing is configured before it.
$(BUILD)/build.ninja:
	@tools/deps --check
	@meson setup $(BUILD) --prefix '$(PREFIX)'

deps:
	@tools/deps

run: deps
	@$(MAKE) --no-print-directory all
	@tools/demo $(BUILD)

check: deps
	@tools/deps --servers
	@tools/check $(BUILD)

bench: deps
	@tools/bench $(BUILD) '$(PEERS)'

install: all
	@tools/install $(BUILD) '$(PREFIX)' '$(abspath $(DESTDIR))'

asan: deps
	@tools/sanitize $(BUILD) address,undefined

tsan: deps
	@tools/sanitize $(BUILD) thread

fuzz: deps
	@tools/fuzz $(BUILD)

soak: deps
	@tools/soak $(BUILD)

interop: deps
	@tools/interop $(BUILD)

check-llm: all
	@LLM_PYTHON='$(LLM_PYTHON)' tools/check-llm $(BUILD)

clean:
	rm -rf -- '$(BUILD)'

.PHONY: all deps run check check-llm bench install asan tsan fuzz soak interop clean
