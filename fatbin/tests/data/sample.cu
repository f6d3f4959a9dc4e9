// SPDX-License-Identifier: Apache-2.0
// The fatbins beside this file are made from it by CUDA 13.5, for each MODE of none, speed (LZ4),
// balance (zstd):
//   nvcc -fatbin sample.cu -compress-mode=MODE -o MODE.fatbin
//     -gencode arch=compute_75,code=[sm_75,compute_75] -gencode arch=compute_80,code=compute_80
//     -gencode arch=compute_90a,code=compute_90a -gencode arch=compute_100f,code=compute_100f
// and with -concat and either compressing mode (concat-MODE.fatbin). cubin-only.fatbin holds sm_75.
extern "C" __global__ void scale(float *data, float factor, int count)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count)
        data[i] *= factor;
}
