"""PyTorch as its tutorials and its documentation have it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from torch.nn.functional import cross_entropy, linear, unfold
from torch.utils.data import DataLoader, Dataset, Subset

from benchmarks.case import BATCH, LEARNING_RATE, STACKED, Case, Contender


def make_module(case: Case) -> nn.Module:
    """The network of torch.nn's own layers."""
    network, (channels, height, width) = case.network, case.network.shape
    if case.model == "dnn":
        first, second, last = (nn.Linear(layer.fan_in, layer.shape[0]) for layer in network.layers)
        return nn.Sequential(nn.Flatten(), first, nn.ReLU(), second, nn.ReLU(), last)
    if case.model == "cnn":
        maps = int(case.width)
        places = (height - 2) * (width - 2)
        return nn.Sequential(
            nn.Conv2d(channels, maps, 3), nn.ReLU(), nn.Flatten(), nn.Linear(maps * places, 10)
        )
    return Encoder(case)


class Encoder(nn.Module):
    """Patches, torch's own encoder layer, the mean over tokens, and a linear layer."""

    def __init__(self, case: Case):
        super().__init__()
        options, (channels, height, _) = case.network.options, case.network.shape
        self.grid = 4 if options["tokens"] == "patches" else 1
        self.side = height // self.grid
        d_model = options["d_model"]
        self.patch = nn.Linear(channels * self.side**2, d_model)
        self.position = nn.Parameter(torch.zeros(self.grid**2, d_model))
        self.encoder = nn.TransformerEncoderLayer(
            d_model, int(case.width), options["feedforward"], options["dropout"], batch_first=True
        )
        self.fc = nn.Linear(d_model, 10)

    def forward(self, images: Tensor) -> Tensor:
        cut = images.unfold(2, self.side, self.side).unfold(3, self.side, self.side)
        tokens = cut.permute(0, 2, 3, 1, 4, 5).flatten(1, 2).flatten(2)
        return self.fc(self.encoder(self.patch(tokens) + self.position).mean(1))


def make_adam(parameters: list[Tensor]) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=LEARNING_RATE, fused=True)


def in_memory(case: Case, device: str = "cpu") -> Contender:
    """Images in memory as uint8, autograd, fused Adam."""
    images = torch.from_numpy(case.images).to(device)
    labels = torch.from_numpy(case.labels).to(device)
    module = make_module(case).to(device)
    optimiser = make_adam(list(module.parameters()))

    def train(batches: np.ndarray) -> None:
        for rows in torch.from_numpy(batches).to(device):
            logits = module(images.index_select(0, rows).float().div_(255))
            optimiser.zero_grad()
            cross_entropy(logits, labels.index_select(0, rows)).backward()
            optimiser.step()

    return Contender("torch-autograd", 1, train)


class Pictures(Dataset):
    """Items as those of torchvision's datasets with the transform ToTensor()."""

    def __init__(self, case: Case):
        self.case = case

    def __len__(self) -> int:
        return len(self.case.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from PIL import Image
        from torchvision.transforms.functional import to_tensor

        image = self.case.images[index].transpose(1, 2, 0).squeeze()
        return to_tensor(Image.fromarray(image)), int(self.case.labels[index])


def data_loader(case: Case) -> Contender:
    """The tutorials' loop: torchvision's items, a DataLoader in the process, Adam as it comes."""
    pictures, module = Pictures(case), make_module(case)
    optimiser = torch.optim.Adam(module.parameters(), lr=LEARNING_RATE)

    def train(batches: np.ndarray) -> None:
        some = Subset(pictures, batches.ravel().tolist())
        for images, labels in DataLoader(some, batch_size=BATCH):
            optimiser.zero_grad()
            cross_entropy(module(images), labels).backward()
            optimiser.step()

    return Contender("torch-dataloader", 1, train)


class UnfoldedConv2d(nn.Conv2d):
    """As a product, which vmap needs: conv2d would turn into a slow grouped convolution."""

    def forward(self, images: Tensor) -> Tensor:
        n, _, height, width = images.shape
        patches = unfold(images, self.kernel_size).mT
        maps = linear(patches, self.weight.flatten(1), self.bias).mT
        return maps.reshape(n, -1, height - 2, width - 2)


def stacked(case: Case, device: str = "cpu", runs: int = STACKED) -> Contender:
    """torch.func.vmap over the gradient of several modules, each with batches of its own."""
    images = torch.from_numpy(case.images).to(device)
    labels = torch.from_numpy(case.labels).to(device)
    modules = [_unfolded(make_module(case)).to(device) for _ in range(runs)]
    values, buffers = stack_module_state(modules)
    module = modules[0]
    optimiser = make_adam(list(values.values()))

    def loss(values: dict, images: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(functional_call(module, (values, buffers), (images,)), labels)

    gradients = vmap(grad_and_value(loss), randomness="different")

    def train(batches: np.ndarray) -> None:
        random = np.random.default_rng(0)
        own = np.stack([random.permutation(batches.ravel()) for _ in range(runs)])
        for rows in torch.from_numpy(own).to(device).split(BATCH, 1):
            some = images.index_select(0, rows.flatten()).view(*rows.shape, *images.shape[1:])
            wanted = labels.index_select(0, rows.flatten()).view(rows.shape)
            found, _ = gradients(values, some.float().div_(255), wanted)
            for name, value in values.items():
                value.grad = found[name].contiguous()
            optimiser.step()

    return Contender("torch-vmap", runs, train)


def _unfolded(module: nn.Module) -> nn.Module:
    if isinstance(module, nn.Sequential) and isinstance(module[0], nn.Conv2d):
        plain = module[0]
        module[0] = UnfoldedConv2d(plain.in_channels, plain.out_channels, 3)
    return module
