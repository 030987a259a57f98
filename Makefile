EXTENSION = omendb
MODULE_big = omendb
DATA = $(sort $(wildcard sql/omendb--*.sql))
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c src/*/*.c)))
SHLIB_LINK = -lm

# These run a script of their own: they must work before PostgreSQL's headers
# are installed, so PGXS is not included for them.
scripts = check check-all check-upgrade check-asan check-debug \
	check-valgrind fuzz torture demo bench gpu-bench

ifneq ($(filter $(scripts),$(MAKECMDGOALS)),)
.PHONY: $(scripts)
check:
	@bash test/run_check.sh
check-all:
	@bash test/check_versions.sh
check-upgrade:
	@bash test/check_upgrade.sh
check-asan:
	@bash test/check_debug.sh asan
check-debug:
	@bash test/check_debug.sh
check-valgrind:
	@bash test/check_debug.sh valgrind
fuzz:
	@bash test/fuzz/run_fuzz.sh
torture:
	@bash test/torture.sh
demo:
	@bash bench/demo.sh
bench:
	@bash bench/run.sh
gpu-bench:
	@bash bench/gpu.sh
else

# What is not meant for SQL stays invisible to other libraries in the server;
# PostgreSQL 15's headers do not mark by themselves what is.
PG_CPPFLAGS = -I$(srcdir)/src \
	-DPGDLLEXPORT='__attribute__((visibility("default")))'
PG_CFLAGS = -Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare \
	-Wno-missing-field-initializers -fvisibility=hidden -MMD -MP
ifneq ($(findstring clang,$(CC)),)
# the server was built with gcc, and its flags are handed on
PG_CFLAGS += -Wno-unknown-warning-option -Wno-ignored-attributes \
	-Wno-ignored-optimization-argument
endif

# What is stored has the same bits on every machine, whether it can fuse a
# multiplication with an addition or not: src/quant/quant_kernels_template.h.
PG_CFLAGS += -ffp-contract=off

# Registers of the 8087 round otherwise than memory, and bounds would not hold.
ifneq ($(filter i386-% i486-% i586-% i686-%,$(shell $(CC) -dumpmachine)),)
PG_CFLAGS += -msse2 -mfpmath=sse
endif

REGRESS = $(patsubst sql/%.sql,%,$(filter-out $(DATA),$(sort $(wildcard sql/*.sql))))
REGRESS_OPTS = --inputdir=. --load-extension=omendb
ISOLATION = $(patsubst test/specs/%.spec,%,$(sort $(wildcard test/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test --load-extension=omendb
TAP_TESTS = 1
PROVE_TESTS = test/t/*.pl
PROVE_FLAGS = -I test/perl
EXTRA_CLEAN = $(OBJS:.o=.d) .flags build/gpu-none build/gpu-emulated \
	build/gpu-emulated-tensor build/gpu-nvcc build/gpu-hipcc

# Distances are called through a table, never inlined by the JIT: its bitcode
# would be built and installed for nothing.
override with_llvm = no

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
ifeq ($(wildcard $(PGXS)),)
$(error no PostgreSQL headers at PG_CONFIG=$(PG_CONFIG): install postgresql-server-dev-NN, or run "make demo", which does)
endif
include $(PGXS)

src/distance/%.o src/quant/%.o src/graph/graph_build_thin.o src/text/text_kernels%.o: override CFLAGS += -O3
built_with = $(CC) $(VERSION) $(COPT) $(PROFILE)
$(OBJS): Makefile .flags
.flags: FORCE
	@echo '$(built_with)' | cmp -s - $@ || echo '$(built_with)' >$@
# PGXS makes every target secondary, and a secondary one that is not there is
# nobody's reason to do anything
.PHONY: FORCE
-include $(OBJS:.o=.d)
include $(srcdir)/src/gpu/helper/helper.mk
endif
