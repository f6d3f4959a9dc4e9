// SPDX-License-Identifier: Apache-2.0
//
// The launch API of before CUDA 4: block shape, shared memory and parameters are set on a function,
// then a grid is launched.

#include "driver.h"

#include <vector>

DRIVER_FUNCTION(cuModuleLoadData, 2000);
DRIVER_FUNCTION(cuModuleGetFunction, 2000);
DRIVER_FUNCTION(cuModuleUnload, 2000);
DRIVER_FUNCTION(cuStreamCreate, 2000);
DRIVER_FUNCTION(cuStreamDestroy, 4000);
DRIVER_FUNCTION(cuFuncSetBlockShape, 2000);
DRIVER_FUNCTION(cuFuncSetSharedSize, 2000);
DRIVER_FUNCTION(cuParamSetSize, 2000);
DRIVER_FUNCTION(cuParamSeti, 2000);
DRIVER_FUNCTION(cuParamSetf, 2000);
DRIVER_FUNCTION(cuParamSetv, 2000);
DRIVER_FUNCTION(cuLaunch, 2000);
DRIVER_FUNCTION(cuLaunchGrid, 2000);
DRIVER_FUNCTION(cuLaunchGridAsync, 2000);

// out[i] = a * i + b, where i counts the threads of a grid of two dimensions; the sum of the
// block's numbers, made in dynamic shared memory, is added if there is any.
static const char *const kernel = R"(
.version 7.0
.target sm_52
.address_size 64
.extern .shared .align 4 .b8 dynamic[];
.visible .entry line(.param .u64 out, .param .f32 a, .param .u32 b, .param .u32 sums)
{
    .reg .pred %p;
    .reg .b32 %r<20>;
    .reg .f32 %f<6>;
    .reg .b64 %rd<4>;
    mov.u32 %r1, %tid.x;
    mov.u32 %r2, %tid.y;
    mov.u32 %r3, %ntid.x;
    mov.u32 %r4, %ntid.y;
    mad.lo.u32 %r5, %r2, %r3, %r1;
    mul.lo.u32 %r6, %r3, %r4;
    mov.u32 %r7, %ctaid.x;
    mov.u32 %r8, %ctaid.y;
    mov.u32 %r9, %nctaid.x;
    mad.lo.u32 %r10, %r8, %r9, %r7;
    mad.lo.u32 %r11, %r10, %r6, %r5;
    ld.param.f32 %f1, [a];
    ld.param.u32 %r12, [b];
    cvt.rn.f32.u32 %f2, %r11;
    cvt.rn.f32.u32 %f3, %r12;
    fma.rn.f32 %f4, %f1, %f2, %f3;
    ld.param.u32 %r13, [sums];
    setp.eq.u32 %p, %r13, 0;
    @%p bra store;
    mov.u32 %r14, dynamic;
    shl.b32 %r15, %r5, 2;
    add.u32 %r16, %r14, %r15;
    st.shared.u32 [%r16], %r5;
    bar.sync 0;
    mov.u32 %r17, 0;
    mov.u32 %r18, 0;
next:
    ld.shared.u32 %r19, [%r14];
    add.u32 %r17, %r17, %r19;
    add.u32 %r14, %r14, 4;
    add.u32 %r18, %r18, 1;
    setp.lt.u32 %p, %r18, %r6;
    @%p bra next;
    cvt.rn.f32.u32 %f5, %r17;
    add.f32 %f4, %f4, %f5;
store:
    ld.param.u64 %rd1, [out];
    mad.wide.u32 %rd2, %r11, 4, %rd1;
    st.global.f32 [%rd2], %f4;
    ret;
}
)";

constexpr int BLOCK_X = 8, BLOCK_Y = 4, THREADS = BLOCK_X * BLOCK_Y;

int wrong(float *device, int blocks, float a, int b, bool sums) {
    std::vector<float> values(THREADS * 16);
    CHECK(cudaMemcpy(values.data(), device, values.size() * 4, cudaMemcpyDeviceToHost));
    CHECK(cudaMemset(device, 0, values.size() * 4));
    int count = 0;
    for (int i = 0; i < THREADS * 16; ++i) {
        const float sum = sums ? THREADS * (THREADS - 1) / 2 : 0;
        count += values[i] != (i < blocks * THREADS ? a * i + b + sum : 0);
    }
    return count;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "The launch API of before CUDA 4.");
    float *out;
    CHECK(cudaMalloc(&out, THREADS * 16 * 4));
    CHECK(cudaMemset(out, 0, THREADS * 16 * 4));
    CUmodule module;
    CUfunction line;
    CHECK_DRIVER(driver::cuModuleLoadData(&module, kernel));
    CHECK_DRIVER(driver::cuModuleGetFunction(&line, module, "line"));

    CHECK_DRIVER(driver::cuFuncSetBlockShape(line, BLOCK_X, BLOCK_Y, 1));
    CHECK_DRIVER(driver::cuParamSetSize(line, 20));
    CHECK_DRIVER(driver::cuParamSetv(line, 0, &out, sizeof out));
    CHECK_DRIVER(driver::cuParamSetf(line, 8, 0.5f));
    CHECK_DRIVER(driver::cuParamSeti(line, 12, 7));
    CHECK_DRIVER(driver::cuParamSeti(line, 16, 0));
    CHECK_DRIVER(driver::cuLaunch(line));
    const int one = wrong(out, 1, 0.5f, 7, false);

    CHECK_DRIVER(driver::cuParamSetf(line, 8, 2));
    CHECK_DRIVER(driver::cuLaunchGrid(line, 3, 2));
    const int six = wrong(out, 6, 2, 7, false);

    CUstream stream;
    CHECK_DRIVER(driver::cuStreamCreate(&stream, CU_STREAM_DEFAULT));
    CHECK_DRIVER(driver::cuFuncSetSharedSize(line, THREADS * 4));
    CHECK_DRIVER(driver::cuParamSeti(line, 16, 1));
    CHECK_DRIVER(driver::cuParamSeti(line, 12, 1));
    CHECK_DRIVER(driver::cuLaunchGridAsync(line, 4, 4, stream));
    // A launch takes what is set when it is called.
    CHECK_DRIVER(driver::cuParamSeti(line, 12, 100));
    CHECK(cudaStreamSynchronize(stream));
    const int all = wrong(out, 16, 2, 1, true);
    CHECK_DRIVER(driver::cuStreamDestroy(stream));

    std::printf("one block: %d wrong\nsix blocks: %d wrong\nwith shared memory: %d wrong\n", one, six,
                all);
    const CUresult refused[] = {driver::cuFuncSetBlockShape(line, 0, 1, 1),
                                driver::cuLaunchGrid(line, 0, 1)};
    std::printf("refused: %d %d\n", refused[0], refused[1]);
    CHECK_DRIVER(driver::cuModuleUnload(module));
    CHECK(cudaFree(out));
    const bool right = one + six + all == 0 && refused[0] == CUDA_ERROR_INVALID_VALUE &&
                       refused[1] == CUDA_ERROR_INVALID_VALUE;
    return report("old_launch", right);
}
