// SPDX-License-Identifier: Apache-2.0
//
// Texture and surface references: variables of a module that the driver binds to arrays. CUDA C++
// has lost them, PTX and the driver API still have them, and instructions that ask what is bound.
//
// The program is not linked to the driver: see driver_api.cu.

// All of this is deprecated, and none of it is gone.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

#include "check.h"

#include <cuda.h>
#include <dlfcn.h>

#include <vector>

// target[x, y] = image[x, y] + 1, and what the references are asked.
static const char PTX[] = R"(
.version 7.0
.target sm_75
.address_size 64

.visible .global .texref image;
.visible .global .surfref target;

.visible .entry copy(.param .u64 answers_parameter)
{
    .reg .pred %is_first, %is_texture, %is_surface;
    .reg .b32  %x, %y, %bytes, %value, %g, %b, %a, %answer;
    .reg .f32  %u, %v;
    .reg .b64  %answers, %handle;

    mov.u32           %x, %tid.x;
    mov.u32           %y, %ctaid.x;
    cvt.rn.f32.u32    %u, %x;
    cvt.rn.f32.u32    %v, %y;
    add.f32           %u, %u, 0f3F000000;
    add.f32           %v, %v, 0f3F000000;
    tex.2d.v4.s32.f32 {%value, %g, %b, %a}, [image, {%u, %v}];
    shl.b32           %bytes, %x, 2;
    sust.b.2d.b32.trap [target, {%bytes, %y}], %value;
    sured.b.add.2d.u32.trap [target, {%bytes, %y}], 1;

    or.b32            %x, %x, %y;
    setp.eq.u32       %is_first, %x, 0;
    @!%is_first ret;
    ld.param.u64      %answers, [answers_parameter];
    txq.width.b32     %answer, [image];
    st.global.u32     [%answers], %answer;
    txq.height.b32    %answer, [image];
    st.global.u32     [%answers + 4], %answer;
    suq.width.b32     %answer, [target];
    st.global.u32     [%answers + 8], %answer;
    suq.height.b32    %answer, [target];
    st.global.u32     [%answers + 12], %answer;
    mov.u64           %handle, image;
    istypep.texref    %is_texture, %handle;
    istypep.surfref   %is_surface, %handle;
    selp.u32          %answer, 1, 0, %is_texture;
    st.global.u32     [%answers + 16], %answer;
    selp.u32          %answer, 1, 0, %is_surface;
    st.global.u32     [%answers + 20], %answer;
    ret;
}
)";

// Ends the program unless a driver call succeeded.
#define CHECK_DRIVER(call) check_driver((call), #call, __LINE__)

static void check_driver(CUresult status, const char *call, int line) {
    if (status != CUDA_SUCCESS) {
        std::fprintf(stderr, "texture_references.cu:%d: %s: error %d\n", line, call,
                     static_cast<int>(status));
        std::exit(1);
    }
}

// The function of this name, with its type from cuda.h.
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

constexpr int WIDTH = 32, HEIGHT = 12;

static void copy_plane(CUarray array, int *texels, bool to_array) {
    CUDA_MEMCPY2D copy = {};
    copy.srcMemoryType = to_array ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_ARRAY;
    copy.dstMemoryType = to_array ? CU_MEMORYTYPE_ARRAY : CU_MEMORYTYPE_HOST;
    copy.srcHost = copy.dstHost = texels;
    copy.srcArray = copy.dstArray = array;
    copy.srcPitch = copy.dstPitch = copy.WidthInBytes = WIDTH * sizeof(int);
    copy.Height = HEIGHT;
    CHECK_DRIVER(DRIVER_FUNCTION(cuMemcpy2D)(&copy));
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Reads a texture reference and writes a surface reference.");
    CUdevice device = 0;
    CUcontext context = nullptr;
    CUmodule module = nullptr;
    CUfunction kernel = nullptr;
    CHECK_DRIVER(DRIVER_FUNCTION(cuInit)(0));
    CHECK_DRIVER(DRIVER_FUNCTION(cuDeviceGet)(&device, 0));
    CHECK_DRIVER(DRIVER_FUNCTION(cuDevicePrimaryCtxRetain)(&context, device));
    CHECK_DRIVER(DRIVER_FUNCTION(cuCtxSetCurrent)(context));
    CHECK_DRIVER(DRIVER_FUNCTION(cuModuleLoadData)(&module, PTX));
    CHECK_DRIVER(DRIVER_FUNCTION(cuModuleGetFunction)(&kernel, module, "copy"));

    CUDA_ARRAY3D_DESCRIPTOR descriptor = {};
    descriptor.Width = WIDTH;
    descriptor.Height = HEIGHT;
    descriptor.Format = CU_AD_FORMAT_SIGNED_INT32;
    descriptor.NumChannels = 1;
    CUarray source = nullptr, second = nullptr, target = nullptr;
    const auto create_array = DRIVER_FUNCTION(cuArray3DCreate);
    CHECK_DRIVER(create_array(&source, &descriptor));
    CHECK_DRIVER(create_array(&second, &descriptor));
    descriptor.Flags = CUDA_ARRAY3D_SURFACE_LDST;
    CHECK_DRIVER(create_array(&target, &descriptor));

    CUtexref image_reference = nullptr;
    CUsurfref target_reference = nullptr;
    CHECK_DRIVER(DRIVER_FUNCTION(cuModuleGetTexRef)(&image_reference, module, "image"));
    CHECK_DRIVER(DRIVER_FUNCTION(cuModuleGetSurfRef)(&target_reference, module, "target"));
    CHECK_DRIVER(DRIVER_FUNCTION(cuTexRefSetFlags)(image_reference, CU_TRSF_READ_AS_INTEGER));
    const auto set_mode = DRIVER_FUNCTION(cuTexRefSetAddressMode);
    CHECK_DRIVER(set_mode(image_reference, 0, CU_TR_ADDRESS_MODE_BORDER));
    CHECK_DRIVER(set_mode(image_reference, 1, CU_TR_ADDRESS_MODE_BORDER));
    CHECK_DRIVER(
        DRIVER_FUNCTION(cuTexRefSetFilterMode)(image_reference, CU_TR_FILTER_MODE_POINT));
    CHECK_DRIVER(DRIVER_FUNCTION(cuSurfRefSetArray)(target_reference, target, 0));

    CUdeviceptr answers = 0;
    CHECK_DRIVER(DRIVER_FUNCTION(cuMemAlloc)(&answers, 6 * sizeof(int)));
    bool right = true;
    // The same reference, bound to one array and then to another.
    for (CUarray array : {source, second}) {
        const int factor = array == source ? 5 : -7;
        std::vector<int> texels(WIDTH * HEIGHT);
        for (int i = 0; i < WIDTH * HEIGHT; ++i) {
            texels[i] = i * factor;
        }
        copy_plane(array, texels.data(), true);
        CHECK_DRIVER(DRIVER_FUNCTION(cuTexRefSetArray)(image_reference, array,
                                                       CU_TRSA_OVERRIDE_FORMAT));
        void *arguments[] = {&answers};
        CHECK_DRIVER(DRIVER_FUNCTION(cuLaunchKernel)(kernel, HEIGHT, 1, 1, WIDTH, 1, 1, 0, nullptr,
                                                     arguments, nullptr));
        std::vector<int> result(WIDTH * HEIGHT, -1);
        copy_plane(target, result.data(), false);
        int wrong = 0;
        for (int i = 0; i < WIDTH * HEIGHT; ++i) {
            wrong += result[i] != i * factor + 1;
        }
        std::printf("array times %d: %d of %d wrong\n", factor, wrong, WIDTH * HEIGHT);
        right = right && wrong == 0;
    }
    int told[6] = {};
    CHECK_DRIVER(DRIVER_FUNCTION(cuMemcpyDtoH)(told, answers, sizeof told));
    std::printf("texture of %d x %d, surface of %d x %d\n", told[0], told[1], told[2], told[3]);
    std::printf("the texture is a texture: %d, a surface: %d\n", told[4], told[5]);
    right = right && told[0] == WIDTH && told[1] == HEIGHT && told[2] == WIDTH &&
            told[3] == HEIGHT && told[4] == 1 && told[5] == 0;

    // What was set can be asked for.
    CUarray bound = nullptr;
    CUaddress_mode mode = CU_TR_ADDRESS_MODE_WRAP;
    CUarray_format format = CU_AD_FORMAT_FLOAT;
    int channels = 0;
    unsigned flags = 0;
    CHECK_DRIVER(DRIVER_FUNCTION(cuTexRefGetArray)(&bound, image_reference));
    CHECK_DRIVER(DRIVER_FUNCTION(cuTexRefGetAddressMode)(&mode, image_reference, 1));
    CHECK_DRIVER(DRIVER_FUNCTION(cuTexRefGetFormat)(&format, &channels, image_reference));
    CHECK_DRIVER(DRIVER_FUNCTION(cuTexRefGetFlags)(&flags, image_reference));
    const bool kept = bound == second && mode == CU_TR_ADDRESS_MODE_BORDER &&
                      format == CU_AD_FORMAT_SIGNED_INT32 && channels == 1 &&
                      flags == CU_TRSF_READ_AS_INTEGER;
    std::printf("settings: %s\n", kept ? "kept" : "lost");
    right = right && kept;

    CHECK_DRIVER(DRIVER_FUNCTION(cuMemFree)(answers));
    const auto destroy_array = DRIVER_FUNCTION(cuArrayDestroy);
    for (CUarray array : {source, second, target}) {
        CHECK_DRIVER(destroy_array(array));
    }
    CHECK_DRIVER(DRIVER_FUNCTION(cuModuleUnload)(module));
    CHECK_DRIVER(DRIVER_FUNCTION(cuDevicePrimaryCtxRelease)(device));
    return report("texture_references", right);
}
