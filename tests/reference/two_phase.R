# A two-phase decline fitted by TMB (with M3), and by nls and minpack.lm through its quantified samples.
#
#     Rscript two_phase.R      (packages TMB, minpack.lm; a C++ compiler)
#
# Writes two_phase.json: log-likelihood of ln copies, estimates and standard errors (observed information) on the scale
# on which they are estimated. TMB: ln F, ln alpha, logit f_b, ln beta, ln sd. nls and nlsLM: the first four, with sd by
# degrees of freedom, as they print it, and the maximum likelihood one.
library(TMB)
library(minpack.lm)

samples <- read.csv("two_phase.csv")
dose <- 1e6
start <- list(ln_F = log(4e-3), ln_alpha = log(0.3), logit_f_b = qlogis(0.05), ln_beta = log(0.01), ln_sd = log(0.5))

built <- tempfile("two_phase")
dir.create(built)
file.copy("two_phase.cpp", built)
here <- setwd(built)
compile("two_phase.cpp")
dyn.load(dynlib("two_phase"))
setwd(here)

by_tmb <- function(rows) {
  data <- list(day = rows$day, ln_y = log(rows$copies), below = rows$below, dose = dose)
  objective <- MakeADFun(data, start, DLL = "two_phase", silent = TRUE)
  end <- nlminb(objective$par, objective$fn, objective$gr, control = list(rel.tol = 1e-15, x.tol = 1e-12))
  x <- end$par
  for (i in 1:3) x <- x - drop(solve(objective$he(x), t(objective$gr(x))))  # exact Newton steps to the last digits
  list(log_likelihood = -objective$fn(x), estimates = unname(x), se = unname(sqrt(diag(solve(objective$he(x))))))
}

quantified <- samples[samples$below == 0, ]
formula <- log(copies) ~ ln_F + log(dose) +
  log((1 - plogis(logit_f_b)) * exp(-exp(ln_alpha) * day) + plogis(logit_f_b) * exp(-exp(ln_beta) * day))
by_least_squares <- function(fit) {
  n <- nrow(quantified)
  sd_ml <- sqrt(deviance(fit) / n)
  list(
    log_likelihood = -n / 2 * (log(2 * pi) + 2 * log(sd_ml) + 1), estimates = unname(coef(fit)),
    se = unname(sqrt(diag(vcov(fit)))), sd = sigma(fit), sd_ml = sd_ml
  )
}
near <- nlsLM(formula, quantified, start[1:4], control = nls.lm.control(ftol = 1e-15, ptol = 1e-15))
found <- list(
  tmb_m3 = by_tmb(samples),
  tmb_quantified = by_tmb(quantified),
  # From afar nls halves its step away; its relative offset by numeric derivatives does not get below 1e-7.
  nls = by_least_squares(nls(formula, quantified, as.list(coef(near)), control = list(tol = 1e-7))),
  nlsLM = by_least_squares(near)
)

number <- function(x) formatC(x, digits = 17, format = "g")
entry <- function(x) {
  text <- vapply(x, function(v) if (length(v) > 1) paste0("[", paste(number(v), collapse = ", "), "]") else number(v), "")
  paste0("{", paste0("\"", names(x), "\": ", text, collapse = ", "), "}")
}
made_by <- paste(R.version.string, "TMB", packageVersion("TMB"), "minpack.lm", packageVersion("minpack.lm"))
lines <- c(paste0("  \"made_by\": \"", made_by, "\""), paste0("  \"", names(found), "\": ", vapply(found, entry, "")))
writeLines(c("{", paste(lines, collapse = ",\n"), "}"), "two_phase.json")
