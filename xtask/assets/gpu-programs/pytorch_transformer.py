#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""PyTorch: training steps of a small transformer in float32 and under bfloat16 autocast, its
attention kernels, a captured step, and a compiled function (which needs Triton)."""
import contextlib

import harness

torch, np = harness.need("torch", "numpy")
if harness.DEVICE == "cuda" and not torch.cuda.is_available():
    harness.skip("PyTorch sees no device")
nn, functional = torch.nn, torch.nn.functional
device = torch.device(harness.DEVICE)
torch.backends.cuda.matmul.allow_tf32 = False

WORDS, WIDTH, HEADS, LENGTH, BATCH = 256, 128, 4, 64, 16


def summary(tensor):
    return harness.summary(tensor.detach().double().cpu().numpy())


def device_name():
    return torch.cuda.get_device_name() if harness.DEVICE == "cuda" else harness.DEVICE


def numbers(*shape, seed=1):
    values = np.random.default_rng(seed).standard_normal(shape, np.float32)
    return torch.from_numpy(values).to(device)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(2))
        self.queries = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        wide = nn.Linear(WIDTH, 4 * WIDTH)
        self.mix = nn.Sequential(wide, nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x):
        batch, length, _ = x.shape
        split = self.queries(self.norms[0](x)).view(batch, length, 3, HEADS, WIDTH // HEADS)
        q, k, v = split.permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(batch, length, WIDTH))
        return x + self.mix(self.norms[1](x))


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(WORDS, WIDTH)
        self.places = nn.Embedding(LENGTH, WIDTH)
        self.blocks = nn.Sequential(Block(), Block())
        self.out = nn.Linear(WIDTH, WORDS)

    def forward(self, text):
        places = torch.arange(text.shape[1], device=text.device)
        return self.out(self.blocks(self.words(text) + self.places(places)))


def text_to_learn():
    start = torch.arange(BATCH, device=device)[:, None]
    return (start * 7 + torch.arange(LENGTH + 1, device=device) * 3) % WORDS


def train(steps, autocast):
    torch.manual_seed(11)
    model = Transformer().to(device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    text = text_to_learn()
    losses = []
    for _ in range(steps):
        mode = torch.autocast(harness.DEVICE, torch.bfloat16) if autocast else None
        with mode or contextlib.nullcontext():
            seen = model(text[:, :-1])
            loss = functional.cross_entropy(seen.float().flatten(0, 1), text[:, 1:].flatten())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0], losses
    return losses


@harness.check(1e-2)
def training_in_float32():
    return train(20, autocast=False)


@harness.check(5e-2)
def training_in_bfloat16():
    return train(20, autocast=True)


@harness.check(2e-2)
def attention():
    q, k, v = (numbers(4, 8, 256, 64, seed=s) for s in (1, 2, 3))
    exact = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    fast = functional.scaled_dot_product_attention(
        q.bfloat16(), k.bfloat16(), v.bfloat16(), is_causal=True)
    return summary(exact) + summary(fast)


@harness.check(1e-3)
def inference_as_a_graph():
    torch.manual_seed(11)
    model = Transformer().to(device).eval()
    text = text_to_learn()[:, :-1].contiguous()
    with torch.no_grad():
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                model(text)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            out = model(text)
        for _ in range(10):
            graph.replay()
    return summary(out)


@harness.check(1e-4)
def a_compiled_function():
    @torch.compile
    def blend(x, y):
        return (torch.sin(x) * y + x.relu()).sum(dim=1)

    return summary(blend(numbers(256, 512), numbers(256, 512, seed=2)))


if __name__ == "__main__":
    harness.main(package="torch " + torch.__version__, cuda=torch.version.cuda,
                 device=device_name())
