// SPDX-License-Identifier: Apache-2.0
#include <cuda_runtime.h>
#include <cstdio>
struct S {
    int a;
    double b;
    char c[5];
    float4 f;
};
__device__ __noinline__ int fib(int n) {
    return n<2?n:fib(n-1)+fib(n-2);
}
__device__ __noinline__ S mk(S s,int k) {
    s.a+=k;
    s.b*=2;
    s.c[1]++;
    s.f.x=k;
    return s;
}
__device__ __noinline__ float ff(float x,short y,char z,double w,unsigned long long q) {
    return x+y+z+w+q;
}
typedef int(*fn)(int);
__device__ __noinline__ int f0(int x) {
    return x+1;
}
__device__ __noinline__ int f1(int x) {
    return x*2;
}
__device__ fn table[2]={f0,f1
};
__constant__ float cc[16]={1,2,3
};
__constant__ int*cp;
__device__ int gv=5;
__device__ int*gp=&gv;
__device__ const char*msg="hello";
struct B {
__device__ virtual int v(int)=0;
};
struct D1:B {
int k;
__device__ int v(int x)override {
return x+k;
}
};
struct D2:B {
__device__ int v(int x)override {
return x*3;
}
};
extern "C" __global__ void k_calls(int*o,S s,int n) {
S r=mk(s,n);
o[0]=fib(n);
o[1]=r.a+(int)r.b+r.c[1]+(int)r.f.x;
o[2]=ff(n,n,n,n,n);
o[3]=table[n&1](n);
o[4]=cc[n]+*gp;
D1 d1;
d1.k=n;
D2 d2;
B*b=n>3?(B*)&d1:(B*)&d2;
o[5]=b->v(7);
o[6]=msg[n];
switch(n) {
case 0:o[7]=3;
break;
case 1:o[7]=fib(4);
break;
case 2:o[8]=1;
break;
case 3:o[9]=2;
break;
case 4:o[7]=8;
break;
case 5:o[9]=o[1];
break;
case 6:o[3]=o[2];
break;
default:o[9]=9;
}
volatile int*vp=o;
vp[20]=vp[21];
int loc[20];
for(int i=0;i<20;i++)loc[(i*n)%20]=i;
o[30]=loc[n%20];
}
extern __shared__ float dyn[];
extern "C" __global__ void k_shared(float*o,int n) {
__shared__ float t[32][33];
t[threadIdx.y][threadIdx.x]=o[threadIdx.x];
dyn[threadIdx.x]=n;
__syncthreads();
o[threadIdx.x]=t[threadIdx.x][threadIdx.y]+dyn[n];
}
extern "C" __global__ void __launch_bounds__(256,2) k_vec(float4*o,const float4*a,const int2*b,const short4*c,const uchar4*d,double2*e,longlong2*f) {
int i=threadIdx.x;
float4 v=a[i];
int2 w=b[i];
short4 x=c[i];
uchar4 y=d[i];
o[i]=make_float4(v.x+w.x,v.y+x.y,v.z+y.z,v.w);
e[i]=make_double2(v.x,v.y);
f[i]=make_longlong2(i,w.y);
o[i+1]=__ldg(a+i+5);
o[i+2]=__ldcs(a+i+6);
__stcg(o+7,v);
__stwt(o+8,v);
asm volatile("prefetch.global.L2 [%0];"::"l"(a));
}
__managed__ int mg=3;
extern "C" __global__ void k_mg() {
mg++;
}
