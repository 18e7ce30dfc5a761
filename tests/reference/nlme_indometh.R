# Why nlme ends at 54.5924 on R's Indometh, where its own approximate log-likelihood has a maximum of 56.1148.
# Writes nlme_indometh.json, for tests/population/test_marginal.py. Run in this folder:
#   Rscript nlme_indometh.R
#
# nlme takes turns (Lindstrom and Bates 1990): with the spreads held it looks for means and effects (PNLS), with the curves
# made linear there for spreads (LME). Where no turn changes anything, the log-likelihood of the linear model is flat with
# the place held at which the curves are linear. That place moves with the estimates: the log-likelihood as a function of
# the estimates alone, written out here, is not flat there.
library(nlme)

patients <- split(Indometh, factor(Indometh$Subject, levels = unique(as.character(Indometh$Subject))))
curve <- function(phi, t) phi[1] * exp(-exp(phi[2]) * t) + phi[3] * exp(-exp(phi[4]) * t)
slopes <- function(phi, t) {  # by A1, lrc1, A2, lrc2
  one <- exp(-exp(phi[2]) * t)
  other <- exp(-exp(phi[4]) * t)
  cbind(one, -phi[1] * exp(phi[2]) * t * one, other, -phi[3] * exp(phi[4]) * t * other)
}

# theta: means of A1, lrc1, A2, lrc2, ln sds between patients of the first three, ln sd.
mode <- function(theta, own) {
  between <- exp(theta[5:7])
  sd <- exp(theta[8])
  cost <- function(b) sum((own$conc - curve(theta[1:4] + c(b, 0), own$time))^2) / sd^2 + sum((b / between)^2)
  b <- rep(0, 3)
  for (i in 1:200) {
    phi <- theta[1:4] + c(b, 0)
    Z <- slopes(phi, own$time)[, 1:3]
    score <- crossprod(Z, own$conc - curve(phi, own$time)) / sd^2 - b / between^2
    step <- drop(solve(crossprod(Z) / sd^2 + diag(1 / between^2), score))
    while (cost(b + step) > cost(b) && max(abs(step) / between) > 1e-12) step <- step / 2
    b <- b + step
    if (max(abs(step) / between) < 1e-12) break
  }
  b
}

# The log-likelihood of the model that is linear about the modes of `at`; nlme's own where at = theta.
linear <- function(theta, at = theta, b = lapply(patients, function(own) mode(at, own))) {
  between <- exp(theta[5:7])
  sum(mapply(function(own, b) {
    phi <- at[1:4] + c(b, 0)
    X <- slopes(phi, own$time)
    Z <- X[, 1:3]
    rest <- own$conc - curve(phi, own$time) + Z %*% b - X %*% (theta[1:4] - at[1:4])
    R <- chol(Z %*% (between^2 * t(Z)) + exp(2 * theta[8]) * diag(nrow(Z)))
    -0.5 * sum(backsolve(R, rest, transpose = TRUE)^2) - sum(log(diag(R))) - 0.5 * nrow(Z) * log(2 * pi)
  }, patients, b))
}
gradient <- function(f, x) sapply(seq_along(x), function(i) {
  aside <- replace(0 * x, i, 1e-4)
  (f(x + aside) - f(x - aside)) / 2e-4
})

random <- c("A1", "lrc1", "A2")
theta_of <- function(fit) {
  unname(c(fixef(fit), log(sqrt(diag(as.matrix(fit$modelStruct$reStruct[[1]])))[random] * fit$sigma), log(fit$sigma)))
}
from <- function(theta, control = nlmeControl()) {
  start <- diag(exp(2 * theta[5:7] - 2 * theta[8]))
  dimnames(start) <- list(random, random)
  nlme(conc ~ SSbiexp(time, A1, lrc1, A2, lrc2), data = Indometh, fixed = A1 + lrc1 + A2 + lrc2 ~ 1,
       random = pdDiag(start, form = A1 + lrc1 + A2 ~ 1), groups = ~ Subject, start = theta[1:4], method = "ML",
       control = control)
}

usual <- nlme(nlsList(SSbiexp, Indometh), random = pdDiag(A1 + lrc1 + A2 ~ 1), method = "ML")
end <- theta_of(usual)
best <- optim(end, linear, method = "BFGS", control = list(fnscale = -1, maxit = 500, reltol = 1e-12))$par
# Where fit_population(method="focei") ends; the spread of lrc1 is held at 0.015 there, as good as 0.
focei <- c(2.77331534849, 1.03308500335, 0.785274852453, -0.870621111658, -0.54800259668, -4.18355982241,
           -1.56727773047, -2.499870905)
again <- from(focei)
# Tolerances of 1e-8 have the PNLS step give up, from either start.
tight <- nlmeControl(tolerance = 1e-8, pnlsTol = 1e-8, msMaxIter = 500, maxIter = 500, pnlsMaxIter = 100)
said <- sapply(list(end, focei), function(theta) {
  found <- try(from(theta, tight), silent = TRUE)
  if (inherits(found, "try-error")) trimws(conditionMessage(attr(found, "condition"))) else sprintf("%.4f", logLik(found))
})

many <- function(x, digits = 12) paste0("[", paste0(sprintf(paste0("%.", digits, "g"), x), collapse = ", "), "]")
block <- function(theta, by_nlme = NULL) {
  values <- c(if (is.null(by_nlme)) NULL else sprintf("\"nlme\": %.10g", as.numeric(logLik(by_nlme))),
              sprintf("\"linear\": %.10g", linear(theta)), paste0("\"theta\": ", many(theta)),
              paste0("\"gradient\": ", many(round(gradient(linear, theta), 3) + 0)),
              paste0("\"gradient_place_held\": ", many(round(gradient(function(x) linear(x, theta), theta), 3) + 0)))
  paste0("{", paste0(values, collapse = ", "), "}")
}
writeLines(c("{",
  paste0("  \"made_by\": \"nlme_indometh.R, ", R.version.string, ", nlme ", packageVersion("nlme"), "\","),
  paste0("  \"nlme\": ", block(end, usual), ","),
  paste0("  \"nlme_from_focei\": ", block(theta_of(again), again), ","),
  paste0("  \"focei\": ", block(focei), ","),
  paste0("  \"maximum\": ", block(best), ","),
  paste0("  \"nlme_with_tolerances_of_1e-8\": [\"", paste0(said, collapse = "\", \""), "\"]"),
  "}"), "nlme_indometh.json")
