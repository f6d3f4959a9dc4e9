// SPDX-License-Identifier: Apache-2.0
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
#include <cooperative_groups/scan.h>
#include <cooperative_groups/memcpy_async.h>
#include <cstdio>
#include <cassert>
namespace cg=cooperative_groups;
extern "C" __global__ void k_coop(int*o,const int*a,int n) {
    auto g=cg::this_grid();
    auto b=cg::this_thread_block();
    auto w=cg::tiled_partition<32>(b);
    auto t=cg::tiled_partition<8>(w);
    int v=a[g.thread_rank()];
    o[0]=cg::reduce(w,v,cg::plus<int>());
    o[1]=cg::reduce(t,v,cg::greater<int>());
    o[2]=cg::inclusive_scan(w,v);
    o[3]=cg::exclusive_scan(t,v,cg::plus<int>());
    auto c=cg::coalesced_threads();
    o[4]=c.size()+c.thread_rank();
    o[5]=c.shfl(v,0);
    if(v&1) {
        auto c2=cg::coalesced_threads();
        o[6]=cg::reduce(c2,v,cg::plus<int>());
}
    auto lp=cg::labeled_partition(w,v&3);
    o[7]=lp.size();
    auto bp=cg::binary_partition(w,v>3);
    o[8]=bp.thread_rank();
    b.sync();
    g.sync();
    w.sync();
    o[9]=w.ballot(v>2);
    o[10]=w.any(v);
    o[11]=w.all(v);
    o[12]=w.match_any(v);
    int p;
    o[13]=w.match_all(v,p);
    o[14]=p;
    __shared__ int s[256];
    cg::memcpy_async(b,s,a,sizeof(int)*64);
    cg::wait(b);
    o[15]=s[threadIdx.x];
    cg::wait_prior<1>(b);
#if __CUDA_ARCH__>=800
    o[17]=__reduce_add_sync(~0u,v);
    o[18]=__reduce_max_sync(~0u,v);
#endif
    o[16]=__activemask();
    o[18]=__syncthreads_count(v);
    o[19]=__syncthreads_and(v);
    o[20]=__syncthreads_or(v);
    o[21]=__all_sync(~0u,v);
    o[22]=__shfl_sync(~0u,v,3,16);
    o[23]=__shfl_up_sync(~0u,v,2);
    o[24]=__shfl_xor_sync(~0u,v,5);
    assert(v!=77);
    printf("%d %s %f %c %lld\n",v,"abc",1.5*v,'x',(long long)v);
    int*q=(int*)malloc(40);
    q[0]=v;
    o[30]=q[0];
    free(q);
    int*nq=new int[7];
    nq[v]=3;
    o[31]=nq[1];
    delete[] nq;
    if(v==99)__trap();
    if(v==98)__brkpt();
    __nanosleep(100);
    o[32]=clock();
    o[33]=(int)clock64();
    if(__isGlobal(o))o[34]=1;
    if(__isShared(s+3))o[35]=(int)__cvta_generic_to_shared(s);
}
