// SPDX-License-Identifier: Apache-2.0
//
// Linking with the driver API: two PTX texts, one of which calls a function and reads a constant of
// the other, become one image. And what a linker refuses: a name that nobody defines, a name that
// two define, a text that is no PTX, whose error it tells in a log.

#include "check.h"

#include <cuda.h>
#include <dlfcn.h>

#include <cstring>
#include <string>

#define HEAD ".version 7.0\n.target sm_75\n.address_size 64\n"

// Calls `scaled`, which it only declares.
static const char CALLER[] = HEAD R"(
.extern .func (.param .b32 result) scaled(.param .b32 value);
.extern .const .align 4 .u32 offset;

.visible .entry apply(.param .u64 values)
{
    .reg .b32 %index, %value, %offset;
    .reg .b64 %address;

    mov.u32      %index, %tid.x;
    ld.param.u64 %address, [values];
    mad.wide.u32 %address, %index, 4, %address;
    {
        .param .b32 argument;
        .param .b32 result;
        st.param.b32 [argument], %index;
        call.uni (result), scaled, (argument);
        ld.param.b32 %value, [result];
    }
    ld.const.u32 %offset, [offset];
    add.u32      %value, %value, %offset;
    st.global.u32 [%address], %value;
    ret;
}
)";

// Defines it, and a function of the same name as none in the other text.
static const char CALLED[] = HEAD R"(
.visible .const .align 4 .u32 offset = 1000;

.func (.param .b32 result) private_factor()
{
    st.param.b32 [result], 7;
    ret;
}

.visible .func (.param .b32 result) scaled(.param .b32 value)
{
    .reg .b32 %value, %factor;
    ld.param.b32 %value, [value];
    {
        .param .b32 factor;
        call.uni (factor), private_factor, ();
        ld.param.b32 %factor, [factor];
    }
    mul.lo.u32   %value, %value, %factor;
    st.param.b32 [result], %value;
    ret;
}
)";

#define CHECK_DRIVER(call) check_driver((call), #call, __LINE__)

static void check_driver(CUresult status, const char *call, int line) {
    if (status != CUDA_SUCCESS) {
        std::fprintf(stderr, "linking.cu:%d: %s: error %d\n", line, call,
                     static_cast<int>(status));
        std::exit(1);
    }
}

#define DRIVER_FUNCTION(name) reinterpret_cast<decltype(&name)>(driver_function(#name))

static void *driver_function(const char *name) {
    void *function = nullptr;
    cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
    CHECK(cudaGetDriverEntryPointByVersion(name, &function, 12000, cudaEnableDefault, &found));
    if (found != cudaDriverEntryPointSuccess || function == nullptr) {
        std::fprintf(stderr, "the driver has no %s\n", name);
        std::exit(1);
    }
    return function;
}

struct Linker {
    char error_log[4096] = "";
    char info_log[4096] = "";
    CUjit_option options[5] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
                               CU_JIT_INFO_LOG_BUFFER, CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES,
                               CU_JIT_OPTIMIZATION_LEVEL};
    void *values[5] = {error_log, reinterpret_cast<void *>(sizeof(error_log)), info_log,
                       reinterpret_cast<void *>(sizeof(info_log)),
                       reinterpret_cast<void *>(size_t{3})};
    CUlinkState state = nullptr;

    Linker() { CHECK_DRIVER(DRIVER_FUNCTION(cuLinkCreate)(5, options, values, &state)); }

    ~Linker() { CHECK_DRIVER(DRIVER_FUNCTION(cuLinkDestroy)(state)); }

    CUresult add(const char *ptx, const char *name) {
        return DRIVER_FUNCTION(cuLinkAddData)(state, CU_JIT_INPUT_PTX, const_cast<char *>(ptx),
                                              std::strlen(ptx) + 1, name, 0, nullptr, nullptr);
    }

    CUresult complete(void **image, size_t *bytes) {
        return DRIVER_FUNCTION(cuLinkComplete)(state, image, bytes);
    }
};

static bool run_linked() {
    Linker linker;
    CHECK_DRIVER(linker.add(CALLER, "caller.ptx"));
    CHECK_DRIVER(linker.add(CALLED, "called.ptx"));
    void *image = nullptr;
    size_t bytes = 0;
    CHECK_DRIVER(linker.complete(&image, &bytes));
    CUmodule module = nullptr;
    CUfunction apply = nullptr;
    CHECK_DRIVER(DRIVER_FUNCTION(cuModuleLoadData)(&module, image));
    CHECK_DRIVER(DRIVER_FUNCTION(cuModuleGetFunction)(&apply, module, "apply"));

    const int count = 64;
    int host[count] = {};
    int *device = nullptr;
    CHECK(cudaMalloc(&device, sizeof(host)));
    void *arguments[] = {&device};
    CHECK_DRIVER(DRIVER_FUNCTION(cuLaunchKernel)(apply, 1, 1, 1, count, 1, 1, 0, nullptr,
                                                 arguments, nullptr));
    CHECK(cudaMemcpy(host, device, sizeof(host), cudaMemcpyDeviceToHost));
    CHECK(cudaFree(device));
    CHECK_DRIVER(DRIVER_FUNCTION(cuModuleUnload)(module));
    bool right = bytes > 0;
    for (int i = 0; i < count; ++i) {
        right = right && host[i] == 7 * i + 1000;
    }
    std::printf("element 63 of the linked kernel's: %d\n", host[63]);
    return right;
}

// Whether the linker refuses these texts, and says something about `subject`.
static bool refuses(const char *what, const char *first, const char *second,
                    const char *subject) {
    Linker linker;
    void *image = nullptr;
    size_t bytes = 0;
    CUresult status = linker.add(first, "first.ptx");
    if (status == CUDA_SUCCESS && second != nullptr) {
        status = linker.add(second, "second.ptx");
    }
    if (status == CUDA_SUCCESS) {
        status = linker.complete(&image, &bytes);
    }
    const bool refused = status != CUDA_SUCCESS;
    const bool told = std::strstr(linker.error_log, subject) != nullptr;
    std::printf("%s: %s, and the log %s\n", what, refused ? "refused" : "linked",
                told ? "tells why" : "does not tell why");
    return refused && told;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Links PTX texts with the driver API.");
    CHECK(cudaFree(nullptr));
    bool right = run_linked();
    right = refuses("a name that nobody defines", CALLER, nullptr, "scaled") && right;
    right = refuses("a name that two define", CALLED, CALLED, "offset") && right;
    right = refuses("a text that is no PTX", HEAD "this is no PTX", nullptr, "error") && right;
    return report("linking", right);
}
