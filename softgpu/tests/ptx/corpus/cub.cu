// SPDX-License-Identifier: Apache-2.0
#include <cub/cub.cuh>
__global__ void brs(int*d) {
    using B=cub::BlockRadixSort<int,128,4>;
    __shared__ typename B::TempStorage t;
    int v[4];
    cub::LoadDirectStriped<128>(threadIdx.x,d,v);
    B(t).Sort(v);
    cub::StoreDirectStriped<128>(threadIdx.x,d,v);
}
__global__ void bscan(int*d) {
    using B=cub::BlockScan<int,128>;
    __shared__ typename B::TempStorage t;
    int v=d[threadIdx.x];
    B(t).InclusiveSum(v,v);
    d[threadIdx.x]=v;
    using R=cub::BlockReduce<float,128>;
    __shared__ typename R::TempStorage rt;
    float f=R(rt).Sum((float)v);
    if(threadIdx.x==0)d[200]=f;
}
struct less_t {
    template<class T>__device__ bool operator()(const T&a,const T&b)const {
        return a<b;
}
};
void go(int*i,int*o,int n) {
    void*t=0;
    size_t b=0;
    cub::DeviceReduce::Sum(t,b,i,o,n);
    cub::DeviceScan::InclusiveSum(t,b,i,o,n);
    cub::DeviceRadixSort::SortKeys(t,b,i,o,n);
    cub::DeviceSelect::Unique(t,b,i,o,o,n);
    cub::DeviceHistogram::HistogramEven(t,b,i,o,10,0,100,n);
    cub::DeviceRunLengthEncode::Encode(t,b,i,o,o,o,n);
    cub::DeviceReduce::Max(t,b,(double*)i,(double*)o,n);
    cub::DeviceMergeSort::SortKeys(t,b,i,n,less_t{});
    cub::DeviceSegmentedReduce::Sum(t,b,i,o,3,i,i);
}
