// SPDX-License-Identifier: Apache-2.0
//
// Tensor maps: boxes of a tensor copied between global and shared memory by one thread.
//
// Each kernel loads a box and shows the shared memory as it is, or changes it and stores it. The
// host computes the same from the definition: elements outside are zero or NaN, 16-byte chunks
// change places where the map says so, im2col walks over pixels.
// nvcc: -arch=sm_90
// device: compute capability 9.0

#include "driver.h"

#include <cmath>
#include <cstdint>
#include <vector>

DRIVER_FUNCTION(cuTensorMapEncodeTiled, 12000);
DRIVER_FUNCTION(cuTensorMapEncodeIm2col, 12000);
DRIVER_FUNCTION(cuTensorMapReplaceAddress, 12000);

constexpr int SHARED_BYTES = 8192;

__device__ uint32_t shared_address(const void *p) {
    return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

__device__ void start(uint64_t *barrier) {
    if (threadIdx.x == 0) {
        asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared_address(barrier)));
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    }
    __syncthreads();
}

__device__ void expect(uint64_t *barrier, uint32_t bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(
                     shared_address(barrier)),
                 "r"(bytes)
                 : "memory");
}

__device__ void wait(uint64_t *barrier) {
    uint32_t done = 0;
    while (!done)
        asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], 0; "
                     "selp.u32 %0, 1, 0, p; }"
                     : "=r"(done)
                     : "r"(shared_address(barrier))
                     : "memory");
}

__global__ void load_2d(const __grid_constant__ CUtensorMap map, int x, int y, uint32_t bytes,
                        uint8_t *out) {
    extern __shared__ __align__(1024) uint8_t shared[];
    __shared__ uint64_t barrier;
    start(&barrier);
    if (threadIdx.x == 0) {
        asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
        asm volatile("cp.async.bulk.prefetch.tensor.2d.L2.global.tile [%0, {%1, %2}];" ::"l"(&map),
                     "r"(x), "r"(y)
                     : "memory");
        expect(&barrier, bytes);
        asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile"
                     ".mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(
                         shared_address(shared)),
                     "l"(&map), "r"(x), "r"(y), "r"(shared_address(&barrier))
                     : "memory");
    }
    wait(&barrier);
    for (uint32_t i = threadIdx.x; i < bytes; i += blockDim.x)
        out[i] = shared[i];
}

__global__ void load_3d(const CUtensorMap *map, int x, int y, int z, uint32_t bytes, uint8_t *out) {
    extern __shared__ __align__(1024) uint8_t shared[];
    __shared__ uint64_t barrier;
    start(&barrier);
    if (threadIdx.x == 0) {
        // The map was written by a copy: the fence makes it known to the unit that reads maps.
        asm volatile("fence.proxy.tensormap::generic.acquire.gpu [%0], 128;" ::"l"(map) : "memory");
        expect(&barrier, bytes);
        asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global"
                     ".mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4}], [%5];" ::"r"(
                         shared_address(shared)),
                     "l"(map), "r"(x), "r"(y), "r"(z), "r"(shared_address(&barrier))
                     : "memory");
    }
    wait(&barrier);
    for (uint32_t i = threadIdx.x; i < bytes; i += blockDim.x)
        out[i] = shared[i];
}

__global__ void load_pixels(const __grid_constant__ CUtensorMap map, int w, int h, int n,
                            uint16_t right, uint16_t down, uint32_t bytes, uint8_t *out) {
    extern __shared__ __align__(1024) uint8_t shared[];
    __shared__ uint64_t barrier;
    start(&barrier);
    if (threadIdx.x == 0) {
        expect(&barrier, bytes);
        asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.im2col"
                     ".mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4, %5}], [%6], {%7, %8};"
                     ::"r"(shared_address(shared)),
                     "l"(&map), "r"(0), "r"(w), "r"(h), "r"(n), "r"(shared_address(&barrier)),
                     "h"(right), "h"(down)
                     : "memory");
    }
    wait(&barrier);
    for (uint32_t i = threadIdx.x; i < bytes; i += blockDim.x)
        out[i] = shared[i];
}

// Each block loads half of what all blocks of the cluster get.
__global__ void __cluster_dims__(2, 1, 1)
    load_for_all(const __grid_constant__ CUtensorMap map, uint32_t bytes, uint8_t *out) {
    extern __shared__ __align__(1024) uint8_t shared[];
    __shared__ uint64_t barrier;
    start(&barrier);
    asm volatile("barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned;" ::: "memory");
    if (threadIdx.x == 0) {
        const uint32_t half = blockIdx.x * bytes;
        expect(&barrier, 2 * bytes);
        asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile"
                     ".mbarrier::complete_tx::bytes.multicast::cluster"
                     " [%0], [%1, {%2, %3}], [%4], %5;" ::"r"(shared_address(shared) + half),
                     "l"(&map), "r"(0), "r"(int(8 * blockIdx.x)), "r"(shared_address(&barrier)),
                     "h"(uint16_t(3))
                     : "memory");
    }
    wait(&barrier);
    for (uint32_t i = threadIdx.x; i < 2 * bytes; i += blockDim.x)
        out[2 * bytes * blockIdx.x + i] = shared[i];
    asm volatile("barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned;" ::: "memory");
}

// Adds 1000 to a box of 32 x 8 integers whose chunks are swizzled, or adds the box once more.
__global__ void change(const __grid_constant__ CUtensorMap map, int x, int y, bool reduces) {
    extern __shared__ __align__(1024) int box[];
    __shared__ uint64_t barrier;
    start(&barrier);
    if (threadIdx.x == 0) {
        expect(&barrier, 1024);
        asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile"
                     ".mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(
                         shared_address(box)),
                     "l"(&map), "r"(x), "r"(y), "r"(shared_address(&barrier))
                     : "memory");
    }
    wait(&barrier);
    if (!reduces) {
        const int row = threadIdx.x / 32, column = threadIdx.x % 32;
        const int chunk = column / 4 ^ row;
        box[32 * row + 4 * chunk + column % 4] += 1000 + column;
    }
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    __syncthreads();
    if (threadIdx.x == 0) {
        if (reduces)
            asm volatile("cp.reduce.async.bulk.tensor.2d.global.shared::cta.add.tile.bulk_group"
                         " [%0, {%1, %2}], [%3];" ::"l"(&map),
                         "r"(x), "r"(y), "r"(shared_address(box))
                         : "memory");
        else
            asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group"
                         " [%0, {%1, %2}], [%3];" ::"l"(&map),
                         "r"(x), "r"(y), "r"(shared_address(box))
                         : "memory");
        asm volatile("cp.async.bulk.commit_group;" ::: "memory");
        asm volatile("cp.async.bulk.wait_group 0;" ::: "memory");
    }
}

__constant__ CUtensorMap constant_map;
__device__ CUtensorMap global_map;

using Map = CUtensorMap;

Map tiled(CUtensorMapDataType type, void *tensor, std::vector<cuuint64_t> extent,
          std::vector<cuuint64_t> strides, std::vector<cuuint32_t> box,
          std::vector<cuuint32_t> steps, CUtensorMapSwizzle swizzle,
          CUtensorMapFloatOOBfill fill = CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) {
    Map map;
    CHECK_DRIVER(driver::cuTensorMapEncodeTiled(
        &map, type, static_cast<cuuint32_t>(extent.size()), tensor, extent.data(), strides.data(),
        box.data(), steps.data(), CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle,
        CU_TENSOR_MAP_L2_PROMOTION_NONE, fill));
    return map;
}

struct Results {
    uint8_t *device;
    std::vector<uint8_t> host = std::vector<uint8_t>(2 * SHARED_BYTES);
    Results() { CHECK(cudaMalloc(&device, host.size())); }
    ~Results() { cudaFree(device); }
    template <class T> const T *read() {
        CHECK_LAUNCH();
        CHECK(cudaMemcpy(host.data(), device, host.size(), cudaMemcpyDeviceToHost));
        return reinterpret_cast<const T *>(host.data());
    }
};

constexpr int WIDTH = 100, HEIGHT = 40;

int element(int x, int y) { return x < 0 || y < 0 || x >= WIDTH || y >= HEIGHT ? 0 : 1000 * y + x; }

bool boxes(int *plane, Results &results) {
    bool right = true;
    const CUtensorMapSwizzle swizzles[] = {
        CU_TENSOR_MAP_SWIZZLE_NONE, CU_TENSOR_MAP_SWIZZLE_32B, CU_TENSOR_MAP_SWIZZLE_64B,
        CU_TENSOR_MAP_SWIZZLE_128B};
    const char *names[] = {"none", "32 bytes", "64 bytes", "128 bytes"};
    const int widths[] = {20, 8, 16, 32}, masks[] = {0, 1, 3, 7};
    const int places[][2] = {{0, 0}, {17, 9}, {90, 36}, {-5, -3}, {200, 0}};
    for (int s = 0; s < 4; ++s) {
        const int width = widths[s], height = 12;
        const Map map = tiled(CU_TENSOR_MAP_DATA_TYPE_INT32, plane, {WIDTH, HEIGHT}, {WIDTH * 4},
                              {cuuint32_t(width), cuuint32_t(height)}, {1, 1}, swizzles[s]);
        int wrong = 0;
        for (auto [x, y] : places) {
            const int bytes = width * height * 4;
            load_2d<<<1, 64, SHARED_BYTES>>>(map, x, y, bytes, results.device);
            const int *box = results.read<int>();
            for (int row = 0; row < height; ++row)
                for (int column = 0; column < width; ++column) {
                    int place = 4 * (row * width + column);
                    place ^= (place >> 7 & masks[s]) << 4;
                    wrong += box[place / 4] != element(x + column, y + row);
                }
        }
        std::printf("swizzle %-9s  %d x %d at 5 places: %d wrong\n", names[s], width, height, wrong);
        right &= wrong == 0;
    }
    return right;
}

bool outside_is_nan(Results &results) {
    std::vector<float> values(16 * 8, 2.5f);
    float *plane;
    CHECK(cudaMalloc(&plane, values.size() * sizeof(float)));
    CHECK(cudaMemcpy(plane, values.data(), values.size() * sizeof(float), cudaMemcpyHostToDevice));
    const Map map = tiled(CU_TENSOR_MAP_DATA_TYPE_FLOAT32, plane, {13, 8}, {64}, {8, 4}, {1, 1},
                          CU_TENSOR_MAP_SWIZZLE_NONE,
                          CU_TENSOR_MAP_FLOAT_OOB_FILL_NAN_REQUEST_ZERO_FMA);
    load_2d<<<1, 32, SHARED_BYTES>>>(map, 10, 6, 8 * 4 * 4, results.device);
    const float *box = results.read<float>();
    int nans = 0, inside = 0;
    for (int i = 0; i < 32; ++i) {
        nans += std::isnan(box[i]);
        inside += box[i] == 2.5f;
    }
    std::printf("outside is NaN: %d inside, %d NaN\n", inside, nans);
    CHECK(cudaFree(plane));
    return inside == 6 && nans == 26;
}

// Every second row of every second plane, through maps in constant and in global memory.
bool steps(Results &results) {
    constexpr int X = 24, Y = 10, Z = 6;
    std::vector<uint16_t> values(X * Y * Z);
    for (size_t i = 0; i < values.size(); ++i)
        values[i] = static_cast<uint16_t>(7 * i + 1);
    uint16_t *tensor;
    CHECK(cudaMalloc(&tensor, values.size() * 2));
    CHECK(cudaMemcpy(tensor, values.data(), values.size() * 2, cudaMemcpyHostToDevice));
    const Map map = tiled(CU_TENSOR_MAP_DATA_TYPE_UINT16, nullptr, {X, Y, Z}, {X * 2, X * Y * 2},
                          {8, 6, 4}, {1, 2, 2}, CU_TENSOR_MAP_SWIZZLE_NONE);
    Map placed = map;
    CHECK_DRIVER(driver::cuTensorMapReplaceAddress(&placed, tensor));
    CHECK(cudaMemcpyToSymbol(constant_map, &placed, sizeof placed));
    CHECK(cudaMemcpyToSymbol(global_map, &placed, sizeof placed));
    int wrong = 0;
    for (int from = 0; from < 2; ++from) {
        void *there;
        if (from == 0)
            CHECK(cudaGetSymbolAddress(&there, constant_map));
        else
            CHECK(cudaGetSymbolAddress(&there, global_map));
        const int x = 5 + from, y = 3, z = 2 + from;
        load_3d<<<1, 32, SHARED_BYTES>>>(static_cast<const Map *>(there), x, y, z, 8 * 3 * 2 * 2,
                                         results.device);
        const uint16_t *box = results.read<uint16_t>();
        for (int k = 0; k < 2; ++k)
            for (int j = 0; j < 3; ++j)
                for (int i = 0; i < 8; ++i) {
                    const int a = x + i, b = y + 2 * j, c = z + 2 * k;
                    const bool inside = a < X && b < Y && c < Z;
                    wrong += box[(k * 3 + j) * 8 + i] !=
                             (inside ? values[(c * Y + b) * X + a] : uint16_t(0));
                }
    }
    std::printf("every second row and plane: %d wrong\n", wrong);
    CHECK(cudaFree(tensor));
    return wrong == 0;
}

// A convolution of 3 x 3 with a border of one pixel: what each place of the filter meets.
bool pixels(Results &results) {
    constexpr int C = 8, W = 7, H = 5, N = 3, PIXELS = 50;
    std::vector<uint16_t> values(C * W * H * N);
    for (size_t i = 0; i < values.size(); ++i)
        values[i] = static_cast<uint16_t>(i + 1);
    uint16_t *tensor;
    CHECK(cudaMalloc(&tensor, values.size() * 2));
    CHECK(cudaMemcpy(tensor, values.data(), values.size() * 2, cudaMemcpyHostToDevice));
    const cuuint64_t extent[] = {C, W, H, N}, strides[] = {C * 2, C * W * 2, C * W * H * 2};
    const int lower[] = {-1, -1}, upper[] = {-1, -1};
    const cuuint32_t steps[] = {1, 1, 1, 1};
    Map map;
    CHECK_DRIVER(driver::cuTensorMapEncodeIm2col(
        &map, CU_TENSOR_MAP_DATA_TYPE_UINT16, 4, tensor, extent, strides, lower, upper, C, PIXELS,
        steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_NONE,
        CU_TENSOR_MAP_L2_PROMOTION_NONE, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE));
    int wrong = 0;
    for (int filter = 0; filter < 9; ++filter) {
        const int right = filter % 3, down = filter / 3;
        // The first output pixel is the third of the second row of image 1.
        load_pixels<<<1, 64, SHARED_BYTES>>>(map, 2 - 1, 1 - 1, 1, right, down, C * PIXELS * 2,
                                             results.device);
        const uint16_t *rows = results.read<uint16_t>();
        for (int p = 0; p < PIXELS; ++p) {
            const int output = 1 * W * H + 1 * W + 2 + p;
            const int n = output / (W * H), h = output / W % H - 1 + down,
                      w = output % W - 1 + right;
            const bool inside = n < N && h >= 0 && h < H && w >= 0 && w < W;
            for (int c = 0; c < C; ++c)
                wrong += rows[p * C + c] !=
                         (inside ? values[((n * H + h) * W + w) * C + c] : uint16_t(0));
        }
    }
    std::printf("pixels under a filter of 3 x 3: %d wrong\n", wrong);
    CHECK(cudaFree(tensor));
    return wrong == 0;
}

bool for_all(int *plane, Results &results) {
    const Map map = tiled(CU_TENSOR_MAP_DATA_TYPE_INT32, plane, {WIDTH, HEIGHT}, {WIDTH * 4},
                          {16, 8}, {1, 1}, CU_TENSOR_MAP_SWIZZLE_NONE);
    load_for_all<<<2, 32, SHARED_BYTES>>>(map, 16 * 8 * 4, results.device);
    const int *boxes = results.read<int>();
    int wrong = 0;
    for (int block = 0; block < 2; ++block)
        for (int i = 0; i < 256; ++i)
            wrong += boxes[256 * block + i] != element(i % 16, i / 16);
    std::printf("two blocks load for each other: %d wrong\n", wrong);
    return wrong == 0;
}

// Stores change what is inside only; sums are done in global memory.
bool stores(int *plane) {
    const Map map = tiled(CU_TENSOR_MAP_DATA_TYPE_INT32, plane, {WIDTH, HEIGHT}, {WIDTH * 4},
                          {32, 8}, {1, 1}, CU_TENSOR_MAP_SWIZZLE_128B);
    change<<<1, 256, SHARED_BYTES>>>(map, 80, 36, false);
    CHECK_LAUNCH();
    change<<<1, 256, SHARED_BYTES>>>(map, -10, 4, true);
    CHECK_LAUNCH();
    std::vector<int> values(WIDTH * HEIGHT);
    CHECK(cudaMemcpy(values.data(), plane, values.size() * 4, cudaMemcpyDeviceToHost));
    int wrong = 0, changed = 0;
    for (int y = 0; y < HEIGHT; ++y)
        for (int x = 0; x < WIDTH; ++x) {
            int expected = element(x, y);
            if (x >= 80 && y >= 36)
                expected += 1000 + (x - 80);
            if (x < 22 && y >= 4 && y < 12)
                expected *= 2;
            changed += values[y * WIDTH + x] != element(x, y);
            wrong += values[y * WIDTH + x] != expected;
        }
    std::printf("store and reduce: %d changed, %d wrong\n", changed, wrong);
    return wrong == 0;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Tensor maps: boxes copied between global and shared memory.");
    int major = 0;
    CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0));
    if (major < 9) {
        std::printf("this device has no tensor maps\n");
        return report("tensor_map", true);
    }
    int *plane;
    std::vector<int> values(WIDTH * HEIGHT);
    for (int i = 0; i < WIDTH * HEIGHT; ++i)
        values[i] = element(i % WIDTH, i / WIDTH);
    CHECK(cudaMalloc(&plane, values.size() * 4));
    CHECK(cudaMemcpy(plane, values.data(), values.size() * 4, cudaMemcpyHostToDevice));

    Results results;
    bool right = boxes(plane, results);
    right &= outside_is_nan(results);
    right &= steps(results);
    right &= pixels(results);
    right &= for_all(plane, results);
    right &= stores(plane);

    // What no map can be.
    Map map;
    const cuuint64_t extent[] = {WIDTH, HEIGHT}, odd[] = {WIDTH * 4 + 4}, even[] = {WIDTH * 4};
    const cuuint32_t box[] = {3, 4}, wide[] = {64, 4}, ones[] = {1, 1};
    const auto encode = [&](const cuuint64_t *strides, const cuuint32_t *lengths,
                            CUtensorMapSwizzle swizzle) {
        return driver::cuTensorMapEncodeTiled(
            &map, CU_TENSOR_MAP_DATA_TYPE_INT32, 2, plane, extent, strides, lengths, ones,
            CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle, CU_TENSOR_MAP_L2_PROMOTION_NONE,
            CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    };
    const CUresult refused[] = {encode(odd, wide, CU_TENSOR_MAP_SWIZZLE_NONE),
                                encode(even, box, CU_TENSOR_MAP_SWIZZLE_NONE),
                                encode(even, wide, CU_TENSOR_MAP_SWIZZLE_128B)};
    for (const CUresult status : refused)
        right &= status == CUDA_ERROR_INVALID_VALUE;
    std::printf("refused: %d %d %d\n", refused[0], refused[1], refused[2]);
    CHECK(cudaFree(plane));
    return report("tensor_map", right);
}
