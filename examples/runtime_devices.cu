// SPDX-License-Identifier: Apache-2.0
//
// What the runtime tells of a device, in properties and in attributes; its flags, caches and
// versions; and a device that is reset and used again.

#include "check.h"

static bool tell(const char *what, bool right) {
    std::printf("%s: %s\n", what, right ? "yes" : "no");
    return right;
}

static int attribute(cudaDeviceAttr which) {
    int value = -1;
    CHECK(cudaDeviceGetAttribute(&value, which, 0));
    return value;
}

__device__ int counter = 40;

__global__ void count(int *out) {
    *out = ++counter;
}

static int count_on_device() {
    int *out, result = 0;
    CHECK(cudaMalloc(&out, sizeof(int)));
    count<<<1, 1>>>(out);
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(&result, out, sizeof(int), cudaMemcpyDeviceToHost));
    CHECK(cudaFree(out));
    return result;
}

static bool properties() {
    cudaDeviceProp p;
    CHECK(cudaGetDeviceProperties(&p, 0));
    bool right = tell("a device has a name", std::strlen(p.name) > 0);
    right &= tell("its warps are those of the attribute",
                  p.warpSize == attribute(cudaDevAttrWarpSize) && p.warpSize == 32);
    right &= tell("its version is that of the attributes",
                  p.major == attribute(cudaDevAttrComputeCapabilityMajor) &&
                      p.minor == attribute(cudaDevAttrComputeCapabilityMinor));
    right &= tell("its blocks are those of the attributes",
                  p.maxThreadsPerBlock == attribute(cudaDevAttrMaxThreadsPerBlock) &&
                      p.maxThreadsDim[0] == attribute(cudaDevAttrMaxBlockDimX) &&
                      p.maxThreadsDim[1] == attribute(cudaDevAttrMaxBlockDimY) &&
                      p.maxThreadsDim[2] == attribute(cudaDevAttrMaxBlockDimZ));
    right &= tell("its grids are those of the attributes",
                  p.maxGridSize[0] == attribute(cudaDevAttrMaxGridDimX) &&
                      p.maxGridSize[1] == attribute(cudaDevAttrMaxGridDimY) &&
                      p.maxGridSize[2] == attribute(cudaDevAttrMaxGridDimZ));
    right &= tell("its textures are those of the attributes",
                  p.maxTexture3D[0] == attribute(cudaDevAttrMaxTexture3DWidth) &&
                      p.maxTexture2DLayered[2] == attribute(cudaDevAttrMaxTexture2DLayeredLayers) &&
                      p.maxTexture2DLinear[2] == attribute(cudaDevAttrMaxTexture2DLinearPitch) &&
                      p.maxSurfaceCubemapLayered[1] ==
                          attribute(cudaDevAttrMaxSurfaceCubemapLayeredLayers));
    right &= tell("its memory is that of cudaMemGetInfo", [&] {
        size_t free_bytes = 0, total_bytes = 0;
        CHECK(cudaMemGetInfo(&free_bytes, &total_bytes));
        return total_bytes <= p.totalGlobalMem && free_bytes <= total_bytes;
    }());
    right &= tell("shared memory a block may have more of, if it asks",
                  p.sharedMemPerBlockOptin >= p.sharedMemPerBlock &&
                      p.sharedMemPerMultiprocessor >= p.sharedMemPerBlockOptin);
    right &= tell("last fields are in their places",
                  p.clusterLaunch == attribute(cudaDevAttrClusterLaunch) &&
                      p.memoryPoolsSupported == attribute(cudaDevAttrMemoryPoolsSupported) &&
                      p.ipcEventSupported == attribute(cudaDevAttrIpcEventSupport));
    int chosen = -1;
    CHECK(cudaChooseDevice(&chosen, &p));
    right &= tell("a device like the first is the first", chosen == 0);
    return right;
}

static bool names() {
    char bus[32] = "";
    int device = -1;
    CHECK(cudaDeviceGetPCIBusId(bus, sizeof bus, 0));
    CHECK(cudaDeviceGetByPCIBusId(&device, bus));
    bool right = tell("a device is found by its bus", device == 0);
    right &= tell("and not by another",
                  cudaDeviceGetByPCIBusId(&device, "0000:7f:00.0") == cudaErrorInvalidDevice);
    cudaGetLastError();
    int runtime = 0, driver = 0;
    CHECK(cudaRuntimeGetVersion(&runtime));
    CHECK(cudaDriverGetVersion(&driver));
    right &= tell("the runtime is of this compiler's release",
                  runtime / 1000 == CUDART_VERSION / 1000);
    right &= tell("and not newer than the driver", driver / 1000 >= runtime / 1000);
    return right;
}

static bool settings() {
    unsigned flags = 0;
    CHECK(cudaInitDevice(0, cudaDeviceScheduleYield, cudaInitDeviceFlagsAreValid));
    CHECK(cudaGetDeviceFlags(&flags));
    bool right = tell("flags that were set are told",
                      (flags & cudaDeviceScheduleMask) == cudaDeviceScheduleYield);
    CHECK(cudaSetDeviceFlags(cudaDeviceScheduleBlockingSync));
    CHECK(cudaGetDeviceFlags(&flags));
    right &= tell("and may be changed",
                  (flags & cudaDeviceScheduleMask) == cudaDeviceScheduleBlockingSync);
    int devices[] = {0};
    CHECK(cudaSetValidDevices(devices, 1));
    cudaFuncCache cache;
    CHECK(cudaDeviceSetCacheConfig(cudaFuncCachePreferL1));
    CHECK(cudaDeviceGetCacheConfig(&cache));
    right &= tell("the preferred cache is told", cache == cudaFuncCachePreferL1);
    int least = -1, greatest = 1;
    CHECK(cudaDeviceGetStreamPriorityRange(&least, &greatest));
    right &= tell("greater priorities are smaller numbers", greatest <= least);
    size_t before = 0, after = 0;
    CHECK(cudaDeviceGetLimit(&before, cudaLimitStackSize));
    CHECK(cudaDeviceSetLimit(cudaLimitStackSize, 2 * before));
    CHECK(cudaDeviceGetLimit(&after, cudaLimitStackSize));
    right &= tell("a limit can be raised", after >= 2 * before);
    CHECK(cudaCtxResetPersistingL2Cache());
    return right;
}

static bool reset() {
    bool right = tell("a variable counts", count_on_device() == 41 && count_on_device() == 42);
    CHECK(cudaDeviceReset());
    right &= tell("and begins anew after a reset", count_on_device() == 41);
    return right;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "What the runtime tells of a device.");
    bool right = settings();
    right &= properties();
    right &= names();
    right &= reset();
    return report("runtime_devices", right);
}
