# Maximum likelihood of a line through censored values, by survreg, for tests/statistics/test_reference.py.
# Reads censored_regression.csv, writes censored_regression.json. Run in this folder:
#   Rscript censored_regression.R
library(survival)

samples <- read.csv("censored_regression.csv")
ln <- function(x) ifelse(is.na(x), NA, log(x))  # an empty cell is an open end, as in Surv(type = "interval2")
number <- function(x) sprintf("%.17g", x)

fitted <- function(formula, rows) {
  rows$ends <- Surv(ln(rows$lower), ln(rows$upper), type = "interval2")
  fit <- survreg(formula, data = rows, dist = "gaussian",
                 control = survreg.control(maxiter = 200, rel.tolerance = 1e-15, toler.chol = 1e-14))
  estimates <- c(coef(fit), log(fit$scale))
  names(estimates) <- c(c("a", "b")[seq_along(coef(fit))], "ln_sd")
  errors <- sqrt(diag(vcov(fit)))
  entry <- function(values) {
    paste0("{", paste0("\"", names(estimates), "\": ", number(values), collapse = ", "), "}")
  }
  paste0("{\"rows\": ", nrow(rows), ",\n    \"log_likelihood\": ", number(fit$loglik[length(fit$loglik)]),
         ",\n    \"estimates\": ", entry(estimates), ",\n    \"standard_errors\": ", entry(errors), "}")
}

quantified <- !is.na(samples$lower) & !is.na(samples$upper) & samples$lower == samples$upper
blocks <- c(
  line = fitted(ends ~ day, samples),
  line_quantified_only = fitted(ends ~ day, samples[quantified, ]),
  intercept = fitted(ends ~ 1, samples)
)
writeLines(c("{",
  paste0("  \"made_by\": \"censored_regression.R, ", R.version.string, ", survival ", packageVersion("survival"), "\","),
  paste0("  \"", names(blocks), "\": ", blocks, c(rep(",", length(blocks) - 1), "")),
  "}"), "censored_regression.json")
