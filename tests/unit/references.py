"""The families from torch.nn with our numbers in float64, to compare with; and torch's training."""

from collections import OrderedDict

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy


def tensors(snapshot):
    return {name: torch.as_tensor(values) for name, values in snapshot.items()}


def copied(module, weight, bias):
    """The module with our numbers."""
    module.double().load_state_dict({"weight": weight, "bias": bias})
    return module


def linear(parameters, name):
    weight = parameters[f"{name}.weight"]
    return copied(nn.Linear(*reversed(weight.shape)), weight, parameters[f"{name}.bias"])


def dnn_modules(parameters):
    layers = OrderedDict(flatten=nn.Flatten())
    for name, relu in (("fc1", "relu1"), ("fc2", "relu2"), ("fc3", None)):
        layers[name] = linear(parameters, name)
        if relu:
            layers[relu] = nn.ReLU()
    return nn.Sequential(layers)


def cnn_modules(parameters, head):
    weight = parameters["conv1.weight"]
    convolution = copied(nn.Conv2d(*weight.shape[1::-1], 3), weight, parameters["conv1.bias"])
    layers = OrderedDict(conv1=convolution, relu=nn.ReLU())
    if head == "gap":
        layers["gap"] = nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(layers | OrderedDict(flatten=nn.Flatten(), fc=linear(parameters, "fc")))


def encoder_layer(parameters, end, heads, scale=1.0):
    """torch's own encoder layer; `scale` multiplies what attention mixes."""
    p = {name.removesuffix(end): v for name, v in parameters.items()}
    p |= {name.replace(f"{end}.", "."): v for name, v in parameters.items() if end and end in name}
    d_model, feedforward = p["query.weight"].shape[0], p["mlp1.weight"].shape[0]
    layer = nn.TransformerEncoderLayer(d_model, heads, feedforward, 0.0, batch_first=True).double()
    three = ("query", "key", "value")
    layer.load_state_dict(
        {
            "self_attn.in_proj_weight": torch.cat([p[f"{name}.weight"] for name in three]),
            "self_attn.in_proj_bias": torch.cat([p[f"{name}.bias"] for name in three]),
            "self_attn.out_proj.weight": scale * p["attention_out.weight"],
            "self_attn.out_proj.bias": p["attention_out.bias"],
            "linear1.weight": p["mlp1.weight"],
            "linear1.bias": p["mlp1.bias"],
            "linear2.weight": p["mlp2.weight"],
            "linear2.bias": p["mlp2.bias"],
            **{
                f"{norm}.{part}": p[f"{norm}.{part}"]
                for norm in ("norm1", "norm2")
                for part in ("weight", "bias")
            },
        }
    )
    return layer.train()  # torch's fast path for evaluation passes the modules by


def cut(batch, grid):
    """(n, tokens, pixels of a patch) by torch's unfold."""
    size = batch.shape[2] // grid, batch.shape[3] // grid
    return nn.functional.unfold(batch, size, stride=size).mT


class ViTModules(nn.Module):
    """Patches and positions before torch's own encoder layers, their mean and `fc` behind."""

    def __init__(self, parameters, heads, options):
        super().__init__()
        self.grid = 4 if options["tokens"] == "patches" else 1
        ends = ["" if n == 0 else f"_{n + 1}" for n in range(options["depth"])]
        self.patch, self.fc = linear(parameters, "patch"), linear(parameters, "fc")
        self.position = nn.Parameter(parameters["position"].detach().double().clone())
        self.encoders = nn.ModuleList(encoder_layer(parameters, end, heads) for end in ends)

    def forward(self, images):
        tokens = self.patch(cut(images, self.grid)) + self.position
        for layer in self.encoders:
            tokens = layer(tokens)
        return self.fc(tokens.mean(1))


def modules(name, width, options, parameters):
    """A family from torch.nn with our numbers; without dropout."""
    parameters = tensors(parameters)
    if name == "dnn":
        return dnn_modules(parameters)
    if name == "cnn":
        return cnn_modules(parameters, options["head"])
    return ViTModules(parameters, int(width), options)


OURS = {"self_attn.out_proj": "attention_out", "linear1": "mlp1", "linear2": "mlp2"}


def ours(module, read=torch.Tensor.detach):
    """The module's parameters, or what `read` makes of them, as arrays by our names (depth 1)."""
    found = {}
    for name, parameter in module.named_parameters():
        array = read(parameter).numpy()
        layer, _, kind = name.removeprefix("encoders.0.").rpartition(".")
        if kind.startswith("in_proj"):
            parts = zip(("query", "key", "value"), np.split(array, 3), strict=True)
            found |= {f"{part}.{kind.removeprefix('in_proj_')}": value for part, value in parts}
        else:
            found[f"{OURS.get(layer, layer)}.{kind}".removeprefix(".")] = array
    return found


def gradients(module, split):
    """Of the mean loss over a split, by our names."""
    module.zero_grad()
    cross_entropy(module(scaled(split)), labels(split)).backward()
    return ours(module, lambda parameter: parameter.grad)


def scaled(split):
    return torch.from_numpy(split.images).double() / 255


def labels(split):
    return torch.from_numpy(split.labels)


def adam(module, learning_rate):
    return torch.optim.Adam(module.parameters(), lr=learning_rate)


def train_modules(module, optimiser, split, batches):
    """A step for each of `batches`, rows of the split; the loss of each."""
    losses = []
    for rows in batches:
        optimiser.zero_grad()
        loss = cross_entropy(module(scaled(split)[rows]), labels(split)[rows])
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


@torch.no_grad()
def scores(module, split):
    """Mean loss and accuracy in % over a split, in plain numpy from the logits on."""
    logits, labels = module(scaled(split)).numpy(), split.labels
    top = logits.max(1)
    normaliser = top + np.log(np.exp(logits - top[:, None]).sum(1))
    loss = (normaliser - logits[np.arange(len(labels)), labels]).mean()
    return loss, 100 * (logits.argmax(1) == labels).mean()


@torch.no_grad()
def active_units(name, module, split):
    """By ReLU layer, which units some image leaves above zero, looked at one by one."""
    images = scaled(split)
    if name == "dnn":
        outputs = {"fc1": module[:3](images), "fc2": module[:5](images)}
    elif name == "cnn":
        outputs = {"conv1": module[:2](images)}
    else:
        seen = []
        mlp = module.encoders[0].linear1
        handle = mlp.register_forward_hook(lambda *call: seen.append(call[2].relu()))
        module(images)
        handle.remove()
        outputs = {"mlp1": seen[0].mT}
    return {
        layer: [bool((output[:, unit] > 0).any()) for unit in range(output.shape[1])]
        for layer, output in outputs.items()
    }
