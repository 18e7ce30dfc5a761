# Non-compartmental analysis of R's Theoph and Indometh by the published rules of PKNCA (Denney, Duvvuri, Buckeridge
# 2015, doi:10.1007/s10928-015-9432-2), in base R, for tests/cohorts/test_nca.py. Writes nca_samples.csv and nca.csv:
#   Rscript nca.R
# The rules: areas linear up and logarithmic down; AUC to the last positive sample; terminal line by lm of ln
# concentration on time through the last 3, 4, ... samples after Tmax (Tmax not included); best adjusted R2, more
# samples preferred within 1e-4, slope negative. Indometh has no sample at time 0: its curve starts at 0 there.
trapezium <- function(t, c, rule) {
  from <- head(seq_along(t), -1)
  sum(sapply(from, function(i) {
    a <- c[i]; b <- c[i + 1]; width <- t[i + 1] - t[i]
    logarithmic <- a > 0 && b > 0 && a != b && (rule == "log" || (rule == "linear-up/log-down" && b < a))
    if (logarithmic) width * (a - b) / (log(a) - log(b)) else width * (a + b) / 2
  }))
}

analysed <- function(data, id, rule) {
  t <- data$time; c <- data$conc
  last <- max(which(c > 0)); peak <- which.max(c)
  after <- seq_along(t) > peak & c > 0 & seq_along(t) <= last
  lines <- lapply(3:sum(after), function(n) {
    line <- summary(lm(log(c) ~ t, data = tail(data.frame(t = t[after], c = c[after]), n)))
    data.frame(n = n, slope = line$coefficients["t", 1], adj = line$adj.r.squared)
  })
  lines <- do.call(rbind, lines)
  good <- lines[lines$adj > max(lines$adj, 0) - 1e-4 & lines$slope < 0, ]
  best <- good[which.max(good$n), ]
  half <- -log(2) / best$slope
  auc <- trapezium(t[1:last], c[1:last], rule)
  tail_area <- c[last] * half / log(2)
  data.frame(subject = id, rule = rule, cmax = c[peak], tmax = t[peak], auc_last = auc, clast = c[last],
             tlast = t[last], half_life = half, adj_r2 = best$adj, n = best$n, auc_inf = auc + tail_area,
             extrapolated = tail_area / (auc + tail_area))
}

samples <- rbind(
  data.frame(subject = paste0("Theoph ", Theoph$Subject), time = Theoph$Time, conc = Theoph$conc),
  data.frame(subject = paste0("Indometh ", Indometh$Subject), time = Indometh$time, conc = Indometh$conc)
)
bolus <- unique(grep("Indometh", samples$subject, value = TRUE))
samples <- rbind(samples, data.frame(subject = bolus, time = 0, conc = 0))
samples <- samples[order(samples$subject, samples$time), ]
results <- do.call(rbind, lapply(unique(samples$subject), function(id) {
  own <- samples[samples$subject == id, ]
  do.call(rbind, lapply(c("linear-up/log-down", "linear", "log"), function(rule) analysed(own, id, rule)))
}))
for (column in names(results)[-(1:2)]) results[[column]] <- sprintf("%.12g", results[[column]])
write.csv(samples, "nca_samples.csv", row.names = FALSE, quote = FALSE)
write.csv(results, "nca.csv", row.names = FALSE, quote = FALSE)
