// SPDX-License-Identifier: Apache-2.0
#include <cuda_runtime.h>
#include <cuda_fp16.h>
#include <cuda_bf16.h>
#include <cuda/atomic>
__shared__ int sh[32];
extern "C" __global__ void k_atom(int*a,unsigned*u,unsigned long long*l,float*f,double*d,__half*h,__half2*h2,__nv_bfloat16*b,__nv_bfloat162*b2,long long*sl,unsigned short*us) {
    int t=threadIdx.x;
    atomicAdd(a,t);
    a[1]=atomicAdd(a+9,t);
    atomicSub(a+2,t);
    atomicExch(a+3,t);
    atomicExch(f,1.f);
    atomicMin(a+4,t);
    atomicMax(u+4,t);
    atomicInc(u,7);
    atomicDec(u+1,7);
    atomicCAS(a+5,t,t+1);
    atomicAnd(u+6,t);
    atomicOr(u+7,t);
    atomicXor(u+8,t);
    atomicAdd(l,t);
    atomicMax(l+1,t);
    atomicMin(sl,t);
    atomicCAS(l+2,1,2);
    atomicExch(l+3,3);
    atomicAnd(l+4,3);
    atomicAdd(f+1,2.f);
    atomicAdd(d,2.);
    atomicAdd(h,h[1]);
    atomicAdd(h2,h2[1]);
    atomicAdd(b,b[1]);
    atomicAdd(b2,b2[1]);
    atomicCAS(us,(unsigned short)1,(unsigned short)2);
    atomicAdd(sh,t);
    atomicAdd_block(a+10,t);
    atomicAdd_system(a+11,t);
    sh[t]=atomicCAS(sh+1,t,t+2);
    __syncthreads();
    a[t]=sh[t];
    cuda::atomic_ref<int,cuda::thread_scope_device> r(a[20]);
    r.fetch_add(1,cuda::memory_order_acq_rel);
    r.store(3,cuda::memory_order_release);
    a[21]=r.load(cuda::memory_order_acquire);
    r.fetch_max(3);
    int e=3;
    a[22]=r.compare_exchange_strong(e,4);
    cuda::atomic_ref<double,cuda::thread_scope_system> rd(d[3]);
    rd.fetch_add(1.0);
    cuda::atomic_thread_fence(cuda::memory_order_seq_cst,cuda::thread_scope_block);
    __threadfence();
    __threadfence_block();
    __threadfence_system();
    cuda::atomic_ref<unsigned char,cuda::thread_scope_device> rc(*(unsigned char*)(a+30));
    rc.fetch_add(1);
    cuda::atomic_ref<short,cuda::thread_scope_device> rs(*(short*)(a+31));
    rs.exchange(1);
}
