// SPDX-License-Identifier: Apache-2.0
// Texture and surface references, which CUDA 12 has removed: bound to linear memory, to rows, to an
// array and to a mipmapped array, read by kernels. Compilers of today do not know them, so the
// device code is PTX and registered by hand, as the host code of CUDA 11's compiler does.

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include <cuda_runtime.h>

#include "../check.h"

extern "C" {
void **__cudaRegisterFatBinary(void *);
void __cudaRegisterFatBinaryEnd(void **);
void __cudaUnregisterFatBinary(void **);
void __cudaRegisterFunction(void **, const char *, char *, const char *, int, uint3 *, uint3 *,
                            dim3 *, dim3 *, int *);
void __cudaRegisterTexture(void **, const textureReference *, const void **, const char *, int, int,
                           int);
void __cudaRegisterSurface(void **, const surfaceReference *, const void **, const char *, int,
                           int);
}

static const char PTX[] = R"(
.version 7.8
.target sm_75
.address_size 64
.visible .global .texref line;
.visible .global .texref image;
.visible .global .surfref target;

.visible .entry read_line(.param .u64 to)
{
    .reg .b32 %r<8>;
    .reg .f32 %f<4>;
    .reg .b64 %d<4>;
    ld.param.u64    %d1, [to];
    mov.u32         %r1, %tid.x;
    tex.1d.v4.f32.s32 {%f0, %f1, %f2, %f3}, [line, {%r1}];
    mul.wide.u32    %d2, %r1, 4;
    add.u64         %d1, %d1, %d2;
    st.global.f32   [%d1], %f0;
    ret;
}

.visible .entry read_image(.param .u64 to, .param .f32 shift)
{
    .reg .b32 %r<8>;
    .reg .f32 %f<10>;
    .reg .b64 %d<4>;
    ld.param.u64    %d1, [to];
    ld.param.f32    %f7, [shift];
    mov.u32         %r1, %tid.x;
    mov.u32         %r2, %tid.y;
    cvt.rn.f32.u32  %f4, %r1;
    cvt.rn.f32.u32  %f5, %r2;
    add.f32         %f4, %f4, %f7;
    add.f32         %f5, %f5, 0f3F000000;
    tex.2d.v4.f32.f32 {%f0, %f1, %f2, %f3}, [image, {%f4, %f5}];
    mov.u32         %r3, %ntid.x;
    mad.lo.u32      %r4, %r2, %r3, %r1;
    mul.wide.u32    %d2, %r4, 4;
    add.u64         %d1, %d1, %d2;
    st.global.f32   [%d1], %f0;
    ret;
}

.visible .entry write_image(.param .u32 factor)
{
    .reg .b32 %r<8>;
    .reg .f32 %f<4>;
    ld.param.u32    %r5, [factor];
    mov.u32         %r1, %tid.x;
    mov.u32         %r2, %tid.y;
    mad.lo.u32      %r3, %r2, %r5, %r1;
    cvt.rn.f32.u32  %f1, %r3;
    shl.b32         %r4, %r1, 2;
    sust.b.2d.b32.trap [target, {%r4, %r2}], {%f1};
    ret;
}
)";

// A fat binary with one entry, as `fatbinary` writes it.
struct FatbinHeader {
    uint32_t magic;
    uint16_t version, header_size;
    uint64_t size;
};
struct FatbinEntry {
    uint16_t kind, version;
    uint32_t header_size;
    uint64_t size;
    uint32_t compressed_size, options_offset;
    uint16_t minor, major;
    uint32_t architecture, name_offset, name_size;
    uint64_t flags, zero, uncompressed_size;
};
struct Wrapper {
    int magic, version;
    const void *data;
    void *file;
};

static const int WIDTH = 8, HEIGHT = 4;
static textureReference line, image;
static surfaceReference target;
static char read_line, read_image, write_image;
static std::vector<char> fatbin;
static Wrapper wrapper;
static void **handle;

static void add_code() {
    FatbinEntry entry = {};
    entry.kind = 1;
    entry.version = 0x0101;
    entry.header_size = sizeof entry;
    entry.size = (sizeof PTX + 7) / 8 * 8;
    entry.minor = 8;
    entry.major = 7;
    entry.architecture = 75;
    entry.flags = 0x11;
    FatbinHeader header = {0xBA55ED50, 1, sizeof header, sizeof entry + entry.size};
    fatbin.resize(sizeof header + header.size);
    memcpy(fatbin.data(), &header, sizeof header);
    memcpy(fatbin.data() + sizeof header, &entry, sizeof entry);
    memcpy(fatbin.data() + sizeof header + sizeof entry, PTX, sizeof PTX);
    wrapper = {0x466243b1, 1, fatbin.data(), nullptr};
    handle = __cudaRegisterFatBinary(&wrapper);
    const char *names[] = {"read_line", "read_image", "write_image"};
    char *functions[] = {&read_line, &read_image, &write_image};
    for (int i = 0; i < 3; i++)
        __cudaRegisterFunction(handle, functions[i], const_cast<char *>(names[i]), names[i], -1,
                               nullptr, nullptr, nullptr, nullptr, nullptr);
    // The third argument is a name, too, whatever its type says.
    const auto name = [](const char *text) {
        return reinterpret_cast<const void **>(const_cast<char *>(text));
    };
    __cudaRegisterTexture(handle, &line, name("line"), "line", 1, 0, 0);
    __cudaRegisterTexture(handle, &image, name("image"), "image", 2, 0, 0);
    __cudaRegisterSurface(handle, &target, name("target"), "target", 2, 0);
    __cudaRegisterFatBinaryEnd(handle);
}

static void show(const char *what, const float *device, int count) {
    std::vector<float> values(count);
    CHECK(cudaDeviceSynchronize());
    CHECK(cudaMemcpy(values.data(), device, count * sizeof(float), cudaMemcpyDeviceToHost));
    printf("%s:", what);
    for (float value : values) printf(" %g", value);
    printf("\n");
}

static void launch(const char &kernel, dim3 threads, void **arguments) {
    CHECK(cudaLaunchKernel(&kernel, dim3(1), threads, arguments, 0, nullptr));
}

static void lines(float *to) {
    std::vector<float> numbers(256);
    for (int i = 0; i < 256; i++) numbers[i] = i * 0.5f;
    float *from;
    CHECK(cudaMalloc(&from, 1024));
    CHECK(cudaMemcpy(from, numbers.data(), 1024, cudaMemcpyHostToDevice));
    const cudaChannelFormatDesc floats = cudaCreateChannelDesc<float>();
    line.channelDesc = floats;
    size_t offset = 77;
    printf("before: %s\n", cudaGetErrorName(cudaGetTextureAlignmentOffset(&offset, &line)));
    CHECK(cudaBindTexture(&offset, &line, from, &floats, 1024));
    printf("offset %zu\n", offset);
    void *arguments[] = {&to};
    launch(read_line, WIDTH, arguments);
    show("line", to, WIDTH);
    // Part of an allocation: the rest of the alignment is told.
    CHECK(cudaBindTexture(&offset, &line, from + 16, &floats, 256));
    printf("offset %zu\n", offset);
    launch(read_line, 2 * WIDTH, arguments);
    show("line", to, 2 * WIDTH);
    CHECK(cudaGetTextureAlignmentOffset(&offset, &line));
    printf("offset %zu\n", offset);
    printf("without offset: %s\n",
           cudaGetErrorName(cudaBindTexture(nullptr, &line, from + 16, &floats, 256)));
    CHECK(cudaBindTexture(nullptr, &line, from, &floats, UINT_MAX));
    launch(read_line, WIDTH, arguments);
    show("all", to, WIDTH);
    CHECK(cudaUnbindTexture(&line));
    printf("after: %s\n", cudaGetErrorName(cudaGetTextureAlignmentOffset(&offset, &line)));
    printf("again: %s\n", cudaGetErrorName(cudaUnbindTexture(&line)));
    textureReference stranger = line;
    printf("stranger: %s\n",
           cudaGetErrorName(cudaBindTexture(&offset, &stranger, from, &floats, 64)));
    const textureReference *found = nullptr;
    CHECK(cudaGetTextureReference(&found, &line));
    printf("stranger: %s\n", cudaGetErrorName(cudaGetTextureReference(&found, &stranger)));
    CHECK(cudaFree(from));
}

static void images(float *to) {
    std::vector<float> pixels(WIDTH * HEIGHT);
    for (int i = 0; i < WIDTH * HEIGHT; i++) pixels[i] = float(i);
    const cudaChannelFormatDesc floats = cudaCreateChannelDesc<float>();
    const size_t row = WIDTH * sizeof(float);
    void *rows;
    size_t pitch, offset = 77;
    CHECK(cudaMallocPitch(&rows, &pitch, row, HEIGHT));
    CHECK(cudaMemcpy2D(rows, pitch, pixels.data(), row, row, HEIGHT, cudaMemcpyHostToDevice));
    image.channelDesc = floats;
    image.filterMode = cudaFilterModePoint;
    for (auto &mode : image.addressMode) mode = cudaAddressModeClamp;
    CHECK(cudaBindTexture2D(&offset, &image, rows, &floats, WIDTH, HEIGHT, pitch));
    printf("offset %zu\n", offset);
    float shift = 0.5f;
    void *arguments[] = {&to, &shift};
    launch(read_image, dim3(WIDTH, HEIGHT), arguments);
    show("rows", to, WIDTH * HEIGHT);
    cudaArray_t array;
    CHECK(cudaMallocArray(&array, &floats, WIDTH, HEIGHT, cudaArraySurfaceLoadStore));
    CHECK(cudaMemcpy2DToArray(array, 0, 0, pixels.data(), row, row, HEIGHT,
                              cudaMemcpyHostToDevice));
    image.filterMode = cudaFilterModeLinear;
    image.addressMode[0] = cudaAddressModeBorder;
    image.addressMode[1] = cudaAddressModeBorder;
    CHECK(cudaBindTextureToArray(&image, array, &floats));
    shift = 0.75f;
    launch(read_image, dim3(WIDTH, HEIGHT), arguments);
    show("between", to, WIDTH * HEIGHT);
    target.channelDesc = floats;
    CHECK(cudaBindSurfaceToArray(&target, array, &floats));
    int factor = 100;
    void *factors[] = {&factor};
    launch(write_image, dim3(WIDTH, HEIGHT), factors);
    shift = 0.5f;
    launch(read_image, dim3(WIDTH, HEIGHT), arguments);
    show("written", to, WIDTH * HEIGHT);
    const surfaceReference *found = nullptr;
    CHECK(cudaGetSurfaceReference(&found, &target));
    surfaceReference stranger = target;
    printf("stranger: %s, %s\n",
           cudaGetErrorName(cudaGetSurfaceReference(&found, &stranger)),
           cudaGetErrorName(cudaBindSurfaceToArray(&stranger, array, &floats)));
    cudaMipmappedArray_t levels;
    CHECK(cudaMallocMipmappedArray(&levels, &floats, make_cudaExtent(WIDTH, HEIGHT, 0), 2));
    cudaArray_t level;
    CHECK(cudaGetMipmappedArrayLevel(&level, levels, 0));
    CHECK(cudaMemcpy2DToArray(level, 0, 0, pixels.data(), row, row, HEIGHT,
                              cudaMemcpyHostToDevice));
    image.normalized = 1;
    image.filterMode = cudaFilterModePoint;
    image.addressMode[0] = cudaAddressModeWrap;
    image.addressMode[1] = cudaAddressModeWrap;
    CHECK(cudaBindTextureToMipmappedArray(&image, levels, &floats));
    shift = 0.25f;
    launch(read_image, dim3(2, 2), arguments);
    show("normalized", to, 4);
    CHECK(cudaUnbindTexture(&image));
    CHECK(cudaFreeMipmappedArray(levels));
    CHECK(cudaFreeArray(array));
    CHECK(cudaFree(rows));
}

int main() {
    add_code();
    float *to;
    CHECK(cudaMalloc(&to, 1024));
    lines(to);
    images(to);
    CHECK(cudaFree(to));
    __cudaUnregisterFatBinary(handle);
    printf("PASS\n");
    return 0;
}
