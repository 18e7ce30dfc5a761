# Prediction discrepancies and npde by their published algorithm in base R, for tests/predictive/test_npde.py. It is not
# R's package npde, which is not in Debian. Reads npde_samples.csv, writes npde.csv. Run in this folder:
#   Rscript npde.R
# Brendel 2006 and Comets 2008: ranks of samples that are decorrelated by the mean of the simulated ones and the Cholesky
# factor of their covariance. Nguyen 2012 (cdf) of samples below the limit: a discrepancy that is uniform below the share
# of the simulations below the limit, the sample at that quantile of the simulations; in the simulations alike.
IMPUTATIONS <- 50
table <- read.csv("npde_samples.csv")
simulated <- as.matrix(table[, -(1:3)])
K <- ncol(simulated)

scored <- function(share) qnorm(pmin(pmax(share, 1 / (2 * K)), 1 - 1 / (2 * K)))

once <- function(limit) {
  pd <- npde <- rep(NA, nrow(table))
  for (who in unique(table$subject)) {
    rows <- which(table$subject == who)
    y <- table$ln_y[rows]
    s <- simulated[rows, , drop = FALSE]
    raw <- s
    for (j in seq_along(rows)) {
      ordered <- sort(raw[j, ])
      share <- mean(raw[j, ] < limit)
      at <- function(n) pmax(ceiling(runif(n, 0, share) * K), 1)
      hidden <- raw[j, ] < limit
      s[j, hidden] <- ordered[at(sum(hidden))]
      if (y[j] < limit) {
        place <- at(1)
        pd[rows[j]] <- (place - 0.5) / K
        y[j] <- ordered[min(place, K)]
      } else {
        pd[rows[j]] <- mean(raw[j, ] < y[j])
      }
    }
    root <- solve(t(chol(cov(t(s)))))
    seen <- root %*% (y - rowMeans(s))
    others <- root %*% (s - rowMeans(s))
    npde[rows] <- rowMeans(others < as.vector(seen))
  }
  list(npd = scored(pd), npde = scored(npde))
}

set.seed(2020)
rows <- NULL
for (limit in c(none = -Inf, thirty = log(30))) {
  draws <- lapply(seq_len(if (is.finite(limit)) IMPUTATIONS else 1), function(i) once(limit))
  part <- function(name) sapply(draws, function(one) one[[name]])
  variance <- mean(apply(part("npde"), 2, var))
  rows <- rbind(rows, data.frame(
    limit = if (is.finite(limit)) exp(limit) else 0, subject = table$subject, day = table$day,
    npd = sprintf("%.6f", rowMeans(part("npd"))), npde = sprintf("%.6f", rowMeans(part("npde"))),
    variance = sprintf("%.6f", variance)))
}
write.csv(rows, "npde.csv", row.names = FALSE, quote = FALSE)
cat(R.version.string, "\n")
