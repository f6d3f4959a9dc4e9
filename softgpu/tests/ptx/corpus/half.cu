// SPDX-License-Identifier: Apache-2.0
#include <cuda_fp16.h>
#include <cuda_bf16.h>
#define BODY(body,T,T2) __device__ void body(T*o,const T*a,T2*o2,const T2*a2,float*f,int*oi){int i=threadIdx.x;\
T x=a[i],y=a[i+1],z=a[i+2];T2 u=a2[i],v=a2[i+1],w=a2[i+2];\
o[0]=__hadd(x,y);o[1]=__hsub(x,y);o[2]=__hmul(x,y);o[3]=__hdiv(x,y);o[4]=__hfma(x,y,z);o[5]=__hneg(x);o[6]=__habs(x);o[7]=__hmax(x,y);o[8]=__hmin(x,y);o[9]=hsqrt(x);o[10]=hexp(x);o[11]=hlog(x);o[12]=hsin(x);o[13]=hcos(x);o[14]=hrcp(x);o[15]=hrsqrt(x);o[16]=hceil(x);o[17]=hfloor(x);o[18]=hrint(x);o[19]=htrunc(x);o[20]=hexp2(x);o[21]=hlog2(x);o[22]=__hadd_sat(x,y);o[23]=__hfma_sat(x,y,z);o[24]=__hfma_relu(x,y,z);o[25]=__hmax_nan(x,y);o[26]=hexp10(x);o[27]=htanh(x);\
oi[0]=__heq(x,y);oi[1]=__hlt(x,y);oi[2]=__hgtu(x,y);oi[3]=__hisnan(x);oi[4]=__hisinf(x);oi[5]=__hne(x,y);\
o2[0]=__hadd2(u,v);o2[1]=__hsub2(u,v);o2[2]=__hmul2(u,v);o2[3]=__h2div(u,v);o2[4]=__hfma2(u,v,w);o2[5]=__hneg2(u);o2[6]=__habs2(u);o2[7]=__hmax2(u,v);o2[8]=__heq2(u,v);o2[9]=__hgt2(u,v);o2[10]=h2sqrt(u);o2[11]=h2exp(u);o2[12]=h2rcp(u);o2[13]=__hltu2(u,v);o2[14]=__hfma2_relu(u,v,w);oi[6]=__hbeq2(u,v);oi[7]=__hblt2(u,v);oi[8]=__heq2_mask(u,v);\
}
BODY(bodyh,__half,__half2)
#if __CUDA_ARCH__>=800
BODY(bodyb,__nv_bfloat16,__nv_bfloat162)
#endif
extern "C" __global__ void k_half(__half*o,const __half*a,__half2*o2,const __half2*a2,float*f,int*oi,double*d,unsigned short*us,short*ss,unsigned*ui,long long*ll){bodyh(o,a,o2,a2,f,oi);int i=threadIdx.x;
o[50]=__float2half(f[i]);o[51]=__float2half_rz(f[i]);o[52]=__float2half_ru(f[i]);o[53]=__int2half_rn(oi[i]);o[54]=__double2half(d[i]);o[55]=__ushort2half_rn(us[i]);o[56]=__ll2half_rn(ll[i]);f[60]=__half2float(a[i]);oi[60]=__half2int_rz(a[i]);us[60]=__half2ushort_rn(a[i]);ui[60]=__half2uint_ru(a[i]);ll[60]=__half2ll_rd(a[i]);o2[60]=__float22half2_rn(make_float2(f[1],f[2]));float2 q=__half22float2(a2[3]);f[61]=q.x+q.y;o2[61]=__lows2half2(a2[1],a2[2]);o2[62]=__halves2half2(a[1],a[2]);o2[63]=__shfl_down_sync(~0u,a2[i],3);o[64]=__shfl_xor_sync(~0u,a[i],1);o[65]=__ldg(a+3);o[66]=__ldcg(a+4);__stcs(o+67,a[7]);
}
#if __CUDA_ARCH__>=800
extern "C" __global__ void k_bf16(__nv_bfloat16*o,const __nv_bfloat16*a,__nv_bfloat162*o2,const __nv_bfloat162*a2,float*f,int*oi,double*d){bodyb(o,a,o2,a2,f,oi);int i=threadIdx.x;o[50]=__float2bfloat16(f[i]);o[51]=__float2bfloat16_rz(f[i]);o[53]=__int2bfloat16_rn(oi[i]);o[54]=__double2bfloat16(d[i]);f[60]=__bfloat162float(a[i]);oi[60]=__bfloat162int_rz(a[i]);o2[60]=__float22bfloat162_rn(make_float2(f[1],f[2]));}

#endif
