# A linear mixed model of ln copies by maximum likelihood, by nlme, for tests/population/test_reference.py.
# Reads linear_mixed.csv, writes linear_mixed.json. Run in this folder:
#   Rscript linear_mixed.R
library(nlme)

samples <- read.csv("linear_mixed.csv")
samples$ln_y <- log(samples$copies_per_ug)
each <- samples[!duplicated(samples$subject), ]
samples$ln_dose <- log(samples$dose) - mean(log(each$dose))
number <- function(x) sprintf("%.12g", x)

fitted <- function(random) {
  fit <- lme(ln_y ~ day + ln_dose, random = random, data = samples, method = "ML",
             control = lmeControl(tolerance = 1e-12, msTol = 1e-13, maxIter = 500, msMaxIter = 500, opt = "optim",
                                  reltol = 1e-15))
  variance <- VarCorr(fit)
  sds <- as.numeric(variance[, "StdDev"])
  correlation <- if ("Corr" %in% colnames(variance)) -as.numeric(variance[2, "Corr"]) else 0  # of level and loss
  values <- c(log_likelihood = as.numeric(logLik(fit)), ln_c = fixef(fit)[[1]], k = -fixef(fit)[[2]],
              dose = fixef(fit)[[3]], between_ln_c = sds[1], between_k = sds[2], correlation = correlation, sd = sds[3],
              se_ln_c = sqrt(fit$varFix[1, 1]), se_k = sqrt(fit$varFix[2, 2]), se_dose = sqrt(fit$varFix[3, 3]))
  paste0("{", paste0("\"", names(values), "\": ", number(values), collapse = ", "), "}")
}

blocks <- c(independent = fitted(list(subject = pdDiag(~day))), correlated = fitted(list(subject = pdSymm(~day))))
writeLines(c("{",
  paste0("  \"made_by\": \"linear_mixed.R, ", R.version.string, ", nlme ", packageVersion("nlme"), "\","),
  paste0("  \"", names(blocks), "\": ", blocks, c(",", "")),
  "}"), "linear_mixed.json")
