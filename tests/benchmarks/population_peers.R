# A population of two-phase declines by TMB: population_peers.py calls it.
#
#     Rscript population_peers.R samples.csv two_phase_population.cpp
#
# Prints JSON: CPU seconds of the compiler (its processes included), of a first and of a second fit with standard errors,
# and the maximum of Laplace's log-likelihood of ln copies.
library(TMB)

given <- commandArgs(trailingOnly = TRUE)
samples <- read.csv(given[1])
patients <- max(samples$patient) + 1
cpu <- function() sum(proc.time()[c(1, 2, 4, 5)])

built <- tempfile("two_phase_population")
dir.create(built)
file.copy(given[2], built)
setwd(built)
began <- cpu()
compile("two_phase_population.cpp", "-O2")
compiler <- cpu() - began
dyn.load(dynlib("two_phase_population"))

fitted <- function() {
  began <- cpu()
  data <- list(day = samples$day, ln_y = log(samples$copies), below = samples$below, patient = samples$patient)
  start <- list(mean = log(c(1000, 0.3, 30, 0.01)), ln_between = rep(log(0.5), 4), ln_sd = log(0.5),
                eta = matrix(0, patients, 4))
  objective <- MakeADFun(data, start, random = "eta", DLL = "two_phase_population", silent = TRUE)
  end <- nlminb(objective$par, objective$fn, objective$gr, control = list(iter.max = 500, eval.max = 900))
  sdreport(objective)
  list(seconds = cpu() - began, maximum = -end$objective)
}
first <- fitted()
second <- fitted()
cat(sprintf("{\"compiler\": %g, \"first\": %g, \"warm\": %g, \"maximum\": %.8f, \"version\": \"TMB %s\"}\n", compiler,
            first$seconds, second$seconds, second$maximum, packageVersion("TMB")))
