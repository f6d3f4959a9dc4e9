#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""JAX: compiled functions, matrix products, gradients, convolutions, training steps."""
import os

# Most of the device's memory at the first call would leave none for the run beside this one.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import harness

os.environ.setdefault("JAX_PLATFORMS", harness.DEVICE)

jax, np = harness.need("jax", "numpy")
jnp, lax = harness.need("jax.numpy", "jax.lax")
try:
    jax.devices(harness.DEVICE)
except Exception as error:
    harness.skip("JAX sees no device: %s" % harness.shorten(error))


def numbers(*shape, seed=1):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape, np.float32))


def summary(array):
    return harness.summary(np.asarray(array.astype(jnp.float32)))


@harness.check(1e-5)
def elementwise():
    return summary(jax.jit(lambda x, y: jnp.tanh(x * y + 0.5) / jnp.sqrt(1 + jnp.abs(x)))(
        numbers(1 << 18), numbers(1 << 18, seed=2)))


@harness.check(1e-4)
def reductions():
    x = numbers(256, 1024)
    return summary(jax.nn.softmax(x)) + summary(jnp.var(x, axis=0)) + summary(jnp.cumsum(x, axis=1))


@harness.check(0)
def sorting():
    x = jnp.arange(10000) * 7919 % 10007
    return summary(jnp.sort(x)) + summary(jnp.argsort(x))


@harness.check(1e-4)
def matrix_product_in_float32():
    with jax.default_matmul_precision("highest"):
        return summary(numbers(1024, 1024) @ numbers(1024, 1024, seed=2))


@harness.check(1e-2)
def matrix_product_in_bfloat16():
    a, b = numbers(1024, 1024), numbers(1024, 1024, seed=2)
    return summary(a.astype(jnp.bfloat16) @ b.astype(jnp.bfloat16))


@harness.check(1e-2)
def convolution():
    return summary(lax.conv(numbers(4, 8, 32, 32), numbers(16, 8, 3, 3, seed=2), (1, 1), "SAME"))


@harness.check(0)
def random_numbers():
    return summary(jax.random.normal(jax.random.PRNGKey(3), (10000,)))


@harness.check(1e-5)
def a_loop():
    def step(carry, x):
        carry = 0.9 * carry + jnp.sin(x)
        return carry, carry

    return summary(lax.scan(step, jnp.zeros(64), numbers(200, 64))[1])


@harness.check(2e-2)
def training_steps():
    def loss(weights, x, y):
        hidden = jnp.tanh(x @ weights[0])
        return jnp.mean((hidden @ weights[1] - y) ** 2)

    @jax.jit
    def step(weights, x, y):
        value, gradients = jax.value_and_grad(loss)(weights, x, y)
        return [w - 0.1 * g for w, g in zip(weights, gradients)], value

    weights = [numbers(32, 64, seed=4) / 8, numbers(64, 1, seed=5) / 8]
    x = numbers(512, 32)
    y = jnp.sin(x[:, :1]) + 0.5 * x[:, 1:2]
    losses = []
    for _ in range(20):
        weights, value = step(weights, x, y)
        losses.append(float(value))
    assert losses[-1] < losses[0], losses
    return losses


if __name__ == "__main__":
    harness.main(package="jax " + jax.__version__, device=str(jax.devices()[0].device_kind))
