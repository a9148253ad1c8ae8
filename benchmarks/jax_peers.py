"""JAX: an epoch as one compiled lax.scan over its steps, for one network and under vmap."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.case import LEARNING_RATE, STACKED, Case, Contender


def make_parameters(case: Case, random: np.random.Generator) -> dict:
    """Weights (in, out), as JAX's libraries keep them; a convolution's (3, 3, in, out)."""
    values = {}
    for layer in case.network.layers:
        out, *inputs = layer.shape
        order = (*inputs[1:], inputs[0], out) if len(inputs) == 3 else (inputs[0], out)
        values[layer.name] = (random.normal(0, 0.05, order), np.zeros(out))
    for name, (shape, start) in case.network.auxiliary.items():
        values[name] = np.full(shape, float(start == "ones"))
    return jax.tree.map(lambda value: jnp.asarray(value, jnp.float32), values)


def dense(layer, x):
    return x @ layer[0] + layer[1]


def make_logits(case: Case):
    """Logits of parameters, images (batch, channels, height, width) in [0, 1], and a key."""
    if case.model == "dnn":

        def logits(p, x, key):
            hidden = jax.nn.relu(dense(p["fc1"], x.reshape(len(x), -1)))
            return dense(p["fc3"], jax.nn.relu(dense(p["fc2"], hidden)))

    elif case.model == "cnn":

        def logits(p, x, key):
            weight, bias = p["conv1"]
            maps = lax.conv_general_dilated(
                x.transpose(0, 2, 3, 1),
                weight,
                (1, 1),
                "VALID",
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )
            return dense(p["fc"], jax.nn.relu(maps + bias).reshape(len(x), -1))

    else:
        return make_encoder_logits(case)
    return logits


def make_encoder_logits(case: Case):
    options, heads = case.network.options, int(case.width)
    grid = 4 if options["tokens"] == "patches" else 1
    rate, d_model = options["dropout"], options["d_model"]

    def drop(x, key):
        return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0)

    def norm(p, name, x):
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred * lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        return scaled * p[f"{name}.weight"] + p[f"{name}.bias"]

    def logits(p, x, key):
        keys = jax.random.split(key, 4)
        n, channels, height, width = x.shape
        tall, broad = height // grid, width // grid
        cut = x.reshape(n, channels, grid, tall, grid, broad).transpose(0, 2, 4, 1, 3, 5)
        t = dense(p["patch"], cut.reshape(n, grid**2, -1)) + p["position"]
        q, k, v = (
            dense(p[name], t).reshape(n, grid**2, heads, -1).swapaxes(1, 2)
            for name in ("query", "key", "value")
        )
        scores = jax.nn.softmax(q @ k.swapaxes(2, 3) / math.sqrt(d_model // heads))
        mixed = (drop(scores, keys[0]) @ v).swapaxes(1, 2).reshape(t.shape)
        t = norm(p, "norm1", t + drop(dense(p["attention_out"], mixed), keys[1]))
        hidden = drop(jax.nn.relu(dense(p["mlp1"], t)), keys[2])
        t = norm(p, "norm2", t + drop(dense(p["mlp2"], hidden), keys[3]))
        return dense(p["fc"], t.mean(1))

    return logits


def make_epoch(case: Case):
    """(state, rows (steps, batch), key) -> state, with gather, gradient and Adam in each step."""
    images, labels = jnp.asarray(case.images), jnp.asarray(case.labels, jnp.int32)
    logits = make_logits(case)

    def loss(p, x, y, key):
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits(p, x, key)), y[:, None], 1)
        return -chosen.mean()

    def step(state, rows):
        p, m, v, count, key = state
        count, (key, own) = count + 1, jax.random.split(key)
        x = images[rows].astype(jnp.float32) / 255
        value, g = jax.value_and_grad(loss)(p, x, labels[rows], own)
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        c1, c2 = 1 - 0.9**count, 1 - 0.999**count
        p = jax.tree.map(
            lambda p, m, v: p - LEARNING_RATE * (m / c1) / (jnp.sqrt(v / c2) + 1e-8), p, m, v
        )
        return (p, m, v, count, key), value

    return lambda state, rows: lax.scan(step, state, rows)


def make_state(case: Case, seed: int):
    p = make_parameters(case, np.random.default_rng(seed))
    zeros = jax.tree.map(jnp.zeros_like, p)
    return p, zeros, jax.tree.map(jnp.zeros_like, p), jnp.zeros(()), jax.random.key(seed)


def scanned(case: Case) -> Contender:
    """One network, its epoch compiled whole."""
    epoch = jax.jit(make_epoch(case), donate_argnums=0)
    state = make_state(case, 0)

    def train(batches: np.ndarray) -> None:
        nonlocal state
        state, losses = epoch(state, jnp.asarray(batches, jnp.int32))
        jax.block_until_ready((state, losses))

    return Contender("jax-scan", 1, train)


def stacked(case: Case, runs: int = STACKED) -> Contender:
    """The same under vmap, each network with batches of its own."""
    epoch = jax.jit(jax.vmap(make_epoch(case)), donate_argnums=0)
    states = [make_state(case, seed) for seed in range(runs)]
    state = jax.tree.map(lambda *values: jnp.stack(values), *states)

    def train(batches: np.ndarray) -> None:
        nonlocal state
        random = np.random.default_rng(0)
        own = [random.permutation(batches.ravel()).reshape(batches.shape) for _ in range(runs)]
        state, losses = epoch(state, jnp.asarray(np.stack(own), jnp.int32))
        jax.block_until_ready((state, losses))

    return Contender("jax-vmap", runs, train)
