# omendb-gpu-build, a program of its own: nothing of it is in the library.
#
#   make gpu           with nvcc or hipcc, whichever is there
#   make install-gpu   beside the library, where the server looks for it
#   make check-gpu     the unit tests of the helper, on the device if there is one
#   make graph-bench   bench/graph_bench.c, below build/
#   make gpu-programs  all of these, and a small test_gpu for compute-sanitizer
#
# GPU=nvcc, hipcc, none, emulated or emulated-tensor says what to build with. The
# last three are for tests: with none there is no device, and with the others its
# kernels run on the processor, very slowly, without or with tensor cores.

NVCC ?= $(firstword $(shell command -v nvcc) $(wildcard /usr/local/cuda/bin/nvcc))
HIPCC ?= $(shell command -v hipcc)
GPU ?= $(if $(NVCC),nvcc,$(if $(HIPCC),hipcc))
NVCC_ARCH ?= -gencode arch=compute_75,code=sm_75 \
	-gencode arch=compute_80,code=sm_80 \
	-gencode arch=compute_90,code=sm_90 -gencode arch=compute_90,code=compute_90
HIP_ARCH ?= --offload-arch=gfx90a --offload-arch=gfx1030

helper_dir = build/gpu-$(GPU)
helper = $(helper_dir)/omendb-gpu-build
helper_objs = $(patsubst src/gpu/%.c,$(helper_dir)/%.o,src/gpu/gpu_protocol.c \
	$(sort $(wildcard src/gpu/helper/*.c)))
emulated_flags = $(if $(filter emulated%,$(GPU)),-DOMEN_GPU_EMULATED) \
	$(if $(filter emulated-tensor,$(GPU)),-DTENSOR_CORES)
helper_flags = -DFRONTEND -O3 $(if $(filter none,$(GPU)),,-DOMEN_GPU_DEVICE) \
	$(emulated_flags)
# nvcc links with threads by itself, and warns if it is told to
helper_libs = -L$(pkglibdir) -L$(libdir) -lpgcommon -lpgport \
	$(if $(filter nvcc,$(GPU)),,-lpthread) -lm

ifeq ($(GPU),)
gpu install-gpu check-gpu graph-bench gpu-programs:
	$(error neither nvcc nor hipcc is there: it takes one of them to build for a GPU)
else
gpu: $(helper)
check-gpu: $(helper_dir)/test_gpu
	$<
graph-bench: $(helper_dir)/graph_bench
gpu-programs: $(addprefix $(helper_dir)/,omendb-gpu-build test_gpu test_gpu_small graph_bench)
	@echo programs are in $(helper_dir)
install-gpu: $(helper)
	$(MKDIR_P) '$(DESTDIR)$(pkglibdir)'
	$(INSTALL_PROGRAM) $< '$(DESTDIR)$(pkglibdir)/omendb-gpu-build'
endif

$(helper_dir)/%.o: src/gpu/%.c
	@$(MKDIR_P) $(@D)
	$(CC) $(CFLAGS) $(helper_flags) $(CPPFLAGS) -c -o $@ $<

build/gpu-nvcc/device.o build/gpu-hipcc/device.o: src/gpu/helper/device.cu
	@$(MKDIR_P) $(@D)
	$(if $(filter nvcc,$(GPU)),$(NVCC) $(NVCC_ARCH) -O3 -std=c++17 -fmad=false \
		--Werror all-warnings -Xcompiler=-Wall$(comma)-Wextra$(comma)-Wno-unused-parameter \
		-Isrc -MMD -c -o $@ $<,$(HIPCC) $(HIP_ARCH) -x hip -O3 -std=c++17 -ffp-contract=off \
		-Wall -Wextra -Wno-unused-parameter -Werror -Isrc -MMD -c -o $@ $<)

build/gpu-emulated/device.o build/gpu-emulated-tensor/device.o: src/gpu/helper/device.cu
	@$(MKDIR_P) $(@D)
	$(CXX) -x c++ -std=c++17 -O2 -g -ffp-contract=off -U_FORTIFY_SOURCE \
		-Wall -Wextra -Wno-unused-parameter -Wno-unknown-pragmas -Werror $(emulated_flags) \
		-Isrc -Itest/unit -MMD -c -o $@ $<

helper_device = $(if $(filter none,$(GPU)),,$(helper_dir)/device.o)
helper_link = $(if $(filter nvcc,$(GPU)),$(NVCC) -cudart static,\
	$(if $(filter hipcc,$(GPU)),$(HIPCC) $(HIP_ARCH),\
	$(if $(filter emulated%,$(GPU)),$(CXX),$(CC)) $(COPT)))

$(helper): $(helper_objs) $(helper_device)
	$(helper_link) -o $@ $^ $(helper_libs)
$(helper_dir)/test_gpu.o $(helper_dir)/test_gpu_small.o: test/unit/test_gpu.c
	@$(MKDIR_P) $(@D)
	$(CC) $(CFLAGS) $(helper_flags) $(if $(findstring small,$@),-DOMEN_GPU_SMALL) \
		$(CPPFLAGS) -Itest/unit -c -o $@ $<
$(helper_dir)/test_gpu $(helper_dir)/test_gpu_small: %: %.o $(helper_device) \
	$(filter-out %/main.o %/serve.o %/exact.o,$(helper_objs))
	$(helper_link) -o $@ $^ $(helper_libs)


bench_objs = $(filter src/distance/% src/quant/% src/graph/graph_select% \
	src/graph/graph_build% src/base/cpu.o,$(OBJS))
$(helper_dir)/graph_bench.o: bench/graph_bench.c
	@$(MKDIR_P) $(@D)
	$(CC) $(CFLAGS) $(filter-out -DFRONTEND,$(helper_flags)) $(CPPFLAGS) -c -o $@ $<
$(helper_dir)/graph_bench: $(helper_dir)/graph_bench.o $(helper_device) \
	$(filter-out %/main.o %/serve.o %/exact.o,$(helper_objs)) $(bench_objs)
	$(helper_link) -o $@ $^ $(helper_libs)

$(helper_objs) $(addprefix $(helper_dir)/,test_gpu.o test_gpu_small.o graph_bench.o): .flags

comma = ,
.PHONY: gpu install-gpu check-gpu graph-bench gpu-programs
-include $(helper_objs:.o=.d) $(helper_dir)/device.d
