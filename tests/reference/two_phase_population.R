# A population of two-phase declines by TMB's Laplace approximation, with samples below the limit by M3.
#
#     Rscript two_phase_population.R      (package TMB; a C++ compiler)
#
# Writes two_phase_population.json: log-likelihood of ln copies by Laplace at the simulated truth, and its maximum with
# means and ln sds.
library(TMB)

samples <- read.csv("two_phase_population.csv")
truth <- list(mean = log(c(1000, 0.3, 30, 0.01)), ln_between = log(c(0.6, 0.3, 0.7, 0.4)), ln_sd = log(0.4),
              eta = matrix(0, 12, 4))
built <- tempfile("two_phase_population")
dir.create(built)
file.copy("two_phase_population.cpp", built)
here <- setwd(built)
compile("two_phase_population.cpp")
dyn.load(dynlib("two_phase_population"))
setwd(here)

data <- list(day = samples$day, ln_y = log(samples$copies), below = samples$below, patient = samples$patient)
objective <- MakeADFun(data, truth, random = "eta", DLL = "two_phase_population", silent = TRUE,
                       inner.control = list(tol = 1e-12, tol10 = 0))
at_truth <- -objective$fn(objective$par)
started <- proc.time()[[1]]
end <- nlminb(objective$par, objective$fn, objective$gr, control = list(rel.tol = 1e-14, iter.max = 500, eval.max = 900))
seconds <- proc.time()[[1]] - started

number <- function(x) formatC(x, digits = 12, format = "g")
list_of <- function(x) paste0("[", paste(number(x), collapse = ", "), "]")
writeLines(c("{",
  paste0("  \"made_by\": \"two_phase_population.R, ", R.version.string, ", TMB ", packageVersion("TMB"), "\","),
  paste0("  \"laplace_at_truth\": ", number(at_truth), ","),
  paste0("  \"maximum\": ", number(-end$objective), ","),
  paste0("  \"mean\": ", list_of(end$par[1:4]), ","),
  paste0("  \"ln_between\": ", list_of(end$par[5:8]), ","),
  paste0("  \"ln_sd\": ", number(end$par[[9]])),
  "}"), "two_phase_population.json")
cat(seconds, "s CPU\n")
