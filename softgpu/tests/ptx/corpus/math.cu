// SPDX-License-Identifier: Apache-2.0
#include <cuda_runtime.h>
#define U1(name) extern "C" __global__ void k_##name(float*o,const float*a,double*od,const double*ad,int n){int i=blockIdx.x*blockDim.x+threadIdx.x;if(i<n){o[i]=name##f(a[i]);od[i]=name(ad[i]);}}
U1(sin) U1(cos) U1(tan) U1(exp) U1(exp2) U1(exp10) U1(expm1) U1(log) U1(log2) U1(log10) U1(log1p) U1(sqrt) U1(cbrt) U1(sinh) U1(cosh) U1(tanh) U1(asin) U1(acos) U1(atan) U1(asinh) U1(acosh) U1(atanh) U1(erf) U1(erfc) U1(erfinv) U1(erfcinv) U1(erfcx) U1(tgamma) U1(lgamma) U1(j0) U1(j1) U1(y0) U1(y1) U1(ceil) U1(floor) U1(trunc) U1(rint) U1(nearbyint) U1(round) U1(fabs) U1(rsqrt) U1(rcbrt) U1(sinpi) U1(cospi) U1(logb) U1(normcdf) U1(normcdfinv) U1(cyl_bessel_i0) U1(cyl_bessel_i1)
#define U2(name) extern "C" __global__ void k_##name(float*o,const float*a,double*od,const double*ad,int n){int i=blockIdx.x*blockDim.x+threadIdx.x;if(i<n){o[i]=name##f(a[i],a[i+n]);od[i]=name(ad[i],ad[i+n]);}}
U2(pow) U2(atan2) U2(fmod) U2(remainder) U2(hypot) U2(copysign) U2(fdim) U2(fmax) U2(fmin) U2(nextafter) U2(rhypot) extern "C" __global__ void k_misc(float*o,const float*a,double*od,const double*ad,int*oi,int n) {
    int i=threadIdx.x;
    int e;
    o[i]=frexpf(a[i],&e);
    oi[i]=e;
    od[i]=frexp(ad[i],&e);
    oi[i]+=e;
    o[i]+=ldexpf(a[i],e)+scalbnf(a[i],3);
    od[i]+=ldexp(ad[i],e);
    float s,c;
    sincosf(a[i],&s,&c);
    o[i]+=s*c;
    double ds,dc;
    sincos(ad[i],&ds,&dc);
    od[i]+=ds*dc;
    float ip;
    o[i]+=modff(a[i],&ip)+ip;
    o[i]+=fmaf(a[i],a[i+1],a[i+2]);
    od[i]+=fma(ad[i],ad[i+1],ad[i+2]);
    int q;
    o[i]+=remquof(a[i],a[i+1],&q);
    oi[i]+=q+ilogbf(a[i])+lroundf(a[i])+llrint(ad[i])+isnan(a[i])+isinf(ad[i])+isfinite(a[i])+signbit(ad[i]);
    o[i]+=jnf(3,a[i])+ynf(2,a[i]);
    od[i]+=jn(3,ad[i])+yn(2,ad[i]);
    o[i]+=norm3df(a[i],a[i+1],a[i+2])+norm4df(a[i],a[i+1],a[i+2],a[i+3])+rnorm3df(a[i],a[i+1],a[i+2]);
    o[i]+=__sinf(a[i])+__cosf(a[i])+__expf(a[i])+__logf(a[i])+__log2f(a[i])+__log10f(a[i])+__powf(a[i],a[i+1])+__tanf(a[i])+__fdividef(a[i],a[i+1])+__frcp_rn(a[i])+__frcp_rz(a[i])+__fsqrt_ru(a[i])+__fsqrt_rd(a[i])+__fadd_rz(a[i],a[i+1])+__fmul_ru(a[i],a[i+1])+__fmaf_rd(a[i],a[i+1],a[i+2])+__fdiv_rz(a[i],a[i+1])+__fdiv_ru(a[i],a[i+1])+__saturatef(a[i])+__frsqrt_rn(a[i])+__exp10f(a[i]);
    od[i]+=__dadd_rz(ad[i],ad[i+1])+__dmul_ru(ad[i],ad[i+1])+__fma_rd(ad[i],ad[i+1],ad[i+2])+__ddiv_rz(ad[i],ad[i+1])+__drcp_ru(ad[i])+__dsqrt_rd(ad[i]);
}
