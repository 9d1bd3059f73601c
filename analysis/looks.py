"""What each variant and each measured quantity is called wherever it is drawn or named, and how a
variant looks.

Colour tells whether there is a shortcut, line and marker whether there is BatchNorm; so the four
are told apart in grey print too. The colours are from Okabe and Ito's palette, at a lightness
that reads on a white page and on a dark one.
"""

from dataclasses import dataclass

ORANGE, BLUE = "#d9641e", "#2a86c8"


@dataclass(frozen=True)
class Look:
    label: str
    host: str  # of the four compared, the one that it departs from; itself if it is one of them
    explanation: str = ""  # the group of explanations that it was built for
    dashes: tuple[int, int] | str = ""  # "" is a full line
    marker: str = "o"

    @property
    def colour(self) -> str:
        return ORANGE if self.host.startswith("plain") else BLUE


IDENTITY, SHORTCUT, START = "the identity in reach", "another shortcut", "a well-conditioned start"
BRANCHES, PARTS, CONTROLS = "small branches", "parts of BN", "steps, width, step size"

# In the order in which variants are listed and drawn.
LOOKS = {
    "plain": Look("plain", "plain", dashes=(4, 2), marker="^"),
    "plain_bn": Look("plain + BN", "plain_bn"),
    "residual": Look("residual", "residual", dashes=(4, 2), marker="v"),
    "residual_bn": Look("residual + BN", "residual_bn", marker="s"),
    "plain_dirac": Look("plain, identity init", "plain", IDENTITY),
    "plain_dirac_noise": Look("plain, identity + noise init", "plain", IDENTITY),
    "plain_bn_dirac": Look("plain + BN, identity init", "plain_bn", IDENTITY),
    "plain_bn_dirac_noise": Look("plain + BN, identity + noise init", "plain_bn", IDENTITY),
    "plain_bn_constructed": Look("plain + BN, grown from shallow", "plain_bn", IDENTITY),
    "residual_bn_orthogonal": Look("residual + BN, orthogonal shortcut", "residual_bn", SHORTCUT),
    "residual_bn_permutation": Look("residual + BN, signed permutation", "residual_bn", SHORTCUT),
    "residual_bn_gaussian": Look("residual + BN, Gaussian shortcut", "residual_bn", SHORTCUT),
    "residual_bn_half": Look("residual + BN, half the identity", "residual_bn", SHORTCUT),
    "residual_bn_one": Look("residual + BN, shortcut of one layer", "residual_bn", SHORTCUT),
    "preact_bn": Look("pre-activation + BN", "residual_bn", SHORTCUT),
    "preact_bn_orthogonal": Look("pre-activation + BN, orthogonal", "residual_bn", SHORTCUT),
    "plain_looks_linear": Look("plain CReLU, looks linear", "plain", START),
    "plain_crelu": Look("plain CReLU, He init", "plain", START),
    "plain_delta_tanh": Look("plain tanh, delta-orthogonal", "plain", START),
    "plain_delta": Look("plain, delta-orthogonal", "plain", START),
    "plain_tailored": Look("plain, tailored ReLU", "plain", START),
    "residual_skipinit": Look("residual, SkipInit", "residual", BRANCHES),
    "residual_fixup": Look("residual, Fixup", "residual", BRANCHES),
    "residual_bn_rezero": Look("residual + BN, ReZero", "residual_bn", BRANCHES),
    "plain_bn_after": Look("plain, BN after activation", "plain_bn", PARTS),
    "plain_bn_no_affine": Look("plain + BN, no scale or shift", "plain_bn", PARTS),
    "plain_bn_noisy": Look("plain + noisy BN", "plain_bn", PARTS),
    "plain_bn_looks_linear": Look("plain CReLU + BN, looks linear", "plain_bn", PARTS),
    "plain_bn_budget2": Look("plain + BN, twice the steps", "plain_bn", CONTROLS),
    "plain_bn_budget4": Look("plain + BN, four times the steps", "plain_bn", CONTROLS),
    "plain_bn_width4": Look("plain + BN, four times as wide", "plain_bn", CONTROLS),
    "plain_bn_layerwise": Look("plain + BN, layerwise steps", "plain_bn", CONTROLS),
}

# What measured quantities are called in figures and tables.
QUANTITIES = {
    "identity_distance.log_identity_distance": "distance of blocks from the identity",
    "gradient_flow.log_first": "gradient at the first layer",
    "gradient_flow.log_first_to_last": "gradient, first layer to last",
    "gradient_correlation.grid": "autocorrelation of gradients on a line",
    "gradient_correlation.neighbour": "cosine of gradients at close inputs",
    "gradient_correlation.weights": "cosine of examples' weight gradients",
    "isometry.dispersion": "dispersion of squared singular values",
    "isometry.log_condition": "condition number of the Jacobian",
    "forward_propagation.log_cosine_spread": "spread of cosines between inputs",
    "forward_propagation.cosine_mean": "mean cosine between inputs",
    "forward_propagation.effective_rank": "effective rank of representations",
    "hessian.near_zero": "share of the Hessian's spectrum near zero",
    "activity.always_off": "share of units always off",
    "landscape.nonconvexity": "downward bending of loss slices",
    "hessian.negative": "most negative over most positive curvature",
    "path_gradient.mean_length": "mean length of the paths of the gradient",
    "lesion.one": "rise of the loss when a block is deleted",
    "identity_distance.log_residual_ratio": "norm of the branch over its input's",
    "forward_propagation.branch_share": "share of the branch in a block's variance",
    "ics.relative": "relative change of gradients by other layers' steps",
    "ics.cosine": "cosine of gradients before and after",
    "smoothness.log_beta": "effective smoothness constant",
    "smoothness.log_loss_rise": "largest rise of the loss along its gradient",
    "hessian.log_top": "largest eigenvalue of the Hessian",
    "activity.co_active": "units active for both of two inputs",
    "activity.entropy": "entropy of units' activity",
    "ntk.log_condition": "condition number of the tangent kernel",
    "identity_distance.refinement": "cosine of branches with the way down the loss",
    "lesion.error": "error of the whole network",
}
