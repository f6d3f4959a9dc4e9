#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""PyTorch: matrix products through cuBLAS and cuBLASLt."""
import harness

torch, np = harness.need("torch", "numpy")
if harness.DEVICE == "cuda" and not torch.cuda.is_available():
    harness.skip("PyTorch sees no device")
device = torch.device(harness.DEVICE)
SIDE = 2048


def summary(tensor):
    return harness.summary(tensor.detach().double().cpu().numpy())


def device_name():
    return torch.cuda.get_device_name() if harness.DEVICE == "cuda" else harness.DEVICE


def matrix(dtype, rows=SIDE, columns=SIDE, seed=1):
    values = np.random.default_rng(seed).standard_normal((rows, columns), np.float32)
    return torch.from_numpy(values).to(device).to(dtype)


def product(dtype):
    a, b = matrix(dtype), matrix(dtype, seed=2)
    c = a @ b
    for _ in range(9):
        c = a @ b
    return summary(c[::16, ::16])


@harness.check(1e-5)
def float32():
    torch.backends.cuda.matmul.allow_tf32 = False
    return product(torch.float32)


@harness.check(1e-3)
def tensor_float32():
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        return product(torch.float32)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False


@harness.check(1e-2)
def float16():
    return product(torch.float16)


@harness.check(1e-2)
def bfloat16():
    return product(torch.bfloat16)


@harness.check(1e-12)
def float64():
    return product(torch.float64)


@harness.check(1e-5)
def batches():
    a = matrix(torch.float32, 64 * 128, 96).view(64, 128, 96)
    b = matrix(torch.float32, 64 * 96, 80, seed=2).view(64, 96, 80)
    return summary(torch.bmm(a, b)) + summary(torch.einsum("bij,bjk->ik", a, b))


@harness.check(1e-2)
def a_layer_with_bias_and_activation():
    layer = torch.nn.Linear(SIDE, 512, device=device, dtype=torch.bfloat16)
    with torch.no_grad():
        layer.weight.copy_(matrix(torch.bfloat16, 512, SIDE, seed=3) / 45)
        layer.bias.fill_(0.5)
        return summary(torch.nn.functional.gelu(layer(matrix(torch.bfloat16, 256))))


@harness.check(1e-5)
def matrix_times_vector():
    return summary(matrix(torch.float32) @ matrix(torch.float32, SIDE, 1, seed=2))


if __name__ == "__main__":
    harness.main(package="torch " + torch.__version__, cuda=torch.version.cuda,
                 device=device_name())
