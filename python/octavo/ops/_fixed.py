"""Integer-only arithmetic of the `fixed` scheme, as TensorFlow Lite's reference kernels have it.

docs/arithmetic.md, "The fixed scheme"; Jacob et al. 2018, section 2.2 and appendix B. Everything is exact in int64 and
wrapped to int32 where the kernels hold an int32.
"""

from __future__ import annotations

import numpy as np

from ._attributes import Array, Attributes, get_int, get_ints


def wrap(x: Array) -> Array:
    """int64 -> the int64 in [-2^31, 2^31) congruent to it modulo 2^32."""
    return x.astype(np.int64).astype(np.uint64).astype(np.uint32).view(np.int32).astype(np.int64)


def high(a: Array | int, b: Array | int) -> Array:
    """floor((a * b + 2^30) / 2^31): the doubling high product, ties upward."""
    return (np.asarray(a, np.int64) * np.asarray(b, np.int64) + 2**30) >> 31


def rounded_shift(x: Array, n: Array | int) -> Array:
    """x / 2^n to the nearest, ties away from zero; 0 <= n <= 31."""
    n = np.asarray(n, np.int64)
    below = x & ((np.int64(1) << n) - 1)
    half = (((np.int64(1) << n) - 1) >> 1) + (x < 0)
    return (x >> n) + (below > half)


def scaled(x: Array, multiplier: Array | int, shift: Array | int) -> Array:
    """x * multiplier * 2^(shift - 31) with two roundings: int32 in (wrapped when shifted left), int32 out."""
    shift = np.asarray(shift, np.int64)
    left, right = np.maximum(shift, 0), np.maximum(-shift, 0)
    return rounded_shift(high(wrap(x.astype(np.int64) << left), multiplier), right)


def scaled_once(x: Array, multiplier: Array, shift: Array) -> Array:
    """x * multiplier * 2^(shift - 31), rounded once, ties away from zero.

    |x| counts as 2^(31 - shift) - 1 at most: with a multiplier of 31 bits that is beyond any byte, and it fits int32.
    """
    t = 31 - shift
    magnitude = np.minimum(np.abs(x), (np.int64(1) << np.minimum(t, 32)) - 1)
    y = (magnitude * multiplier + (np.int64(1) << (t - 1))) >> t
    return np.where(x < 0, -y, y)


def requantize_fixed(acc: Array, m: Array, attrs: Attributes) -> Array:
    """clamp(scaled(acc, m[0], m[1]) + y_zp, lo, hi), int64, or with `once` scaled_once.

    m: int32 [2, C] or [2, 1]: multipliers in [0, 2^31) and shifts in [-31, 30].
    """
    scale = scaled_once if get_int(attrs, "once", 0) else scaled
    y = scale(acc.astype(np.int64), m[0].astype(np.int64), m[1].astype(np.int64))
    return np.clip(y + get_int(attrs, "y_zp", 0), get_int(attrs, "lo", 0), get_int(attrs, "hi", 255))


def pair(attrs: Attributes, key: str) -> tuple[int, int]:
    """A (multiplier, shift) attribute."""
    multiplier, shift = get_ints(attrs, key)
    return multiplier, shift


LEFT = 20  # bits that additions gain before they scale


def add_fixed(a: Array, b: Array, attrs: Attributes, prefix: str = "") -> Array:
    """clamp(scaled(scaled((a - za) << 20, fixed_a) + scaled((b - zb) << 20, fixed_b), fixed_y) + zp, lo, hi), int64.

    Attributes carry the prefix. The sum wraps at 32 bits (it cannot with multipliers up to one half).
    """
    total = np.zeros((), np.int64)
    for x, zero, fixed in ((a, "za", "fixed_a"), (b, "zb", "fixed_b")):
        centred = (x.astype(np.int64) - get_int(attrs, prefix + zero, 0)) << LEFT
        total = total + scaled(centred, *pair(attrs, prefix + fixed))
    y = scaled(wrap(total), *pair(attrs, prefix + "fixed_y")) + get_int(attrs, prefix + "zp", 0)
    return np.clip(y, get_int(attrs, prefix + "lo", 0), get_int(attrs, prefix + "hi", 255))


def divided(total: Array, n: Array | int) -> Array:
    """total / n to the nearest, ties away from zero; n > 0."""
    n = np.asarray(n, np.int64)
    magnitude = (np.abs(total) + n // 2) // n
    return np.where(total < 0, -magnitude, magnitude)


def fixed_mean(total: Array, n: int, attrs: Attributes) -> Array:
    """clamp(scaled(S, M, shift) + y_zp, lo, hi), uint8, of S = sum of n (x - x_zp); n = 0 gives clamp(y_zp).

    (M, shift) is `fixed` over n: the multiplier gains floor(log2 n) bits (as far as shift stays >= -31), then is
    divided by n, rounded down.
    """
    multiplier, shift = pair(attrs, "fixed")
    bits = max(0, min(n.bit_length() - 1, 31 + shift))
    y = scaled(total, (multiplier << bits) // max(n, 1), shift - bits) + get_int(attrs, "y_zp", 0)
    return np.clip(y, get_int(attrs, "lo", 0), get_int(attrs, "hi", 255)).astype(np.uint8)


def fixed_average(total: Array, count: Array, attrs: Attributes) -> Array:
    """clamp(divided(S + n (x_zp - origin), n) + origin, lo, hi), uint8: an average of the file's own integers.

    S = sum of (x - x_zp) over the real pixels, n their number or, with padding counted, the window's; origin is 128 for
    files of int8, else 0. n = 0 gives clamp(y_zp).
    """
    origin, n = get_int(attrs, "origin"), np.maximum(count, 1)
    y = divided(total + n * (get_int(attrs, "x_zp", 0) - origin), n) + origin
    y = np.where(count > 0, y, get_int(attrs, "y_zp", 0))
    return np.clip(y, get_int(attrs, "lo", 0), get_int(attrs, "hi", 255)).astype(np.uint8)


# ---- the exponential and the reciprocal of fixed-point numbers -------------------------------------------------------
# Q(n): an int32 with n bits before the point, 31 - n behind it.

EIGHTH = 1 << 28  # 1/8 in Q0
EXP_EIGHTH = round(float(np.exp(-0.125)) * 2**31)
THIRD = round(2**31 / 3)


def exp_quarter(x: Array) -> Array:
    """exp of Q0 numbers in [-1/4, 0), Q0: the polynomial of degree 4 around -1/8."""
    x = x + EIGHTH
    x2 = high(x, x)
    x3 = high(x2, x)
    x4 = high(x2, x2)
    rest = rounded_shift(high(rounded_shift(x4, 2) + x3, THIRD) + x2, 1)
    return EXP_EIGHTH + high(EXP_EIGHTH, x + rest)


def exp_negative(x: Array, integer_bits: int) -> Array:
    """exp of Q(integer_bits) numbers up to 0, Q0 (1 is 2^31 - 1); integer_bits at most 5.

    x = r - k / 4 with r in [-1/4, 0): exp(r) times the powers e^-(2^j) that k / 4 is a sum of.
    """
    x = x.astype(np.int64)
    fraction = 31 - integer_bits
    quarter = 1 << (fraction - 2)
    part = (x & (quarter - 1)) - quarter
    y = exp_quarter(part << integer_bits)
    steps = part - x
    for power in range(-2, integer_bits):
        factor = round(float(np.exp(-(2.0**power))) * 2**31)
        y = np.where((steps >> (fraction + power)) & 1, high(y, factor), y)
    return np.where(x == 0, 2**31 - 1, y)


def saturated(x: Array) -> Array:
    return np.clip(x, -(2**31), 2**31 - 1)


def reciprocal_above_one(x: Array) -> Array:
    """1 / (1 + x) of Q0 numbers in [0, 1), Q0: three Newton steps from 48/17 - 32/17 d, d = (1 + x) / 2."""
    half = (x.astype(np.int64) + 2**31) >> 1  # (x + (2^31 - 1)) / 2, rounded away from zero
    y = round(48 / 17 * 2**29) + high(half, round(-32 / 17 * 2**29))  # Q2
    for _ in range(3):
        error = (1 << 29) - high(half, y)
        y = y + saturated(high(y, error) << 2)
    return saturated(y << 1)
