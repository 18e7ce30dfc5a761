# R's Theoph and Indometh by nlme (maximum likelihood, Lindstrom and Bates), for tests/population/test_marginal.py.
# Writes nlme_population.csv and nlme_population.json. Run in this folder:
#   Rscript nlme_population.R
library(nlme)

number <- function(x) sprintf("%.15g", x)

theoph <- nlme(conc ~ SSfol(Dose, Time, lKe, lKa, lCl), data = Theoph, fixed = lKe + lKa + lCl ~ 1,
               random = pdDiag(lKa + lCl ~ 1), method = "ML")
indometh <- nlme(nlsList(SSbiexp, Indometh), random = pdDiag(A1 + lrc1 + A2 ~ 1), method = "ML")

block <- function(fit) {
  between <- sqrt(diag(as.matrix(fit$modelStruct$reStruct[[1]]))) * fit$sigma
  sds <- c(between, Residual = fit$sigma)
  values <- c(log_likelihood = as.numeric(logLik(fit)), fixef(fit),
              setNames(sds, ifelse(names(sds) == "Residual", "sd", paste0("between_", names(sds)))))
  paste0("{", paste0("\"", names(values), "\": ", number(values), collapse = ", "), "}")
}

writeLines(c("{",
  paste0("  \"made_by\": \"nlme_population.R, ", R.version.string, ", nlme ", packageVersion("nlme"), "\","),
  paste0("  \"theoph\": ", block(theoph), ","),
  paste0("  \"indometh\": ", block(indometh)),
  "}"), "nlme_population.json")
rows <- rbind(data.frame(set = "theoph", subject = paste0("S", Theoph$Subject), time = Theoph$Time, conc = Theoph$conc,
                         dose = Theoph$Dose),
              data.frame(set = "indometh", subject = paste0("S", Indometh$Subject), time = Indometh$time,
                         conc = Indometh$conc, dose = NA))
write.csv(rows, "nlme_population.csv", row.names = FALSE, quote = FALSE)
