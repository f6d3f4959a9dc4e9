#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""PyTorch: convolutions through cuDNN, autograd, and training steps of a small network."""
import harness

torch, np = harness.need("torch", "numpy")
if harness.DEVICE == "cuda" and not torch.cuda.is_available():
    harness.skip("PyTorch sees no device")
nn, functional = torch.nn, torch.nn.functional
device = torch.device(harness.DEVICE)
torch.backends.cudnn.allow_tf32 = False
torch.backends.cuda.matmul.allow_tf32 = False


def summary(tensor):
    return harness.summary(tensor.detach().double().cpu().numpy())


def device_name():
    return torch.cuda.get_device_name() if harness.DEVICE == "cuda" else harness.DEVICE


def numbers(*shape, seed=1):
    values = np.random.default_rng(seed).standard_normal(shape, np.float32)
    return torch.from_numpy(values).to(device)


@harness.check(1e-4)
def convolution():
    x, w = numbers(8, 16, 64, 64), numbers(32, 16, 3, 3, seed=2)
    return summary(functional.conv2d(x, w, padding=1))


@harness.check(2e-2)
def convolution_in_bfloat16():
    x, w = numbers(8, 16, 64, 64).bfloat16(), numbers(32, 16, 3, 3, seed=2).bfloat16()
    return summary(functional.conv2d(x.contiguous(memory_format=torch.channels_last), w, stride=2))


@harness.check(1e-3)
def gradients_of_a_convolution():
    x, w = numbers(4, 8, 32, 32).requires_grad_(), numbers(16, 8, 3, 3, seed=2).requires_grad_()
    y = functional.max_pool2d(functional.conv2d(x, w, padding=1).relu(), 2)
    (y * y).mean().backward()
    return summary(x.grad) + summary(w.grad)


@harness.check(1e-5)
def automatic_differentiation():
    x = numbers(1000).requires_grad_()
    (torch.sin(x) * torch.exp(-x * x)).sum().backward()
    expected = torch.exp(-x * x) * (torch.cos(x) - 2 * x * torch.sin(x))
    torch.testing.assert_close(x.grad, expected, rtol=1e-4, atol=1e-5)
    return summary(x.grad)


@harness.check(1e-3)
def recurrent_layer():
    torch.manual_seed(3)
    layer = nn.LSTM(32, 64, num_layers=2).to(device)
    y, _ = layer(numbers(20, 8, 32))
    return summary(y)


@harness.check(1e-3)
def normalisation():
    x = numbers(16, 32, 16, 16)
    layers = nn.BatchNorm2d(32).to(device), nn.GroupNorm(4, 32).to(device)
    return sum((summary(layer(x)) for layer in layers), []) + summary(
        functional.layer_norm(x, (16, 16)))


@harness.check(1e-2)
def training_steps():
    torch.manual_seed(5)
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(),
        nn.Linear(512, 10)).to(device)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    images = numbers(64, 3, 32, 32)
    labels = torch.arange(64, device=device) % 10
    losses = []
    for _ in range(10):
        optimiser.zero_grad()
        loss = functional.cross_entropy(network(images), labels)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0], losses
    return losses


if __name__ == "__main__":
    harness.main(package="torch " + torch.__version__, cuda=torch.version.cuda,
                 cudnn=torch.backends.cudnn.version(), device=device_name())
