// SPDX-License-Identifier: Apache-2.0
//
// The driver API, one layer below cudaMalloc and <<<…>>>: a module loaded from PTX text, its
// functions found by name, and launches with explicit parameters.
//
// The program is not linked to the driver. It opens libcuda.so.1 as the runtime does, and asks
// cuGetProcAddress for the rest.

#include "check.h"

#include <cuda.h>
#include <dlfcn.h>

#include <vector>

// y = a * x + y, and a counter of the elements seen, as text for the device's compiler.
static const char PTX[] = R"(
.version 7.0
.target sm_75
.address_size 64

.visible .global .align 4 .u32 seen = 100;

.visible .entry saxpy(
    .param .u64 y_parameter,
    .param .u64 x_parameter,
    .param .f32 a_parameter,
    .param .u32 count_parameter)
{
    .reg .pred %outside;
    .reg .f32  %a, %x, %y;
    .reg .b32  %i, %count, %block, %size, %thread;
    .reg .b64  %x_address, %y_address, %seen_address;

    ld.param.u32    %count, [count_parameter];
    mov.u32         %block, %ctaid.x;
    mov.u32         %size, %ntid.x;
    mov.u32         %thread, %tid.x;
    mad.lo.s32      %i, %block, %size, %thread;
    setp.ge.u32     %outside, %i, %count;
    @%outside bra   DONE;

    ld.param.u64    %x_address, [x_parameter];
    ld.param.u64    %y_address, [y_parameter];
    ld.param.f32    %a, [a_parameter];
    mad.wide.u32    %x_address, %i, 4, %x_address;
    mad.wide.u32    %y_address, %i, 4, %y_address;
    ld.global.f32   %x, [%x_address];
    ld.global.f32   %y, [%y_address];
    fma.rn.f32      %y, %a, %x, %y;
    st.global.f32   [%y_address], %y;
    mov.u64         %seen_address, seen;
    red.global.add.u32 [%seen_address], 1;
DONE:
    ret;
}
)";

// Ends the program unless a driver call succeeded.
#define CHECK_DRIVER(call) check_driver((call), #call, __LINE__)

static void check_driver(CUresult status, const char *call, int line) {
    if (status != CUDA_SUCCESS) {
        std::fprintf(stderr, "driver_api.cu:%d: %s: error %d\n", line, call,
                     static_cast<int>(status));
        std::exit(1);
    }
}

// The function of this name, with its type from cuda.h. Version 12000 asks for the newest variant
// that CUDA 12.0 has, `cuMemAlloc_v2` for `cuMemAlloc`: the one that cuda.h declares.
#define DRIVER_FUNCTION(name) reinterpret_cast<decltype(&name)>(driver_function(#name))

static void *driver_function(const char *name) {
    static void *const library = dlopen("libcuda.so.1", RTLD_NOW);
    if (library == nullptr) {
        std::fprintf(stderr, "%s\n", dlerror());
        std::exit(1);
    }
    static const auto get_proc_address =
        reinterpret_cast<decltype(&cuGetProcAddress)>(dlsym(library, "cuGetProcAddress_v2"));
    void *function = nullptr;
    CUdriverProcAddressQueryResult found = CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    if (get_proc_address == nullptr ||
        get_proc_address(name, &function, 12000, CU_GET_PROC_ADDRESS_DEFAULT, &found) !=
            CUDA_SUCCESS ||
        found != CU_GET_PROC_ADDRESS_SUCCESS || function == nullptr) {
        std::fprintf(stderr, "the driver has no %s\n", name);
        std::exit(1);
    }
    return function;
}

static bool is_sum(const std::vector<float> &y, const std::vector<float> &x, float factor) {
    // Small whole numbers: the arithmetic is exact.
    for (size_t i = 0; i < y.size(); ++i) {
        if (y[i] != factor * x[i] + 1.0f) {
            return false;
        }
    }
    return true;
}

static bool run_saxpy(CUmodule module, int count) {
    const auto get_function = DRIVER_FUNCTION(cuModuleGetFunction);
    const auto get_global = DRIVER_FUNCTION(cuModuleGetGlobal);
    const auto mem_alloc = DRIVER_FUNCTION(cuMemAlloc);
    const auto mem_free = DRIVER_FUNCTION(cuMemFree);
    const auto copy_to_device = DRIVER_FUNCTION(cuMemcpyHtoD);
    const auto copy_to_host_async = DRIVER_FUNCTION(cuMemcpyDtoHAsync);
    const auto copy_to_host = DRIVER_FUNCTION(cuMemcpyDtoH);
    const auto stream_create = DRIVER_FUNCTION(cuStreamCreate);
    const auto stream_synchronize = DRIVER_FUNCTION(cuStreamSynchronize);
    const auto stream_destroy = DRIVER_FUNCTION(cuStreamDestroy);
    const auto launch = DRIVER_FUNCTION(cuLaunchKernel);

    CUfunction saxpy = nullptr;
    CUdeviceptr seen = 0;
    size_t seen_bytes = 0;
    CHECK_DRIVER(get_function(&saxpy, module, "saxpy"));
    CHECK_DRIVER(get_global(&seen, &seen_bytes, module, "seen"));

    std::vector<float> x(count), y(count, 1.0f);
    for (int i = 0; i < count; ++i) {
        x[i] = static_cast<float>(i % 1024);
    }
    const size_t bytes = count * sizeof(float);
    CUdeviceptr device_x = 0, device_y = 0;
    CUstream stream = nullptr;
    CHECK_DRIVER(mem_alloc(&device_x, bytes));
    CHECK_DRIVER(mem_alloc(&device_y, bytes));
    CHECK_DRIVER(stream_create(&stream, CU_STREAM_DEFAULT));
    CHECK_DRIVER(copy_to_device(device_x, x.data(), bytes));
    CHECK_DRIVER(copy_to_device(device_y, y.data(), bytes));

    // The usual way: an array with the address of each argument.
    float a = 2.0f;
    unsigned elements = count;
    void *arguments[] = {&device_y, &device_x, &a, &elements};
    const unsigned threads = 128, blocks = (elements + threads - 1) / threads;
    CHECK_DRIVER(
        launch(saxpy, blocks, 1, 1, threads, 1, 1, 0, stream, arguments, nullptr));

    // The other way: all arguments in one buffer, laid out as the kernel declares them.
    struct {
        CUdeviceptr y, x;
        float a;
        unsigned count;
    } buffer = {device_y, device_x, 3.0f, elements};
    size_t buffer_bytes = sizeof(buffer);
    void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &buffer, CU_LAUNCH_PARAM_BUFFER_SIZE,
                     &buffer_bytes, CU_LAUNCH_PARAM_END};
    CHECK_DRIVER(launch(saxpy, blocks, 1, 1, threads, 1, 1, 0, stream, nullptr, extra));

    CHECK_DRIVER(copy_to_host_async(y.data(), device_y, bytes, stream));
    CHECK_DRIVER(stream_synchronize(stream));
    unsigned seen_count = 0;
    CHECK_DRIVER(copy_to_host(&seen_count, seen, sizeof(seen_count)));
    CHECK_DRIVER(mem_free(device_x));
    CHECK_DRIVER(mem_free(device_y));
    CHECK_DRIVER(stream_destroy(stream));

    const bool right = is_sum(y, x, 5.0f);
    std::printf("saxpy twice over %d elements: %s\n", count, right ? "right" : "wrong");
    std::printf("elements that the module's global counted from 100 on: %u\n", seen_count);
    return right && seen_bytes == sizeof(unsigned) && seen_count == 100 + 2 * elements;
}

// What cannot be had is refused, and the context lives on.
static bool refuses(CUmodule module) {
    const auto get_function = DRIVER_FUNCTION(cuModuleGetFunction);
    const auto load_data = DRIVER_FUNCTION(cuModuleLoadData);
    const auto error_name = DRIVER_FUNCTION(cuGetErrorName);

    CUfunction function = nullptr;
    CUmodule broken = nullptr;
    const CUresult not_found = get_function(&function, module, "no_such_kernel");
    const CUresult invalid =
        load_data(&broken, ".version 7.0\n.target sm_75\n.address_size 64\nthis is no PTX\n");
    const char *not_found_name = "?", *invalid_name = "?";
    CHECK_DRIVER(error_name(not_found, &not_found_name));
    CHECK_DRIVER(error_name(invalid, &invalid_name));
    std::printf("a kernel that the module lacks: %s\n", not_found_name);
    std::printf("text that is no PTX: %s\n", invalid_name);
    return not_found == CUDA_ERROR_NOT_FOUND && invalid == CUDA_ERROR_INVALID_PTX;
}

int main(int argc, char **argv) {
    const int count = size_argument(argc, argv, "Runs PTX text with the driver API.", "elements",
                                    100000, 1 << 28);
    const auto init = DRIVER_FUNCTION(cuInit);
    const auto device_get = DRIVER_FUNCTION(cuDeviceGet);
    const auto primary_retain = DRIVER_FUNCTION(cuDevicePrimaryCtxRetain);
    const auto primary_release = DRIVER_FUNCTION(cuDevicePrimaryCtxRelease);
    const auto set_current = DRIVER_FUNCTION(cuCtxSetCurrent);
    const auto load_data = DRIVER_FUNCTION(cuModuleLoadData);
    const auto unload = DRIVER_FUNCTION(cuModuleUnload);

    CUdevice device = 0;
    CUcontext context = nullptr;
    CUmodule module = nullptr;
    CHECK_DRIVER(init(0));
    CHECK_DRIVER(device_get(&device, 0));
    CHECK_DRIVER(primary_retain(&context, device));
    CHECK_DRIVER(set_current(context));
    CHECK_DRIVER(load_data(&module, PTX));

    bool right = refuses(module);
    right = run_saxpy(module, count) && right;

    CHECK_DRIVER(unload(module));
    CHECK_DRIVER(primary_release(device));
    return report("driver_api", right);
}
