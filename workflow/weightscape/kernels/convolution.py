"""A convolution by 3 x 3 kernels over a whole batch, two channels at a time, and the way back.

A batch's planes are read as long rows, image after image, over which a kernel is nine shifts. An
output stands where its first pixel does, so that the last two of each line, and the last two lines
of each image, are none: who uses the outputs must leave these out.

What takes the time is reading: the same numbers nine times. Two channels at once read them once.
"""

from weightscape.kernels.primitives import Array, compiled
from weightscape.kernels.vectors import (
    add,
    aligned_zeros,
    fill,
    lanes,
    load,
    multiply_add,
    rectify,
    shifted,
    store,
    through_relu,
    total,
)

KERNEL = 3
TILE = 4  # vectors of outputs that are made at a time
STRETCH = 2**14  # outputs over which all planes pass while they stay in a near cache

Tile = tuple[Array, Array, Array, Array]
Three = tuple[Array, Array, Array]
Nine = tuple[Array, Array, Array, Array, Array, Array, Array, Array, Array]


@compiled
def make_rows(rows: int, images: int, pixels: int, beyond: int, like: Array) -> Array:
    """Zeros (rows, numbers) for planes or outputs of some images, with what lies `beyond` them.

    Of planes, two lines and two tiles are read beyond; of outputs, a tile is written.
    """
    return aligned_zeros(rows, images * pixels + beyond, like)


@compiled
def by_image(row: Array, images: int, pixels: int) -> Array:
    """A row of `make_rows` as (images, pixels)."""
    return row[: images * pixels].reshape(images, pixels)


@compiled
def convolve(
    x: Array, line: int, kernels: Array, biases: Array, a: int, b: int, outputs: Array
) -> None:
    """The ReLU outputs of channels a and b, into outputs (2, numbers), and up to a tile beyond.

    x (planes, numbers), with two lines and two tiles beyond; kernels (channels, planes, 9).
    """
    for p in range(0, outputs.shape[1], TILE * lanes(x)):
        out_a, out_b = _four(biases[a]), _four(biases[b])
        for plane in range(len(x)):
            for k in range(KERNEL):
                first, second, third = _tiles(x[plane], p + k * line)
                w_a, w_b = kernels[a, plane, k * KERNEL :], kernels[b, plane, k * KERNEL :]
                out_a, out_b = _weigh(first, w_a[0], out_a), _weigh(first, w_b[0], out_b)
                out_a, out_b = _weigh(second, w_a[1], out_a), _weigh(second, w_b[1], out_b)
                out_a, out_b = _weigh(third, w_a[2], out_a), _weigh(third, w_b[2], out_b)
        _put_rectified(outputs[0], p, out_a)
        _put_rectified(outputs[1], p, out_b)


@compiled
def _four(number: float) -> Tile:
    v = fill(number)
    return v, v, v, v


@compiled
def _tiles(row: Array, p: int) -> tuple[Tile, Tile, Tile]:
    """The tiles that start at p, p + 1 and p + 2.

    Where no register's share of memory starts, reading is slow; so is shifting. Half of each is
    quickest.
    """
    step = lanes(row)
    q, r, s = p + step, p + 2 * step, p + 3 * step
    first = load(row, p), load(row, q), load(row, r), load(row, s)
    second = (
        shifted(first[0], first[1]),
        shifted(first[1], first[2]),
        shifted(first[2], first[3]),
        shifted(first[3], load(row, s + step)),
    )
    return first, second, (load(row, p + 2), load(row, q + 2), load(row, r + 2), load(row, s + 2))


@compiled
def _weigh(tile: Tile, weight: float, sums: Tile) -> Tile:
    w = fill(weight)
    return (
        multiply_add(w, tile[0], sums[0]),
        multiply_add(w, tile[1], sums[1]),
        multiply_add(w, tile[2], sums[2]),
        multiply_add(w, tile[3], sums[3]),
    )


@compiled
def _put_rectified(row: Array, p: int, tile: Tile) -> None:
    step = lanes(row)
    store(row, p, rectify(tile[0]))
    store(row, p + step, rectify(tile[1]))
    store(row, p + 2 * step, rectify(tile[2]))
    store(row, p + 3 * step, rectify(tile[3]))


@compiled
def through_convolution(
    x: Array, line: int, outputs: Array, delta: Array, gradients: Array, biases: Array
) -> None:
    """Adds to the gradients of two channels' kernels (2, planes, 9) and biases (2,).

    delta (2, numbers) is the loss's derivative by the channels' outputs (2, numbers). It is zero
    where there is no output, and a tile beyond.
    """
    zeros, step = fill(x.dtype.type(0)), lanes(x)
    total_a = total_b = zeros
    for start in range(0, outputs.shape[1], STRETCH):
        stop = min(start + STRETCH, outputs.shape[1])
        for plane in range(len(x)):
            row = x[plane]
            sums_a = sums_b = zeros, zeros, zeros, zeros, zeros, zeros, zeros, zeros, zeros
            more_a = more_b = zeros
            near = _three_lines(row, start, line)
            for p in range(start, stop, step):
                d_a = through_relu(load(delta[0], p), load(outputs[0], p))
                d_b = through_relu(load(delta[1], p), load(outputs[1], p))
                after = _three_lines(row, p + step, line)
                shifts = _nine_shifts(near, after, _three_lines(row, p + 2, line))
                near = after
                sums_a = _add_products(sums_a, d_a, shifts)
                sums_b = _add_products(sums_b, d_b, shifts)
                more_a, more_b = add(more_a, d_a), add(more_b, d_b)
            _add_totals(gradients[0, plane], sums_a)
            _add_totals(gradients[1, plane], sums_b)
            if plane == 0:
                total_a, total_b = add(total_a, more_a), add(total_b, more_b)
    biases[0] += total(total_a)
    biases[1] += total(total_b)


@compiled
def _three_lines(row: Array, p: int, line: int) -> Three:
    return load(row, p), load(row, p + line), load(row, p + 2 * line)


@compiled
def _nine_shifts(near: Three, after: Three, third: Three) -> Nine:
    """What a kernel's nine weights meet: on each of three lines a vector, the vectors that start
    one number later, and those that start two later."""
    return (
        near[0],
        shifted(near[0], after[0]),
        third[0],
        near[1],
        shifted(near[1], after[1]),
        third[1],
        near[2],
        shifted(near[2], after[2]),
        third[2],
    )


@compiled
def _add_products(sums: Nine, delta: Array, shifts: Nine) -> Nine:
    return (
        multiply_add(delta, shifts[0], sums[0]),
        multiply_add(delta, shifts[1], sums[1]),
        multiply_add(delta, shifts[2], sums[2]),
        multiply_add(delta, shifts[3], sums[3]),
        multiply_add(delta, shifts[4], sums[4]),
        multiply_add(delta, shifts[5], sums[5]),
        multiply_add(delta, shifts[6], sums[6]),
        multiply_add(delta, shifts[7], sums[7]),
        multiply_add(delta, shifts[8], sums[8]),
    )


@compiled
def _add_totals(gradient: Array, sums: Nine) -> None:
    gradient[0] += total(sums[0])
    gradient[1] += total(sums[1])
    gradient[2] += total(sums[2])
    gradient[3] += total(sums[3])
    gradient[4] += total(sums[4])
    gradient[5] += total(sums[5])
    gradient[6] += total(sums[6])
    gradient[7] += total(sums[7])
    gradient[8] += total(sums[8])
