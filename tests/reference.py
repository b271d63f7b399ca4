"""LPIPS and SSIM in plain numpy, written directly from the papers: slow, and independent of the package."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def conv_relu(x, weight, bias, stride, padding):
    """(C, H, W) -> (D, H', W'), zeros outside."""
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    windows = sliding_window_view(x, weight.shape[2:], axis=(1, 2))[:, ::stride, ::stride]  # C, H', W', k, k
    return np.maximum(np.einsum("chwij,dcij->dhw", windows, weight) + bias[:, None, None], 0)


def max_pool(x, kernel, stride, padding):
    """(C, H, W) -> (C, H', W')."""
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)), constant_values=-np.inf)
    return sliding_window_view(x, (kernel, kernel), axis=(1, 2))[:, ::stride, ::stride].max(axis=(3, 4))


def alexnet_like(image, tensors, conv_strides, conv_paddings, pool_padding, starts=(0,)):
    """Features after each ReLU of five convolutions, with pooling after the first two; of each network on its own."""
    features = []
    for start in starts:
        features += one_network(image, tensors, start, conv_strides, conv_paddings, pool_padding)
    return features


def one_network(x, tensors, start, conv_strides, conv_paddings, pool_padding):
    """Features of the network whose first convolution has the index `start`."""
    keys = [start + offset for offset in (0, 3, 6, 8, 10)]
    features = []
    for position, (key, stride, padding) in enumerate(zip(keys, conv_strides, conv_paddings, strict=True)):
        x = conv_relu(x, tensors[f"features.{key}.weight"], tensors[f"features.{key}.bias"], stride, padding)
        features.append(x)
        if position < 2:
            x = max_pool(x, 3, 2, pool_padding)
    return features


def unit(features):
    """(C, H, W) -> the same shape, divided by the length along C."""
    return features / (np.sqrt((features**2).sum(0)) + 1e-10)


def lpips(
    x,
    y,
    tensors,
    channel_weights,
    conv_strides=(4, 1, 1, 1, 1),
    conv_paddings=(2, 2, 1, 1, 1),
    pool_padding=0,
    starts=(0,),
):
    """Distance of each layer for two images (3, H, W) in [-1, 1], scaled as in the published code."""
    shift = np.array([-0.030, -0.088, -0.188])[:, None, None]
    scale = np.array([0.458, 0.448, 0.450])[:, None, None]
    both = [
        alexnet_like((image - shift) / scale, tensors, conv_strides, conv_paddings, pool_padding, starts)
        for image in (x, y)
    ]
    layers = []
    for a, b, weight in zip(*both, channel_weights, strict=True):
        difference = unit(a) - unit(b)
        layers.append((difference**2 * weight[:, None, None]).sum(0).mean())
    return np.array(layers)


def ssim(x, y):
    """Wang et al. 2004 on (3, H, W) in [0, 1]: explicit 11×11 windows, one at a time in the mean."""
    offsets = np.arange(11) - 5
    line = np.exp(-(offsets**2) / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum() ** 2

    def blur(image):
        return np.einsum("chwij,ij->chw", sliding_window_view(image, (11, 11), axis=(1, 2)), window)

    mx, my = blur(x), blur(y)
    vx, vy, cov = blur(x * x) - mx**2, blur(y * y) - my**2, blur(x * y) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    return ((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean()
