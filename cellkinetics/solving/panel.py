r"""One panel of the structured solve of il15_persistence: its map, the error that it estimates, and its slopes.

With t since the last lymphodepletion, :math:`A = \ell + (1 - \ell) e^{-r t}` and :math:`B = L_0 + (1 - L_0) e^{-r t}`
the integral of the rate of E is closed, and so are D, X and the integral of the lymphocytes:

.. math::

    G(t) &= \Big(\rho s_1 - \delta - \gamma - \varepsilon\Big) t - \frac{\rho (s_0 - s_1)}{r} \ln A
        - \frac{\gamma}{r} \ln B - \int X, \qquad \int L = t + \frac{\ln B}{r} \\
    \ell &= L_0 \frac{q_0 + q_1}{q_0 + q_1 L_0}, \quad q_0 = \kappa + \tau + K, \quad q_1 = \kappa (K + \tau - 1), \quad
        s_0 = \frac{\kappa + \tau}{q_0}, \quad s_1 = \frac{\tau}{K + \tau}

so that :math:`E = e^{G} (E_0 + \varphi k_d \int D e^{-G})` is one quadrature. For the filled share m = M/N of the
niche, with :math:`W' = \varepsilon E / N`, :math:`H' = W' + \mu + \gamma_M L + X` and :math:`e = e^{H - H_{end}}`,

.. math::

    m_{end} = e^{-\Delta H} m + (1 - e^{-\Delta H}) \, R, \qquad R = \frac{\int e W'}{\int e H'},

which stays between 0 and 1 however stiff the panel: :math:`\int e H' = 1 - e^{-\Delta H}` holds by itself, and how far
the nodes miss it is one part of the estimated error. D is carried per F, E per F k_d phi and X per k_s, so that
derivatives hold at phi = 0 too.

The slopes are those of the discrete map, written by hand: what the end of the panel owes to E at each node (the
adjoint) is worked out once and contracted with the closed slopes of G; plain forward mode carries every derivative
through every exponential instead.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cellkinetics.solving.mesh import Rule

# No exponential of more than this is taken, no E above the largest is carried: such a curve is flagged.
LIMIT = 138.0
LARGEST = 1e60
TINY = 1e-30
# H grows along a panel; where nodes that see too little of it say otherwise, e is held at the exponential of this.
AHEAD = 1.0


class Reduced(NamedTuple):
    """What the equations depend on; each a scalar.

    infused : F, copies/ug per amount of cells.
    k_d : loss of D, 1/day; birth : phi k_d, 1/day.
    net : rate of E with recovered lymphocytes, 1/day; on_A, on_B : factors of ln A and ln B in G.
    low_A, low_B : A and B long after a lymphodepletion; r : recovery of lymphocytes, 1/day.
    fill : eps/N, ug/copies/day; niche : N, copies/ug; mu : loss of M, 1/day; gamma_M : by lymphocytes, 1/day.
    k_s, k_e : gain and loss of X, 1/day.
    """

    infused: Any
    k_d: Any
    birth: Any
    net: Any
    on_A: Any
    on_B: Any
    low_A: Any
    low_B: Any
    r: Any
    fill: Any
    niche: Any
    mu: Any
    gamma_M: Any
    k_s: Any
    k_e: Any


class State(NamedTuple):
    """At an edge: D/F, E/(F phi k_d), M/N, X/k_s, and the estimated absolute errors of the second and third."""

    D: Any
    E: Any
    m: Any
    X: Any
    E_error: Any
    m_error: Any


class Slopes(NamedTuple):
    """Derivatives of a state.

    D : (3,) by k_d, k_s, k_e; X : () by k_e.
    E : (9,) by net, on_A, on_B, low_A, low_B, r, k_d, k_s, k_e.
    m : (12,) by these nine, fill F phi k_d, mu and gamma_M.
    """

    D: Any
    E: Any
    m: Any
    X: Any


class Held(NamedTuple):
    """(k,) where the nodes see too little and a quantity is held at its bound, so that it has no slope there."""

    source: Any
    fed: Any
    order: Any
    E: Any


class Nodes(NamedTuple):
    """What a panel knows at its k nodes and, in (k + 1,), at its end: used by the error and by the slopes."""

    s: Any
    u: Any
    A: Any
    B: Any
    ln_A: Any
    ln_B: Any
    decay: Any
    X_integral: Any
    f: Any
    f_end: Any
    source: Any
    growth: Any
    E: Any
    W: Any
    H: Any
    other: Any
    share: Any
    total: Any
    ratio: Any
    gone: Any
    held: Held


def advance(q: Reduced, rule: Rule, state: State, length: Any, clock: Any) -> tuple[State, Nodes]:
    """The state at the end of a panel of ``length`` days that begins ``clock`` days after the lymphodepletion."""
    k = len(rule.nodes)
    s = length * jnp.asarray(np.append(rule.nodes, 1.0))
    first = jnp.exp(-q.r * clock)
    u = first * jnp.exp(-q.r * s)
    A, B = q.low_A + (1 - q.low_A) * u, q.low_B + (1 - q.low_B) * u
    over_A0, over_B0 = 1 / (q.low_A + (1 - q.low_A) * first), 1 / (q.low_B + (1 - q.low_B) * first)
    ln_A, ln_B = jnp.log(A * over_A0), jnp.log(B * over_B0)
    decay = jnp.exp(-q.k_e * s)
    X = q.k_s * state.X
    X_integral = (X / q.k_e) * (1 - decay)
    g = q.net * s + q.on_A * ln_A + q.on_B * ln_B
    f = jnp.exp(jnp.clip(-q.k_d * s - g, -LIMIT, LIMIT))
    arrived = length * _integrals(rule, f[:k])
    source = _from_zero(arrived)
    growth = jnp.exp(jnp.clip(g - X_integral, -LIMIT, LIMIT))
    E = jnp.minimum(growth * (state.E + state.D * source), LARGEST)
    W = q.fill * q.infused * q.birth * E
    other = q.mu + q.gamma_M * q.low_B / B + X * decay
    fed = length * _integrals(rule, W[:k])
    H = _from_zero(fed) + (q.mu + q.gamma_M) * s + (q.gamma_M / q.r) * ln_B + X_integral
    # Only ratios of these count: measured from the last node, they do not all underflow in a stiff panel.
    before_last = H[:k] - H[k - 1]
    weighted = jnp.asarray(rule.weights) * jnp.exp(jnp.clip(before_last, -LIMIT, AHEAD))
    # Where nothing is lost and next to nothing gained, R is of no account; a small number added instead would bias it.
    total = _sum(weighted * (W + other)[:k])
    total = jnp.where(total > TINY, total, 1.0)
    share = weighted / total
    ratio = _sum(share * W[:k])
    gone = -jnp.expm1(-H[k])
    end = State(
        D=state.D * jnp.exp(-q.k_d * length - X_integral[k]),
        E=E[k],
        m=state.m + gone * (ratio - state.m),
        X=state.X * decay[k],
        E_error=state.E_error,
        m_error=state.m_error,
    )
    held = Held(arrived[:k] < 0, fed[:k] < 0, before_last > AHEAD, E[:k] >= LARGEST)
    known = (s, u, A, B, ln_A, ln_B, decay, X_integral, f[:k], f[k], source, growth, E, W, H)
    return end, Nodes(*known, other, share, total, ratio, gone, held)


def errors(q: Reduced, rule: Rule, state: State, at: Nodes, length: Any) -> tuple[Any, Any]:
    """Estimated absolute errors of E and of m at the end of a panel.

    What a polynomial through the nodes misses at both ends of the panel tells how well f and W are seen. The kernel e
    is seen as far as its identity holds; what it misses may differ from the rest as nodes differ, or as the end does.
    """
    k = len(rule.nodes)
    scale = q.fill * q.infused * q.birth
    unseen_f = length * _unseen(rule, at.f, jnp.ones_like(at.f_end), at.f_end)
    unseen_W = length * _unseen(rule, at.W[:k], scale * state.E, at.W[k])
    E_error = at.growth[k] * (state.E_error + state.D * unseen_f)

    kept = at.total * jnp.exp(jnp.clip(at.H[k - 1] - at.H[k], -LIMIT, LIMIT))
    missed = jnp.minimum(jnp.abs(length * kept - at.gone) / (at.gone + TINY), 1.0)
    spread = _sum(at.share * jnp.abs(at.W[:k] - at.ratio * (at.W + at.other)[:k]))
    ahead = jnp.abs(at.W[k] / (at.W[k] + at.other[k] + TINY) - at.ratio)
    timing = at.gone * spread + (1 - at.gone) * jnp.abs(at.ratio - state.m)
    by_f = length * state.D * unseen_f * _sum(at.share * at.growth[:k])
    by_E = length * state.E_error * _sum(at.share * at.growth[:k])
    amount = (1 - at.ratio) * kept * (jnp.minimum(scale * by_f, unseen_W * _sum(at.share)) + scale * by_E)
    seen = at.gone * missed * (spread + ahead) + jnp.minimum(unseen_W, 1.0) * timing + amount
    return E_error, (1 - at.gone) * state.m_error + seen


def slopes(
    q: Reduced, rule: Rule, state: State, before: Slopes, at: Nodes, end: State, length: Any, clock: Any
) -> Slopes:
    """The derivatives at the end of the panel, from those at its start."""
    k = len(rule.nodes)
    # G is closed, and so are its slopes at the nodes and at the end. A and B are measured from the panel's start (A0,
    # B0), so that the low levels and r act at both ends of each ratio.
    s, first, since = at.s, jnp.exp(-q.r * clock), clock + at.s
    over_A, over_B = 1 / at.A, 1 / at.B
    over_A0, over_B0 = 1 / (q.low_A + (1 - q.low_A) * first), 1 / (q.low_B + (1 - q.low_B) * first)
    A_low = (1 - at.u) * over_A - (1 - first) * over_A0
    B_low = (1 - at.u) * over_B - (1 - first) * over_B0
    A_r = -(1 - q.low_A) * (since * at.u * over_A - clock * first * over_A0)
    B_r = -(1 - q.low_B) * (since * at.u * over_B - clock * first * over_B0)
    closed = jnp.stack([s, at.ln_A, at.ln_B, q.on_A * A_low, q.on_B * B_low, q.on_A * A_r + q.on_B * B_r])
    # Of the integral of X: X is carried per k_s and has no slope by it before the panel; by k_e it has one.
    X_s = state.X / q.k_e * (1 - at.decay)
    X_e = q.k_s / q.k_e * ((before.X - state.X / q.k_e) * (1 - at.decay) + state.X * s * at.decay)

    # E is one quadrature over f. A parameter of G acts on all of E by the end of the panel and, the other way, on what
    # each node adds; k_d, k_s and k_e also reach E by the D that the panel begins with, and X only through the growth.
    fed = length * jnp.asarray(rule.weights) * at.f
    fall, whole = at.growth[k], at.source[k]
    drug = before.E[6:] + whole * before.D
    others = [
        fall * (drug[0] - state.D * _sum(fed * s[:k])),
        fall * drug[1] - end.E * X_s[k],
        fall * drug[2] - end.E * X_e[k],
    ]
    E = end.E * closed[:, k] + fall * (before.E[:6] - state.D * _over(closed[:, :k], fed))
    # An E held at the largest has no slope; its slopes would overflow in the panels that follow.
    E = jnp.where(end.E < LARGEST, jnp.concatenate([E, jnp.stack(others)]), 0.0)
    # D is only lost: what it had as slopes is lost as it is, and its own loss adds the slopes of the exponent.
    left = jnp.exp(-q.k_d * length - at.X_integral[k])
    D = [left * before.D[i] - end.D * by for i, by in enumerate((length, X_s[k], X_e[k]))]

    # The adjoint: what m at the end owes to each node, worked out once for all parameters. H at the end weighs what
    # stays against R (late); H at a node weighs that node within R (on_H); a rate of loss dilutes R (on_rate).
    stay = 1 - at.gone
    late = stay * (at.ratio - state.m)
    on_H = at.gone * at.share * (at.W[:k] - at.ratio * (at.W + at.other)[:k])
    on_rate = -at.gone * at.ratio * at.share
    # e is measured from the last node: what is held there leaves its weight on the last.
    held = jnp.where(at.held.order, on_H, 0.0)
    on_H = (on_H - held).at[k - 1].add(_sum(held))
    # H at a node is an integral: what m owes to it, it owes to W at the nodes that the integral is taken over.
    on_fed = _transposed(rule.partial, jnp.where(at.held.fed, 0.0, on_H))
    on_W = at.gone * (1 - at.ratio) * at.share + length * (late * jnp.asarray(rule.weights) + on_fed)
    # From W back to its parts, E = growth (E_0 + D_0 source): to G by the growth (on_g), to the bracket, and from there
    # to E and D at the start and to G and k_d by f (on_f). A node that is held at a bound passes nothing on.
    scale = q.fill * q.infused * q.birth
    on_bracket = jnp.where(at.held.E, 0.0, scale * on_W * at.growth[:k])
    on_g = jnp.where(at.held.E, 0.0, on_W * at.W[:k])
    on_f = -state.D * length * at.f * _transposed(rule.partial, jnp.where(at.held.source, 0.0, on_bracket))
    on_E, on_D = _sum(on_bracket), _sum(on_bracket * at.source[:k])
    on_both = on_g + on_f

    # What a parameter of the loss owes: by its integral to H at the nodes and at the end, by its rate to R.
    def by_loss(integral: Any, rate: Any) -> Any:
        return _sum(on_H * integral[:k]) + late * integral[k] + _sum(on_rate * rate[:k])

    # Contracted with the closed slopes, a parameter at a time: B also stands in the loss by lymphocytes, X in its own.
    narrow = at.u * over_B**2
    lymphocytes = at.ln_B / q.r
    X_rate = q.k_s * (before.X - state.X * s) * at.decay
    carried = stay * before.m[:9] + on_E * before.E
    m = carried[:6] + _over(closed[:, :k], on_both)
    low_B = q.gamma_M * by_loss(B_low / q.r, narrow)
    r = q.gamma_M * by_loss((B_r - lymphocytes) / q.r, q.low_B * (1 - q.low_B) * since * narrow)
    others = [
        m[4] + low_B,
        m[5] + r,
        carried[6] + on_D * before.D[0] + _sum(on_f * s[:k]),
        carried[7] + on_D * before.D[1] - _sum(on_g * X_s[:k]) + by_loss(X_s, state.X * at.decay),
        carried[8] + on_D * before.D[2] - _sum(on_g * X_e[:k]) + by_loss(X_e, X_rate),
        stay * before.m[9] + _sum(on_W * at.E[:k]),
        stay * before.m[10] + by_loss(s, jnp.ones_like(s)),
        stay * before.m[11] + by_loss(s + lymphocytes, q.low_B * over_B),
    ]
    return Slopes(
        jnp.stack(D),
        E,
        jnp.concatenate([m[:4], jnp.stack(others)]),
        (before.X - state.X * length) * at.decay[k],
    )


# Sums over so few nodes are written out: vmapped over patients they fuse with what surrounds them (6.5 us a solve
# instead of 8.5 with matrix products, 1,000 patients, one core of two).


def _sum(x: jax.Array) -> Any:
    return sum(x[j] for j in range(1, x.shape[0])) + x[0]


def _over(rows: jax.Array, x: jax.Array) -> jax.Array:
    return sum(rows[:, j] * x[j] for j in range(1, x.shape[0])) + rows[:, 0] * x[0]


def _integrals(rule: Rule, x: jax.Array) -> jax.Array:
    """(k + 1,) integrals over [0, node] and over [0, 1], in units of the length."""
    whole = np.vstack([rule.partial, rule.weights])
    return jnp.stack([_sum(x * jnp.asarray(row)) for row in whole])


def _from_zero(x: jax.Array) -> jax.Array:
    # The integral of what is positive; maximum(x, 0) would halve the derivative where it is 0 (phi = 0, eps = 0).
    return jnp.where(x < 0, 0.0, x)


def _transposed(matrix: np.ndarray, x: jax.Array) -> jax.Array:
    return jnp.stack([_sum(x * jnp.asarray(column)) for column in matrix.T])


def _unseen(rule: Rule, x: jax.Array, at_start: Any, at_end: Any) -> Any:
    """What the polynomial through the nodes misses at the ends, as an error of its integral.

    The integral of the first neglected Legendre polynomial is at most 1/(2k) of its value at the ends.
    """
    start, end = (_sum(x * jnp.asarray(row)) for row in rule.ends)
    return (jnp.abs(start - at_start) + jnp.abs(end - at_end)) / (2 * len(rule.nodes))
