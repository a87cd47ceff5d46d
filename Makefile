# fsi_intent: classify text into your own intents, with a native GPT-2 inside PostgreSQL.
# `make help` lists what can be made.

# Paths are relative to this folder; `make -f` from another one would find no sources and install half of it.
ifeq ($(wildcard src/exports.map),)
$(error fsi_intent is built in its own folder: cd there, or use make -C; BUILD=FOLDER puts the objects elsewhere)
endif

EXTENSION = fsi_intent
MODULE_big = fsi_intent
DATA = $(wildcard sql/fsi_intent--*.sql)
MODELS = $(wildcard models/*.fsi)

# Products go to $(BUILD); only the shared library itself lies beside this file, where PGXS links it.
BUILD ?= build
ifeq ($(origin PG_CONFIG),undefined)
PG_CONFIG := $(or $(shell test/setup/pg_config.sh),pg_config)
endif

# ---------------------------------------------------------------- sources

# The lower floor is plain C and never sees postgres.h; the upper floor is the extension.
LOWER_DIRS = src/base src/kernels src/text src/format src/engine src/train
UPPER_DIRS = src/store src/exec src/sql src/session src/jobs src/tune

# What the compiler makes, which is not always what it runs on.
MACHINE := $(firstword $(subst -, ,$(shell $(CC) -dumpmachine 2>/dev/null || uname -m)))
X86_FILES = $(wildcard src/kernels/*_avx2.c src/kernels/*_avx512.c src/kernels/*_avxvnni.c)
ARM_FILES = $(wildcard src/kernels/*_neon.c)
FOREIGN_FILES = $(if $(filter x86_64,$(MACHINE)),,$(X86_FILES)) $(if $(filter aarch64,$(MACHINE)),,$(ARM_FILES))

LOWER_SRCS := $(filter-out $(FOREIGN_FILES),$(sort $(wildcard $(addsuffix /*.c,$(LOWER_DIRS)))))
UPPER_SRCS := $(sort $(wildcard $(addsuffix /*.c,$(UPPER_DIRS))))
FUZZ_SRCS := $(sort $(wildcard test/fuzz/fuzz_*.c))
BENCH_SRCS := $(sort $(wildcard test/bench/bench_*.c))
TOOL_SRCS := $(sort $(wildcard src/tools/*.c))
UNIT_SRCS := $(sort $(wildcard test/unit/*.c))

LOWER_OBJS = $(LOWER_SRCS:%.c=$(BUILD)/%.o)
UPPER_OBJS = $(UPPER_SRCS:%.c=$(BUILD)/%.o)
TOOLS = $(TOOL_SRCS:src/tools/%.c=$(BUILD)/tools/%)
UNITS = $(UNIT_SRCS:test/unit/%.c=$(BUILD)/unit/%)
FUZZERS = $(FUZZ_SRCS:test/fuzz/%.c=$(BUILD)/fuzz/%)
BENCHES = $(BENCH_SRCS:test/bench/%.c=$(BUILD)/bench/%)
LOWER_LIB = $(BUILD)/libfsi.a

OBJS = $(LOWER_OBJS) $(UPPER_OBJS)
SHLIB_LINK = -Wl,--version-script=src/exports.map -lutf8proc -ljansson -lm -ldl
EXTRA_CLEAN = $(BUILD) $(MODULE_big).made_with

# ---------------------------------------------------------------- flags

# Labels must not depend on the machine that compiled them: no -march=native, no -ffast-math, no contraction to
# FMA behind our back. ISA flags only on the files that hold that ISA.
WERROR ?= $(if $(CI),1,)
# A packager's own, by the names that PGXS has for them: CFLAGS, CPPFLAGS and LDFLAGS as make's arguments (CFLAGS in place
# of OPT), PG_CFLAGS, PG_CPPFLAGS, PG_LDFLAGS, COPT. What the file of PGXS puts into the first three is the server's.
given = $(if $(filter command override,$(origin $1)),$($1))
OWN_CFLAGS := $(call given,CFLAGS)
OWN_CPPFLAGS := $(call given,CPPFLAGS)
OWN_LDFLAGS := $(call given,LDFLAGS)
OPT ?= $(if $(OWN_CFLAGS),,-g -O2)
FSI_OPT = $(OPT) $(OWN_CFLAGS) $(PG_CFLAGS) $(COPT)
FSI_CFLAGS = -std=gnu11 -fno-omit-frame-pointer -fstack-protector-strong \
	-Wall -Wextra -Wpointer-arith -Wvla -Wmissing-prototypes -Wformat-security $(if $(filter-out 0,$(WERROR)),-Werror) \
	$(FSI_OPT) -fno-fast-math -ffp-contract=off -fPIC -fno-strict-aliasing -fwrapv $(SANITIZE)
FSI_CPPFLAGS = -Iinclude -D_GNU_SOURCE $(PG_CPPFLAGS) $(OWN_CPPFLAGS) \
	$(if $(SANITIZE)$(findstring _FORTIFY_SOURCE,$(FSI_OPT) $(OWN_CPPFLAGS) $(PG_CPPFLAGS)),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
FSI_LIBS = $(PG_LDFLAGS) $(OWN_LDFLAGS) -lutf8proc -ljansson -lm -ldl -lpthread
DEPFLAGS = -MMD -MP

isa_flags = $(if $(filter %_avx512.c,$<),-mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mfma) \
	$(if $(filter %_avxvnni.c,$<),-mavx2 -mfma -mavxvnni) \
	$(if $(filter %_avx2.c,$<),-mavx2 -mfma -mf16c) \
	$(if $(filter %_neon.c,$<),-march=armv8.2-a+dotprod)

# ---------------------------------------------------------------- PGXS

all: ## build the extension (the default)

# PGXS has a `check` of its own, which only says that it is not supported: ours runs without PGXS.
# The server's package alone brings pgxs.mk without the headers, which are the development package's.
SERVER_HEADERS := $(wildcard $(shell $(PG_CONFIG) --includedir-server 2>/dev/null)/postgres.h)
PGXS := $(if $(filter check,$(MAKECMDGOALS)),,$(if $(SERVER_HEADERS),$(shell $(PG_CONFIG) --pgxs)))
ifneq ($(PGXS),)
# No bitcode: the JIT would inline code that was compiled for another ISA than the one chosen at run time.
override with_llvm = no
NO_INSTALLCHECK = 1
include $(PGXS)
else ifneq ($(filter check,$(MAKECMDGOALS)),)
all install uninstall clean:
	@$(MAKE) $@
check: ## run every test in a throw-away cluster
	@test/check.sh
else
all install uninstall installcheck:
	@echo "PostgreSQL's server headers are missing ($(PG_CONFIG) --includedir-server)." >&2
	@echo "On Debian: apt-get install postgresql-server-dev-all, or let \`make demo\` install what it needs." >&2
	@exit 1
clean:
	rm -rf $(BUILD) $(MODULE_big).so $(MODULE_big).made_with
endif

PG_CPPFLAGS_FSI = -isystem $(shell $(PG_CONFIG) --includedir-server 2>/dev/null)

# ---------------------------------------------------------------- objects, library, tools, unit tests

# What objects are made with beside their sources: another server's headers, another compiler or other options make them anew.
MADE_WITH = $(subst ','\'',$(CC) $(FSI_CFLAGS) $(FSI_CPPFLAGS) $(PG_CPPFLAGS_FSI) $(shell $(PG_CONFIG) --version 2>/dev/null))
$(BUILD)/made_with: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(MADE_WITH)' | cmp -s - $@ || printf '%s\n' '$(MADE_WITH)' > $@
FORCE:

$(LOWER_OBJS): $(BUILD)/%.o: %.c Makefile $(BUILD)/made_with
	@mkdir -p $(@D)
	$(CC) $(FSI_CFLAGS) -fvisibility=hidden $(isa_flags) $(FSI_CPPFLAGS) $(DEPFLAGS) -c -o $@ $<

$(UPPER_OBJS): $(BUILD)/%.o: %.c Makefile $(BUILD)/made_with
	@mkdir -p $(@D)
	$(CC) $(FSI_CFLAGS) $(FSI_CPPFLAGS) $(PG_CPPFLAGS_FSI) $(DEPFLAGS) -c -o $@ $<

$(LOWER_LIB): $(LOWER_OBJS)
	@mkdir -p $(@D)
	@rm -f $@
	$(AR) rcs $@ $^

$(TOOLS): $(BUILD)/tools/%: src/tools/%.c $(LOWER_LIB) Makefile
	@mkdir -p $(@D)
	$(CC) $(FSI_CFLAGS) $(FSI_CPPFLAGS) $(DEPFLAGS) -o $@ $< $(LOWER_LIB) $(FSI_LIBS)

$(UNITS): $(BUILD)/unit/%: test/unit/%.c $(LOWER_LIB) Makefile
	@mkdir -p $(@D)
	$(CC) $(FSI_CFLAGS) -Wno-missing-prototypes $(FSI_CPPFLAGS) -Itest/unit $(DEPFLAGS) -o $@ $< $(LOWER_LIB) $(FSI_LIBS)

$(BENCHES): $(BUILD)/bench/%: test/bench/%.c $(LOWER_LIB) Makefile
	@mkdir -p $(@D)
	$(CC) $(FSI_CFLAGS) -Wno-missing-prototypes $(FSI_CPPFLAGS) $(DEPFLAGS) -o $@ $< $(LOWER_LIB) $(FSI_LIBS)

$(FUZZERS): $(BUILD)/fuzz/%: test/fuzz/%.c $(LOWER_LIB) Makefile
	@mkdir -p $(@D)
	$(CC) $(FSI_CFLAGS) -fsanitize=fuzzer -Wno-missing-prototypes $(FSI_CPPFLAGS) -Itest/unit $(DEPFLAGS) -o $@ $< \
		$(LOWER_LIB) $(FSI_LIBS)

$(BUILD)/fuzz/seed_format: test/fuzz/seed_format.c $(LOWER_LIB) Makefile
	@mkdir -p $(@D)
	$(CC) $(FSI_CFLAGS) -Wno-missing-prototypes $(FSI_CPPFLAGS) -Itest/unit $(DEPFLAGS) -o $@ $< $(LOWER_LIB) $(FSI_LIBS)

-include $(OBJS:.o=.d) $(FUZZERS:=.d) $(BENCHES:=.d) $(TOOLS:=.d) $(UNITS:=.d)

# The library lies here whatever BUILD is: one of another BUILD's objects, another server's say, is not this one.
$(MODULE_big).made_with: FORCE
	@printf '%s\n' '$(BUILD) $(MADE_WITH)' | cmp -s - $@ || printf '%s\n' '$(BUILD) $(MADE_WITH)' > $@

$(MODULE_big).so: src/exports.map $(MODULE_big).made_with

lib: $(LOWER_LIB) ## the lower floor alone, as $(BUILD)/libfsi.a (needs no PostgreSQL)
tools: $(TOOLS) ## the command line tools, in $(BUILD)/tools
units: $(UNITS) ## the unit tests, built but not run

bench: ## measure, against peers too (README, Benchmarks); BENCH picks pieces, PEERS peers
	@test/bench/bench.sh

benches: $(BENCHES) ## the lower floor's benchmarks, built but not run, in $(BUILD)/bench

# ---------------------------------------------------------------- install

ifneq ($(PGXS),)
modeldir = $(DESTDIR)$(datadir)/extension/$(EXTENSION)

# Backends map model files in place: replace by rename, never by writing into the old file.
install: install-models ## install the extension and its model, where PG_CONFIG says
install-models: installdirs
	$(INSTALL) -d -m 755 '$(modeldir)'
	$(INSTALL_DATA) LICENSE NOTICE models/LICENSE-Apache-2.0 '$(modeldir)'
	$(INSTALL_DATA) models/README.md '$(modeldir)/MODELS.md'
	set -e; for f in $(MODELS); do \
		$(INSTALL_DATA) "$$f" "$(modeldir)/.$$(basename "$$f").new"; \
		mv -f "$(modeldir)/.$$(basename "$$f").new" "$(modeldir)/$$(basename "$$f")"; \
	done

uninstall: uninstall-models ## remove what install has put there
uninstall-models:
	rm -f $(addprefix '$(modeldir)'/,$(notdir $(MODELS)) LICENSE NOTICE LICENSE-Apache-2.0 MODELS.md)
	-rmdir '$(modeldir)'
endif

# ---------------------------------------------------------------- tests

# These install what is missing and bring a private PostgreSQL of their own: nothing of the system's is touched.
demo: ## see it work: install what is missing, build, classify tickets in a throw-away cluster
	@test/demo/demo.sh

check-build check-sql check-tap check-isolation check-cross: ## one kind of test; REGRESS, PROVE_TESTS or ISOLATION pick some
	@test/check.sh $(@:check-%=%)

ifneq ($(PGXS),)
# pg_regress wants tests and results below one folder.
INSTALLCHECK = $(BUILD)/installcheck
installcheck: ## the SQL tests on a server that runs and has the extension (PGHOST, PGPORT, PGUSER: a superuser; REGRESS)
	@rm -rf $(INSTALLCHECK) && mkdir -p $(BUILD) && mkdir -m 1777 $(INSTALLCHECK) # the server writes there, too
	@ln -s '$(CURDIR)/test' '$(CURDIR)/test/sql' '$(CURDIR)/expected' $(INSTALLCHECK)
	cd $(INSTALLCHECK) && PGOPTIONS="$$PGOPTIONS -c compute_query_id=regress" \
		$(dir $(PGXS))../test/regress/pg_regress --inputdir="$$PWD" --outputdir="$$PWD" \
		--bindir='$(bindir)' --encoding=UTF8 --load-extension=$(EXTENSION) --dbname=contrib_regression \
		$(or $(REGRESS),$(notdir $(basename $(sort $(wildcard test/sql/*.sql)))))
endif

SUITE ?= trixie

check-debian: ## demo, check-clang and check on another release of Debian, SUITE (trixie: PostgreSQL 17), in a system of its own
	@test/debian.sh $(SUITE)

psql: ## try it: psql in a throw-away cluster that has the extension
	@test/demo/psql.sh

UNIT_TESTS ?= $(UNITS)

# Reference data that some tests compare with; they are skipped where it is not.
ifneq ($(wildcard ../shared/reference),)
export FSI_SHARED ?= $(abspath ../shared)
endif

check-unit: $(UNITS) ## unit tests of the lower floor
	$(if $(UNITS),prove -e '' $(UNIT_TESTS),@echo "no unit tests")

check-asan: ## unit tests under the address and undefined-behaviour sanitizers
	$(MAKE) BUILD=$(BUILD)/asan OPT='-g -O1' SANITIZE='-fsanitize=address,undefined -fno-sanitize-recover=all' \
		check-unit

# Leak checks on, for the tests that end in a minute. VALGRIND_SKIP: those that take longer, and those that compare
# bits of float steps, which valgrind's own AVX2 does not keep (it has no AVX-512 at all).
VALGRIND_SKIP ?= test_engine_forward test_engine_generate test_engine_pointing test_engine_reference test_engine_shipped \
	test_engine_trie test_kernels test_kernels_gemm test_text_bpe test_text_long test_text_unicode test_train_gpt2 \
	test_train_run
VALGRIND_UNITS = $(filter-out $(addprefix $(BUILD)/unit/,$(VALGRIND_SKIP)),$(UNITS))

check-valgrind: $(UNITS) ## unit tests under valgrind
	prove -e 'valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite' $(VALGRIND_UNITS)

FUZZ_SECONDS ?= 30

check-fuzz: ## fuzz each parser for FUZZ_SECONDS (clang's libFuzzer); corpora stay in $(BUILD)/corpus
	$(MAKE) BUILD=$(BUILD)/fuzz CC=clang OPT='-g -O1' \
		SANITIZE='-fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=all' \
		CORPUS='$(BUILD)/corpus' run-fuzzers

run-fuzzers: $(FUZZERS) $(BUILD)/fuzz/seed_format
	@mkdir -p $(FUZZERS:$(BUILD)/fuzz/fuzz_%=$(CORPUS)/%)
	$(BUILD)/fuzz/seed_format $(CORPUS)
	set -e; for f in $(FUZZERS:$(BUILD)/fuzz/fuzz_%=%); do \
		$(BUILD)/fuzz/fuzz_$$f -max_total_time=$(FUZZ_SECONDS) -timeout=10 -verbosity=0 -print_final_stats=1 \
			-artifact_prefix=$(CORPUS)/$$f- $(CORPUS)/$$f; \
	done

check-clang: ## compile everything with clang, warnings are errors
	$(MAKE) BUILD=$(BUILD)/clang CC=clang WERROR=1 compile

ifneq ($(wildcard test/hf/run.sh),)
check-hf: ## compare with the real Hugging Face libraries (downloads them; slow)
	@test/hf/run.sh
endif

compile: $(OBJS) $(TOOLS) $(UNITS)

help: ## this list
	@awk -F ':[^#]*## ' '/^[a-z][a-z -]*:.*## /{printf "  make %-36s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST)) \
		| sed 's|\$$(BUILD)|$(BUILD)|g'

.PHONY: FORCE all demo check check-build check-sql check-tap check-isolation check-cross check-debian installcheck psql lib tools units install-models uninstall-models check-unit check-asan check-valgrind check-fuzz run-fuzzers bench benches check-clang check-hf compile help
