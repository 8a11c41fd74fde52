# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""For 05_clustering: a variational autoencoder with a mixture of normals as its prior."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix
from sklearn.mixture import GaussianMixture
from torch import Tensor, nn
from torch.distributions import Normal

from pyro_hypergeo import (
    FisherHypergeometric,
)


class MixtureVAE(nn.Module):
    """A variational autoencoder. Its prior is a mixture of normals with diagonal covariances.

    ``prior`` is the prior of the labels of a batch. ``"uniform"`` and ``"categorical"`` are
    independent labels; the probabilities of ``"categorical"`` are learned. ``"hypergeometric"``
    draws the sizes of the clusters from Fisher's law, and then any labelling with these sizes.
    Each cluster has room for ``room`` of 200 images. The weights are learned if ``learn`` is True.
    """

    def __init__(self, prior: str, room: float = 200.0, learn: bool = True):
        super().__init__()
        clusters, latent = 10, 8
        self.prior, self.room, self.rounds = prior, room, 6
        layers = nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU()
        self.encoder = nn.Sequential(*layers, nn.Linear(64, 2 * latent))
        layers = nn.Linear(latent, 64), nn.ReLU(), nn.Linear(64, 128), nn.ReLU()
        self.decoder = nn.Sequential(*layers, nn.Linear(128, 64))
        self.centers = nn.Parameter(torch.zeros(clusters, latent))
        self.log_scales = nn.Parameter(torch.zeros(clusters, latent))
        self.log_weights = nn.Parameter(torch.zeros(clusters), learn and prior != "uniform")

    def encode(self, images: Tensor) -> Normal:
        mean, log_scale = self.encoder(images).chunk(2, -1)
        return Normal(mean, log_scale.clamp(-5, 1).exp())

    def log_components(self, z: Tensor) -> Tensor:
        normal = Normal(self.centers, self.log_scales.clamp(-4, 3).exp())
        return normal.log_prob(z.unsqueeze(-2)).sum(-1)

    def label_probs(self, log_components: Tensor) -> Tensor:
        """The best q(label) of each image; under the hypergeometric prior, by several rounds."""
        logits = log_components + self.log_weights.detach()
        probs = logits.softmax(-1)
        if self.prior == "hypergeometric":
            room = self.room * len(probs) / 200
            log_free = torch.zeros(())
            for _ in range(self.rounds):  # q(label = k) ~ w_k (free room of k) p(z | k)
                free = (room - (probs.sum(0) - probs)).clamp(min=1e-2)
                log_free = torch.lerp(log_free, free.log(), 0.5)  # half a step: no oscillation
                probs = (logits + log_free).softmax(-1)
        return probs

    def log_label_prior(self, probs: Tensor) -> Tensor:
        """E log p(labels), at the mean sizes of clusters."""
        sizes = probs.sum(0)
        if self.prior != "hypergeometric":
            return (sizes * self.log_weights.log_softmax(-1)).sum()
        room = torch.full_like(sizes, self.room * len(probs) / 200)
        urn = FisherHypergeometric(len(probs), room.round(), log_weights=self.log_weights)
        # p(labels) = prod_k w_k^n_k (m_k)_n_k / (n! e_n)
        ways = torch.lgamma(room + 1) - torch.lgamma((room - sizes).clamp(min=0) + 1)
        factorial = torch.lgamma(torch.tensor(len(probs) + 1.0))
        return (sizes * self.log_weights + ways).sum() - factorial - urn.log_partition

    def loss(self, images: Tensor, noise: float = 0.2) -> Tensor:
        """Negative ELBO per image."""
        q = self.encode(images)
        z = q.rsample()
        log_likelihood = Normal(self.decoder(z), noise).log_prob(images).sum()
        components = self.log_components(z)
        probs = self.label_probs(components.detach())
        entropies = torch.special.entr(probs).sum() - q.log_prob(z).sum()
        prior = (probs * components).sum() + self.log_label_prior(probs)
        return -(log_likelihood + prior + entropies) / len(images)


def pretrained(images: Tensor, epochs: int, seed: int) -> tuple[dict[str, Tensor], Tensor]:
    """An autoencoder with a mixture fitted to its latent points, and its labels of the images."""
    torch.manual_seed(seed)
    model = MixtureVAE("uniform")
    optimizer = torch.optim.Adam([*model.encoder.parameters(), *model.decoder.parameters()], 2e-3)
    for _ in range(epochs):
        for batch in images[torch.randperm(len(images))].split(200):
            loss = (model.decoder(model.encode(batch).mean) - batch).square().sum(-1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        z = model.encode(images).mean
        mixture = GaussianMixture(10, covariance_type="diag", n_init=5, random_state=seed)
        labels = torch.tensor(mixture.fit_predict(z.double().numpy()))
        model.centers.copy_(torch.tensor(mixture.means_))
        model.log_scales.copy_(torch.tensor(mixture.covariances_).log() / 2)
        # The encoder starts with small variances. So its latent points hardly move at first.
        model.encoder[-1].bias[8:] -= 2.0
    return model.state_dict(), labels


def train_mixture(
    model: MixtureVAE, images: Tensor, epochs: int, seed: int, lr: float = 1e-3
) -> Tensor:
    """Train on batches of 200; return the labels of all images."""
    torch.manual_seed(seed)
    weights = [model.log_weights]
    others = [p for name, p in model.named_parameters() if name != "log_weights"]
    optimizer = torch.optim.Adam([{"params": others}, {"params": weights, "lr": 2e-2}], lr)
    for _ in range(epochs):
        for batch in images[torch.randperm(len(images))].split(200):
            if len(batch) < 100:
                continue
            optimizer.zero_grad()
            model.loss(batch).backward()
            optimizer.step()
    with torch.no_grad():
        return model.label_probs(model.log_components(model.encode(images).mean)).argmax(-1)


def clustering_scores(labels: Tensor, truth: Tensor) -> dict[str, float]:
    """Accuracy if clusters are matched to digits in the best way, NMI, ARI, error of the sizes."""
    table = contingency_matrix(truth.numpy(), labels.numpy())
    table = np.pad(table, [(0, 10 - table.shape[0]), (0, 10 - table.shape[1])])
    rows, columns = linear_sum_assignment(-table)
    sizes = abs(np.sort(table.sum(0)) - np.sort(table.sum(1))).sum() / 2
    return {
        "ACC": table[rows, columns].sum() / table.sum(),
        "NMI": normalized_mutual_info_score(truth, labels),
        "ARI": adjusted_rand_score(truth, labels),
        "error of sizes": sizes / table.sum(),
    }
