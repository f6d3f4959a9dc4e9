#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""PyTorch: tensors, reductions, copies, streams, random numbers."""
import harness

torch, np = harness.need("torch", "numpy")
if harness.DEVICE == "cuda" and not torch.cuda.is_available():
    harness.skip("PyTorch sees no device")
device = torch.device(harness.DEVICE)


def summary(tensor):
    return harness.summary(tensor.detach().double().cpu().numpy())


def device_name():
    return torch.cuda.get_device_name() if harness.DEVICE == "cuda" else harness.DEVICE


def numbers(*shape, seed=1):
    values = np.random.default_rng(seed).standard_normal(shape, np.float32)
    return torch.from_numpy(values).to(device)


@harness.check(1e-6)
def elementwise():
    x, y = numbers(1 << 20), numbers(1 << 20, seed=2)
    return summary(torch.tanh(x * y + 0.5) / (1 + x.abs()).sqrt())


@harness.check(1e-5)
def reductions():
    x = numbers(512, 2048)
    rows = summary(x.softmax(1)) + summary(x.cumsum(1)) + summary(x.logsumexp(1))
    return rows + summary(x.var(0))


@harness.check(0)
def indices_and_sorting():
    x = numbers(1 << 18)
    values, order = x.sort()
    mask = x > 1
    top = x.topk(100)
    scattered = torch.zeros(1000, device=device).index_add(
        0, torch.arange(1000, device=device), x[:1000])
    return (summary(values) + summary(order) + summary(x[mask]) + summary(top.indices)
            + summary(scattered) + [float(mask.sum())])


@harness.check(0)
def integers():
    x = torch.arange(1 << 18, device=device, dtype=torch.int64)
    return summary((x * 2654435761 % 1000003).bincount(minlength=8)[:1000]) + summary(x // 7 ^ x)


@harness.check(1e-2)
def half_and_bfloat16():
    x = numbers(1 << 18)
    return (summary(x.half() * 3 + x.half()) + summary(torch.exp(x.bfloat16()))
            + summary(x.bfloat16().float().sum(0, keepdim=True)))


@harness.check(0)
def random_numbers():
    torch.manual_seed(7)
    torch.cuda.manual_seed_all(7)
    return (summary(torch.rand(100000, device=device)) + summary(torch.randn(100000, device=device))
            + summary(torch.randperm(10000, device=device)))


@harness.check(0)
def copies():
    host = torch.arange(4 << 20, dtype=torch.float32)
    there = host.to(device)
    pinned = torch.empty(4 << 20, dtype=torch.float32, pin_memory=True)
    pinned.copy_(there, non_blocking=True)
    torch.cuda.synchronize()
    assert torch.equal(pinned, host)
    part = there.view(2048, 2048)[::3, 1::2].contiguous().cpu()
    return summary(pinned) + summary(part)


@harness.check(0)
def streams_and_events():
    x, side = numbers(1 << 20), torch.cuda.Stream()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        y = x * 2
    torch.cuda.current_stream().wait_stream(side)
    z = y + x
    end.record()
    end.synchronize()
    assert begin.elapsed_time(end) >= 0
    return summary(z)


@harness.check(0)
def memory():
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    block = torch.empty(64 << 20, dtype=torch.uint8, device=device)
    grown = torch.cuda.memory_allocated() - before
    free, total = torch.cuda.mem_get_info()
    assert 0 < free < total
    del block
    return [grown, total]


@harness.check(0)
def a_graph():
    x, side = numbers(1 << 16), torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        (x * 2 + 1).relu()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = (x * 2 + 1).relu()
    for _ in range(5):
        x.add_(1)
        graph.replay()
    return summary(y)


@harness.check(1e-4)
def fourier_transform():
    return summary(torch.fft.rfft(numbers(64, 4096)).abs())


@harness.check(1e-3)
def linear_algebra():
    x = numbers(128, 128)
    symmetric = x @ x.T + 128 * torch.eye(128, device=device)
    return summary(torch.linalg.cholesky(symmetric)) + summary(
        torch.linalg.solve(symmetric, x[:, :4]))


@harness.check(0)
def many_small_kernels():
    x = torch.zeros(1000, device=device)
    for _ in range(2000):
        x += 1
    return summary(x)


if __name__ == "__main__":
    harness.main(package="torch " + torch.__version__, cuda=torch.version.cuda,
                 device=device_name())
